#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>

#include "common/callback.h"
#include "common/clock.h"
#include "common/disk_room.h"
#include "common/error.h"
#include "common/mutex.h"
#include "common/timer_queue.h"

namespace vectron::worker {

// Admits writes before they are proposed, since an entry of the log cannot be refused
// any more: refuses them while the disk is nearly full, delays and then refuses inserts
// while a shard has more unlinked vectors than its searches can afford to scan.
// Thread-safe.
class WriteGate {
 public:
  struct Options {
    std::string dir;  // on the file system that is watched
    uint64_t disk_reserve_bytes = 0;
    std::chrono::milliseconds delay_max{250};
    size_t delayed_count_max = 1024;
    size_t delayed_bytes_max = 256 << 20;
  };

  // `timers` and `clock` must outlive the gate.
  WriteGate(Options options, TimerQueue* timers, const Clock* clock);

  // Looks at the disk. About once a second.
  void CheckDisk();
  uint64_t disk_free_bytes() const { return room_.free_bytes(); }

  // Why no such write is admitted: DISK_FULL.
  Status CheckRoom(RoomUse use) const { return room_.Check(use); }

  // How long an insert into a shard with this fill of its tail has to wait: nothing up
  // to half of it, growing to delay_max. OVERLOADED from 1 on, or when the wait would
  // pass `deadline`.
  StatusOr<Duration> DelayOf(double tail_fill, Deadline deadline) const;

  // Runs `write` after `delay` (or, when the process stops, drops it). OVERLOADED when
  // too many writes wait already; it is not run then.
  Status RunLater(Duration delay, size_t bytes, std::function<void()> write);

  size_t delayed_count() const { return delayed_count_.load(std::memory_order_relaxed); }

 private:
  // Gives back the room of a delayed write, also when it is dropped.
  struct Reservation;

  const Options options_;
  TimerQueue* const timers_;
  const Clock* const clock_;
  DiskRoom room_;
  std::atomic<size_t> delayed_count_{0};
  std::atomic<size_t> delayed_bytes_{0};
};

}  // namespace vectron::worker
