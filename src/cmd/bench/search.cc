#include "cmd/bench/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <memory>
#include <optional>

#include "cmd/bench/progress.h"
#include "cmd/client.h"
#include "common/check.h"
#include "common/json_object.h"
#include "common/limits.h"
#include "common/texmex.h"
#include "rpc/status.h"

namespace vectron::cmd {
namespace {

constexpr std::chrono::milliseconds kConnectTimeout{10'000};

// What a search of one query answered, kept once for each query.
struct Answer {
  std::vector<uint64_t> ids;
  std::vector<float> scores;
};

struct Measurement {
  uint32_t ef = 0;
  LoadOptions load;
  LoadResult result;
  std::optional<double> recall;
};

// Runs searches of the queries of one file. RunLoad's operation is thread-safe
// between clients.
class Searcher {
 public:
  Searcher(const SearchOptions& options, const VectorFile& queries, const IdFile* truth)
      : options_(options),
        truth_(truth),
        query_count_(options.query_count == 0 ? queries.count() : options.query_count),
        answers_(query_count_) {
    for (uint64_t i = 0; i < query_count_; ++i) {
      queries_.emplace_back(queries.dimension());
      queries.CopyRow(i, queries_.back());
    }
    for (int i = 0; i < options.load.client_count; ++i) {
      clients_.push_back(std::make_unique<Client>(options.server));
      requests_.push_back(std::make_unique<v1::SearchRequest>());
    }
  }

  Status WaitConnected() {
    for (auto& client : clients_) VECTRON_RETURN_IF_ERROR(client->WaitConnected(kConnectTimeout));
    return OkStatus();
  }

  uint64_t query_count() const { return query_count_; }
  const std::vector<Answer>& answers() const { return answers_; }

  // One run under `load`. Recall is taken from each query's first search, and only
  // if the run gets to all of them.
  StatusOr<Measurement> Measure(uint32_t ef, LoadOptions load, const std::string& label) {
    Measurement measurement{.ef = ef};
    if (load.op_count == 0 && load.duration <= Duration::zero()) load.op_count = query_count_;
    for (Answer& answer : answers_) answer = Answer();
    std::optional<Progress> progress;
    progress.emplace(label, "searches", load.op_count, options_.quiet);
    std::atomic<uint64_t> done{0};
    auto result = RunLoad(load, [&](int client, uint64_t index) {
      Status status = Search(client, index, ef);
      const uint64_t count = done.fetch_add(1, std::memory_order_relaxed) + 1;
      // Drawing takes a lock, which must not cost the measurement anything.
      if (count % 256 == 0) progress->Update(count);
      return status;
    });
    progress->Update(done);
    if (!result.ok()) return result.status();
    measurement.load = load;
    measurement.result = *std::move(result);
    if (truth_ != nullptr && done >= query_count_ && measurement.result.errors.total() == 0) {
      measurement.recall = Recall();
    }
    return measurement;
  }

 private:
  Status Search(int client, uint64_t index, uint32_t ef) {
    const auto slot = static_cast<size_t>(client);
    const uint64_t row = index % query_count_;
    v1::SearchRequest& request = *requests_[slot];
    request.set_collection(options_.collection);
    v1::Query* query =
        request.queries_size() == 0 ? request.add_queries() : request.mutable_queries(0);
    query->mutable_vector()->Assign(queries_[row].begin(), queries_[row].end());
    query->set_k(options_.k);
    query->set_ef(ef);
    query->set_exact(options_.exact);
    if (options_.with_payload) request.mutable_select()->set_payload(true);
    grpc::ClientContext context;
    SetTimeout(&context, options_.timeout);
    v1::SearchResponse response;
    VECTRON_RETURN_IF_ERROR(
        rpc::FromGrpcStatus(clients_[slot]->stub().Search(&context, request, &response)));
    if (response.results_size() != 1) {
      return Internal(fmt::format("{} results for one query", response.results_size()));
    }
    // Each row's first search has it to itself: later ones leave its answer alone.
    if (index < query_count_) {
      for (const v1::ScoredRecord& point : response.results(0).points()) {
        answers_[row].ids.push_back(point.id().number());
        answers_[row].scores.push_back(point.score());
      }
    }
    return OkStatus();
  }

  double Recall() const {
    uint64_t found = 0;
    for (uint64_t i = 0; i < query_count_; ++i) {
      const auto truth = truth_->Row(i).first(options_.k);
      for (uint64_t id : answers_[i].ids) {
        found += std::find(truth.begin(), truth.end(), static_cast<int32_t>(id)) != truth.end();
      }
    }
    return static_cast<double>(found) / static_cast<double>(query_count_ * options_.k);
  }

  const SearchOptions& options_;
  const IdFile* const truth_;
  const uint64_t query_count_;
  std::vector<std::vector<float>> queries_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<v1::SearchRequest>> requests_;
  std::vector<Answer> answers_;
};

Status CheckOptions(const SearchOptions& options, const VectorFile& queries, const IdFile* truth) {
  if (options.query_count > queries.count()) {
    return InvalidArgument(fmt::format("--query-count {}: {} has {} rows", options.query_count,
                                       options.query_path, queries.count()));
  }
  if (options.k < 1) return InvalidArgument("--k must be at least 1");
  if (truth != nullptr && truth->count() < queries.count()) {
    return InvalidArgument(fmt::format("{} has {} rows for the {} queries of {}",
                                       options.ground_truth_path, truth->count(), queries.count(),
                                       options.query_path));
  }
  if (truth != nullptr && truth->width() < options.k) {
    return InvalidArgument(fmt::format("{} has {} neighbours a query, fewer than k = {}",
                                       options.ground_truth_path, truth->width(), options.k));
  }
  if (truth == nullptr && options.target_recall > 0) {
    return InvalidArgument("--target-recall needs --groundtruth");
  }
  return OkStatus();
}

// The smallest ef whose recall reaches the target: doubled until it does, then
// found by bisection (recall grows with ef, apart from noise far below a step).
StatusOr<uint32_t> FindEf(const SearchOptions& options, Searcher* searcher) {
  LoadOptions load;
  load.client_count = options.load.client_count;
  load.stop_on_error = true;
  const auto reaches = [&](uint32_t ef) -> StatusOr<bool> {
    VECTRON_ASSIGN_OR_RETURN(const Measurement measurement,
                             searcher->Measure(ef, load, fmt::format("ef {}", ef)));
    VECTRON_RETURN_IF_ERROR(measurement.result.FirstError());
    VECTRON_CHECK(measurement.recall.has_value());
    return *measurement.recall >= options.target_recall;
  };
  const uint32_t ef_max = Limits().ef_max;
  uint32_t low = 0;  // does not reach it
  uint32_t high = options.k;
  for (;;) {
    VECTRON_ASSIGN_OR_RETURN(const bool enough, reaches(high));
    if (enough) break;
    if (high >= ef_max) {
      return MakeError(Reason::kUnavailable, fmt::format("recall {} is not reached, even at ef {}",
                                                         options.target_recall, ef_max));
    }
    low = high;
    high = std::min(ef_max, high * 2);
  }
  while (low != 0 && high - low > 1) {
    const uint32_t middle = low + (high - low) / 2;
    VECTRON_ASSIGN_OR_RETURN(const bool enough, reaches(middle));
    (enough ? high : low) = middle;
  }
  return high;
}

Status WriteDump(const std::string& path, const std::vector<Answer>& answers) {
  std::string text;
  for (size_t i = 0; i < answers.size(); ++i) {
    text += fmt::format("{{\"query\": {}, \"ids\": [{}], \"scores\": [", i,
                        fmt::join(answers[i].ids, ", "));
    for (size_t j = 0; j < answers[i].scores.size(); ++j) {
      if (j != 0) text += ", ";
      AppendJsonNumber(answers[i].scores[j], &text);
    }
    text += "]}\n";
  }
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) return MakeError(Reason::kUnavailable, fmt::format("{}: cannot be written", path));
  return OkStatus();
}

void WriteMeasurement(const SearchOptions& options, const Measurement& measurement,
                      JsonWriter* json) {
  json->Field("ef", measurement.ef);
  if (measurement.recall.has_value()) {
    json->Field(fmt::format("recall_at_{}", options.k), *measurement.recall);
  }
  WriteLoad(measurement.load, measurement.result, json);
}

}  // namespace

Status RunSearch(const SearchOptions& options) {
  VECTRON_ASSIGN_OR_RETURN(const VectorFile queries, VectorFile::Open(options.query_path));
  std::optional<IdFile> truth;
  if (!options.ground_truth_path.empty()) {
    VECTRON_ASSIGN_OR_RETURN(truth, IdFile::Open(options.ground_truth_path));
  }
  const IdFile* truth_or_null = truth.has_value() ? &*truth : nullptr;
  VECTRON_RETURN_IF_ERROR(CheckOptions(options, queries, truth_or_null));
  Searcher searcher(options, queries, truth_or_null);
  VECTRON_RETURN_IF_ERROR(searcher.WaitConnected());
  std::vector<uint32_t> efs = options.ef_sweep;
  if (options.target_recall > 0) {
    VECTRON_ASSIGN_OR_RETURN(const uint32_t ef, FindEf(options, &searcher));
    efs = {ef};
  }
  if (efs.empty()) efs = {options.ef};
  if (options.warm_up_count > 0) {
    LoadOptions warm_up;
    warm_up.client_count = options.load.client_count;
    warm_up.op_count = options.warm_up_count;
    VECTRON_RETURN_IF_ERROR(searcher.Measure(efs.front(), warm_up, "warm-up").status());
  }
  JsonWriter json;
  json.Field("collection", options.collection);
  json.Field("queries", searcher.query_count());
  json.Field("k", options.k);
  json.Field("exact", options.exact);
  json.BeginArray("runs");
  Status status;
  for (uint32_t ef : efs) {
    VECTRON_ASSIGN_OR_RETURN(
        const Measurement measurement,
        searcher.Measure(ef, options.load, options.exact ? "exact" : fmt::format("ef {}", ef)));
    json.BeginElement();
    WriteMeasurement(options, measurement, &json);
    json.End();
    if (status.ok()) status = measurement.result.FirstError();
  }
  json.End();
  fmt::print("{}", json.Finish());
  if (!options.dump_path.empty()) {
    VECTRON_RETURN_IF_ERROR(WriteDump(options.dump_path, searcher.answers()));
  }
  return status;
}

}  // namespace vectron::cmd
