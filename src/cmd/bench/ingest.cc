#include "cmd/bench/ingest.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "cmd/bench/ack_log.h"
#include "cmd/bench/progress.h"
#include "cmd/client.h"
#include "common/mutex.h"
#include "common/random.h"
#include "common/texmex.h"
#include "rpc/status.h"

namespace vectron::cmd {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kConnectTimeout{10'000};
constexpr milliseconds kOverloadedRetry{60'000};
constexpr milliseconds kPollIndexed{100};
// A batch of the server's default limit is 64 MiB; leave room for the rest.
constexpr uint64_t kBatchBytesMax = 60 << 20;

// Whether nothing, or nothing for certain, is known to have gone wrong for good.
bool MayPass(const Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kAborted:
      return true;
    default:
      return false;
  }
}

milliseconds RetryAfter(const Status& status, int attempt) {
  for (const auto& [key, value] : DetailsOf(status)) {
    if (key == "retry_after_ms") return milliseconds(std::clamp(std::atoi(value.c_str()), 1, 1000));
  }
  return milliseconds(std::min(1000, 10 << std::min(attempt, 6)));
}

// Loads one range of rows, batch after batch. Thread-safe between clients.
class Ingester {
 public:
  Ingester(const IngestOptions& options, const VectorFile& file)
      : options_(options),
        file_(file),
        row_end_(options.row_count == 0 ? file.count() : options.first_row + options.row_count),
        session_(RandomSeed() | 1) {
    for (int i = 0; i < options.load.client_count; ++i) {
      clients_.push_back(std::make_unique<ClientState>(options.server));
    }
  }

  Status WaitConnected() {
    for (auto& state : clients_) {
      VECTRON_RETURN_IF_ERROR(state->client.WaitConnected(kConnectTimeout));
    }
    return OkStatus();
  }

  uint64_t row_count() const { return row_end_ - options_.first_row; }
  uint64_t batch_count() const {
    return (row_count() + options_.batch_size - 1) / options_.batch_size;
  }

  // Stores batch number `index` (from 0), retrying as the options say.
  Status Store(int client, uint64_t index, Progress* progress) {
    const uint64_t first = options_.first_row + index * options_.batch_size;
    const uint64_t count = std::min<uint64_t>(options_.batch_size, row_end_ - first);
    ClientState& state = *clients_[static_cast<size_t>(client)];
    FillRequest(first, count, index + 1, &state.request);
    const Status status = Send(&state, index + 1);
    MutexLock lock(mutex_);
    if (status.ok()) {
      acked_count_ += count;
      progress->Update(acked_count_);
    }
    if (!options_.ack_log_path.empty()) {
      const auto outcome = status.ok() ? AckLog::Outcome::kAcked : AckLog::Outcome::kUnknown;
      const Status logged = AckLog::Append(options_.ack_log_path, outcome, first, count);
      if (!logged.ok()) return logged;
    }
    return status;
  }

  uint64_t acked_count() const {
    MutexLock lock(mutex_);
    return acked_count_;
  }
  uint64_t retry_count() const {
    MutexLock lock(mutex_);
    return retry_count_;
  }

 private:
  struct ClientState {
    explicit ClientState(const std::string& server) : client(server) {}
    Client client;
    v1::StoreVectorRequest request;  // kept: its messages keep their memory
  };

  void FillRequest(uint64_t first, uint64_t count, uint64_t sequence,
                   v1::StoreVectorRequest* request) const {
    request->set_collection(options_.collection.name);
    request->mutable_session()->set_session(session_);
    request->mutable_session()->set_sequence(sequence);
    while (request->points_size() > static_cast<int>(count))
      request->mutable_points()->RemoveLast();
    while (request->points_size() < static_cast<int>(count)) request->add_points();
    for (uint64_t i = 0; i < count; ++i) {
      v1::Point* point = request->mutable_points(static_cast<int>(i));
      point->mutable_id()->set_number(first + i);
      point->mutable_vector()->Resize(static_cast<int>(file_.dimension()), 0);
      const std::span<float> row(point->mutable_vector()->mutable_data(), file_.dimension());
      file_.CopyRow(first + i, row);
      if (options_.payload) point->set_payload(RowPayload(first + i, row));
    }
  }

