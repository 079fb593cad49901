#include "common/disk_room.h"

#include <fmt/format.h>

namespace vectron {
namespace {

// "123 MiB", or bytes where that would say nothing.
std::string Show(uint64_t bytes) {
  if (bytes >= 1 << 20) return fmt::format("{} MiB", bytes >> 20);
  return fmt::format("{} bytes", bytes);
}

}  // namespace

bool DiskRoom::Update(uint64_t free_bytes) {
  free_bytes_.store(free_bytes, std::memory_order_relaxed);
  const bool was_low = is_low_.load(std::memory_order_relaxed);
  const bool low = free_bytes < (was_low ? resume_floor_bytes() : growth_floor_bytes());
  const bool exhausted = free_bytes < removal_floor_bytes();
  const bool was_exhausted = is_exhausted_.exchange(exhausted, std::memory_order_relaxed);
  is_low_.store(low, std::memory_order_relaxed);
  return low != was_low || exhausted != was_exhausted;
}

Status DiskRoom::Check(RoomUse use) const {
  if (use == RoomUse::kEssential || !is_low()) return OkStatus();
  if (use == RoomUse::kGrowth) {
    return MakeError(
        Reason::kDiskFull,
        fmt::format("{} are free on the disk of {}, less than --disk-reserve-bytes: nothing is "
                    "added until {} are; reads, deletes and dropping a collection go on",
                    Show(free_bytes()), dir_, Show(resume_floor_bytes())));
  }
  if (!is_exhausted_.load(std::memory_order_relaxed)) return OkStatus();
  return MakeError(
      Reason::kDiskFull,
      fmt::format("{} are free on the disk of {}, less than a quarter of --disk-reserve-bytes: "
                  "points cannot be deleted until {} are; reads and dropping a collection go on",
                  Show(free_bytes()), dir_, Show(removal_floor_bytes())));
}

}  // namespace vectron
