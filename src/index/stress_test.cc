#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <thread>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/random.h"
#include "common/thread.h"
#include "index/testing/fixtures.h"
#include "index/vector_index.h"

// Everything at once. Meant for the thread sanitizer as much as for what it
// asserts.

namespace vectron::index {
namespace {

using testing::ClusteredVectors;
using testing::ConsolidateAll;
using testing::LinkAll;
using testing::MakeIndex;
using testing::RecallAt10;
using testing::SearchOrDie;
using testing::TempFile;
using testing::Vectors;

#ifdef VECTRON_SANITIZED
constexpr int kScale = 1;
#else
constexpr int kScale = 4;
#endif

// Runs bodies until `stop`, each on a thread of its own; joins on destruction.
class Crowd {
 public:
  ~Crowd() { Join(); }

  void Add(const std::string& name, std::function<void()> round) {
    threads_.push_back(std::make_unique<Thread>(name, ThreadPriority::kNormal, [this, round] {
      while (!stop_.load()) round();
    }));
  }
  void Join() {
    stop_.store(true);
    for (auto& thread : threads_) thread->Join();
    threads_.clear();
  }

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::unique_ptr<Thread>> threads_;
};

struct Kind {
  Metric metric;
  Quantization quantization;
};

class Stress : public ::testing::TestWithParam<Kind> {};

INSTANTIATE_TEST_SUITE_P(Index, Stress,
                         ::testing::Values(Kind{Metric::kL2, Quantization::kSq8},
                                           Kind{Metric::kCosine, Quantization::kSq8},
                                           Kind{Metric::kManhattan, Quantization::kSq8},
                                           Kind{Metric::kL2, Quantization::kNone}),
                         [](const auto& info) {
                           return std::string(MetricName(info.param.metric)) + "_" +
                                  std::string(QuantizationName(info.param.quantization));
                         });

TEST_P(Stress, EverythingAtOnce) {
  constexpr uint32_t kDimension = 24;
  constexpr size_t kPoints = 400;
  IndexOptions options;
  options.dimension = kDimension;
  options.metric = GetParam().metric;
  options.quantization = GetParam().quantization;
  options.ef_construction = 60;
  const auto index = MakeIndex(options);

  // The data moves away from where it was, so that ranges are learnt again.
  const Vectors vectors = ClusteredVectors(4000, kDimension, 1);
  const auto vector_of = [&](uint64_t version) {
    std::vector<float> vector = vectors[version % vectors.size()];
    for (float& x : vector) x *= 1.0f + static_cast<float>(version / 1000);
    return vector;
  };

  Crowd crowd;
  for (int i = 0; i < 2; ++i) crowd.Add("link", [&] { index->LinkPending(7); });
  crowd.Add("consolidate", [&] { index->Consolidate(); });
  for (uint64_t i = 0; i < 2; ++i) {
    crowd.Add("search", [&, random = std::make_shared<Random>(i)] {
      SearchOptions search;
      search.exact = random->Below(10) == 0;
      search.ef = 32;
      if (random->Below(4) == 0) search.filter = [](Slot slot) { return slot % 3 == 0; };
      const auto hits = SearchOrDie(*index, vector_of(random->Below(4000)), search);
      for (size_t h = 1; h < hits.size(); ++h) {
        ASSERT_LE(hits[h - 1].distance, hits[h].distance);
        ASSERT_NE(hits[h - 1].slot, hits[h].slot);
      }
      index->Stats();
      index->GetVector(static_cast<Slot>(random->Below(kPoints))).status().IgnoreError();
    });
  }
  const TempFile file;
  std::unique_ptr<VectorIndex::Watermark> watermark;
  Mutex watermark_mutex;
  std::atomic<int> checkpoints{0};
  std::map<Slot, uint64_t> at_cut;
  crowd.Add("checkpoint", [&] {
    MutexLock lock(watermark_mutex);
    if (watermark == nullptr) return;
    ASSERT_TRUE(index->WriteCheckpoint(*watermark, file.path(), 0).ok());
    const auto loaded = VectorIndex::Load(options, file.path());
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    std::map<Slot, uint64_t> found;
    (*loaded)->ForEachLive([&](Slot slot, uint64_t version) {
      found[slot] = version;
      ASSERT_EQ((*loaded)->GetVector(slot).value(), vector_of(version));
    });
    ASSERT_EQ(found, at_cut);
    watermark.reset();
    checkpoints.fetch_add(1);
  });

  std::vector<Slot> slots(kPoints, kNoSlot);
  const auto cut = [&] {
    if (watermark != nullptr) return;
    watermark = index->Cut();
    at_cut.clear();
    for (const Slot live : slots) {
      if (live != kNoSlot) at_cut[live] = index->Label(live);
    }
  };
  uint64_t version = 0;
  Random random(9);
  for (int i = 0; i < 3000 * kScale; ++i) {
    const size_t point = random.Below(kPoints);
    const auto slot = index->Put(vector_of(version), version);
    ASSERT_TRUE(slot.ok()) << slot.status();
    ++version;
    if (slots[point] != kNoSlot) index->Delete(slots[point]);
    slots[point] = *slot;
    if (i % 100 == 0 && watermark_mutex.TryLock()) {
      cut();
      watermark_mutex.Unlock();
    }
  }
  {
    // The lock may have been taken at every single try.
    MutexLock lock(watermark_mutex);
    cut();
  }
  while (checkpoints.load() == 0) {
  }
  crowd.Join();

  watermark.reset();
  LinkAll(*index);
  ConsolidateAll(*index);
  EXPECT_EQ(index->Stats().live_count, kPoints);
  EXPECT_EQ(index->Stats().pending_count, 0u);
  Vectors queries;
  for (uint64_t i = 0; i < 50; ++i) queries.push_back(vector_of(version - 1 - i));
  EXPECT_GE(RecallAt10(*index, queries, 200), 0.95);
}

// The first vectors of an index say little about the next ones: nothing that is
// learnt from them may hide those.
TEST(Stress, EachOfTheFirstVectorsIsFoundWhileTheyAreLinked) {
  constexpr uint32_t kDimension = 8;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    IndexOptions options;
    options.dimension = kDimension;
    const auto index = MakeIndex(options);
    const Vectors vectors = ClusteredVectors(60, kDimension, seed, 60);
    Crowd crowd;
    for (int i = 0; i < 2; ++i) crowd.Add("link", [&] { index->LinkPending(64); });
    SearchOptions nearest;
    nearest.k = 1;
    for (const std::vector<float>& vector : vectors) {
      ASSERT_TRUE(index->Put(vector, 1).ok());
      ASSERT_EQ(SearchOrDie(*index, vector, nearest).at(0).distance, 0.0f) << seed;
    }
    crowd.Join();
    LinkAll(*index);
    for (const std::vector<float>& vector : vectors) {
      EXPECT_EQ(SearchOrDie(*index, vector, nearest).at(0).distance, 0.0f) << seed;
    }
  }
}

// What lives at a cut may be deleted right after it, while a pass of consolidation is about to
// begin: its slot must not be given to another vector while the watermark is held.
TEST(Stress, SlotsThatLiveAtACutAreKept) {
  constexpr uint32_t kDimension = 4;
  constexpr size_t kReplaced = 30;
  const auto index = MakeIndex({.dimension = kDimension, .m = 4, .ef_construction = 20});
  const Vectors vectors = ClusteredVectors(1000, kDimension, 1);
  std::vector<Slot> slots =
      testing::PutAll(*index, Vectors(vectors.begin(), vectors.begin() + 200));
  LinkAll(*index);
  Crowd crowd;
  for (int i = 0; i < 4; ++i) crowd.Add("consolidate", [&] { index->Consolidate(); });
  Random random(3);
  const TimePoint end = SystemClock().Now() + std::chrono::seconds(5);
  for (int cut = 0; cut < 100 * kScale && SystemClock().Now() < end; ++cut) {
    const auto watermark = index->Cut();
    const std::set<Slot> held(slots.begin(), slots.end());
    for (size_t i = 0; i < kReplaced; ++i) {
      std::swap(slots[random.Below(slots.size())], slots.back());
      index->Delete(slots.back());
      slots.pop_back();
    }
    for (int i = 0; i < 200; ++i) std::this_thread::yield();
    for (size_t i = 0; i < kReplaced; ++i) {
      slots.push_back(index->Put(vectors[random.Below(vectors.size())], 1).value());
      ASSERT_FALSE(held.contains(slots.back())) << "cut " << cut;
    }
    LinkAll(*index);
  }
}

// One point is replaced over and over by the same vector under a new slot; every
// search for it, of any kind, must find it, wherever its slot is just then.
TEST(Stress, AReplacedPointIsNeverMissed) {
  constexpr uint32_t kDimension = 8;
  IndexOptions options;
  options.dimension = kDimension;
  const auto index = MakeIndex(options);
  constexpr uint64_t kPoint = 1'000'000;
  const std::vector<float> place(kDimension, 20.0f);  // far from all others
  testing::PutAll(*index, ClusteredVectors(300, kDimension, 1));
  LinkAll(*index);
  Slot slot = index->Put(place, kPoint).value();

  std::atomic<uint64_t> searches{0};
  Crowd crowd;
  crowd.Add("link", [&] { index->LinkPending(1); });
  crowd.Add("consolidate", [&] { index->Consolidate(); });
  for (int kind = 0; kind < 3; ++kind) {
    crowd.Add("search", [&, kind] {
      SearchOptions search;
      search.k = 3;
      search.exact = kind == 1;
      if (kind == 2) search.filter = [](Slot) { return true; };
      const auto hits = SearchOrDie(*index, place, search);
      ASSERT_FALSE(hits.empty());
      ASSERT_EQ(hits[0].distance, 0.0f);
      ASSERT_GE(hits[0].label, kPoint);
      searches.fetch_add(1);
    });
  }
  uint64_t replacements = 0;
  while (replacements < 5000u * kScale || searches.load() < 500) {
    const auto next = index->Put(place, kPoint + ++replacements);
    ASSERT_TRUE(next.ok());
    index->Delete(slot);
    slot = *next;
  }
}

}  // namespace
}  // namespace vectron::index
