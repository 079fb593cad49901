#pragma once

#include <cstdint>
#include <string_view>

#include "common/ids.h"

namespace vectron::shard {

// A hash over (id, version, content) of all points, the sum of the points' own
// hashes: it does not depend on their order, and a point is added or taken out in
// constant time. Two replicas with equal hashes at the same index hold the same.
struct StateHash {
  LogIndex index;  // the state that it describes
  uint64_t point_count = 0;
  uint64_t low = 0;
  uint64_t high = 0;

  bool operator==(const StateHash&) const = default;

  // `record` is the stored form of the point: see shard/record.h.
  void Add(std::string_view key, std::string_view record);
  void Remove(std::string_view key, std::string_view record);
};

}  // namespace vectron::shard
