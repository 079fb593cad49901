#include "cmd/bench/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>

#include "cmd/bench/ack_log.h"
#include "cmd/bench/ingest.h"
#include "cmd/bench/progress.h"
#include "cmd/client.h"
#include "cmd/json_writer.h"
#include "common/random.h"
#include "common/texmex.h"
#include "rpc/status.h"

namespace vectron::cmd {
namespace {

constexpr std::chrono::milliseconds kTimeout{60'000};
constexpr uint64_t kPageBytes = 8 << 20;  // of vectors in one page
constexpr uint32_t kSearchEf = 256;
// The graph is approximate: it need not find every point by its own vector, but
// nearly all; exact search must.
constexpr double kGraphFoundMin = 0.99;

struct Findings {
  uint64_t read = 0;
  uint64_t acked = 0;
  uint64_t unacked_present = 0;  // sent, not acknowledged, and there: allowed
  uint64_t missing = 0;
  uint64_t never_sent = 0;
  uint64_t wrong_vector = 0;
  uint64_t wrong_payload = 0;
  uint64_t counted = 0;  // what Count says
  uint64_t searched = 0;
  uint64_t found_exact = 0;
  uint64_t found_graph = 0;
  std::string first_problem;

  void Problem(uint64_t* counter, std::string message) {
    if (++*counter == 1 && first_problem.empty()) first_problem = std::move(message);
  }
};

class Verifier {
 public:
  Verifier(const VerifyOptions& options, const VectorFile& file, const AckLog& log)
      : options_(options),
        file_(file),
        log_(log),
        client_(options.server),
        row_(file.dimension()) {}

  Status Run(Findings* findings) {
    VECTRON_RETURN_IF_ERROR(client_.WaitConnected(kTimeout));
    const std::vector<uint64_t> acked = log_.AckedRows();
    findings->acked = acked.size();
    std::vector<bool> seen(file_.count());
    VECTRON_RETURN_IF_ERROR(ReadAll(&seen, findings));
    for (uint64_t row : acked) {
      if (!seen[row]) findings->Problem(&findings->missing, fmt::format("row {} is missing", row));
    }
    VECTRON_RETURN_IF_ERROR(Count(findings));
    return SearchSample(acked, findings);
  }

 private:
  Status ReadAll(std::vector<bool>* seen, Findings* findings) {
    v1::ScrollRequest request;
    request.set_collection(options_.collection);
    request.set_limit(static_cast<uint32_t>(
        std::clamp<uint64_t>(kPageBytes / (file_.dimension() * sizeof(float)), 1, 5000)));
    request.mutable_select()->set_payload(true);
    request.mutable_select()->set_vectors(true);
    Progress progress("verify", "points", findings->acked, options_.quiet);
    for (;;) {
      grpc::ClientContext context;
      SetTimeout(&context, kTimeout);
      v1::ScrollResponse response;
      VECTRON_RETURN_IF_ERROR(
          rpc::FromGrpcStatus(client_.stub().Scroll(&context, request, &response)));
      for (const v1::Record& record : response.points()) Check(record, seen, findings);
      progress.Update(findings->read);
      if (!response.has_next()) return OkStatus();
      *request.mutable_from() = response.next();
    }
  }

  void Check(const v1::Record& record, std::vector<bool>* seen, Findings* findings) {
    ++findings->read;
    const uint64_t row = record.id().number();
    if (!record.id().has_number() || row >= file_.count() ||
        log_.Of(row) == AckLog::Outcome::kNotSent) {
      findings->Problem(&findings->never_sent,
                        fmt::format("id {} was never sent", record.id().ShortDebugString()));
      return;
    }
    (*seen)[row] = true;
    findings->unacked_present += log_.Of(row) == AckLog::Outcome::kUnknown;
    file_.CopyRow(row, row_);
    if (static_cast<size_t>(record.vector_size()) != row_.size() ||
        std::memcmp(record.vector().data(), row_.data(), row_.size() * sizeof(float)) != 0) {
      findings->Problem(&findings->wrong_vector, fmt::format("row {} has another vector", row));
    }
    const std::string payload = options_.payload ? RowPayload(row, row_) : std::string();
    if (record.payload() != payload) {
      findings->Problem(&findings->wrong_payload,
                        fmt::format("row {} has the payload '{}'", row, record.payload()));
    }
  }

  Status Count(Findings* findings) {
    v1::CountRequest request;
    request.set_collection(options_.collection);
    grpc::ClientContext context;
    SetTimeout(&context, kTimeout);
    v1::CountResponse response;
    VECTRON_RETURN_IF_ERROR(
        rpc::FromGrpcStatus(client_.stub().Count(&context, request, &response)));
    findings->counted = response.count();
    return OkStatus();
  }

  Status SearchSample(const std::vector<uint64_t>& acked, Findings* findings) {
    if (acked.empty()) return OkStatus();
    Random random(options_.seed);
    for (uint32_t i = 0; i < options_.search_count; ++i) {
      const uint64_t row = acked[random.Below(acked.size())];
      ++findings->searched;
      VECTRON_ASSIGN_OR_RETURN(const bool exact, Finds(row, true));
      VECTRON_ASSIGN_OR_RETURN(const bool graph, Finds(row, false));
      findings->found_exact += exact;
      findings->found_graph += graph;
      if (!exact && findings->first_problem.empty()) {
        findings->first_problem = fmt::format("exact search does not find row {}", row);
      }
    }
    return OkStatus();
  }

  // Whether searching for the row's vector brings it up. Rows with the very same
  // vector may stand in its place when there are more than k.
  StatusOr<bool> Finds(uint64_t row, bool exact) {
    v1::SearchRequest request;
    request.set_collection(options_.collection);
    v1::Query* query = request.add_queries();
    file_.CopyRow(row, row_);
    query->mutable_vector()->Assign(row_.begin(), row_.end());
    query->set_k(10);
    query->set_ef(kSearchEf);
    query->set_exact(exact);
    grpc::ClientContext context;
    SetTimeout(&context, kTimeout);
    v1::SearchResponse response;
    VECTRON_RETURN_IF_ERROR(
        rpc::FromGrpcStatus(client_.stub().Search(&context, request, &response)));
    if (response.results_size() != 1) return Internal("one query got several results");
    const auto& points = response.results(0).points();
    const bool there = std::any_of(points.begin(), points.end(), [row](const auto& point) {
      return point.id().has_number() && point.id().number() == row;
    });
    const bool crowded_out =
        points.size() == 10 && points.rbegin()->score() == points.begin()->score();
    return there || crowded_out;
  }

  const VerifyOptions& options_;
  const VectorFile& file_;
  const AckLog& log_;
  Client client_;
  std::vector<float> row_;
};

Status Judge(const Findings& findings) {
  if (findings.missing + findings.never_sent + findings.wrong_vector + findings.wrong_payload !=
          0 ||
      findings.found_exact != findings.searched) {
    return Corruption(
        fmt::format("the collection is not what was acknowledged: {}", findings.first_problem));
  }
  if (findings.counted != findings.read) {
    return Corruption(
        fmt::format("the collection counts {} points and has {}", findings.counted, findings.read));
  }
  const double found = static_cast<double>(findings.found_graph);
  if (found < kGraphFoundMin * static_cast<double>(findings.searched)) {
    return Corruption(fmt::format("the graph finds {} of {} points by their own vectors",
                                  findings.found_graph, findings.searched));
  }
  return OkStatus();
}

}  // namespace

Status RunVerify(const VerifyOptions& options) {
  VECTRON_ASSIGN_OR_RETURN(const VectorFile file, VectorFile::Open(options.input_path));
  AckLog log;
  for (const std::string& path : options.ack_log_paths) VECTRON_RETURN_IF_ERROR(log.Read(path));
  for (uint64_t row : log.AckedRows()) {
    if (row >= file.count()) {
      return InvalidArgument(fmt::format("row {} was acknowledged, but {} has {} rows", row,
                                         options.input_path, file.count()));
    }
  }
  Findings findings;
  VECTRON_RETURN_IF_ERROR(Verifier(options, file, log).Run(&findings));
  const Status verdict = Judge(findings);
  JsonWriter json;
  json.Field("ok", verdict.ok());
  json.Field("points", findings.read);
  json.Field("counted", findings.counted);
  json.Field("acknowledged", findings.acked);
  json.Field("unacknowledged_present", findings.unacked_present);
  json.Field("missing", findings.missing);
  json.Field("never_sent", findings.never_sent);
  json.Field("wrong_vector", findings.wrong_vector);
  json.Field("wrong_payload", findings.wrong_payload);
  json.Field("searched", findings.searched);
  json.Field("found_exact", findings.found_exact);
  json.Field("found_graph", findings.found_graph);
  fmt::print("{}", json.Finish());
  return verdict;
}

}  // namespace vectron::cmd
