#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/callback.h"
#include "gateway/fan_out.h"

// The reads on their way (see FanOut).

namespace vectron::gateway {

// Of reads that every shard does in full.
using Everything = std::monostate;

// How often a search or a scroll whose points changed, or whose shards failed, before they
// were fetched is begun; the last time nothing is left to be fetched.
inline constexpr int kAttemptCountMax = 3;

std::vector<std::pair<const rpc::ShardInfo*, Everything>> ToEveryShard(const ShardPointers& shards);

// How the part for `shard` is to be read.
rpc::ReadOptions ReadFor(ShardId shard, const RequestOptions& options, Deadline deadline);

// k nearest of every shard, merged. With several shards they are asked for ids and
// scores only, and the winners' payloads and vectors are fetched afterwards, from a
// state at least as new. Where a winner was written or deleted in between, the search
// begins again; at the last attempt every shard gives payloads and vectors with its own
// hits, which are of one state.
class SearchKind : public RequestBase {
 public:
  using Cargo = Everything;
  using Response = rpc::SearchResponse;
  static constexpr bool kIsWrite = false;

  SearchKind(std::string collection, std::vector<SearchQuery> queries, Select select,
             RequestOptions options, Reply<SearchReport> reply);

  Status Validate(const rpc::CollectionInfo& info, const Limits& limits) const;
  void Begin(Core& core, const CollectionView& collection);
  Everything TakeWhole() const { return {}; }
  std::vector<std::pair<const rpc::ShardInfo*, Everything>> Split(
      Everything, const ShardPointers& shards) const {
    return ToEveryShard(shards);
  }
  void Send(rpc::WorkerApi& worker, const Part<SearchKind>& part, Deadline deadline,
            Callback<rpc::SearchResponse> done) const;
  void Finish(Core& core, const std::vector<Part<SearchKind>*>& parts);
  void Fail(Core& core, Status status);

 private:
  void Merge(const std::vector<Part<SearchKind>*>& parts, SearchReport* report) const;
  void FetchWinners(Core& core, CollectionId id, SearchReport report);
  void OnFetched(Core& core, SearchReport report, StatusOr<RecordsReport> fetched);
  void BeginAgain(Core& core);
  void BeginAgainLater(Core& core);

  rpc::SharedQueries queries_;
  Select select_;
  Reply<SearchReport> reply_;
  int attempt_ = 1;
  bool fetch_winners_ = false;
};

// Points by ids, in the order of the request, each once.
class GetKind : public RequestBase {
 public:
  using Cargo = std::vector<PointId>;
  using Response = rpc::GetResponse;
  static constexpr bool kIsWrite = false;

  GetKind(std::string collection, std::vector<PointId> ids, Select select, RequestOptions options,
          Callback<RecordsReport> done);
  // Of ids that a merge found in this collection, which may be more than a client may ask
  // for. UNAVAILABLE if another has taken its name.
  void Trust(CollectionId found_in) { trusted_ = found_in; }

  Status Validate(const rpc::CollectionInfo& info, const Limits& limits) const;
  void Begin(Core&, const CollectionView&) {}
  std::vector<PointId> TakeWhole();
  std::vector<std::pair<const rpc::ShardInfo*, std::vector<PointId>>> Split(
      std::vector<PointId> ids, const ShardPointers& shards) const;
  void Send(rpc::WorkerApi& worker, const Part<GetKind>& part, Deadline deadline,
            Callback<rpc::GetResponse> done) const;
  void Finish(Core& core, const std::vector<Part<GetKind>*>& parts);
  void Fail(Core&, Status status) { done_(std::move(status)); }

 private:
  std::vector<PointId> ids_;
  Select select_;
  Callback<RecordsReport> done_;
  std::optional<CollectionId> trusted_;
};

// A page of ids; with several shards, payloads and vectors come afterwards, and in the last
// attempt with the ids, as in SearchKind.
class ScrollKind : public RequestBase {
 public:
  using Cargo = Everything;
  using Response = rpc::ScrollResponse;
  static constexpr bool kIsWrite = false;

  ScrollKind(std::string collection, ScrollQuery query, Select select, RequestOptions options,
             Reply<RecordsReport> reply, int attempt = 1);

  Status Validate(const rpc::CollectionInfo& info, const Limits& limits) const;
  void Begin(Core& core, const CollectionView& collection);
  Everything TakeWhole() const { return {}; }
  std::vector<std::pair<const rpc::ShardInfo*, Everything>> Split(
      Everything, const ShardPointers& shards) const {
    return ToEveryShard(shards);
  }
  void Send(rpc::WorkerApi& worker, const Part<ScrollKind>& part, Deadline deadline,
            Callback<rpc::ScrollResponse> done) const;
  void Finish(Core& core, const std::vector<Part<ScrollKind>*>& parts);
  void Fail(Core&, Status status) { reply_(std::move(status)); }

 private:
  ScrollQuery query_;
  Select select_;
  Reply<RecordsReport> reply_;
  int attempt_ = 1;
  bool fetch_records_ = false;
};

// The shards' statistics, summed.
class StatsKind : public RequestBase {
 public:
  using Cargo = Everything;
  using Response = rpc::CountResponse;
  static constexpr bool kIsWrite = false;

  StatsKind(std::string collection, RequestOptions options, Callback<CollectionReport> done);

  Status Validate(const rpc::CollectionInfo&, const Limits&) const { return OkStatus(); }
  void Begin(Core&, const CollectionView&) {}
  Everything TakeWhole() const { return {}; }
  std::vector<std::pair<const rpc::ShardInfo*, Everything>> Split(
      Everything, const ShardPointers& shards) const {
    return ToEveryShard(shards);
  }
  void Send(rpc::WorkerApi& worker, const Part<StatsKind>& part, Deadline deadline,
            Callback<rpc::CountResponse> done) const;
  void Finish(Core& core, const std::vector<Part<StatsKind>*>& parts);
  void Fail(Core&, Status status) { done_(std::move(status)); }

 private:
  Callback<CollectionReport> done_;
};

}  // namespace vectron::gateway
