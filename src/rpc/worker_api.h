#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "common/callback.h"
#include "common/clock.h"
#include "common/data_ops.h"
#include "common/ids.h"

namespace vectron::rpc {

// Where a request was routed to, and by which state of the routing.
struct ShardRoute {
  ShardId shard;
  Epoch epoch;
};

struct ReadOptions {
  Consistency consistency = Consistency::kLinearizable;
  LogIndex min_index;  // of kSession
  Deadline deadline = kNoDeadline;
  // If not null: set by the caller once it no longer wants the answer, and valid until
  // that was given.
  const std::atomic<bool>* cancelled = nullptr;
  // The calling thread has other requests to see to: a worker in the same process does
  // not work on it.
  bool caller_is_wanted = false;
};

struct WriteRequest {
  ShardRoute route;
  WriteSession session;
  WriteOp op;
  Deadline deadline = kNoDeadline;
};

// The queries of a search: of all the requests that bring it to its shards, which may be many
// and the vectors long. A value; copies share what does not change.
class SharedQueries {
 public:
  SharedQueries() : SharedQueries(std::vector<SearchQuery>()) {}
  SharedQueries(std::vector<SearchQuery> queries)  // NOLINT(google-explicit-constructor)
      : queries_(std::make_shared<const std::vector<SearchQuery>>(std::move(queries))) {}

  size_t size() const { return queries_->size(); }
  bool empty() const { return queries_->empty(); }
  const SearchQuery& operator[](size_t i) const { return (*queries_)[i]; }
  auto begin() const { return queries_->begin(); }
  auto end() const { return queries_->end(); }

 private:
  std::shared_ptr<const std::vector<SearchQuery>> queries_;
};

struct SearchRequest {
  ShardRoute route;
  ReadOptions read;
  SharedQueries queries;
  Select select;
};

// Of every answer to a read: it shows all entries up to `read_index`, and none after
// `seen_index`. What lies between was applied while the read was executed; it may show.
struct SearchResponse {
  LogIndex read_index;
  LogIndex seen_index;
  std::vector<std::vector<ScoredRecord>> results;  // one a query, best first
};

struct GetRequest {
  ShardRoute route;
  ReadOptions read;
  std::vector<PointId> ids;
  Select select;
};

struct GetResponse {
  LogIndex read_index;
  LogIndex seen_index;
  std::vector<Record> records;  // those that exist, in the order of `ids`
};

struct ScrollRequest {
  ShardRoute route;
  ReadOptions read;
  ScrollQuery query;
  Select select;
};

struct ScrollResponse {
  LogIndex read_index;
  LogIndex seen_index;
  ScrollPage page;
};

struct CountRequest {
  ShardRoute route;
  ReadOptions read;
};

struct CountResponse {
  LogIndex read_index;
  LogIndex seen_index;
  ShardStats stats;
};

// What a worker offers to gateways; implemented by worker::Worker in the same
// process and by a gRPC stub for another one. Thread-safe. A call may answer
// inline, after having done the work on the caller's thread.
//
// Errors besides those of the request itself: NOT_LEADER (with hint), STALE_EPOCH,
// SHARD_NOT_FOUND, UNAVAILABLE, OVERLOADED, DEADLINE_EXCEEDED; for reads CANCELLED and
// RESPONSE_TOO_LARGE; for writes OUTCOME_UNKNOWN.
class WorkerApi {
 public:
  virtual ~WorkerApi() = default;

  virtual void Write(WriteRequest request, Callback<WriteResult> done) = 0;
  virtual void Search(SearchRequest request, Callback<SearchResponse> done) = 0;
  virtual void Get(GetRequest request, Callback<GetResponse> done) = 0;
  virtual void Scroll(ScrollRequest request, Callback<ScrollResponse> done) = 0;
  virtual void Count(CountRequest request, Callback<CountResponse> done) = 0;
};

}  // namespace vectron::rpc
