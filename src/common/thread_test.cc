#include "common/thread.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <set>
#include <thread>

#include "common/mutex.h"

namespace vectron {
namespace {

TEST(RunInParallel, CallsTheBodyOnceForEachNumberAndWaitsForAll) {
  constexpr int kCount = 5;
  std::array<std::atomic<int>, kCount> calls{};
  RunInParallel("test", kCount, [&](int i) { ++calls[static_cast<size_t>(i)]; });
  for (const auto& call : calls) EXPECT_EQ(call, 1);
}

TEST(RunInParallel, BodiesRunAtTheSameTimeTheFirstOnThisThread) {
  constexpr int kCount = 3;
  const std::thread::id caller = std::this_thread::get_id();
  Mutex mutex;
  CondVar met;
  std::set<std::thread::id> threads;
  RunInParallel("test", kCount, [&](int i) {
    EXPECT_EQ(i == 0, std::this_thread::get_id() == caller);
    MutexLock lock(mutex);
    threads.insert(std::this_thread::get_id());
    met.NotifyAll();
    // Ends only if all are here together.
    while (threads.size() < kCount) met.Wait(mutex);
  });
  EXPECT_EQ(threads.size(), size_t{kCount});
}

TEST(RunInParallel, OfNothingDoesNothing) {
  RunInParallel("test", 0, [](int) { ADD_FAILURE(); });
}

}  // namespace
}  // namespace vectron
