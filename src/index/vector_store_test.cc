#include "index/vector_store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "common/random.h"
#include "index/testing/fixtures.h"

namespace vectron::index {
namespace {

using testing::ClusteredVectors;
using testing::MakeIndex;
using testing::PutAll;
using testing::SearchOrDie;
using testing::TempFile;
using testing::Vectors;

constexpr size_t kDimension = 37;  // odd, and no multiple of what is looked at together

// A whole number for each component, other ones for each slot.
std::vector<float> BytesOf(uint64_t slot, size_t dimension = kDimension) {
  std::vector<float> vector(dimension);
  for (size_t d = 0; d < dimension; ++d) vector[d] = static_cast<float>((slot * 31 + d * 7) % 256);
  return vector;
}

std::vector<float> Stored(const VectorStore& store, Slot slot) {
  std::vector<float> scratch;
  const float* stored = store.Vector(slot, &scratch);
  return std::vector<float>(stored, stored + scratch.size());
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Slots [0, count).
void FillWithBytes(uint64_t count, VectorStore* store) {
  for (uint64_t i = 0; i < count; ++i) {
    ASSERT_TRUE(store->Write(static_cast<Slot>(i), BytesOf(i).data()));
  }
}

void ExpectBytes(const VectorStore& store, uint64_t count, bool kept_as_bytes) {
  for (uint64_t i = 0; i < count; ++i) {
    const auto slot = static_cast<Slot>(i);
    EXPECT_EQ(VectorStore::IsBytes(store.Row(slot)), kept_as_bytes) << i;
    EXPECT_TRUE(SameBits(Stored(store, slot), BytesOf(i))) << i;
  }
}

TEST(HoldsBytes, OfWholeNumbersOfAByteOnly) {
  for (const size_t dimension : {size_t{1}, size_t{15}, size_t{16}, size_t{17}, size_t{100}}) {
    const std::vector<float> bytes = BytesOf(3, dimension);
    EXPECT_TRUE(HoldsBytes(bytes.data(), dimension)) << dimension;
    for (size_t d = 0; d < dimension; ++d) {
      for (const float other :
           {-0.0f, -1.0f, 0.5f, 255.5f, 256.0f, 1e-30f, std::numeric_limits<float>::denorm_min(),
            std::nextafter(255.0f, 0.0f), 1e30f}) {
        std::vector<float> vector = bytes;
        vector[d] = other;
        EXPECT_FALSE(HoldsBytes(vector.data(), dimension)) << other << " at " << d;
      }
    }
  }
}

TEST(VectorStore, KeepsWholeNumbersInBytes) {
  constexpr uint64_t kSlots = 1000;
  EpochManager epochs;
  VectorStore store(kDimension, true, epochs);
  ASSERT_TRUE(store.Reserve(kSlots));
  FillWithBytes(kSlots, &store);
  ExpectBytes(store, kSlots, true);
  EXPECT_LE(store.memory_bytes(), kSlots * (kDimension + 1) + 3 * kPageBytes);
}

TEST(VectorStore, KeepsFloatsWhereItDoesNotBeginWithBytes) {
  EpochManager epochs;
  VectorStore store(kDimension, false, epochs);
  ASSERT_TRUE(store.Reserve(1));
  ASSERT_TRUE(store.Write(0, BytesOf(0).data()));
  EXPECT_FALSE(VectorStore::IsBytes(store.Row(0)));
  EXPECT_TRUE(SameBits(Stored(store, 0), BytesOf(0)));
}

TEST(VectorStore, GoesOnWithFloatsFromTheFirstThatAsksForThem) {
  constexpr uint64_t kSlots = 1000;
  constexpr Slot kOther = 700;
  EpochManager epochs;
  VectorStore store(kDimension, true, epochs);
  ASSERT_TRUE(store.Reserve(kSlots));
  FillWithBytes(kOther, &store);
  const uint64_t bytes_before = store.memory_bytes();
  std::vector<float> other = BytesOf(kOther);
  other[5] = -0.0f;
  ASSERT_TRUE(store.Write(kOther, other.data()));
  ASSERT_TRUE(store.Write(kOther + 1, BytesOf(kOther + 1).data()));
  ExpectBytes(store, kOther, false);
  EXPECT_TRUE(SameBits(Stored(store, kOther), other));
  EXPECT_TRUE(SameBits(Stored(store, kOther + 1), BytesOf(kOther + 1)));
  EXPECT_GT(store.memory_bytes(), 3 * bytes_before);
}

// One row of 65,535 floats is a quarter of a megabyte, and 64 of them a slab.
TEST(VectorStore, OnlyTheSlabOfAVectorGoesOnWithFloats) {
  constexpr size_t kWide = kDimensionMax;
  constexpr uint64_t kSlots = 130;
  EpochManager epochs;
  VectorStore store(kWide, true, epochs);
  ASSERT_TRUE(store.Reserve(kSlots));
  for (uint64_t i = 0; i < kSlots; ++i) {
    std::vector<float> vector = BytesOf(i, kWide);
    if (i == 64) vector[kWide - 1] = 0.5f;
    ASSERT_TRUE(store.Write(static_cast<Slot>(i), vector.data()));
  }
  for (uint64_t i = 0; i < kSlots; ++i) {
    std::vector<float> vector = BytesOf(i, kWide);
    if (i == 64) vector[kWide - 1] = 0.5f;
    const auto slot = static_cast<Slot>(i);
    EXPECT_EQ(VectorStore::IsBytes(store.Row(slot)), i < 64 || i >= 128) << i;
    EXPECT_TRUE(SameBits(Stored(store, slot), vector)) << i;
  }
}

TEST(VectorStore, ARowStaysReadableWhileItsGuardIsHeld) {
  EpochManager epochs;
  VectorStore store(kDimension, true, epochs);
  ASSERT_TRUE(store.Reserve(2));
  ASSERT_TRUE(store.Write(0, BytesOf(0).data()));
  std::vector<float> before(kDimension);
  {
    const EpochManager::Guard guard = epochs.Enter();
    const std::byte* row = store.Row(0);
    const std::vector<float> other(kDimension, 0.25f);
    ASSERT_TRUE(store.Write(1, other.data()));
    epochs.Collect();
    store.Vector(row, before.data());
  }
  epochs.Collect();
  EXPECT_TRUE(SameBits(before, BytesOf(0)));
  EXPECT_TRUE(SameBits(Stored(store, 0), BytesOf(0)));
}

TEST(VectorStore, ReadersSeeTheirVectorsWhileSlabsGoOnWithFloats) {
  constexpr uint64_t kSlots = 3000;
  constexpr size_t kWide = 4096;  // 1,024 slots a slab
  EpochManager epochs;
  VectorStore store(kWide, true, epochs);
  ASSERT_TRUE(store.Reserve(kSlots));
  std::atomic<uint64_t> visible{0};
  std::atomic<uint64_t> wrong{0};
  const auto vector_of = [](uint64_t slot) {
    std::vector<float> vector = BytesOf(slot, kWide);
    if (slot % 1024 == 1000) vector[0] = 0.5f;
    return vector;
  };
  std::vector<std::thread> readers;
  for (uint64_t seed = 0; seed < 2; ++seed) {
    readers.emplace_back([&, seed] {
      Random random(seed);
      while (visible.load() < kSlots) {
        const uint64_t count = visible.load();
        if (count == 0) continue;
        const uint64_t slot = random.Below(count);
        const EpochManager::Guard guard = epochs.Enter();
        if (!SameBits(Stored(store, static_cast<Slot>(slot)), vector_of(slot))) ++wrong;
      }
    });
  }
  for (uint64_t slot = 0; slot < kSlots; ++slot) {
    ASSERT_TRUE(store.Write(static_cast<Slot>(slot), vector_of(slot).data()));
    visible.store(slot + 1);
    if (slot % 16 == 0) epochs.Collect();
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong.load(), 0u);
}

// Whatever its rows are kept as, an index gives the distances of the floats.
TEST(VectorStore, AnIndexOfBothKindsMeasuresLikeOneOfFloats) {
  constexpr size_t kCount = 2000;
  constexpr uint32_t kWide = 96;
  Vectors vectors = testing::ByteVectors(kCount, kWide, 11);
  const Vectors queries = ClusteredVectors(20, kWide, 12);
  for (const Metric metric : kMetrics) {
    for (const Quantization quantization : {Quantization::kSq8, Quantization::kNone}) {
      IndexOptions options;
      options.dimension = kWide;
      options.metric = metric;
      options.quantization = quantization;
      const auto bytes = MakeIndex(options);
      const auto floats = MakeIndex(options);
      // Before all others, and then it is gone: floats stay.
      const auto first = floats->Put(std::vector<float>(kWide, 0.5f), 0);
      ASSERT_TRUE(first.ok());
      floats->Delete(*first);
      PutAll(*bytes, vectors);
      for (size_t i = 0; i < kCount; ++i) {
        ASSERT_TRUE(floats->Put(vectors[i], testing::LabelOf(i)).ok());
      }
      if (quantization == Quantization::kSq8) {
        ASSERT_LT(bytes->Stats().memory_bytes, floats->Stats().memory_bytes);
      }
      for (const auto& query : queries) {
        const auto a = SearchOrDie(*bytes, query, {.k = 50, .exact = true});
        const auto b = SearchOrDie(*floats, query, {.k = 50, .exact = true});
        ASSERT_EQ(a.size(), b.size());
        for (size_t i = 0; i < a.size(); ++i) {
          EXPECT_EQ(a[i].label, b[i].label);
          EXPECT_EQ(a[i].distance, b[i].distance);
        }
      }
    }
  }
}

// Blocks of a checkpoint are of the one or the other kind, and so are slabs: they need not agree.
TEST(VectorStore, ComesBackFromACheckpoint) {
  constexpr size_t kCount = 5000;
  constexpr uint32_t kWide = 4096;  // 1,024 slots a slab, 256 a block
  IndexOptions options;
  options.dimension = kWide;
  options.m = 4;
  options.ef_construction = 8;
  const auto vector_of = [](size_t i) {
    std::vector<float> vector = BytesOf(i, kWide);
    if (i == 1500 || i >= 4000) vector[i % kWide] = -0.0f;
    return vector;
  };
  const auto index = MakeIndex(options);
  for (size_t i = 0; i < kCount; ++i) ASSERT_TRUE(index->Put(vector_of(i), i).ok());
  TempFile file;
  ASSERT_TRUE(index->WriteCheckpoint(*index->Cut(), file.path(), 0).ok());
  const auto loaded = VectorIndex::Load(options, file.path());
  ASSERT_TRUE(loaded.ok()) << loaded.status().ToString();
  for (size_t i = 0; i < kCount; ++i) {
    const auto vector = (*loaded)->GetVector(static_cast<Slot>(i));
    ASSERT_TRUE(vector.ok());
    ASSERT_TRUE(SameBits(*vector, vector_of(i))) << i;
  }
  // And goes on: what was bytes turns to floats where it must.
  ASSERT_TRUE((*loaded)->Put(std::vector<float>(kWide, 0.5f), kCount).ok());
  EXPECT_TRUE(SameBits(*(*loaded)->GetVector(0), vector_of(0)));
}

}  // namespace
}  // namespace vectron::index
