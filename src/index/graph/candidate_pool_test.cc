#include "index/graph/candidate_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <set>
#include <vector>

#include "common/random.h"

namespace vectron::index {
namespace {

// Few values, so that many are equal.
float RandomDistance(Random& random) { return static_cast<float>(random.Below(40)); }

TEST(CandidatePool, KeepsTheNearestInOrder) {
  Random random(1);
  CandidatePool pool;
  for (const size_t capacity : {1, 2, 3, 10, 200}) {
    pool.Reset(capacity);
    EXPECT_EQ(pool.bound(), std::numeric_limits<float>::infinity());
    std::vector<Candidate> expected;
    for (uint32_t slot = 0; slot < 500; ++slot) {
      const Candidate candidate{RandomDistance(random), slot};
      // Who comes first stays before its equals, and is not driven out by them.
      const auto place = std::upper_bound(
          expected.begin(), expected.end(), candidate,
          [](const Candidate& a, const Candidate& b) { return a.distance < b.distance; });
      const auto index = static_cast<size_t>(place - expected.begin());
      expected.insert(place, candidate);
      if (expected.size() > capacity) expected.pop_back();
      EXPECT_EQ(pool.Insert(candidate.distance, slot),
                index < capacity ? index : CandidatePool::kRefused);
      ASSERT_EQ(pool.size(), expected.size());
      EXPECT_EQ(pool.full(), expected.size() == capacity);
    }
    for (size_t i = 0; i < pool.size(); ++i) {
      EXPECT_EQ(pool[i].slot, expected[i].slot);
      EXPECT_EQ(pool[i].distance, expected[i].distance);
    }
    EXPECT_EQ(pool.bound(), expected.back().distance);
  }
}

TEST(CandidatePool, RefusesWhatItHas) {
  CandidatePool pool;
  pool.Reset(100);
  for (uint32_t i = 0; i < 60; ++i) {
    EXPECT_NE(pool.InsertUnique(static_cast<float>(i % 7), i), CandidatePool::kRefused);
  }
  uint32_t slot = 0;
  ASSERT_TRUE(pool.ExpandNext(&slot));  // expanded or not
  for (uint32_t i = 0; i < 60; ++i) {
    EXPECT_EQ(pool.InsertUnique(static_cast<float>(i % 7), i), CandidatePool::kRefused);
  }
  EXPECT_EQ(pool.size(), 60u);
}

TEST(CandidatePool, ExpandsEachOnceAndShowsWhatIsNext) {
  Random random(3);
  CandidatePool pool;
  pool.Reset(50);
  std::set<uint32_t> expanded;
  uint32_t inserted = 0;
  for (;;) {
    for (int i = 0; i < 4 && inserted < 300; ++i) pool.Insert(RandomDistance(random), inserted++);
    std::vector<uint32_t> waiting;
    for (size_t i = 0; i < pool.size(); ++i) {
      if (!expanded.contains(pool[i].slot)) waiting.push_back(pool[i].slot);
    }
    for (const size_t count : {size_t{0}, size_t{1}, size_t{3}, size_t{1000}}) {
      std::vector<uint32_t> peeked;
      pool.PeekNext(count, [&](uint32_t slot) { peeked.push_back(slot); });
      std::vector<uint32_t> first(waiting.begin(),
                                  waiting.begin() + std::min(count, waiting.size()));
      EXPECT_EQ(peeked, first);
    }
    uint32_t slot = 0;
    const bool more = pool.ExpandNext(&slot);
    ASSERT_EQ(more, !waiting.empty());
    if (!more && inserted == 300) break;
    if (!more) continue;
    EXPECT_EQ(slot, waiting.front());
    EXPECT_TRUE(expanded.insert(slot).second);
  }
  EXPECT_GE(expanded.size(), 50u);
}

}  // namespace
}  // namespace vectron::index
