#include "common/timer_queue.h"

#include <gtest/gtest.h>

#include <vector>

namespace vectron {
namespace {

using std::chrono::milliseconds;

// Collects what tasks did, and waits for it.
class Trace {
 public:
  void Add(int value) {
    MutexLock lock(mutex_);
    values_.push_back(value);
    changed_.NotifyAll();
  }
  std::vector<int> WaitFor(size_t count) {
    MutexLock lock(mutex_);
    while (values_.size() < count) changed_.Wait(mutex_);
    return values_;
  }
  size_t Count() {
    MutexLock lock(mutex_);
    return values_.size();
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::vector<int> values_;
};

TEST(TimerQueueTest, RunsTasksInTheOrderOfTheirTimes) {
  Trace trace;
  TimerQueue timers("test-timers", SystemClock());
  const TimePoint now = SystemClock().Now();
  timers.RunAt(now + milliseconds(30), [&] { trace.Add(3); });
  timers.RunAt(now + milliseconds(10), [&] { trace.Add(1); });
  timers.RunAt(now + milliseconds(10), [&] { trace.Add(2); });
  timers.RunAt(now - milliseconds(10), [&] { trace.Add(0); });
  EXPECT_EQ(trace.WaitFor(4), (std::vector<int>{0, 1, 2, 3}));
  EXPECT_GE(SystemClock().Now(), now + milliseconds(30));
}

TEST(TimerQueueTest, CancelledAndStoppedTasksDoNotRun) {
  Trace trace;
  TimerQueue timers("test-timers", SystemClock());
  const auto id = timers.RunAfter(milliseconds(5), [&] { trace.Add(1); });
  EXPECT_TRUE(timers.Cancel(id));
  EXPECT_FALSE(timers.Cancel(id));
  timers.RunAfter(milliseconds(10), [&] { trace.Add(2); });
  EXPECT_EQ(trace.WaitFor(1), std::vector<int>{2});
  timers.RunAfter(std::chrono::hours(1), [&] { trace.Add(3); });
  timers.Stop();
  timers.RunAfter(milliseconds(0), [&] { trace.Add(4); });
  EXPECT_EQ(trace.Count(), 1u);
}

TEST(TimerQueueTest, TasksMayAddTasks) {
  Trace trace;
  TimerQueue timers("test-timers", SystemClock());
  timers.RunAfter(milliseconds(0),
                  [&] { timers.RunAfter(milliseconds(0), [&] { trace.Add(1); }); });
  EXPECT_EQ(trace.WaitFor(1), std::vector<int>{1});
}

}  // namespace
}  // namespace vectron
