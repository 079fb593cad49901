#include "common/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>

namespace vectron {
namespace {

TEST(ThreadPoolTest, RunsEverythingQueuedBeforeStop) {
  std::atomic<int> ran{0};
  ThreadPool pool({.name = "pool", .thread_count = 3, .queue_count_max = 10'000});
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(pool.TrySubmit([&] { ++ran; }));
  pool.Stop();
  EXPECT_EQ(ran, 1000);
  EXPECT_FALSE(pool.TrySubmit([&] { ++ran; }));
  EXPECT_EQ(ran, 1000);
}

TEST(ThreadPoolTest, RefusesWhenTheQueueIsFull) {
  std::atomic<bool> released{false};
  ThreadPool pool({.name = "pool", .thread_count = 1, .queue_count_max = 2});
  std::atomic<bool> started{false};
  ASSERT_TRUE(pool.TrySubmit([&] {
    started = true;
    while (!released) std::this_thread::yield();
  }));
  while (!started) std::this_thread::yield();
  EXPECT_TRUE(pool.TrySubmit([] {}));
  EXPECT_TRUE(pool.TrySubmit([] {}));
  EXPECT_FALSE(pool.TrySubmit([] {}));
  EXPECT_EQ(pool.QueueLength(), 2u);
  released = true;
}

}  // namespace
}  // namespace vectron
