#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/answer.h"
#include "common/clock.h"
#include "common/ids.h"
#include "placement/catalog.h"
#include "placement/liveness.h"
#include "rpc/placement_api.h"

namespace vectron::placement {

// Creations that wait until every shard has a leader, and drops that wait until no
// worker serves the shards. Not thread-safe: its owner calls Collect when something
// changed, and runs what it returns without holding locks.
class PendingChanges {
 public:
  using Answers = std::vector<std::function<void()>>;

  void AddCreation(std::string name, CollectionId id, Deadline deadline,
                   Callback<rpc::CollectionInfo> done);
  // Until those of `nodes` that are alive have reported on a map of `map_version`.
  void AddDrop(std::vector<NodeId> nodes, uint64_t map_version, Deadline deadline,
               Callback<bool> done);

  // Takes out what is complete or at its deadline.
  Answers Collect(const Catalog& catalog, const Liveness& liveness, TimePoint now);

  size_t size() const { return creations_.size() + drops_.size(); }

 private:
  struct Creation {
    std::string name;
    CollectionId id;
    Deadline deadline;
    Answer<rpc::CollectionInfo> answer;
  };
  struct Drop {
    std::vector<NodeId> nodes;
    uint64_t map_version;
    Deadline deadline;
    Answer<bool> answer;
  };

  std::vector<Creation> creations_;
  std::vector<Drop> drops_;
};

}  // namespace vectron::placement
