#include "worker/scrubber.h"

#include <algorithm>

#include "common/logging.h"

namespace vectron::worker {
namespace {

// What a pause of the process must not turn into one long read.
constexpr std::chrono::seconds kCreditMax{2};

}  // namespace

void Scrubber::Tick() {
  const TimePoint now = clock_->Now();
  HostedShardPtr hosted;
  uint64_t bytes_max = 0;
  {
    MutexLock lock(mutex_);
    const Duration since = std::min<Duration>(now - last_tick_.value_or(now), kCreditMax);
    last_tick_ = now;
    if (is_reading_) return;
    hosted = Choose(now);
    if (hosted == nullptr) return;
    bytes_max = static_cast<uint64_t>(static_cast<double>(options_.bytes_per_second_max) *
                                      std::chrono::duration<double>(since).count());
    if (bytes_max == 0) return;
    is_reading_ = true;
  }
  if (background_->TrySubmit([this, hosted, bytes_max] { Read(hosted, bytes_max); })) return;
  MutexLock lock(mutex_);
  is_reading_ = false;
}

HostedShardPtr Scrubber::Choose(TimePoint now) {
  const std::vector<HostedShardPtr> all = table_->All();
  std::map<ShardId, Schedule> schedules;
  HostedShardPtr chosen;
  const Schedule* best = nullptr;
  for (const HostedShardPtr& hosted : all) {
    const auto known = schedules_.find(hosted->info.id);
    const Schedule& schedule =
        schedules
            .emplace(hosted->info.id, known != schedules_.end()
                                          ? known->second
                                          : Schedule{now + options_.first_delay, {}, false, {}})
            .first->second;
    // What was begun is finished first.
    if (schedule.due > now) continue;
    if (best == nullptr || schedule.is_under_way > best->is_under_way ||
        (schedule.is_under_way == best->is_under_way && schedule.due < best->due)) {
      best = &schedule;
      chosen = hosted;
    }
  }
  schedules_ = std::move(schedules);
  if (chosen == nullptr) return nullptr;
  Schedule& schedule = schedules_.at(chosen->info.id);
  if (!schedule.is_under_way) schedule.begun = now;
  schedule.is_under_way = true;
  return chosen;
}

void Scrubber::Read(const HostedShardPtr& hosted, uint64_t bytes_max) {
  const auto piece = hosted->shard->Scrub(bytes_max);
  // Damage was said where it was found.
  if (!piece.ok() && ReasonOf(piece.status()) != Reason::kCorruption) {
    VECTRON_LOG_WARN("shard {}: a file could not be verified: {}", hosted->info.id.value(),
                     piece.status().ToString());
  }
  MutexLock lock(mutex_);
  is_reading_ = false;
  if (!piece.ok()) {
    ++stats_.failure_count;
    return;
  }
  stats_.read_bytes += piece->read_bytes;
  if (!piece->is_last) return;
  ++stats_.pass_count;
  const auto found = schedules_.find(hosted->info.id);
  if (found == schedules_.end()) return;
  Schedule& schedule = found->second;
  schedule.is_under_way = false;
  schedule.due = schedule.begun + options_.interval;
  schedule.passed = clock_->Now();
}

Scrubber::Stats Scrubber::GetStats() const {
  const TimePoint now = clock_->Now();
  MutexLock lock(mutex_);
  Stats stats = stats_;
  for (const auto& [shard, schedule] : schedules_) {
    if (!schedule.passed.has_value()) continue;
    stats.oldest_pass_age =
        std::max(stats.oldest_pass_age,
                 std::chrono::duration_cast<std::chrono::seconds>(now - *schedule.passed));
  }
  return stats;
}

}  // namespace vectron::worker