  Status Send(ClientState* state, uint64_t sequence) {
    const TimePoint start = SystemClock().Now();
    for (int attempt = 0;; ++attempt) {
      state->request.mutable_session()->set_acked_below(AckedBelow(sequence));
      grpc::ClientContext context;
      SetTimeout(&context, options_.timeout);
      v1::WriteResponse response;
      const Status status = rpc::FromGrpcStatus(
          state->client.stub().StoreVector(&context, state->request, &response));
      if (status.ok()) {
        Settle(sequence);
        return status;
      }
      const milliseconds patience = ReasonOf(status) == Reason::kOverloaded ? kOverloadedRetry
                                    : MayPass(status)                       ? options_.retry
                                                                            : milliseconds(0);
      const TimePoint next = SystemClock().Now() + RetryAfter(status, attempt);
      if (next > start + patience) {
        Settle(sequence);  // given up: never sent again
        return status;
      }
      {
        MutexLock lock(mutex_);
        ++retry_count_;
      }
      SleepUntil(next);
    }
  }

  // Every sequence below has ended. Sequences are handed out in order, so the
  // smallest that has not is at most `sequence`.
  uint64_t AckedBelow(uint64_t sequence) {
    MutexLock lock(mutex_);
    return std::min(sequence, ended_below_);
  }

  void Settle(uint64_t sequence) {
    MutexLock lock(mutex_);
    ended_.push_back(sequence);
    std::push_heap(ended_.begin(), ended_.end(), std::greater<>());
    while (!ended_.empty() && ended_.front() == ended_below_) {
      std::pop_heap(ended_.begin(), ended_.end(), std::greater<>());
      ended_.pop_back();
      ++ended_below_;
    }
  }

