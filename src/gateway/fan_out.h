#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/check.h"
#include "gateway/core.h"
#include "gateway/retry.h"

namespace vectron::gateway {

template <typename Kind>
class FanOut;

// The part of a request that goes to one shard.
template <typename Kind>
struct Part {
  CollectionView collection;              // that the part was routed by
  const rpc::ShardInfo* shard = nullptr;  // of it
  typename Kind::Cargo cargo;
  // Of the last attempt so far; final once the request finishes.
  StatusOr<typename Kind::Response> outcome;
  // Of a write: an attempt ended without an answer, so it may have been, or still
  // be, done.
  bool maybe_done = false;
  // Stand for this part since its shard was split.
  std::vector<Part> children;

  uint32_t attempts = 0;
  size_t first_replica = 0;
  NodeId target;                 // of the attempt under way
  std::optional<NodeId> leader;  // that a refusal named
  FanOut<Kind>* owner = nullptr;

  rpc::ShardRoute Route() const { return {shard->id, shard->epoch}; }
};

// What a Kind derives from.
struct RequestBase {
  std::string collection;
  RequestOptions options;  // with a deadline
};

using ShardPointers = std::vector<const rpc::ShardInfo*>;

// One request on its way: finds its collection, splits it over the shards, sends the
// parts, tries again what is safe to try again until the deadline, follows shards
// that were split meanwhile, and finishes when every part has its outcome. Lives,
// as a shared_ptr that its callbacks hold, until then.
//
// A read whose collection was replaced by one of the same name meanwhile begins again:
// Validate, Begin and TakeWhole are then called once more.
//
// A part is touched by one thread at a time: whoever delivers the answer to its
// current attempt. `Kind` is the kind of request, derived from RequestBase:
//
//   using Cargo = ...;     what a part carries
//   using Response = ...;  what a worker answers
//   static constexpr bool kIsWrite;
//   Status Validate(const rpc::CollectionInfo&, const Limits&);
//   void Begin(Core&, const CollectionView&);  before anything is sent
//   Cargo TakeWhole();                         what is to be split
//   std::vector<std::pair<const rpc::ShardInfo*, Cargo>> Split(Cargo, const ShardPointers&);
//   void Send(rpc::WorkerApi&, const Part<Kind>&, Deadline, Callback<Response>);
//   void Finish(Core&, const std::vector<Part<Kind>*>&);  all parts have outcomes
//   void Fail(Core&, Status);                             instead: nothing was sent
template <typename Kind>
class FanOut : public std::enable_shared_from_this<FanOut<Kind>> {
 public:
  FanOut(Core* core, Kind kind) : core_(*core), kind_(std::move(kind)) {}

  void Run() {
    CollectionView collection = core_.routing().Lookup(kind_.collection);
    Status refusal = OkStatus();
    if (collection) {
      refusal = kind_.Validate(*collection.info, core_.limits());
      if (refusal.ok()) return Begin(std::move(collection));
    } else {
      refusal = ValidateCollectionName(kind_.collection);
      if (!refusal.ok()) return kind_.Fail(core_, std::move(refusal));
    }
    // No such collection, or the request does not fit it: unless our map is old.
    const CollectionId known = collection ? collection->id : CollectionId();
    core_.routing().Refresh(kind_.options.deadline,
                            [self = this->shared_from_this(), known,
                             refusal = std::move(refusal)](StatusOr<rpc::ClusterMapPtr> map) {
                              self->OnLookedUp(known, refusal, std::move(map));
                            });
  }

 private:
  using Response = typename Kind::Response;
  using PartType = Part<Kind>;

  void OnLookedUp(CollectionId known, const Status& refusal, StatusOr<rpc::ClusterMapPtr> map) {
    if (!map.ok()) {
      return kind_.Fail(
          core_, refusal.ok() ? Annotate(map.status(), "looking for the collection") : refusal);
    }
    CollectionView collection = FindIn(*std::move(map), kind_.collection);
    if (!collection) return kind_.Fail(core_, CollectionNotFound(kind_.collection));
    Status status =
        collection->id == known ? refusal : kind_.Validate(*collection.info, core_.limits());
    if (!status.ok()) return kind_.Fail(core_, std::move(status));
    Begin(std::move(collection));
  }

