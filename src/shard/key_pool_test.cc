#include "shard/key_pool.h"

#include <gtest/gtest.h>

#include <map>

#include "common/random.h"

namespace vectron::shard {
namespace {

PointId RandomId(Random* random) {
  std::string text(1 + random->Below(random->Below(10) == 0 ? kPointIdBytesMax : 40), 'a');
  for (char& c : text) c = static_cast<char>('a' + random->Below(26));
  return PointId(text);
}

TEST(KeyPoolTest, NumbersBelowTheTopBitAreTheirOwnLabels) {
  const KeyPool pool;
  EXPECT_FALSE(KeyPool::IsPooled(PointId(0)));
  EXPECT_FALSE(KeyPool::IsPooled(PointId((uint64_t{1} << 63) - 1)));
  EXPECT_TRUE(KeyPool::IsPooled(PointId(uint64_t{1} << 63)));
  EXPECT_TRUE(KeyPool::IsPooled(PointId("1")));
  EXPECT_EQ(pool.Resolve(42), PointId(42));
}

TEST(KeyPoolTest, LabelsResolveUntilTheyAreRetiredAndPlacesAreUsedAgain) {
  Random random(1);
  KeyPool pool;
  std::map<uint64_t, PointId> live;
  uint64_t epoch = 0;
  size_t memory_bytes = 0;
  for (int round = 0; round < 20; ++round) {
    while (live.size() < 20'000) {
      const PointId id = RandomId(&random);
      const auto label = pool.Add(id);
      ASSERT_TRUE(label.ok());
      ASSERT_TRUE(live.emplace(*label, id).second) << "a place was given twice";
    }
    for (const auto& [label, id] : live) ASSERT_EQ(pool.Resolve(label), id);
    if (round == 4) memory_bytes = pool.memory_bytes();
    for (const auto& [label, id] : live) pool.Retire(label, epoch);
    live.clear();
    pool.Reclaim(epoch + 1);
    EXPECT_TRUE(pool.HasRetired());
    epoch += 2;
    pool.Reclaim(epoch);
    EXPECT_FALSE(pool.HasRetired());
  }
  // Lengths are random, so the sizes of what is free fit only roughly.
  EXPECT_LE(pool.memory_bytes(), memory_bytes + memory_bytes / 2);
}

TEST(KeyPoolTest, AFrozenPoolIsSerializedAsItWas) {
  Random random(2);
  KeyPool pool;
  std::map<uint64_t, PointId> live;
  const auto add = [&](int count) {
    for (int i = 0; i < count; ++i) {
      const PointId id = RandomId(&random);
      live.emplace(*pool.Add(id), id);
    }
  };
  add(30'000);
  for (int i = 0; i < 5'000; ++i) {
    pool.Retire(live.begin()->first, 0);
    live.erase(live.begin());
  }
  pool.Reclaim(2);
  const uint64_t frozen = pool.Freeze();
  const std::map<uint64_t, PointId> at_freeze = live;
  for (int i = 0; i < 5'000; ++i) {
    pool.Retire(live.begin()->first, 2);
    live.erase(live.begin());
  }
  pool.Reclaim(4);
  add(10'000);
  const std::string serialized = pool.Serialize(frozen);
  pool.Thaw();

  std::vector<uint64_t> labels;
  for (const auto& [label, id] : at_freeze) labels.push_back(label);
  labels.push_back(labels.front());  // one in two indexes
  KeyPool loaded;
  const Status status = loaded.Load(serialized, labels);
  ASSERT_TRUE(status.ok()) << status;
  for (const auto& [label, id] : at_freeze) ASSERT_EQ(loaded.Resolve(label), id);
  // What was free is given again before the pool grows.
  const size_t memory_bytes = loaded.memory_bytes();
  std::map<uint64_t, PointId> again;
  for (int i = 0; i < 4'000; ++i) {
    const PointId id(std::string(5, static_cast<char>('a' + i % 26)));
    const uint64_t label = *loaded.Add(id);
    ASSERT_FALSE(at_freeze.contains(label));
    ASSERT_TRUE(again.emplace(label, id).second);
  }
  EXPECT_LE(loaded.memory_bytes(), memory_bytes + (256u << 10));
}

TEST(KeyPoolTest, DamagedPoolsAreRefused) {
  KeyPool pool;
  const uint64_t first = *pool.Add(PointId("first"));
  const uint64_t second = *pool.Add(PointId("second, which is longer than a unit"));
  const std::string serialized = pool.Serialize(pool.Freeze());
  const auto load = [](const std::string& bytes, const std::vector<uint64_t>& labels) {
    KeyPool loaded;
    return loaded.Load(bytes, labels);
  };
  EXPECT_TRUE(load(serialized, {first, second}).ok());
  EXPECT_FALSE(load(serialized, {first, second + 1}).ok());
  EXPECT_FALSE(load(serialized, {first + 100}).ok());
  EXPECT_FALSE(load(serialized.substr(0, serialized.size() - 1), {first}).ok());
  EXPECT_FALSE(load(serialized.substr(0, 32), {first, second}).ok());
  std::string damaged = serialized;
  damaged[0] = '\x7f';
  damaged[1] = '\x7f';
  EXPECT_FALSE(load(damaged, {first, second}).ok());
}

}  // namespace
}  // namespace vectron::shard
