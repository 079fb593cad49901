#pragma once

#include <functional>
#include <memory>

#include "common/clock.h"
#include "common/limits.h"
#include "consensus/host.h"
#include "rpc/worker_api.h"
#include "worker/index_threads.h"
#include "worker/request_tracker.h"
#include "worker/search_executor.h"
#include "worker/shard_lifecycle.h"
#include "worker/shard_table.h"
#include "worker/worker_metrics.h"
#include "worker/write_gate.h"

namespace vectron::worker {

// The data path: checks a request, finds its read point or proposes it, answers.
//
// A write: shard, epoch, ids' range, contents -> room and tail (WriteGate) -> the group's
// log -> the shard's outcome. A read: shard, epoch, contents -> read point -> the shard,
// on the caller's thread where it is a small one and the read point is known at once, else
// on the executor's: the host's threads are not for searching.
//
// Thread-safe. Requests hold it by shared_ptr while they run.
class RequestHandler : public std::enable_shared_from_this<RequestHandler> {
 public:
  // None of it is owned.
  struct Environment {
    const Clock* clock = nullptr;
    consensus::Host* host = nullptr;
    const ShardTable* table = nullptr;
    std::shared_ptr<ShardLifecycle> lifecycle;
    SearchExecutor* executor = nullptr;
    WriteGate* gate = nullptr;
    IndexThreads* index_threads = nullptr;
    WorkerMetrics* metrics = nullptr;
    std::shared_ptr<RequestTracker> tracker;
  };

  RequestHandler(const Limits& limits, const Environment& environment)
      : limits_(limits), environment_(environment) {}

  void Write(rpc::WriteRequest request, Callback<WriteResult> done);
  void Search(rpc::SearchRequest request, Callback<rpc::SearchResponse> done);
  void Get(rpc::GetRequest request, Callback<rpc::GetResponse> done);
  void Scroll(rpc::ScrollRequest request, Callback<rpc::ScrollResponse> done);
  void Count(rpc::CountRequest request, Callback<rpc::CountResponse> done);

 private:
  struct WriteCall;
  template <typename Request, typename Response>
  struct ReadCall;

  // The shard, if the route to it is right.
  StatusOr<HostedShardPtr> FindShard(const rpc::ShardRoute& route) const;
  // What the group of a shard said. One that stops says SHUTTING_DOWN; when only the
  // shard leaves this worker, the caller is told so and looks at a newer map.
  Status WhyDropped(const Status& status, ShardId shard) const;

  void Propose(const std::shared_ptr<WriteCall>& call);
  StatusOr<Duration> Admit(const WriteOp& op, const HostedShard& hosted, Deadline deadline) const;

  // `validate(config, request)` and `execute(shard, request, read_index)` are the parts
  // in which reads differ.
  template <typename Request, typename Response, typename Validate, typename Execute>
  void Read(Operation operation, Request request, Callback<Response> done, Validate validate,
            Execute execute);
  // The read point, if it needs no waiting.
  template <typename Request>
  std::optional<LogIndex> ReadPointNow(const HostedShard& hosted, const Request& request) const;
  void AwaitReadPoint(const HostedShard& hosted, const rpc::ReadOptions& read,
                      Callback<LogIndex> done);

  const Limits limits_;
  const Environment environment_;
};

}  // namespace vectron::worker
