#include "worker/write_gate.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "common/logging.h"

namespace vectron::worker {
namespace {

constexpr double kDelayFrom = 0.5;

Status Overloaded(std::string_view message, std::chrono::milliseconds retry_after) {
  return MakeError(Reason::kOverloaded, message,
                   {{"retry_after_ms", std::to_string(retry_after.count())}});
}

}  // namespace

struct WriteGate::Reservation {
  Reservation(WriteGate* owner, size_t bytes_count) : gate(owner), bytes(bytes_count) {}
  ~Reservation() {
    gate->delayed_count_.fetch_sub(1);
    gate->delayed_bytes_.fetch_sub(bytes);
  }
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;

  WriteGate* const gate;
  const size_t bytes;
};

WriteGate::WriteGate(Options options, TimerQueue* timers, const Clock* clock)
    : options_(std::move(options)), timers_(timers), clock_(clock) {}

void WriteGate::CheckDisk() {
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(options_.dir, error);
  if (error) return;  // says nothing about the room there is
  free_bytes_ = space.available;
  const bool was_full = is_full_;
  // Some room to spare before writes are taken again, lest it flaps.
  const uint64_t needed = was_full ? options_.disk_free_bytes_min + options_.disk_free_bytes_min / 8
                                   : options_.disk_free_bytes_min;
  is_full_ = space.available < needed;
  if (is_full_ == was_full) return;
  if (was_full) {
    VECTRON_LOG_WARN("worker: there is room on the disk again, writes are taken");
  } else {
    VECTRON_LOG_ERROR("worker: the disk has {} MiB left, writes are refused",
                      space.available >> 20);
  }
}

Status WriteGate::CheckRoom() const {
  if (!is_full_.load(std::memory_order_relaxed)) return OkStatus();
  return MakeError(Reason::kDiskFull,
                   fmt::format("the disk of a worker has {} MiB left, writes need {} MiB",
                               disk_free_bytes() >> 20, options_.disk_free_bytes_min >> 20));
}

StatusOr<Duration> WriteGate::DelayOf(double tail_fill, Deadline deadline) const {
  if (tail_fill < kDelayFrom) return Duration::zero();
  if (tail_fill >= 1) {
    return Overloaded("the shard has too many vectors that are not indexed yet",
                      2 * options_.delay_max);
  }
  const double pressure = (tail_fill - kDelayFrom) / (1 - kDelayFrom);
  const Duration delay = std::chrono::duration_cast<Duration>(options_.delay_max * pressure);
  if (deadline != kNoDeadline && clock_->Now() + delay >= deadline) {
    return Overloaded("the shard is slowed down while its vectors are indexed", options_.delay_max);
  }
  return delay;
}

Status WriteGate::RunLater(Duration delay, size_t bytes, std::function<void()> write) {
  const size_t count = delayed_count_.fetch_add(1) + 1;
  const size_t total = delayed_bytes_.fetch_add(bytes) + bytes;
  auto reservation = std::make_shared<Reservation>(this, bytes);
  if (count > options_.delayed_count_max || total > options_.delayed_bytes_max) {
    return Overloaded("too many writes wait while vectors are indexed", 2 * options_.delay_max);
  }
  timers_->RunAfter(delay,
                    [reservation = std::move(reservation), write = std::move(write)]() mutable {
                      reservation.reset();
                      write();
                    });
  return OkStatus();
}

}  // namespace vectron::worker
