#include "index/graph/graph.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace vectron::index {
namespace {

constexpr uint64_t kSeed = 7;

using Place = std::pair<Slot, int>;  // slot and level

std::map<Place, std::atomic<Slot>*> AllLinks(const Graph& graph, Slot slots) {
  std::map<Place, std::atomic<Slot>*> links;
  for (Slot slot = 0; slot < slots; ++slot) {
    for (int level = 0; level <= graph.LevelOf(slot); ++level) {
      links[{slot, level}] = graph.Links(slot, level);
    }
  }
  return links;
}

// With m = 2 half of the slots are above layer 0, a quarter above layer 1.
TEST(Graph, EveryLayerOfEverySlotHasLinksOfItsOwn) {
  constexpr Slot kSlots = 4096;
  Graph graph(2, kSeed);
  ASSERT_TRUE(graph.Reserve(kSlots));
  const auto links = AllLinks(graph, kSlots);
  int highest = 0;
  std::set<std::atomic<Slot>*> taken;
  for (const auto& [place, first] : links) {
    highest = std::max(highest, place.second);
    for (uint32_t i = 0; i < graph.degree_max(place.second); ++i) {
      EXPECT_TRUE(taken.insert(first + i).second) << place.first << " on " << place.second;
    }
  }
  EXPECT_GE(highest, 8);
  for (const auto& [place, first] : links) graph.SetLinks(place.first, place.second, {place.first});
  for (const auto& [place, first] : links) {
    std::vector<Slot> found;
    graph.CopyLinks(place.first, place.second, &found);
    EXPECT_EQ(found, std::vector<Slot>{place.first});
  }
}

TEST(Graph, GrowthLeavesLinksWhereTheyAre) {
  Graph graph(4, kSeed);
  ASSERT_TRUE(graph.Reserve(100));
  const auto before = AllLinks(graph, 100);
  // Step by step, as vectors come, and by far, as a checkpoint is read.
  for (const uint64_t slots : {uint64_t{128}, uint64_t{192}, uint64_t{256}, uint64_t{200'000}}) {
    ASSERT_TRUE(graph.Reserve(slots));
    EXPECT_EQ(AllLinks(graph, 100), before);
  }
  Graph at_once(4, kSeed);
  ASSERT_TRUE(at_once.Reserve(200'000));
  for (Slot slot = 0; slot < 200'000; slot += 997) {
    graph.SetLinks(slot, graph.LevelOf(slot), {slot + 1});
    at_once.SetLinks(slot, at_once.LevelOf(slot), {slot + 1});
    EXPECT_EQ(graph.Links(slot, graph.LevelOf(slot))->load(), slot + 1);
    EXPECT_EQ(at_once.Links(slot, at_once.LevelOf(slot))->load(), slot + 1);
  }
}

TEST(Graph, LinksAboveTheLowestLayerTakeLittle) {
  constexpr uint64_t kSlots = 100'000;
  Graph graph(16, kSeed);
  ASSERT_TRUE(graph.Reserve(kSlots));
  // 128 bytes on layer 0, a fifteenth of 64 above, a byte of state, 24 bytes for 64 slots to find
  // the upper ones.
  EXPECT_LT(static_cast<double>(graph.memory_bytes()) / kSlots, 128 + 64.0 / 15 + 1 + 0.4 + 21);
}

}  // namespace
}  // namespace vectron::index