  void Begin(CollectionView collection) {
    const TimePoint now = core_.clock().Now();
    part_deadline_ = kind_.options.deadline;
    if (part_deadline_ <= now) {
      return kind_.Fail(core_, MakeError(Reason::kDeadlineExceeded,
                                         "the deadline had passed before the request was sent"));
    }
    if (kind_.options.allow_partial) {
      // Leaves time to answer with what the other shards gave.
      part_deadline_ = now + (part_deadline_ - now) / 10 * 9;
    }
    kind_.Begin(core_, collection);
    ShardPointers shards;
    shards.reserve(collection->shards.size());
    for (const rpc::ShardInfo& shard : collection->shards) shards.push_back(&shard);
    MakeParts(collection, kind_.TakeWhole(), shards, &parts_);
    VECTRON_CHECK(!parts_.empty());
    pending_.store(parts_.size(), std::memory_order_relaxed);
    SendAll(&parts_);
  }

  void MakeParts(const CollectionView& collection, typename Kind::Cargo cargo,
                 const ShardPointers& shards, std::vector<PartType>* parts) {
    auto pieces = kind_.Split(std::move(cargo), shards);
    parts->reserve(pieces.size());
    for (auto& [shard, piece] : pieces) {
      PartType& part = parts->emplace_back();
      part.collection = collection;
      part.shard = shard;
      part.cargo = std::move(piece);
      part.owner = this;
      if (!Kind::kIsWrite && shard->replicas.size() > 1) part.first_replica = core_.NextRead();
    }
  }

  void SendAll(std::vector<PartType>* parts) {
    // The last answer may end the request: it then lives as long as `self`.
    const auto self = this->shared_from_this();
    for (PartType& part : *parts) Send(&part);
  }

  void Send(PartType* part) {
    if (!Kind::kIsWrite && kind_.options.cancelled != nullptr && *kind_.options.cancelled) {
      return OnAnswer(part, MakeError(Reason::kCancelled, "the caller has gone"));
    }
    if (!ChooseReplica(part)) {
      return OnAnswer(part, MakeError(Reason::kUnavailable, "it has no replica"));
    }
    ++part->attempts;
    rpc::WorkerApi* worker = core_.options().find_worker(part->target);
    if (worker == nullptr) {
      return OnAnswer(part, MakeError(Reason::kUnavailable,
                                      fmt::format("node {} is not known", part->target.value())));
    }
    kind_.Send(
        *worker, *part, part_deadline_,
        [held = std::shared_ptr<PartType>(this->shared_from_this(), part)](
            StatusOr<Response> answer) { held->owner->OnAnswer(held.get(), std::move(answer)); });
  }

  bool ChooseReplica(PartType* part) {
    const auto& replicas = part->shard->replicas;
    if (replicas.empty()) return false;
    part->target = replicas[(part->first_replica + part->attempts) % replicas.size()].node;
    if (replicas.size() == 1) return true;
    std::optional<NodeId> leader = std::exchange(part->leader, std::nullopt);
    if (!leader.has_value() && Kind::kIsWrite && part->attempts == 0) {
      leader = core_.leaders().Find(part->shard->id);
    }
    const auto it = std::find_if(replicas.begin(), replicas.end(),
                                 [&](const auto& replica) { return replica.node == leader; });
    if (it != replicas.end()) part->target = it->node;
    return true;
  }

  void OnAnswer(PartType* part, StatusOr<Response> answer) {
    part->outcome = std::move(answer);
    if (part->outcome.ok()) {
      if (Kind::kIsWrite && part->shard->replicas.size() > 1) {
        core_.leaders().Set(part->shard->id, part->target);
      }
      return Finished();
    }
    const Status& status = part->outcome.status();
    if (Kind::kIsWrite && IsOutcomeUnknown(status)) part->maybe_done = true;
    switch (Judge(status, Kind::kIsWrite, part->shard->replicas.size())) {
      case Verdict::kFinal:
        return Conclude(part);
      case Verdict::kRetry:
        core_.metrics().Retried(status);
        return Retry(part);
      case Verdict::kReroute:
        core_.metrics().Retried(status);
        return Reroute(part);
    }
  }

  void Retry(PartType* part) {
    const size_t replica_count = part->shard->replicas.size();
    if (kind_.options.allow_partial && part->attempts > replica_count) return GiveUpOn(part);
    const std::optional<NodeId> leader = LeaderHint(part->outcome.status());
    if (leader.has_value() && *leader != part->target) part->leader = leader;
    // Once around the replicas without waiting, then slower and slower.
    if (part->attempts < replica_count) return Send(part);
    SendLater(part);
  }

