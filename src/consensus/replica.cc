#include "consensus/replica.h"

#include <algorithm>

#include "common/check.h"

namespace vectron::consensus {

void Replica::SetApplied(LogIndex index) {
  std::vector<WaiterPtr<LogIndex>> due;
  {
    MutexLock lock(mutex_);
    applied_.store(std::max(index.value(), applied_.load(std::memory_order_relaxed)),
                   std::memory_order_release);
    while (!waiters_.empty() && waiters_.begin()->first <= index) {
      due.push_back(std::move(waiters_.begin()->second));
      waiters_.erase(waiters_.begin());
    }
  }
  for (const auto& waiter : due) waiter->Answer(index);
}

void Replica::WaitApplied(LogIndex index, WaiterPtr<LogIndex> waiter) {
  Status failure;
  {
    MutexLock lock(mutex_);
    if (closed_) {
      failure = MakeError(Reason::kShuttingDown, "the group stops");
    } else if (!status_.health.ok()) {
      failure = status_.health;
    } else if (applied() < index) {
      waiters_.emplace(index, std::move(waiter));
      return;
    }
  }
  if (failure.ok()) {
    waiter->Answer(applied());
  } else {
    waiter->Answer(failure);
  }
}

void Replica::ExpireWaiters(TimePoint now) {
  std::vector<WaiterPtr<LogIndex>> due;
  {
    MutexLock lock(mutex_);
    for (auto it = waiters_.begin(); it != waiters_.end();) {
      if (it->second->deadline() > now) {
        ++it;
        continue;
      }
      due.push_back(std::move(it->second));
      it = waiters_.erase(it);
    }
  }
  for (const auto& waiter : due) {
    waiter->Answer(MakeError(Reason::kDeadlineExceeded, "the entries were not applied in time"));
  }
}

bool Replica::HasWaiters() const {
  MutexLock lock(mutex_);
  return !waiters_.empty();
}

void Replica::Publish(GroupStatus status) {
  MutexLock lock(mutex_);
  status.health = std::move(status_.health);
  status_ = std::move(status);
}

GroupStatus Replica::GetStatus() const {
  MutexLock lock(mutex_);
  GroupStatus status = status_;
  status.applied = applied();
  return status;
}

void Replica::Fail(const Status& status) {
  SetUnreadable();
  std::vector<WaiterPtr<LogIndex>> waiters;
  {
    MutexLock lock(mutex_);
    if (!status_.health.ok()) return;
    status_.health = status;
    for (auto& [index, waiter] : waiters_) waiters.push_back(std::move(waiter));
    waiters_.clear();
  }
  for (const auto& waiter : waiters) waiter->Answer(status);
}

Status Replica::health() const {
  MutexLock lock(mutex_);
  return status_.health;
}

bool Replica::Push(ApplyTask task) {
  queued_bytes_.fetch_add(task.block.size(), std::memory_order_relaxed);
  MutexLock lock(mutex_);
  queue_.push_back(std::move(task));
  // What is stalled is tried again at intervals, not with each entry that comes.
  return !stalled_ && !std::exchange(applying_, true);
}

void Replica::PutBack(std::vector<ApplyTask> tasks) {
  MutexLock lock(mutex_);
  applying_ = false;
  stalled_ = true;
  for (; !tasks.empty(); tasks.pop_back()) {
    queued_bytes_.fetch_add(tasks.back().block.size(), std::memory_order_relaxed);
    queue_.push_front(std::move(tasks.back()));
  }
  idle_.NotifyAll();
}

bool Replica::Resume() {
  MutexLock lock(mutex_);
  if (!std::exchange(stalled_, false) || closed_) return false;
  return !std::exchange(applying_, true);
}

std::vector<ApplyTask> Replica::Take(size_t bytes_max) {
  std::vector<ApplyTask> taken;
  size_t bytes = 0;
  MutexLock lock(mutex_);
  while (!closed_ && status_.health.ok() && !queue_.empty()) {
    ApplyTask& next = queue_.front();
    // A snapshot, and what must be read first, goes alone.
    const bool alone = !next.snapshot_dir.empty() || !next.in_memory;
    if (!taken.empty() && (alone || bytes + next.block.size() > bytes_max)) break;
    bytes += next.block.size();
    queued_bytes_.fetch_sub(next.block.size(), std::memory_order_relaxed);
    taken.push_back(std::move(next));
    queue_.pop_front();
    if (alone) break;
  }
  if (taken.empty()) {
    applying_ = false;
    idle_.NotifyAll();
  }
  return taken;
}

bool Replica::Enter() {
  MutexLock lock(mutex_);
  if (closed_) return false;
  ++visitors_;
  return true;
}

void Replica::Leave() {
  MutexLock lock(mutex_);
  --visitors_;
  idle_.NotifyAll();
}

void Replica::Close(const Status& why) {
  SetUnreadable();
  std::vector<WaiterPtr<LogIndex>> waiters;
  std::deque<ApplyTask> dropped;
  {
    MutexLock lock(mutex_);
    closed_ = true;
    dropped.swap(queue_);
    for (auto& [index, waiter] : waiters_) waiters.push_back(std::move(waiter));
    waiters_.clear();
    idle_.NotifyAll();
  }
  for (const auto& waiter : waiters) waiter->Answer(why);
  for (const ApplyTask& task : dropped) {
    for (const PlacedProposal& proposal : task.proposals) {
      proposal.waiter->Answer(
          MakeError(Reason::kOutcomeUnknown, "the group stopped before the write was applied"));
    }
  }
}

void Replica::AwaitIdle() {
  MutexLock lock(mutex_);
  while (applying_ || visitors_ > 0) idle_.Wait(mutex_);
}

bool Replica::IsIdle() const {
  MutexLock lock(mutex_);
  return !applying_ && visitors_ == 0;
}

void Replica::Release() {
  std::shared_ptr<StateMachine> machine;
  MutexLock lock(mutex_);
  VECTRON_CHECK(closed_ && !applying_ && visitors_ == 0);
  machine.swap(machine_);
}

}  // namespace vectron::consensus
