#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "common/clock.h"
#include "worker/search_executor.h"
#include "worker/write_gate.h"

// The parts that keep a worker within its bounds, each by itself.

namespace vectron::worker {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(SearchExecutorTest, RunsOnTheCallersThreadWhileThereIsRoom) {
  SearchExecutor executor({2, 4});
  {
    const auto first = executor.TryEnter();
    const auto second = executor.TryEnter();
    EXPECT_TRUE(first);
    EXPECT_TRUE(second);
    EXPECT_FALSE(executor.TryEnter());
    EXPECT_EQ(executor.running_count(), 2u);
  }
  EXPECT_TRUE(executor.TryEnter());
}

TEST(SearchExecutorTest, TheQueueIsBoundedAndWaitsForASlot) {
  SearchExecutor executor({1, 2});
  std::atomic<int> ran{0};
  auto slot = std::make_unique<SearchExecutor::Slot>(executor.TryEnter());
  EXPECT_TRUE(executor.TryEnqueue([&] { ++ran; }));
  EXPECT_TRUE(executor.TryEnqueue([&] { ++ran; }));
  EXPECT_FALSE(executor.TryEnqueue([&] { ++ran; }));
  EXPECT_EQ(executor.queue_length(), 2u);
  EXPECT_EQ(ran, 0);
  slot.reset();
  executor.Stop();
  EXPECT_EQ(ran, 2);
  EXPECT_FALSE(executor.TryEnqueue([] {}));
}

TEST(SearchExecutorTest, NeverMoreAtOnceThanAllowed) {
  SearchExecutor executor({2, 1000});
  std::atomic<int> running{0};
  std::atomic<int> most{0};
  std::atomic<int> done{0};
  const auto work = [&] {
    const int now = ++running;
    int seen = most;
    while (seen < now && !most.compare_exchange_weak(seen, now)) {
    }
    --running;
    ++done;
  };
  std::vector<std::future<void>> callers;
  for (int t = 0; t < 4; ++t) {
    callers.push_back(std::async(std::launch::async, [&] {
      for (int i = 0; i < 500; ++i) {
        if (const auto slot = executor.TryEnter()) {
          work();
        } else {
          while (!executor.TryEnqueue(work)) {
          }
        }
      }
    }));
  }
  for (auto& caller : callers) caller.get();
  executor.Stop();
  EXPECT_EQ(done, 2000);
  EXPECT_LE(most, 2);
}

class WriteGateTest : public ::testing::Test {
 protected:
  TimerQueue timers_{"test-timers", SystemClock()};
};

TEST_F(WriteGateTest, SlowsDownBeforeItRefuses) {
  WriteGate gate({.dir = ::testing::TempDir(), .delay_max = milliseconds(200)}, &timers_,
                 &SystemClock());
  EXPECT_EQ(*gate.DelayOf(0, kNoDeadline), Duration::zero());
  EXPECT_EQ(*gate.DelayOf(0.49, kNoDeadline), Duration::zero());
  EXPECT_NEAR(static_cast<double>(gate.DelayOf(0.75, kNoDeadline)->count()), 100e6, 1e6);
  EXPECT_EQ(ReasonOf(gate.DelayOf(1, kNoDeadline).status()), Reason::kOverloaded);
  EXPECT_EQ(ReasonOf(gate.DelayOf(7, kNoDeadline).status()), Reason::kOverloaded);
  // A wait that nobody would see the end of.
  const Deadline soon = SystemClock().Now() + milliseconds(50);
  EXPECT_EQ(ReasonOf(gate.DelayOf(0.9, soon).status()), Reason::kOverloaded);
}

TEST_F(WriteGateTest, DelayedWritesAreBoundedInCountAndBytes) {
  WriteGate gate({.dir = ::testing::TempDir(), .delayed_count_max = 2, .delayed_bytes_max = 100},
                 &timers_, &SystemClock());
  std::promise<void> ran;
  EXPECT_TRUE(gate.RunLater(seconds(100), 40, [] {}).ok());
  EXPECT_EQ(ReasonOf(gate.RunLater(seconds(100), 70, [] {})), Reason::kOverloaded);
  EXPECT_TRUE(gate.RunLater(milliseconds(5), 60, [&] { ran.set_value(); }).ok());
  EXPECT_EQ(ReasonOf(gate.RunLater(seconds(100), 0, [] {})), Reason::kOverloaded);
  EXPECT_EQ(gate.delayed_count(), 2u);
  ran.get_future().get();
  EXPECT_EQ(gate.delayed_count(), 1u);
  EXPECT_TRUE(gate.RunLater(seconds(100), 60, [] {}).ok());
  timers_.Stop();  // drops what waits
  EXPECT_EQ(gate.delayed_count(), 0u);
}

TEST_F(WriteGateTest, RefusesWhileTheDiskIsNearlyFull) {
  WriteGate full({.dir = ::testing::TempDir(), .disk_reserve_bytes = uint64_t{1} << 62}, &timers_,
                 &SystemClock());
  EXPECT_TRUE(full.CheckRoom(RoomUse::kGrowth).ok());
  full.CheckDisk();
  EXPECT_EQ(ReasonOf(full.CheckRoom(RoomUse::kGrowth)), Reason::kDiskFull);
  WriteGate roomy({.dir = ::testing::TempDir(), .disk_reserve_bytes = 1}, &timers_, &SystemClock());
  roomy.CheckDisk();
  EXPECT_TRUE(roomy.CheckRoom(RoomUse::kGrowth).ok());
  EXPECT_GT(roomy.disk_free_bytes(), 1u);
}

}  // namespace
}  // namespace vectron::worker
