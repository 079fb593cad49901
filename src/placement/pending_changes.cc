#include "placement/pending_changes.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

namespace vectron::placement {
namespace {

// Nothing while the creation goes on.
std::optional<StatusOr<rpc::CollectionInfo>> CreationOutcome(const std::string& name,
                                                             CollectionId id, bool expired,
                                                             const Catalog& catalog,
                                                             const Liveness& liveness,
                                                             TimePoint now) {
  const auto found = catalog.collections.find(name);
  if (found == catalog.collections.end() || found->second.id != id) {
    return MakeError(Reason::kCollectionNotFound,
                     fmt::format("collection '{}' was dropped while it was being created", name));
  }
  const std::vector<rpc::ShardInfo>& shards = found->second.shards;
  const auto unled = std::find_if(shards.begin(), shards.end(), [&](const auto& shard) {
    return !liveness.HasLeader(shard, now);
  });
  if (unled == shards.end()) return found->second;
  if (!expired) return std::nullopt;
  return MakeError(
      Reason::kOutcomeUnknown,
      fmt::format("collection '{}' was created, but is not ready: shard {} has no leader yet", name,
                  unled->id.value()));
}

bool NobodyServes(const std::vector<NodeId>& nodes, uint64_t map_version, const Liveness& liveness,
                  TimePoint now) {
  return std::all_of(nodes.begin(), nodes.end(), [&](NodeId node) {
    return !liveness.IsAlive(node, now) || liveness.MapVersion(node) >= map_version;
  });
}

template <typename T>
std::function<void()> Answering(Answer<T> answer, StatusOr<T> result) {
  auto shared = std::make_shared<Answer<T>>(std::move(answer));
  return [shared, result = std::move(result)] { (*shared)(result); };
}

}  // namespace

void PendingChanges::AddCreation(std::string name, CollectionId id, Deadline deadline,
                                 Callback<rpc::CollectionInfo> done) {
  creations_.push_back({std::move(name), id, deadline, Answer(std::move(done))});
}

void PendingChanges::AddDrop(std::vector<NodeId> nodes, uint64_t map_version, Deadline deadline,
                             Callback<bool> done) {
  drops_.push_back({std::move(nodes), map_version, deadline, Answer(std::move(done))});
}

PendingChanges::Answers PendingChanges::Collect(const Catalog& catalog, const Liveness& liveness,
                                                TimePoint now) {
  Answers answers;
  std::vector<Creation> creations;
  for (Creation& creation : creations_) {
    auto outcome = CreationOutcome(creation.name, creation.id, now >= creation.deadline, catalog,
                                   liveness, now);
    if (outcome.has_value()) {
      answers.push_back(Answering(std::move(creation.answer), *std::move(outcome)));
    } else {
      creations.push_back(std::move(creation));
    }
  }
  creations_ = std::move(creations);
  std::vector<Drop> drops;
  for (Drop& drop : drops_) {
    if (now >= drop.deadline || NobodyServes(drop.nodes, drop.map_version, liveness, now)) {
      answers.push_back(Answering<bool>(std::move(drop.answer), true));
    } else {
      drops.push_back(std::move(drop));
    }
  }
  drops_ = std::move(drops);
  return answers;
}

}  // namespace vectron::placement
