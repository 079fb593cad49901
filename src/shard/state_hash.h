#pragma once

#include <cstdint>
#include <string_view>

#include "common/ids.h"

namespace vectron::shard {

// What one point adds to a StateHash.
struct PointHash {
  uint64_t low = 0;
  uint64_t high = 0;
};
// `record` is the stored form of the point: see shard/record.h.
PointHash HashPoint(std::string_view key, std::string_view record);

// A hash over (id, version, content) of all points, the sum of the points' own
// hashes: it does not depend on their order, and a point is added or taken out in
// constant time. Two replicas with equal hashes at the same index hold the same.
struct StateHash {
  LogIndex index;  // the state that it describes
  uint64_t point_count = 0;
  uint64_t low = 0;
  uint64_t high = 0;

  bool operator==(const StateHash&) const = default;

  void Add(const PointHash& point);
  void Remove(const PointHash& point);
};

}  // namespace vectron::shard
