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
    : options_(std::move(options)),
      timers_(timers),
      clock_(clock),
      room_(options_.disk_reserve_bytes, options_.dir) {}

void WriteGate::CheckDisk() {
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(options_.dir, error);
  if (error) return;  // says nothing about the room there is
  if (!room_.Update(space.available)) return;
  const Status growth = room_.Check(RoomUse::kGrowth);
  if (growth.ok()) {
    VECTRON_LOG_WARN("worker: there is room on the disk again, writes are taken");
  } else {
    const Status removal = room_.Check(RoomUse::kRemoval);
    VECTRON_LOG_ERROR("worker: {}", std::string((removal.ok() ? growth : removal).message()));
  }
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
