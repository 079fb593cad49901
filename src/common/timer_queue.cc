#include "common/timer_queue.h"

#include <algorithm>
#include <utility>

namespace vectron {

TimerQueue::TimerQueue(const std::string& name, const Clock& clock)
    : clock_(clock), thread_(name, ThreadPriority::kNormal, [this] { Run(); }) {}

TimerQueue::~TimerQueue() { Stop(); }

TimerQueue::TimerId TimerQueue::RunAt(TimePoint when, std::function<void()> task) {
  bool is_first = false;
  TimerId id = 0;
  {
    MutexLock lock(mutex_);
    id = next_id_++;
    if (stopping_ || when == kNoDeadline) return id;
    times_.emplace(id, when);
    tasks_.emplace(Key{when, id}, std::move(task));
    is_first = tasks_.begin()->first.id == id;
  }
  if (is_first) wake_.NotifyOne();
  return id;
}

TimerQueue::TimerId TimerQueue::RunAfter(Duration delay, std::function<void()> task) {
  return RunAt(clock_.Now() + delay, std::move(task));
}

bool TimerQueue::Cancel(TimerId id) {
  std::function<void()> dropped;  // destroyed without the lock: it may hold anything
  MutexLock lock(mutex_);
  const auto time = times_.find(id);
  if (time == times_.end()) return false;
  const auto task = tasks_.find(Key{time->second, id});
  dropped = std::move(task->second);
  tasks_.erase(task);
  times_.erase(time);
  return true;
}

void TimerQueue::Stop() {
  std::map<Key, std::function<void()>> dropped;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    dropped.swap(tasks_);
    times_.clear();
  }
  wake_.NotifyAll();
  thread_.Join();
}

void TimerQueue::Run() {
  for (;;) {
    std::function<void()> task;
    {
      MutexLock lock(mutex_);
      while (!stopping_) {
        if (tasks_.empty()) {
          wake_.Wait(mutex_);
          continue;
        }
        const Duration wait = tasks_.begin()->first.when - clock_.Now();
        if (wait <= Duration::zero()) break;
        wake_.WaitFor(mutex_, std::min<Duration>(wait, std::chrono::hours(1)));
      }
      if (stopping_) return;
      const auto first = tasks_.begin();
      task = std::move(first->second);
      times_.erase(first->first.id);
      tasks_.erase(first);
    }
    task();
  }
}

}  // namespace vectron
