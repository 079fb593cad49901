#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <set>
#include <utility>

#include "common/texmex.h"
#include "index/testing/fixtures.h"
#include "index/vector_index.h"

namespace vectron::index {
namespace {

using testing::ByteVectors;
using testing::ClusteredVectors;
using testing::ConsolidateAll;
using testing::LinkAll;
using testing::MakeIndex;
using testing::PutAll;
using testing::RecallAt10;
using testing::SearchOrDie;
using testing::TrueDistance;
using testing::Vectors;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

IndexOptions OptionsOf(uint32_t dimension, Metric metric = Metric::kL2,
                       Quantization quantization = Quantization::kSq8) {
  IndexOptions options;
  options.dimension = dimension;
  options.metric = metric;
  options.quantization = quantization;
  return options;
}

struct Kind {
  Metric metric;
  Quantization quantization;
};

class EveryKind : public ::testing::TestWithParam<Kind> {
 protected:
  IndexOptions Options(uint32_t dimension) const {
    return OptionsOf(dimension, GetParam().metric, GetParam().quantization);
  }
};

INSTANTIATE_TEST_SUITE_P(Index, EveryKind,
                         ::testing::Values(Kind{Metric::kL2, Quantization::kSq8},
                                           Kind{Metric::kL2, Quantization::kNone},
                                           Kind{Metric::kCosine, Quantization::kSq8},
                                           Kind{Metric::kCosine, Quantization::kNone},
                                           Kind{Metric::kDot, Quantization::kSq8},
                                           Kind{Metric::kDot, Quantization::kNone},
                                           Kind{Metric::kManhattan, Quantization::kSq8},
                                           Kind{Metric::kManhattan, Quantization::kNone}),
                         [](const auto& info) {
                           return std::string(MetricName(info.param.metric)) + "_" +
                                  std::string(QuantizationName(info.param.quantization));
                         });

TEST_P(EveryKind, FindsNearlyAllOfTheNearest) {
  const auto index = MakeIndex(Options(48));
  PutAll(*index, ClusteredVectors(2500, 48, 1));
  LinkAll(*index);
  EXPECT_EQ(index->Stats().pending_count, 0u);
  EXPECT_GE(RecallAt10(*index, ClusteredVectors(100, 48, 2), 128), 0.97);
}

TEST_P(EveryKind, UnlinkedVectorsAreFoundExactly) {
  const auto index = MakeIndex(Options(20));
  PutAll(*index, ClusteredVectors(500, 20, 1));
  // Some are in the graph, most are not.
  EXPECT_EQ(index->LinkPending(100), 100u);
  EXPECT_EQ(index->Stats().pending_count, 400u);
  EXPECT_GE(RecallAt10(*index, ClusteredVectors(50, 20, 2), 300), 0.999);
}

TEST_P(EveryKind, DistancesAreThoseOfTheFloats) {
  const Vectors vectors = ClusteredVectors(300, 33, 1);
  const auto index = MakeIndex(Options(33));
  const auto slots = PutAll(*index, vectors);
  LinkAll(*index);
  for (const auto& query : ClusteredVectors(20, 33, 2)) {
    float last = -kInfinity;
    for (const Hit& hit : SearchOrDie(*index, query, {})) {
      const double truth = TrueDistance(GetParam().metric, query, vectors[hit.slot]);
      EXPECT_NEAR(hit.distance, truth, 1e-4 * (1 + std::abs(truth)));
      EXPECT_EQ(*index->Distance(query, hit.slot), hit.distance);
      EXPECT_EQ(hit.label, testing::LabelOf(hit.slot));
      EXPECT_GE(hit.distance, last);
      last = hit.distance;
    }
  }
}

TEST_P(EveryKind, ReturnsWhatWasPutBitForBit) {
  Vectors vectors = ClusteredVectors(50, 7, 1);
  vectors[3] = {1e-30f, -0.0f, FLT_MIN, 3e38f, -3e38f, 0.1f, 1.0f};
  const auto index = MakeIndex(Options(7));
  const auto slots = PutAll(*index, vectors);
  LinkAll(*index);
  for (size_t i = 0; i < vectors.size(); ++i) {
    const auto stored = index->GetVector(slots[i]);
    ASSERT_TRUE(stored.ok());
    EXPECT_EQ(std::memcmp(stored->data(), vectors[i].data(), 7 * sizeof(float)), 0);
  }
}

TEST_P(EveryKind, FiltersAtEverySelectivity) {
  const Vectors vectors = ClusteredVectors(3000, 24, 1);
  const auto index = MakeIndex(Options(24));
  PutAll(*index, vectors);
  LinkAll(*index);
  for (const Slot modulus : {1u, 2u, 10u, 100u, 1000u, 3000u}) {
    size_t wanted = 0;
    size_t found = 0;
    for (const auto& query : ClusteredVectors(30, 24, 2)) {
      SearchOptions options;
      options.ef = 128;
      options.filter = [&](Slot slot) { return slot % modulus == 0; };
      const auto hits = SearchOrDie(*index, query, options);
      options.exact = true;
      const auto truth = SearchOrDie(*index, query, options);
      ASSERT_EQ(truth.size(), std::min<size_t>(10, (3000 + modulus - 1) / modulus));
      ASSERT_EQ(hits.size(), truth.size());
      for (const Hit& hit : hits) {
        EXPECT_EQ(hit.slot % modulus, 0u);
        ++wanted;
        found += std::find(truth.begin(), truth.end(), hit) != truth.end();
      }
    }
    EXPECT_GE(static_cast<double>(found), 0.95 * static_cast<double>(wanted)) << modulus;
  }
}

TEST_P(EveryKind, SurvivesExtremeComponents) {
  const auto index = MakeIndex(Options(4));
  const Vectors vectors = {{3.4e38f, -3.4e38f, 3.4e38f, 1},
                           {-3.4e38f, 3.4e38f, 1, 3.4e38f},
                           {1e-45f, 0, 0, 0},
                           {1, 1, 1, 1},
                           {1e-30f, 1e30f, -1e30f, 1e-30f},
                           {-1, -1, -1, -1},
                           {3.4e38f, 3.4e38f, 3.4e38f, 3.4e38f}};
  PutAll(*index, vectors);
  LinkAll(*index);
  for (const auto& query : vectors) {
    for (const bool exact : {false, true}) {
      SearchOptions options;
      options.exact = exact;
      const auto hits = SearchOrDie(*index, query, options);
      ASSERT_EQ(hits.size(), vectors.size());
      for (const Hit& hit : hits) EXPECT_TRUE(std::isfinite(hit.distance));
    }
  }
}

// Whatever the codes lose, and whether a search looks at the floats or need not.
TEST(Index, ScoresOfWholeNumbersAreExactAlsoBesideOthers) {
  const Vectors vectors = ByteVectors(1100, 300, 1);
  for (const Metric metric : {Metric::kL2, Metric::kManhattan}) {
    const auto index = MakeIndex(OptionsOf(300, metric));
    PutAll(*index, vectors);
    LinkAll(*index);
    Vectors queries = ByteVectors(10, 300, 2);
    queries.push_back(queries[0]);
    queries.back()[7] += 0.25f;
    queries.push_back(std::vector<float>(300, -300.0f));  // squares above 2^24
    const auto check = [&] {
      for (const auto& query : queries) {
        for (const Hit& hit : SearchOrDie(*index, query, {})) {
          EXPECT_EQ(hit.distance, *index->Distance(query, hit.slot));
          EXPECT_FLOAT_EQ(hit.distance, static_cast<float>(TrueDistance(
                                            metric, query, *index->GetVector(hit.slot))));
        }
      }
    };
    check();
    std::vector<float> between = queries[0];
    for (float& x : between) x += 0.5f;
    const auto slot = index->Put(between, 1);
    ASSERT_TRUE(slot.ok());
    check();
    EXPECT_EQ(SearchOrDie(*index, between, {})[0], (Hit{*slot, 0.0f, 1}));
  }
}

TEST(Index, WholeNumbersOfAByteAreSearchedLikeFloats) {
  for (const Metric metric : {Metric::kL2, Metric::kManhattan}) {
    const auto index = MakeIndex(OptionsOf(64, metric));
    PutAll(*index, ByteVectors(2500, 64, 1));
    LinkAll(*index);
    EXPECT_GE(RecallAt10(*index, ByteVectors(100, 64, 2), 128), 0.98);
  }
}

TEST(Index, ScoresAreWhatTheMetricIsNamedFor) {
  EXPECT_EQ(ScoreOf(Metric::kL2, 9), 3);
  EXPECT_EQ(ScoreOf(Metric::kCosine, 0.25f), 0.75f);
  EXPECT_EQ(ScoreOf(Metric::kDot, -7), 7);
  EXPECT_EQ(ScoreOf(Metric::kManhattan, 9), 9);
  const auto index = MakeIndex(OptionsOf(3, Metric::kManhattan));
  ASSERT_TRUE(index->Put(std::vector<float>{1, -2, 3}, 0).ok());
  EXPECT_EQ(*index->Distance(std::vector<float>{0, 0, 0.5f}, 0), 5.5f);
}

TEST(Index, FindsTheTrueNeighboursInSiftsmall) {
  const auto base = testing::ReadVectors("siftsmall/siftsmall_base.fvecs", 10'000);
  const auto queries = testing::ReadVectors("siftsmall/siftsmall_query.fvecs", 100);
  const auto truth = IdFile::Open(testing::DataPath("siftsmall/siftsmall_groundtruth.ivecs"));
  if (!base.ok() || !queries.ok() || !truth.ok()) GTEST_SKIP() << base.status();
  const auto index = MakeIndex(OptionsOf(static_cast<uint32_t>((*base)[0].size())));
  const auto slots = PutAll(*index, *base);
  LinkAll(*index);
  size_t found = 0;
  for (size_t i = 0; i < queries->size(); ++i) {
    const auto nearest = truth->Row(i).first(10);
    for (const Hit& hit : SearchOrDie(*index, (*queries)[i], {})) {
      found += std::count(nearest.begin(), nearest.end(), static_cast<int32_t>(hit.slot)) > 0;
    }
  }
  EXPECT_GE(static_cast<double>(found) / static_cast<double>(10 * queries->size()), 0.98);
}

TEST(Index, DimensionsOfDifferentScalesKeepTheirWeight) {
  // One dimension in four is a thousand times the others; in the plane of the
  // small ones the true neighbours differ.
  for (const Metric metric : kMetrics) {
    const std::vector<float> scales = {10.0f, 0.3f, 1.0f, 0.01f};
    const auto index = MakeIndex(OptionsOf(64, metric));
    PutAll(*index, ClusteredVectors(2500, 64, 1, 50, scales));
    LinkAll(*index);
    EXPECT_GE(RecallAt10(*index, ClusteredVectors(100, 64, 2, 50, scales), 128), 0.97)
        << MetricName(metric);
  }
}

TEST(Index, LearnsAgainWhenTheDataMoves) {
  const auto index = MakeIndex(OptionsOf(16));
  PutAll(*index, ClusteredVectors(1500, 16, 1));
  LinkAll(*index);
  // Far outside of what the ranges were learnt from.
  const std::vector<float> scales = {100.0f};
  PutAll(*index, ClusteredVectors(3000, 16, 2, 50, scales));
  LinkAll(*index);
  EXPECT_GE(RecallAt10(*index, ClusteredVectors(100, 16, 3, 50, scales), 128), 0.97);
}

TEST(Index, CreateNamesTheOptionThatIsWrong) {
  const auto error_of = [](const IndexOptions& options) {
    const auto index = VectorIndex::Create(options);
    EXPECT_EQ(ReasonOf(index.status()), Reason::kInvalidArgument);
    return std::string(index.status().message());
  };
  using ::testing::HasSubstr;
  EXPECT_THAT(error_of(OptionsOf(0)), HasSubstr("dimension"));
  EXPECT_THAT(error_of(OptionsOf(65'536)), HasSubstr("dimension"));
  IndexOptions options = OptionsOf(4);
  options.m = 1;
  EXPECT_THAT(error_of(options), HasSubstr("m is 1"));
  options.m = kMMax + 1;
  EXPECT_THAT(error_of(options), HasSubstr("m is"));
  options = OptionsOf(4);
  options.ef_construction = 0;
  EXPECT_THAT(error_of(options), HasSubstr("ef_construction"));
  options = OptionsOf(4);
  options.slots_max = kSlotsMax + 1;
  EXPECT_THAT(error_of(options), HasSubstr("slots_max"));
  EXPECT_THAT(error_of(OptionsOf(4, static_cast<Metric>(9))), HasSubstr("metric"));
  EXPECT_THAT(error_of(OptionsOf(4, Metric::kL2, static_cast<Quantization>(9))),
              HasSubstr("quantization"));
}

TEST(Index, NamesWhatIsWrongWithAVector) {
  const auto index = MakeIndex(OptionsOf(3, Metric::kCosine));
  const auto error_of = [&](const std::vector<float>& vector) {
    return std::string(index->Put(vector, 0).status().message());
  };
  using ::testing::HasSubstr;
  EXPECT_THAT(error_of({1, 2}), HasSubstr("the vector has 2 dimensions, not 3"));
  EXPECT_THAT(error_of({1, kNan, 2}), HasSubstr("component 1 of the vector is not finite"));
  EXPECT_THAT(error_of({0, 1, -kInfinity}), HasSubstr("component 2 of the vector is not finite"));
  EXPECT_THAT(error_of({0, -0.0f, 0}), HasSubstr("all zeros, which has no cosine"));
  const auto search = index->Search(std::vector<float>{1, 2}, {});
  EXPECT_THAT(std::string(search.status().message()), HasSubstr("the query has 2 dimensions"));
}

TEST(Index, ARefusedVectorChangesNothing) {
  const auto index = MakeIndex(OptionsOf(3, Metric::kCosine));
  PutAll(*index, ClusteredVectors(100, 3, 1));
  LinkAll(*index);
  const std::vector<float> query = {1, 2, 3};
  const auto before = SearchOrDie(*index, query, {});
  for (const auto& vector : Vectors{{1, 2}, {1, kNan, 2}, {0, 0, 0}}) {
    EXPECT_FALSE(index->Put(vector, 0).ok());
  }
  EXPECT_EQ(index->Stats().live_count, 100u);
  EXPECT_EQ(index->Stats().slot_count, 100u);
  EXPECT_EQ(index->Stats().pending_count, 0u);
  EXPECT_EQ(SearchOrDie(*index, query, {}), before);
}

TEST(Index, WithoutSlotsPutIsRefusedUntilSomeAreFree) {
  IndexOptions options = OptionsOf(8);
  options.slots_max = 200;
  const auto index = MakeIndex(options);
  const auto slots = PutAll(*index, ClusteredVectors(200, 8, 1));
  LinkAll(*index);
  const std::vector<float> vector(8, 1.0f);
  for (int attempt = 0; attempt < 2; ++attempt) {
    const Status status = index->Put(vector, 7).status();
    EXPECT_EQ(ReasonOf(status), Reason::kOverloaded);
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("all of its 200 slots"));
  }
  EXPECT_EQ(index->Stats().live_count, 200u);
  EXPECT_EQ(index->Stats().slot_count, 200u);
  EXPECT_EQ(SearchOrDie(*index, vector, {}).size(), 10u);
  for (size_t i = 0; i < 50; ++i) index->Delete(slots[i]);
  EXPECT_EQ(ReasonOf(index->Put(vector, 7).status()), Reason::kOverloaded);
  ConsolidateAll(*index);
  const auto slot = index->Put(vector, 7);
  ASSERT_TRUE(slot.ok()) << slot.status();
  EXPECT_EQ(SearchOrDie(*index, vector, {})[0], (Hit{*slot, 0.0f, 7}));
}

TEST(Index, ABeamNarrowerThanKIsWidened) {
  const auto index = MakeIndex(OptionsOf(16));
  PutAll(*index, ClusteredVectors(2000, 16, 1));
  LinkAll(*index);
  for (const auto& query : ClusteredVectors(20, 16, 2)) {
    SearchOptions options;
    options.k = 50;
    options.ef = 50;
    const auto hits = SearchOrDie(*index, query, options);
    EXPECT_EQ(hits.size(), 50u);
    for (const uint32_t ef : {0u, 1u, 49u}) {
      options.ef = ef;
      EXPECT_EQ(SearchOrDie(*index, query, options), hits) << ef;
    }
  }
}

TEST(Index, RefusesVectorsThatDoNotFit) {
  const auto index = MakeIndex(OptionsOf(3, Metric::kCosine));
  const Vectors bad = {{}, {1, 2}, {1, 2, 3, 4}, {1, kNan, 2}, {kInfinity, 0, 0}, {0, -0.0f, 0}};
  for (const auto& vector : bad) {
    EXPECT_EQ(ReasonOf(index->Put(vector, 0).status()), Reason::kInvalidArgument);
    EXPECT_EQ(ReasonOf(index->Search(vector, {}).status()), Reason::kInvalidArgument);
    EXPECT_EQ(ReasonOf(index->Distance(vector, 0).status()), Reason::kInvalidArgument);
  }
  EXPECT_EQ(index->Stats().slot_count, 0u);
  // Zeros have a distance and a product.
  EXPECT_TRUE(MakeIndex(OptionsOf(3, Metric::kL2))->Put(std::vector<float>{0, 0, 0}, 0).ok());
  SearchOptions none;
  none.k = 0;
  EXPECT_EQ(ReasonOf(index->Search(std::vector<float>{1, 2, 3}, none).status()),
            Reason::kInvalidArgument);
}

TEST(Index, EmptyIndexFindsNothing) {
  const auto index = MakeIndex(OptionsOf(3));
  const std::vector<float> query = {1, 2, 3};
  for (const bool exact : {false, true}) {
    SearchOptions options;
    options.exact = exact;
    EXPECT_TRUE(SearchOrDie(*index, query, options).empty());
  }
  EXPECT_EQ(index->LinkPending(10), 0u);
  EXPECT_FALSE(index->Consolidate());
  EXPECT_EQ(ReasonOf(index->GetVector(0).status()), Reason::kPointNotFound);
  EXPECT_EQ(ReasonOf(index->Distance(query, 0).status()), Reason::kPointNotFound);
  EXPECT_EQ(index->Stats().live_count, 0u);
}

TEST(Index, AnEmptyIndexIsSmall) {
  EXPECT_LT(MakeIndex(OptionsOf(1536))->Stats().memory_bytes, 100'000u);
}

TEST(Index, MoreThanThereIsGivesAll) {
  const auto index = MakeIndex(OptionsOf(8));
  PutAll(*index, ClusteredVectors(300, 8, 1));
  for (const size_t link : {0, 100, 200}) {
    if (link > 0) index->LinkPending(link);
    for (const bool exact : {false, true}) {
      SearchOptions options;
      options.k = std::numeric_limits<uint32_t>::max();
      options.exact = exact;
      std::set<Slot> slots;
      for (const Hit& hit : SearchOrDie(*index, ClusteredVectors(1, 8, 2)[0], options)) {
        slots.insert(hit.slot);
      }
      EXPECT_EQ(slots.size(), 300u);
    }
  }
}

TEST(Index, TiesAreInTheOrderOfSlots) {
  const auto index = MakeIndex(OptionsOf(2));
  PutAll(*index, Vectors(100, {1, 1}));
  LinkAll(*index);
  SearchOptions options;
  options.k = 100;
  const auto hits = SearchOrDie(*index, {1, 1}, options);
  ASSERT_EQ(hits.size(), 100u);
  for (Slot i = 0; i < 100; ++i) EXPECT_EQ(hits[i], (Hit{i, 0.0f, testing::LabelOf(i)}));
}

// Of more equals than fit, the first labels are the result, however narrow the beam.
TEST(Index, TiesAtTheCutAreInTheOrderOfLabels) {
  constexpr uint32_t kDimension = 16;
  for (const bool bytes : {true, false}) {
    for (const Quantization quantization : {Quantization::kSq8, Quantization::kNone}) {
      Vectors vectors =
          bytes ? ByteVectors(2000, kDimension, 1) : ClusteredVectors(2000, kDimension, 1);
      const std::vector<float> same = vectors[0];
      vectors.resize(2300, same);
      const auto index = MakeIndex(OptionsOf(kDimension, Metric::kL2, quantization));
      std::vector<uint64_t> labels(vectors.size());
      std::iota(labels.begin(), labels.end(), 0);
      Random random(5);
      for (size_t i = labels.size(); i > 1; --i) std::swap(labels[i - 1], labels[random.Below(i)]);
      for (size_t i = 0; i < vectors.size(); ++i) {
        ASSERT_TRUE(index->Put(vectors[i], labels[i]).ok());
      }
      LinkAll(*index);
      for (const auto& [k, ef] :
           {std::pair(10u, 10u), {10u, 12u}, {10u, 64u}, {50u, 64u}, {100u, 64u}, {200u, 200u}}) {
        SearchOptions options;
        options.k = k;
        options.ef = ef;
        options.label_less = std::less<>();
        const auto found = SearchOrDie(*index, same, options);
        options.exact = true;
        const auto expected = SearchOrDie(*index, same, options);
        EXPECT_EQ(found, expected) << "k " << k << ", ef " << ef << ", bytes " << bytes;
      }
    }
  }
}

TEST(Index, AFilterThatMatchesNothingGivesNothing) {
  const auto index = MakeIndex(OptionsOf(8));
  PutAll(*index, ClusteredVectors(500, 8, 1));
  LinkAll(*index);
  SearchOptions options;
  options.filter = [](Slot) { return false; };
  EXPECT_TRUE(SearchOrDie(*index, ClusteredVectors(1, 8, 2)[0], options).empty());
}

TEST(Index, AnExpiredDeadlineEndsTheSearch) {
  const auto index = MakeIndex(OptionsOf(8));
  PutAll(*index, ClusteredVectors(500, 8, 1));
  LinkAll(*index);
  for (const bool exact : {false, true}) {
    SearchOptions options;
    options.exact = exact;
    options.deadline = SystemClock().Now() - std::chrono::milliseconds(1);
    const auto hits = index->Search(ClusteredVectors(1, 8, 2)[0], options);
    EXPECT_EQ(ReasonOf(hits.status()), Reason::kDeadlineExceeded);
  }
}

TEST(Index, ACancelledSearchEnds) {
  const auto index = MakeIndex(OptionsOf(8));
  PutAll(*index, ClusteredVectors(5000, 8, 1));
  LinkAll(*index);
  const auto query = ClusteredVectors(1, 8, 2)[0];
  for (const bool exact : {false, true}) {
    std::atomic<bool> cancelled = false;
    SearchOptions options;
    options.ef = 1000;
    options.exact = exact;
    options.cancelled = &cancelled;
    EXPECT_EQ(SearchOrDie(*index, query, options).size(), options.k);
    cancelled = true;
    EXPECT_EQ(ReasonOf(index->Search(query, options).status()), Reason::kCancelled);
    // While it runs: the filter is asked by the searching thread.
    cancelled = false;
    uint64_t asked = 0;
    options.filter = [&](Slot) {
      cancelled = ++asked > 1000;
      return true;
    };
    EXPECT_EQ(ReasonOf(index->Search(query, options).status()), Reason::kCancelled);
    EXPECT_LT(asked, 5000u);
  }
}

TEST(Index, DeletedVectorsAreNotFound) {
  const Vectors vectors = ClusteredVectors(2000, 16, 1);
  const auto index = MakeIndex(OptionsOf(16));
  const auto slots = PutAll(*index, vectors);
  index->LinkPending(1500);
  for (size_t i = 0; i < vectors.size(); i += 2) index->Delete(slots[i]);
  EXPECT_EQ(index->Stats().live_count, 1000u);
  EXPECT_EQ(index->Stats().deleted_count, 1000u);
  EXPECT_EQ(index->Stats().pending_count, 250u);
  EXPECT_EQ(ReasonOf(index->GetVector(slots[0]).status()), Reason::kPointNotFound);
  for (int round = 0; round < 2; ++round) {
    for (const auto& query : ClusteredVectors(50, 16, 2)) {
      const auto hits = SearchOrDie(*index, query, {});
      EXPECT_EQ(hits.size(), 10u);
      for (const Hit& hit : hits) EXPECT_EQ(hit.slot % 2, 1u);
    }
    EXPECT_GE(RecallAt10(*index, ClusteredVectors(50, 16, 2), 128), 0.97);
    LinkAll(*index);
    ConsolidateAll(*index);
    EXPECT_EQ(index->Stats().deleted_count, 0u);
  }
  size_t live = 0;
  index->ForEachLive([&](Slot slot, uint64_t label) {
    EXPECT_EQ(slot % 2, 1u);
    EXPECT_EQ(label, testing::LabelOf(slot));
    EXPECT_EQ(index->Label(slot), label);
    ++live;
  });
  EXPECT_EQ(live, 1000u);
}

// Whoever links without a pause also keeps the dead from piling up.
TEST(Index, ReplacingAtFullSpeedDoesNotUseMoreAndMoreSlots) {
  const auto index = MakeIndex(OptionsOf(8));
  const Vectors vectors = ClusteredVectors(2000, 8, 1);
  auto slots = PutAll(*index, vectors);
  LinkAll(*index);
  for (int round = 0; round < 5; ++round) {
    for (size_t i = 0; i < vectors.size(); ++i) {
      const auto slot = index->Put(vectors[i], i);
      ASSERT_TRUE(slot.ok());
      index->Delete(slots[i]);
      slots[i] = *slot;
      if (i % 64 == 0) index->LinkPending(64);
    }
  }
  LinkAll(*index);
  EXPECT_LE(index->Stats().slot_count, 2600u);
  EXPECT_GE(RecallAt10(*index, ClusteredVectors(50, 8, 2), 128), 0.97);
}

TEST(Index, EverythingDeletedLeavesAnEmptyIndexThatWorks) {
  const auto index = MakeIndex(OptionsOf(16));
  for (int round = 0; round < 3; ++round) {
    const auto slots = PutAll(*index, ClusteredVectors(500, 16, 1));
    LinkAll(*index);
    EXPECT_GE(RecallAt10(*index, ClusteredVectors(20, 16, 2), 200), 0.97);
    for (const Slot slot : slots) index->Delete(slot);
    EXPECT_TRUE(SearchOrDie(*index, ClusteredVectors(1, 16, 2)[0], {}).empty());
    if (round == 1) continue;  // once without consolidation
    ConsolidateAll(*index);
    EXPECT_EQ(index->Stats().deleted_count, 0u);
  }
  EXPECT_LE(index->Stats().slot_count, 1500u);
}

TEST(Index, SlotsComeBackAfterConsolidationOnly) {
  const auto index = MakeIndex(OptionsOf(8));
  const auto slots = PutAll(*index, ClusteredVectors(100, 8, 1));
  LinkAll(*index);
  for (size_t i = 0; i < 50; ++i) index->Delete(slots[i]);
  EXPECT_EQ(*index->Put(std::vector<float>(8, 1.0f), 0), 100u);
  ConsolidateAll(*index);
  EXPECT_LT(*index->Put(std::vector<float>(8, 1.0f), 0), 50u);
}

TEST(Index, TheSameSeedBuildsTheSameIndexOnOneThread) {
  const Vectors vectors = ClusteredVectors(2000, 16, 1);
  const auto a = MakeIndex(OptionsOf(16));
  const auto b = MakeIndex(OptionsOf(16));
  for (const auto* index : {&a, &b}) {
    PutAll(**index, vectors);
    LinkAll(**index);
  }
  for (const auto& query : ClusteredVectors(50, 16, 2)) {
    SearchOptions options;
    options.ef = 10;
    EXPECT_EQ(SearchOrDie(*a, query, options), SearchOrDie(*b, query, options));
  }
}

TEST(Index, SurvivesReplacingEverythingSeveralTimes) {
  const size_t count = 1500;
  Vectors vectors = ClusteredVectors(count, 32, 1);
  const auto index = MakeIndex(OptionsOf(32));
  auto slots = PutAll(*index, vectors);
  LinkAll(*index);
  const Vectors queries = ClusteredVectors(100, 32, 99);
  const double recall = RecallAt10(*index, queries, 64);
  const uint64_t memory = index->Stats().memory_bytes;
  for (uint64_t round = 2; round < 7; ++round) {
    const Vectors replacements = ClusteredVectors(count, 32, round);
    for (size_t i = 0; i < count; ++i) {
      const auto slot = index->Put(replacements[i], i);
      ASSERT_TRUE(slot.ok());
      index->Delete(slots[i]);
      slots[i] = *slot;
      if (i % 50 == 0) {
        LinkAll(*index);
        ConsolidateAll(*index);
      }
    }
  }
  LinkAll(*index);
  EXPECT_EQ(index->Stats().live_count, count);
  EXPECT_GE(RecallAt10(*index, queries, 64), recall - 0.01);
  EXPECT_LE(static_cast<double>(index->Stats().memory_bytes), 1.3 * static_cast<double>(memory));
}

// Few links lead from one cluster to another: repairing must keep them.
TEST(Index, SurvivesReplacingClusters) {
  constexpr size_t kCount = 8000;
  constexpr uint32_t kDimension = 128;
  constexpr size_t kClusters = 16;
  const auto index = MakeIndex(OptionsOf(kDimension));
  auto slots = PutAll(*index, ClusteredVectors(kCount, kDimension, 1, kClusters));
  LinkAll(*index);
  const Vectors queries = ClusteredVectors(100, kDimension, 99, kClusters);
  const double recall = RecallAt10(*index, queries, 200);
  const Vectors replacements = ClusteredVectors(kCount, kDimension, 2, kClusters);
  for (size_t i = 0; i < kCount; ++i) {
    const auto slot = index->Put(replacements[i], i);
    ASSERT_TRUE(slot.ok());
    index->Delete(slots[i]);
    slots[i] = *slot;
    if (i % 64 == 0) {
      LinkAll(*index);
      ConsolidateAll(*index);
    }
  }
  LinkAll(*index);
  EXPECT_GE(RecallAt10(*index, queries, 200), recall - 0.01);
}

}  // namespace
}  // namespace vectron::index