  void SendLater(PartType* part) {
    const TimePoint when = core_.clock().Now() + core_.Backoff(part->attempts);
    if (when >= part_deadline_) return GiveUpOn(part);
    core_.timers().RunAt(when, [held = std::shared_ptr<PartType>(this->shared_from_this(), part)] {
      held->owner->Send(held.get());
    });
  }

  void Reroute(PartType* part) {
    if (kind_.options.allow_partial && part->attempts > part->shard->replicas.size() + 2) {
      return GiveUpOn(part);
    }
    core_.routing().RefreshPast(part->collection.map->version, part_deadline_,
                                [held = std::shared_ptr<PartType>(this->shared_from_this(), part)](
                                    StatusOr<rpc::ClusterMapPtr> map) {
                                  FanOut* self = held->owner;
                                  if (map.ok())
                                    return self->OnRerouted(held.get(), *std::move(map));
                                  self->SendLater(held.get());
                                });
  }

  void OnRerouted(PartType* part, rpc::ClusterMapPtr map) {
    CollectionView collection = FindIn(std::move(map), kind_.collection);
    if (!collection) {
      part->outcome = CollectionNotFound(kind_.collection);
      return Conclude(part);
    }
    if (collection->id != part->collection->id) {
      successor_found_.store(true, std::memory_order_relaxed);
      part->outcome = MakeError(
          Reason::kUnavailable,
          fmt::format("collection '{}' was dropped and created again meanwhile; send the request "
                      "again",
                      kind_.collection));
      return Conclude(part);
    }
    ShardPointers shards;
    for (const rpc::ShardInfo& shard : collection->shards) {
      const bool apart = shard.range.last < part->shard->range.first ||
                         part->shard->range.last < shard.range.first;
      if (!apart) shards.push_back(&shard);
    }
    if (shards.size() == 1 && shards[0]->id == part->shard->id) {
      const bool news =
          shards[0]->epoch != part->shard->epoch || shards[0]->replicas != part->shard->replicas;
      part->shard = shards[0];
      part->collection = std::move(collection);
      return news ? Send(part) : SendLater(part);
    }
    MakeParts(collection, std::move(part->cargo), shards, &part->children);
    for (PartType& child : part->children) child.maybe_done = part->maybe_done;
    pending_.fetch_add(part->children.size() - 1, std::memory_order_acq_rel);
    SendAll(&part->children);
  }

  void GiveUpOn(PartType* part) {
    part->outcome = GiveUp(*part->shard, part->outcome.status(), Kind::kIsWrite, part->maybe_done);
    Finished();
  }

  // The part's last error is its outcome.
  void Conclude(PartType* part) {
    // This one is an answer of the shard's state machine, to the write that may have
    // been done or to its repetition: it is known now.
    const bool answered = ReasonOf(part->outcome.status()) == Reason::kPointNotFound;
    if (part->maybe_done && !answered) return GiveUpOn(part);
    part->maybe_done = false;
    Finished();
  }

  void Finished() {
    if (pending_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    // A read of a collection that has a successor by now is one of the successor; what a
    // write was meant for is gone. Ends at the deadline at the latest.
    if (!Kind::kIsWrite && successor_found_.exchange(false, std::memory_order_relaxed)) {
      replaced_parts_.push_back(std::exchange(parts_, {}));
      return Run();
    }
    std::vector<PartType*> leaves;
    leaves.reserve(parts_.size());
    CollectLeaves(&parts_, &leaves);
    kind_.Finish(core_, leaves);
  }

  static void CollectLeaves(std::vector<PartType>* parts, std::vector<PartType*>* leaves) {
    for (PartType& part : *parts) {
      if (part.children.empty()) {
        leaves->push_back(&part);
      } else {
        CollectLeaves(&part.children, leaves);
      }
    }
  }

  Core& core_;
  Kind kind_;
  Deadline part_deadline_ = kNoDeadline;
  std::vector<PartType> parts_;  // not resized while any of them is on its way
  // Of earlier beginnings: whoever sent the last of them may not have returned yet.
  std::vector<std::vector<PartType>> replaced_parts_;
  std::atomic<size_t> pending_{0};
  std::atomic<bool> successor_found_{false};  // by one of the parts
};

template <typename Kind>
void RunRequest(Core* core, Kind kind) {
  std::make_shared<FanOut<Kind>>(core, std::move(kind))->Run();
}

}  // namespace vectron::gateway
