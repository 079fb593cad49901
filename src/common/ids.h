#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <utility>

namespace vectron {

// An integer that cannot be mistaken for another kind of integer. Conversion is
// explicit in both directions; ids of one kind compare, hash and abseil-hash.
template <typename Tag, typename Rep = uint64_t>
class StrongId {
 public:
  using rep = Rep;

  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep value) : value_(value) {}

  constexpr Rep value() const { return value_; }
  constexpr auto operator<=>(const StrongId&) const = default;

  template <typename H>
  friend H AbslHashValue(H h, StrongId id) {
    return H::combine(std::move(h), id.value_);
  }

 private:
  Rep value_ = 0;
};

// A process of the cluster, assigned by placement and kept in its data
// directory. 0 is no node.
using NodeId = StrongId<struct NodeIdTag>;
// A Raft group. 1 is placement's own; shards have the number of their ShardId.
using GroupId = StrongId<struct GroupIdTag>;
// A shard, allocated by placement, never reused. Values start above the group
// ids that are reserved (see kFirstShardId).
using ShardId = StrongId<struct ShardIdTag>;
// A member of a Raft group; never reused within its group. 0 is none.
using ReplicaId = StrongId<struct ReplicaIdTag>;
// A collection, allocated by placement, never reused: a collection that is
// dropped and created again under its old name has a new id.
using CollectionId = StrongId<struct CollectionIdTag>;

// Raft thesis, section 3.3 and 3.5.
using Term = StrongId<struct TermTag>;
using LogIndex = StrongId<struct LogIndexTag>;

inline constexpr GroupId kPlacementGroup{1};
inline constexpr ShardId kFirstShardId{16};

constexpr GroupId GroupOf(ShardId shard) { return GroupId(shard.value()); }

constexpr LogIndex Next(LogIndex index) { return LogIndex(index.value() + 1); }

// A shard's configuration, as in DESIGN "Data model": `version` grows when its
// range changes, `conf_version` when its membership does.
struct Epoch {
  uint64_t version = 0;
  uint64_t conf_version = 0;

  auto operator<=>(const Epoch&) const = default;
};

}  // namespace vectron

template <typename Tag, typename Rep>
struct std::hash<vectron::StrongId<Tag, Rep>> {
  size_t operator()(vectron::StrongId<Tag, Rep> id) const { return std::hash<Rep>{}(id.value()); }
};
