#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "common/error.h"

namespace vectron {

// What a change of the stored data needs room for.
enum class RoomUse {
  kGrowth,     // adds data
  kRemoval,    // makes data fewer; what records it still takes some room
  kEssential,  // a few bytes without which the process cannot come up or make room
};

// Whether the file system that holds the data has room for a change, by two floors that
// follow from one setting. Growth is refused below the reserve: what was taken before has
// to be flushed, compacted and checkpointed in it. Removals go on down to a quarter of
// it, so that a user can make room. Essential changes are never refused here.
// Thread-safe.
class DiskRoom {
 public:
  // `dir` is for messages. Without a reserve nothing is refused.
  DiskRoom(uint64_t reserve_bytes, std::string dir)
      : reserve_bytes_(reserve_bytes), dir_(std::move(dir)) {}

  // What the file system says now. Growth is taken again only once there is an eighth
  // more than the reserve, lest it flaps. True if what is refused has changed.
  bool Update(uint64_t free_bytes);

  // DISK_FULL, saying what is refused, until when, and which setting it is.
  Status Check(RoomUse use) const;
  bool is_low() const { return is_low_.load(std::memory_order_relaxed); }
  uint64_t free_bytes() const { return free_bytes_.load(std::memory_order_relaxed); }

  uint64_t growth_floor_bytes() const { return reserve_bytes_; }
  uint64_t removal_floor_bytes() const { return reserve_bytes_ / 4; }
  uint64_t resume_floor_bytes() const { return reserve_bytes_ + reserve_bytes_ / 8; }

 private:
  const uint64_t reserve_bytes_;
  const std::string dir_;
  std::atomic<uint64_t> free_bytes_{~uint64_t{0}};
  std::atomic<bool> is_low_{false};
  std::atomic<bool> is_exhausted_{false};
};

}  // namespace vectron
