#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/callback.h"
#include "common/clock.h"
#include "common/collection.h"
#include "common/data_ops.h"
#include "common/limits.h"
#include "common/metrics.h"
#include "rpc/placement_api.h"
#include "rpc/worker_api.h"

namespace vectron::gateway {

struct RequestOptions {
  // kNoDeadline: the gateway's default.
  Deadline deadline = kNoDeadline;
  // Reads: if not null, set by the caller once it no longer wants the answer (which then
  // is CANCELLED, most likely), and valid until that was given.
  const std::atomic<bool>* cancelled = nullptr;
  Consistency consistency = Consistency::kLinearizable;
  SessionToken session;        // of kSession
  bool allow_partial = false;  // searches: answer without shards that do not
  // Reads: the calling thread has others to see to, so their work is done on another.
  bool caller_is_wanted = false;
  // Writes: the client's own exactly-once session, so that it can go on retrying
  // where the gateway gave up. Session 0: the gateway's.
  WriteSession write_session;
};

// How a write ended. If every shard did it, `status` is OK and the lists are
// empty; otherwise every id of the request is in exactly one list.
struct WriteReport {
  Status status;
  std::vector<PointId> done;
  std::vector<PointId> not_done;
  std::vector<PointId> unknown;
  uint64_t changed_count = 0;
  SessionToken token;
};

struct SearchReport {
  std::vector<std::vector<ScoredRecord>> results;  // one a query, best first
  std::vector<ShardId> missing_shards;             // only with allow_partial
  SessionToken token;
};

struct RecordsReport {
  std::vector<Record> records;
  std::optional<PointId> next;  // of scroll
  SessionToken token;
};

struct CollectionReport {
  rpc::CollectionInfo info;
  // Sums over the shards, without those that failed.
  ShardStats stats;
  // Shards whose data are damaged.
  std::vector<std::pair<ShardId, Status>> failed_shards;
};

// What clients of either interface can ask: validates, routes by the cached
// ClusterMap, fans out, retries what is safe to retry (NOT_LEADER, STALE_EPOCH,
// SHARD_NOT_FOUND, lost answers under the same write session), merges. The gRPC
// service and the REST handlers are thin shells around it. Thread-safe.
class Gateway {
 public:
  virtual ~Gateway() = default;

  virtual void CreateCollection(CollectionConfig config, Deadline deadline,
                                Callback<rpc::CollectionInfo> done) = 0;
  virtual void DropCollection(std::string name, Deadline deadline, Callback<bool> done) = 0;
  virtual void ListCollections(Deadline deadline,
                               Callback<std::vector<rpc::CollectionInfo>> done) = 0;
  // COLLECTION_NOT_FOUND only after asking placement.
  virtual void GetCollection(std::string name, Deadline deadline,
                             Callback<CollectionReport> done) = 0;
  // The same from the cached routing, without the shards' sums: for handlers that
  // need the settings to read a request.
  virtual void FindCollection(std::string name, Deadline deadline,
                              Callback<rpc::CollectionInfo> done) = 0;

  // The callback's Status is for requests refused whole before anything was sent
  // (e.g. INVALID_ARGUMENT naming the offending point).
  virtual void Write(std::string collection, WriteOp op, RequestOptions options,
                     Callback<WriteReport> done) = 0;

  virtual void Search(std::string collection, std::vector<SearchQuery> queries, Select select,
                      RequestOptions options, Callback<SearchReport> done) = 0;
  virtual void Get(std::string collection, std::vector<PointId> ids, Select select,
                   RequestOptions options, Callback<RecordsReport> done) = 0;
  virtual void Scroll(std::string collection, ScrollQuery query, Select select,
                      RequestOptions options, Callback<RecordsReport> done) = 0;
  virtual void Count(std::string collection, RequestOptions options, Callback<uint64_t> done) = 0;

  virtual void ClusterStatus(Deadline deadline, Callback<rpc::ClusterStatus> done) = 0;
};

struct GatewayOptions {
  // Not owned; outlive the gateway.
  rpc::PlacementApi* placement = nullptr;
  const Clock* clock = nullptr;
  MetricsRegistry* metrics = nullptr;
  // The worker of a node, or null if it is not known (yet). Thread-safe; what it
  // returns outlives the gateway.
  std::function<rpc::WorkerApi*(NodeId)> find_worker;
  uint64_t seed = 0;  // of the write session's id: RandomSeed()
  Limits limits;
  // Of requests that come without a deadline.
  std::chrono::milliseconds write_timeout{30'000};
  std::chrono::milliseconds read_timeout{10'000};
};

// Starts to follow the cluster's map. Destroy it after every request was answered.
std::unique_ptr<Gateway> MakeGateway(GatewayOptions options);

}  // namespace vectron::gateway
