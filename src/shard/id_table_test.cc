#include "shard/id_table.h"

#include <gtest/gtest.h>

#include <map>

#include "common/random.h"

namespace vectron::shard {
namespace {

using index::kNoSlot;
using index::Slot;

// Against a map, with hashes so few that entries collide and runs wrap around.
TEST(IdTableTest, HoldsWhatAMapHoldsUnderRandomChanges) {
  for (const uint64_t hash_count : {3u, 50u, 100'000u}) {
    Random random(hash_count);
    IdTable table;
    std::map<Slot, uint32_t> slots;  // with their hashes
    const auto find = [&](uint32_t hash, Slot slot) {
      return table.Find(hash, [&](Slot other) { return other == slot; });
    };
    for (int step = 0; step < 20'000; ++step) {
      const auto slot = static_cast<Slot>(random.Below(300));
      const auto it = slots.find(slot);
      if (it == slots.end()) {
        const auto hash =
            static_cast<uint32_t>(random.Below(hash_count) * 0xffffffffu / (hash_count - 1));
        EXPECT_EQ(find(hash, slot), kNoSlot);
        table.Insert(hash, slot);
        slots[slot] = hash;
      } else if (random.Below(3) == 0) {
        const auto other = static_cast<Slot>(1000 + step);
        table.Replace(it->second, slot, other);
        EXPECT_EQ(find(it->second, other), other);
        table.Replace(it->second, other, slot);
      } else {
        table.Erase(it->second, slot);
        slots.erase(it);
      }
      ASSERT_EQ(table.size(), slots.size());
    }
    for (const auto& [slot, hash] : slots) EXPECT_EQ(find(hash, slot), slot);
  }
}

TEST(IdTableTest, TakesAboutTwelveBytesAPointAndFindsAllOfThem) {
  IdTable table;
  constexpr Slot kCount = 200'000;
  for (Slot slot = 0; slot < kCount; ++slot) {
    table.Insert(IdTable::HashOf(PointId(uint64_t{slot})), slot);
  }
  for (Slot slot = 0; slot < kCount; ++slot) {
    const uint32_t hash = IdTable::HashOf(PointId(uint64_t{slot}));
    ASSERT_EQ(table.Find(hash, [&](Slot other) { return other == slot; }), slot);
  }
  EXPECT_LE(table.memory_bytes(), 17u * kCount);
}

TEST(IdTableTest, NumbersAndTheirTextsHashApart) {
  EXPECT_NE(IdTable::HashOf(PointId(5)), IdTable::HashOf(PointId("5")));
  EXPECT_NE(IdTable::HashOf(PointId(5)), IdTable::HashOf(PointId(6)));
}

}  // namespace
}  // namespace vectron::shard