  const IngestOptions& options_;
  const VectorFile& file_;
  const uint64_t row_end_;
  const uint64_t session_;
  std::vector<std::unique_ptr<ClientState>> clients_;
  mutable Mutex mutex_;
  uint64_t acked_count_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t retry_count_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t ended_below_ ABSL_GUARDED_BY(mutex_) = 1;
  std::vector<uint64_t> ended_ ABSL_GUARDED_BY(mutex_);  // a min-heap, above ended_below_
};

Status CheckOptions(const IngestOptions& options, const VectorFile& file) {
  if (options.first_row >= file.count()) {
    return InvalidArgument(fmt::format("--first-row {}: {} has {} rows", options.first_row,
                                       options.input_path, file.count()));
  }
  if (options.row_count > file.count() - options.first_row) {
    return InvalidArgument(fmt::format("--rows {}: {} has {} rows from {}", options.row_count,
                                       options.input_path, file.count() - options.first_row,
                                       options.first_row));
  }
  if (options.batch_size < 1) return InvalidArgument("--batch must be at least 1");
  const uint64_t bytes = uint64_t{options.batch_size} * file.dimension() * sizeof(float);
  if (bytes > kBatchBytesMax) {
    return InvalidArgument(fmt::format(
        "--batch {}: {} bytes of vectors are too much for one request; at most {}",
        options.batch_size, bytes, kBatchBytesMax / (file.dimension() * sizeof(float))));
  }
  return OkStatus();
}

v1::Metric ToProto(Metric metric) {
  switch (metric) {
    case Metric::kL2:
      return v1::METRIC_L2;
    case Metric::kCosine:
      return v1::METRIC_COSINE;
    case Metric::kDot:
      return v1::METRIC_DOT;
    case Metric::kManhattan:
      break;  // bench_command.cc refuses it
  }
  return v1::METRIC_UNSPECIFIED;
}

Status CreateCollection(const IngestOptions& options, uint32_t dimension, Client* client) {
  v1::CreateCollectionRequest request;
  v1::CollectionConfig* config = request.mutable_config();
  config->set_name(options.collection.name);
  config->set_shard_count(options.collection.shard_count);
  config->set_replication_factor(options.collection.replication_factor);
  const VectorConfig& wanted = options.collection.vectors.front();
  v1::VectorConfig* vector = config->add_vectors();
  vector->set_dimension(dimension);
  vector->set_metric(ToProto(wanted.metric));
  vector->set_quantization(wanted.quantization == Quantization::kNone ? v1::QUANTIZATION_NONE
                                                                      : v1::QUANTIZATION_SQ8);
  vector->mutable_hnsw()->set_m(wanted.hnsw.m);
  vector->mutable_hnsw()->set_ef_construction(wanted.hnsw.ef_construction);
  vector->mutable_hnsw()->set_ef_search(wanted.hnsw.ef_search);
  grpc::ClientContext context;
  SetTimeout(&context, options.timeout);
  v1::CreateCollectionResponse response;
  return rpc::FromGrpcStatus(client->stub().CreateCollection(&context, request, &response));
}

StatusOr<v1::Stats> FetchStats(const IngestOptions& options, Client* client) {
  v1::GetCollectionRequest request;
  request.set_name(options.collection.name);
  grpc::ClientContext context;
  SetTimeout(&context, options.timeout);
  v1::GetCollectionResponse response;
  VECTRON_RETURN_IF_ERROR(
      rpc::FromGrpcStatus(client->stub().GetCollection(&context, request, &response)));
  return response.stats();
}

// Returns when no vector waits to be linked.
StatusOr<v1::Stats> WaitIndexed(const IngestOptions& options, Client* client) {
  std::optional<Progress> progress;
  for (;;) {
    VECTRON_ASSIGN_OR_RETURN(v1::Stats stats, FetchStats(options, client));
    if (!progress.has_value()) {
      progress.emplace("index", "vectors", stats.linked_count() + stats.pending_count(),
                       options.quiet);
    }
    progress->Update(stats.linked_count());
    if (stats.pending_count() == 0) return stats;
    SleepUntil(SystemClock().Now() + kPollIndexed);
  }
}

}  // namespace

std::string RowPayload(uint64_t row, std::span<const float> vector) {
  return fmt::format("{{\"row\": {}, \"vector_xxh3\": \"{:016x}\"}}", row,
                     XXH3_64bits(vector.data(), vector.size_bytes()));
}

Status RunIngest(const IngestOptions& options) {
  VECTRON_ASSIGN_OR_RETURN(const VectorFile file, VectorFile::Open(options.input_path));
  VECTRON_RETURN_IF_ERROR(CheckOptions(options, file));
  Client client(options.server);
  VECTRON_RETURN_IF_ERROR(client.WaitConnected(kConnectTimeout));
  if (options.create) {
    VECTRON_RETURN_IF_ERROR(CreateCollection(options, file.dimension(), &client));
  }
  Ingester ingester(options, file);
  VECTRON_RETURN_IF_ERROR(ingester.WaitConnected());
  const TimePoint start = SystemClock().Now();
  LoadOptions load = options.load;
  load.op_count = ingester.batch_count();
  load.ops_per_second = options.points_per_second / options.batch_size;
  auto progress =
      std::make_unique<Progress>("store", "points", ingester.row_count(), options.quiet);
  VECTRON_ASSIGN_OR_RETURN(const LoadResult result, RunLoad(load, [&](int i, uint64_t index) {
                             return ingester.Store(i, index, progress.get());
                           }));
  progress.reset();
  const auto seconds_since_start = [start] {
    return std::chrono::duration<double>(SystemClock().Now() - start).count();
  };
  const double acked_seconds = seconds_since_start();
  JsonWriter json;
  json.Field("collection", options.collection.name);
  json.Field("input", options.input_path);
  json.Field("dimension", file.dimension());
  json.Field("points", ingester.row_count());
  json.Field("acked_points", ingester.acked_count());
  json.Field("acked_seconds", acked_seconds);
  json.Field("acked_points_per_second",
             static_cast<double>(ingester.acked_count()) / acked_seconds);
  json.Field("retries", ingester.retry_count());
  json.Field("batch_size", options.batch_size);
  json.BeginObject("batches");
  WriteLoad(load, result, &json);
  json.End();
  Status status = result.FirstError();
  if (options.wait_indexed && status.ok()) {
    const auto stats = WaitIndexed(options, &client);
    if (stats.ok()) {
      const double indexed_seconds = seconds_since_start();
      json.Field("indexed_seconds", indexed_seconds);
      json.Field("indexed_points_per_second",
                 static_cast<double>(ingester.acked_count()) / indexed_seconds);
      json.Field("point_count", uint64_t{stats->point_count()});
      json.Field("index_bytes", uint64_t{stats->index_bytes()});
      json.Field("store_bytes", uint64_t{stats->store_bytes()});
    } else {
      status = stats.status();
    }
  }
  fmt::print("{}", json.Finish());
  return status;
}

}  // namespace vectron::cmd
