#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "common/random.h"
#include "index/graph/visited_filter.h"
#include "index/graph/visited_set.h"
#include "index/testing/fixtures.h"

namespace vectron::index {
namespace {

std::vector<uint32_t> RandomSlots(size_t count, uint32_t below, uint64_t seed) {
  Random random(seed);
  std::vector<uint32_t> slots(count);
  for (uint32_t& slot : slots) slot = static_cast<uint32_t>(random.Below(below));
  return slots;
}

TEST(VisitedSet, KnowsWhatItMet) {
  constexpr uint32_t kSlots = 5000;
  VisitedSet visited;
  for (uint64_t round = 0; round < 5; ++round) {
    visited.Reset(kSlots);
    std::set<uint32_t> met;
    // Few and many: it is cleared in two ways.
    for (const uint32_t slot : RandomSlots(round % 2 ? 10 : 4000, kSlots, round)) {
      EXPECT_EQ(visited.Contains(slot), met.contains(slot));
      EXPECT_EQ(visited.Insert(slot), met.insert(slot).second);
    }
  }
}

TEST(VisitedFilter, NeverSaysMetOfWhatIsNew) {
  VisitedFilter visited;
  for (uint64_t round = 0; round < 5; ++round) {
    visited.Reset(16);
    std::set<uint32_t> met;
    size_t forgotten = 0;
    for (const uint32_t slot : RandomSlots(3000, 2000, round)) {
      const bool is_new = met.insert(slot).second;
      const bool said_new = visited.Insert(slot);
      if (is_new) {
        EXPECT_TRUE(said_new);
      } else {
        forgotten += said_new;
      }
    }
    // There are more slots than places.
    EXPECT_GT(forgotten, 0u);
  }
}

TEST(VisitedFilter, RemembersMostOfWhatAWalkMeets) {
  VisitedFilter visited;
  for (const size_t beam : {16u, 50u, 200u, 1000u}) {
    visited.Reset(beam);
    const std::vector<uint32_t> slots =
        RandomSlots(20 * beam, uint32_t{1} << 31, static_cast<uint64_t>(beam));
    for (const uint32_t slot : slots) visited.Insert(slot);
    size_t remembered = 0;
    for (const uint32_t slot : slots) remembered += !visited.Insert(slot);
    EXPECT_GT(remembered, slots.size() * 7 / 10) << beam;
  }
}

TEST(VisitedFilter, HasTheSizeThatItTells) {
  EXPECT_EQ(VisitedFilter::BytesOf(0), VisitedFilter::BytesOf(16));
  EXPECT_EQ(VisitedFilter::BytesOf(64), 64u * 64 * sizeof(uint32_t));
  EXPECT_EQ(VisitedFilter::BytesOf(65), 2 * VisitedFilter::BytesOf(64));
  // A beam as wide as the index must not take more than the index.
  EXPECT_EQ(VisitedFilter::BytesOf(~size_t{0}), VisitedFilter::BytesOf(size_t{1} << 16));
}

// Large enough that searches use the filter.
TEST(VisitedFilter, ASearchFindsEverythingOnceThoughItForgets) {
  constexpr size_t kCount = 40'000;
  constexpr uint32_t kEf = 16;
  ASSERT_LT(VisitedFilter::BytesOf(kEf), kCount / 8);
  IndexOptions options;
  options.dimension = 8;
  options.m = 8;
  options.ef_construction = 40;
  const auto index = testing::MakeIndex(options);
  testing::Vectors vectors = testing::ClusteredVectors(kCount, options.dimension, 1);
  // Equals, whose distances do not tell them apart.
  for (size_t i = 0; i + 1 < kCount; i += 10) vectors[i + 1] = vectors[i];
  testing::PutAll(*index, vectors);
  testing::LinkAll(*index);
  const testing::Vectors queries = testing::ClusteredVectors(100, options.dimension, 2);
  for (const auto& query : queries) {
    const auto hits = testing::SearchOrDie(*index, query, {.k = kEf, .ef = kEf});
    ASSERT_EQ(hits.size(), kEf);
    std::set<Slot> slots;
    for (const Hit& hit : hits) EXPECT_TRUE(slots.insert(hit.slot).second);
  }
  EXPECT_GE(testing::RecallAt10(*index, queries, kEf), 0.8);
}

}  // namespace
}  // namespace vectron::index
