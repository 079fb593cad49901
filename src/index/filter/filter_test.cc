#include <gtest/gtest.h>
#include <roaring/roaring.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <set>

#include "index/filter/filter_planner.h"
#include "index/filter/slot_filter.h"
#include "index/testing/fixtures.h"
#include "index/vector_index.h"

namespace vectron::index {
namespace {

using testing::ClusteredVectors;
using testing::LinkAll;
using testing::MakeIndex;
using testing::PutAll;
using testing::SearchOrDie;
using testing::Vectors;

struct BitmapDeleter {
  void operator()(roaring_bitmap_t* bitmap) const { roaring_bitmap_free(bitmap); }
};
using Bitmap = std::unique_ptr<roaring_bitmap_t, BitmapDeleter>;

Bitmap BitmapOf(const std::set<Slot>& slots) {
  Bitmap bitmap(roaring_bitmap_create());
  for (const Slot slot : slots) roaring_bitmap_add(bitmap.get(), slot);
  return bitmap;
}

constexpr uint64_t kSlots = 300'000;

class SlotFilterTest : public ::testing::Test {
 protected:
  SlotFilterTest() {
    EXPECT_TRUE(live_.Reserve(kSlots));
    for (uint64_t slot = 0; slot < kSlots; ++slot) {
      if (slot % 7 != 0) live_.Set(slot);
    }
  }

  void ExpectPasses(const SearchOptions& options) {
    SlotFilter filter(options, live_);
    std::vector<Slot> expected;
    for (Slot slot = 0; slot < kSlots; ++slot) {
      const bool listed =
          options.filter_slots == nullptr || roaring_bitmap_contains(options.filter_slots, slot);
      const bool passes = listed && slot % 7 != 0 && (!options.filter || options.filter(slot));
      ASSERT_EQ(filter.Passes(slot), passes) << slot;
      if (passes) expected.push_back(slot);
    }
    std::vector<Slot> visited;
    filter.ForEach(
        kSlots, [] { return true; },
        [&](Slot slot) {
          visited.push_back(slot);
          return true;
        });
    EXPECT_EQ(visited, expected);
  }

  SlotBitmap live_;
};

TEST_F(SlotFilterTest, AgreesWithTheBitmapWhateverItIsMadeOf) {
  // A list, a run, bits, nothing, slots that do not exist.
  Bitmap bitmap(roaring_bitmap_create());
  for (uint32_t slot = 0; slot < 65'536; slot += 31) roaring_bitmap_add(bitmap.get(), slot);
  roaring_bitmap_add_range(bitmap.get(), 70'000, 90'000);
  for (uint32_t slot = 131'072; slot < 196'608; slot += 3) roaring_bitmap_add(bitmap.get(), slot);
  roaring_bitmap_add_range(bitmap.get(), kSlots - 10, kSlots + 100'000);
  roaring_bitmap_add(bitmap.get(), ~uint32_t{0});
  roaring_bitmap_run_optimize(bitmap.get());
  SearchOptions options;
  options.filter_slots = bitmap.get();
  ExpectPasses(options);
  options.filter = [](Slot slot) { return slot % 5 != 1; };
  ExpectPasses(options);
  // Containers that two bitmaps share are behind one more pointer.
  roaring_bitmap_set_copy_on_write(bitmap.get(), true);
  const Bitmap copy(roaring_bitmap_copy(bitmap.get()));
  options.filter_slots = copy.get();
  ExpectPasses(options);
}

TEST_F(SlotFilterTest, WithoutABitmapThePredicateDecides) {
  SearchOptions options;
  ExpectPasses(options);
  options.filter = [](Slot slot) { return slot % 1000 < 3; };
  ExpectPasses(options);
}

TEST_F(SlotFilterTest, EstimatesAreNearTheTruth) {
  const auto estimate = [&](const SearchOptions& options) {
    SlotFilter filter(options, live_);
    std::vector<Slot> some;
    filter.Sample(kSlots, 100, &some);
    EXPECT_LE(some.size(), 100u);
    for (const Slot slot : some) EXPECT_TRUE(filter.Passes(slot));
    // They come from everywhere.
    if (some.size() == 100) {
      EXPECT_LT(*std::min_element(some.begin(), some.end()), kSlots / 4);
      EXPECT_GT(*std::max_element(some.begin(), some.end()), kSlots / 4 * 3);
    }
    return filter.EstimateCount(kSlots, kSlots / 7 * 6);
  };
  SearchOptions options;
  options.filter = [](Slot slot) { return slot % 4 == 1; };
  EXPECT_NEAR(static_cast<double>(estimate(options)), 64'000, 32'000);
  const Bitmap bitmap(roaring_bitmap_from_range(0, kSlots, 3));
  options.filter_slots = bitmap.get();
  EXPECT_NEAR(static_cast<double>(estimate(options)), 21'000, 10'000);
  options.filter = nullptr;
  EXPECT_EQ(estimate(options), kSlots / 3);
  options.filter_count = 5;
  EXPECT_EQ(estimate(options), 5u);
  options.filter_count = ~uint64_t{0};
  EXPECT_EQ(estimate(options), kSlots / 7 * 6);

  const Bitmap empty(roaring_bitmap_create());
  options = {};
  options.filter_slots = empty.get();
  EXPECT_EQ(estimate(options), 0u);
}

TEST(FilterPlanner, ScansFewWalksThroughManyAndCollectsMost) {
  FilterTask task{.linked = 1'000'000, .ef = 128, .degree = 32, .row_bytes = 128, .listed = true};
  const PlanCosts costs = AssumedCosts(task.row_bytes, task.degree);
  task.matches = 0;
  EXPECT_TRUE(IsSmall(task));
  EXPECT_EQ(ChoosePlan(task, costs), FilterPlan::kScan);
  task.matches = 1'000;
  EXPECT_TRUE(IsSmall(task));
  EXPECT_EQ(ChoosePlan(task, costs), FilterPlan::kScan);
  task.matches = 200'000;
  EXPECT_FALSE(IsSmall(task));
  EXPECT_EQ(ChoosePlan(task, costs), FilterPlan::kTwoHop);
  task.matches = 950'000;
  EXPECT_EQ(ChoosePlan(task, costs), FilterPlan::kCollect);
  // Asking about everything costs more than walking.
  task.listed = false;
  task.linked = 100'000'000;
  task.matches = 2'000'000;
  EXPECT_NE(ChoosePlan(task, costs), FilterPlan::kScan);
  task.matches = 1'000;
  EXPECT_FALSE(IsSmall(task));
}

// The same search on machines whose memory or processor is another.
TEST(FilterPlanner, FollowsWhatThingsCost) {
  const FilterTask task{.matches = 40'000,
                        .linked = 1'000'000,
                        .ef = 128,
                        .degree = 32,
                        .row_bytes = 128,
                        .listed = true};
  PlanCosts costs{.scan_row = {5, 10}, .far_scan_row = 40, .expand = 1000, .ask = 4};
  EXPECT_EQ(ChoosePlan(task, costs), FilterPlan::kTwoHop);
  costs.far_scan_row = 10;  // it all stays in a cache
  EXPECT_EQ(ChoosePlan(task, costs), FilterPlan::kScan);
  costs.far_scan_row = 40;
  costs.expand = 10'000;
  costs.ask = 20;
  EXPECT_EQ(ChoosePlan(task, costs), FilterPlan::kScan);
}

// Few matches are no reason to ask about everything if they lie together.
TEST(FilterPlanner, WalksToFewMatchesThatLieTogether) {
  FilterTask task{
      .matches = 10'000, .linked = 1'000'000, .ef = 128, .degree = 32, .row_bytes = 128};
  const PlanCosts costs = AssumedCosts(task.row_bytes, task.degree);
  EXPECT_EQ(ChoosePlan(task, costs), FilterPlan::kScan);
  task.around = 0.3;
  EXPECT_EQ(ChoosePlan(task, costs), FilterPlan::kTwoHop);
  task.matches = 1'000;  // it would miss some
  EXPECT_EQ(ChoosePlan(task, costs), FilterPlan::kScan);
}

TEST(FilterPlanner, LooksAroundTheQueryWhereThatCostsLittleBesideThePlan) {
  FilterTask task{.matches = 10'000, .linked = 1'000'000, .ef = 128, .degree = 32};
  const PlanCosts costs{.scan_row = {5, 10}, .far_scan_row = 40, .expand = 1000, .ask = 4};
  const size_t nodes = NodesToLookAt(FilterPlan::kScan, task, costs);
  EXPECT_GT(nodes, kNodesToTell);
  EXPECT_LE(static_cast<double>(nodes) * costs.expand, CostOf(FilterPlan::kScan, task, costs) / 16);
  task.linked = 100'000'000;
  EXPECT_EQ(NodesToLookAt(FilterPlan::kScan, task, costs), task.ef);
  task.linked = 20'000;
  task.matches = 200;
  EXPECT_EQ(NodesToLookAt(FilterPlan::kScan, task, costs), 0u);
  // What is listed is scanned in the time that a walk takes.
  task.linked = 1'000'000;
  task.listed = true;
  EXPECT_EQ(NodesToLookAt(FilterPlan::kScan, task, costs), 0u);
  task.matches = 30'000;
  EXPECT_EQ(NodesToLookAt(FilterPlan::kScan, task, costs), kNodesToTell);
  EXPECT_EQ(NodesToLookAt(FilterPlan::kCollect, task, costs), kNodesToTell);
}

TEST(FilterPlanner, ARowsCostGoesFromNearToFar) {
  const PlanCosts costs{.scan_row = {4, 8}, .far_scan_row = 20};
  EXPECT_EQ(costs.ScanRow(1), 4);
  EXPECT_EQ(costs.ScanRow(512 << 10), 4);
  EXPECT_NEAR(costs.ScanRow(1 << 20), 6, 1e-9);
  EXPECT_EQ(costs.ScanRow(2 << 20), 8);
  EXPECT_NEAR(costs.ScanRow(4 << 20), 14, 1e-9);
  EXPECT_EQ(costs.ScanRow(8 << 20), 20);
  EXPECT_EQ(costs.ScanRow(1e12), 20);
}

// Counts how often it is looked at; each time, `step` has passed.
class SteppingClock final : public Clock {
 public:
  explicit SteppingClock(Duration step) : step_(step) {}

  TimePoint Now() const override { return TimePoint(step_ * ++looks_); }
  int64_t WallTimeMs() const override { return 0; }
  int64_t looks() const { return looks_; }

 private:
  const Duration step_;
  mutable std::atomic<int64_t> looks_{0};
};

TEST(FilterPlanner, CostsAreMeasuredOnceAndAgainWhenTheIndexHasDoubled) {
  const SteppingClock clock(std::chrono::microseconds(1));
  IndexOptions options;
  options.dimension = 8;
  options.clock = &clock;
  const auto index = MakeIndex(options);
  const Bitmap bitmap(roaring_bitmap_from_range(0, 1 << 20, 2));
  SearchOptions search;
  search.ef = 16;
  search.filter_slots = bitmap.get();
  const auto looks_of_a_search = [&] {
    const int64_t before = clock.looks();
    EXPECT_EQ(SearchOrDie(*index, std::vector<float>(8, 0.1f), search).size(), 10u);
    return clock.looks() - before;
  };
  const auto put = [&](size_t count, uint64_t seed) {
    PutAll(*index, ClusteredVectors(count, 8, seed));
    LinkAll(*index);
  };
  put(1500, 1);
  EXPECT_EQ(looks_of_a_search(), 0);  // so few that it does not matter
  put(3500, 2);
  EXPECT_GT(looks_of_a_search(), 0);
  EXPECT_EQ(looks_of_a_search(), 0);
  put(2000, 3);
  EXPECT_EQ(looks_of_a_search(), 0);
  put(4000, 4);
  EXPECT_GT(looks_of_a_search(), 0);
  EXPECT_EQ(looks_of_a_search(), 0);
}

TEST(FilterPlanner, AClockThatStandsStillLeavesWhatIsAssumed) {
  const SteppingClock clock(Duration{0});
  IndexOptions options;
  options.dimension = 8;
  options.clock = &clock;
  const auto index = MakeIndex(options);
  PutAll(*index, ClusteredVectors(5000, 8, 1));
  LinkAll(*index);
  const Bitmap bitmap(roaring_bitmap_from_range(0, 5000, 2));
  SearchOptions search;
  search.ef = 16;
  search.filter_slots = bitmap.get();
  const auto first = SearchOrDie(*index, std::vector<float>(8, 0.1f), search);
  EXPECT_EQ(first.size(), 10u);
  EXPECT_EQ(SearchOrDie(*index, std::vector<float>(8, 0.1f), search), first);
}

IndexOptions Options() {
  IndexOptions options;
  options.dimension = 24;
  return options;
}

// The slots of `vectors`, from what is nearest to `point` to what is farthest.
std::vector<Slot> ByDistance(const Vectors& vectors, const std::vector<float>& point) {
  std::vector<std::pair<double, Slot>> order;
  for (Slot slot = 0; slot < vectors.size(); ++slot) {
    order.emplace_back(testing::TrueDistance(Metric::kL2, point, vectors[slot]), slot);
  }
  std::sort(order.begin(), order.end());
  std::vector<Slot> slots;
  for (const auto& [distance, slot] : order) slots.push_back(slot);
  return slots;
}

// Recall@10 of each plan, over matches that are scattered, and matches that are
// all in clusters the query is not in.
class EveryPlan : public ::testing::TestWithParam<FilterPlan> {
 protected:
  static constexpr size_t kCount = 6000;

  EveryPlan() : vectors_(ClusteredVectors(kCount, 24, 1)), index_(MakeIndex(Options())) {
    PutAll(*index_, vectors_);
    LinkAll(*index_);
  }

  double Recall(const SearchOptions& filter, const Vectors& queries) const {
    size_t wanted = 0;
    size_t found = 0;
    for (const auto& query : queries) {
      SearchOptions options = filter;
      options.ef = 128;
      options.filter_plan = GetParam();
      const auto hits = SearchOrDie(*index_, query, options);
      options.exact = true;
      const auto truth = SearchOrDie(*index_, query, options);
      EXPECT_EQ(hits.size(), truth.size());
      wanted += truth.size();
      for (const Hit& hit : truth) {
        found += std::find(hits.begin(), hits.end(), hit) != hits.end();
      }
      for (const Hit& hit : hits) {
        EXPECT_TRUE(roaring_bitmap_contains(filter.filter_slots, hit.slot));
      }
    }
    return static_cast<double>(found) / static_cast<double>(std::max<size_t>(wanted, 1));
  }

  const Vectors vectors_;
  const std::unique_ptr<VectorIndex> index_;
};

std::string NameOf(const ::testing::TestParamInfo<FilterPlan>& info) {
  const char* const names[] = {"auto", "scan", "two_hop", "collect"};
  return names[static_cast<size_t>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(Filter, EveryPlan,
                         ::testing::Values(FilterPlan::kAuto, FilterPlan::kScan,
                                           FilterPlan::kTwoHop, FilterPlan::kCollect),
                         NameOf);

TEST_P(EveryPlan, FindsScatteredMatches) {
  const Vectors queries = ClusteredVectors(50, 24, 2);
  for (const uint32_t step : {1u, 2u, 5u, 20u}) {
    const Bitmap bitmap(roaring_bitmap_from_range(0, kCount, step));
    SearchOptions options;
    options.filter_slots = bitmap.get();
    EXPECT_GE(Recall(options, queries), 0.95) << step;
  }
}

TEST_P(EveryPlan, FindsMatchesFarFromTheQuery) {
  const Vectors queries = ClusteredVectors(20, 24, 2);
  for (const size_t matches : {3000u, 1000u, 100u, 3u}) {
    for (const auto& query : queries) {
      const std::vector<Slot> order = ByDistance(vectors_, query);
      const Bitmap bitmap = BitmapOf({order.end() - static_cast<ptrdiff_t>(matches), order.end()});
      SearchOptions options;
      options.filter_slots = bitmap.get();
      EXPECT_GE(Recall(options, {query}), 0.8) << matches;
    }
  }
}

TEST_P(EveryPlan, NeverReturnsTheDead) {
  for (Slot slot = 0; slot < kCount; slot += 2) index_->Delete(slot);
  const Bitmap bitmap(roaring_bitmap_from_range(0, 2 * kCount, 1));
  SearchOptions options;
  options.filter_slots = bitmap.get();
  options.filter_plan = GetParam();
  for (const auto& query : ClusteredVectors(20, 24, 2)) {
    const auto hits = SearchOrDie(*index_, query, options);
    ASSERT_EQ(hits.size(), 10u);
    for (const Hit& hit : hits) EXPECT_EQ(hit.slot % 2, 1u);
  }
  EXPECT_GE(Recall(options, ClusteredVectors(50, 24, 2)), 0.95);
}

TEST_P(EveryPlan, ABitmapAndAPredicateMustBothHold) {
  const Bitmap bitmap(roaring_bitmap_from_range(0, kCount, 2));
  SearchOptions options;
  options.filter_slots = bitmap.get();
  options.filter = [](Slot slot) { return slot % 3 == 0; };
  options.filter_plan = GetParam();
  for (const auto& query : ClusteredVectors(20, 24, 2)) {
    const auto hits = SearchOrDie(*index_, query, options);
    ASSERT_EQ(hits.size(), 10u);
    for (const Hit& hit : hits) EXPECT_EQ(hit.slot % 6, 0u);
  }
}

TEST_P(EveryPlan, MatchesNobodyHasAreNoHits) {
  const Bitmap empty(roaring_bitmap_create());
  const Bitmap beyond(roaring_bitmap_from_range(kCount, kCount + 1000, 1));
  for (const Bitmap* bitmap : {&empty, &beyond}) {
    SearchOptions options;
    options.filter_slots = bitmap->get();
    options.filter_plan = GetParam();
    EXPECT_TRUE(SearchOrDie(*index_, vectors_[0], options).empty());
    options.exact = true;
    EXPECT_TRUE(SearchOrDie(*index_, vectors_[0], options).empty());
  }
}

// A caller's estimate decides how the search is done, not what it finds.
TEST_P(EveryPlan, AWrongCountIsNoWrongAnswer) {
  const Bitmap bitmap(roaring_bitmap_from_range(0, kCount, 1000));
  SearchOptions options;
  options.filter_slots = bitmap.get();
  options.filter_plan = GetParam();
  for (const uint64_t count : {uint64_t{0}, uint64_t{5}, ~uint64_t{0}}) {
    options.filter_count = count;
    EXPECT_EQ(SearchOrDie(*index_, vectors_[0], options).size(), 6u);
  }
}

TEST_P(EveryPlan, FindsWhatIsNotLinkedYet) {
  const auto slots = PutAll(*index_, ClusteredVectors(200, 24, 3));
  const Bitmap bitmap = BitmapOf({slots.begin(), slots.end()});
  SearchOptions options;
  options.filter_slots = bitmap.get();
  EXPECT_GE(Recall(options, ClusteredVectors(20, 24, 2)), 0.95);
}

// Few matches behind a predicate, whose number is known.
class CountedPredicate : public ::testing::Test {
 protected:
  static constexpr size_t kCount = 60'000;
  static constexpr size_t kMatches = 90;
  static constexpr size_t kClusters = 60;

  static void SetUpTestSuite() {
    vectors_ = ClusteredVectors(kCount, 24, 1, kClusters);
    index_ = MakeIndex(Options());
    PutAll(*index_, vectors_);
    LinkAll(*index_);
  }
  static void TearDownTestSuite() { index_.reset(); }

  // What is nearest to vector `pivot`.
  void AddAround(Slot pivot, size_t matches) {
    const std::vector<Slot> order = ByDistance(vectors_, vectors_[pivot]);
    matches_.insert(order.begin(), order.begin() + static_cast<ptrdiff_t>(matches));
  }

  struct Outcome {
    double recall = 0;
    double asked_part = 0;  // of all vectors
  };
  Outcome Search(uint64_t count) const {
    const Vectors queries = ClusteredVectors(20, 24, 2);
    size_t asked = 0;
    size_t found = 0;
    for (const auto& query : queries) {
      SearchOptions options;
      options.filter_count = count;
      options.filter = [&](Slot slot) {
        ++asked;
        return matches_.contains(slot);
      };
      const auto hits = SearchOrDie(*index_, query, options);
      EXPECT_EQ(hits.size(), 10u);
      options.filter = [&](Slot slot) { return matches_.contains(slot); };
      options.exact = true;
      for (const Hit& hit : SearchOrDie(*index_, query, options)) {
        found += std::find(hits.begin(), hits.end(), hit) != hits.end();
      }
    }
    return {static_cast<double>(found) / static_cast<double>(10 * queries.size()),
            static_cast<double>(asked) / static_cast<double>(kCount * queries.size())};
  }

  // Built once: the tests only search.
  inline static Vectors vectors_;
  inline static std::unique_ptr<VectorIndex> index_;

  std::set<Slot> matches_;
};

TEST_F(CountedPredicate, MatchesThatLieTogetherAreFoundWithoutAskingAboutAll) {
  AddAround(77, kMatches);
  const Outcome outcome = Search(kMatches);
  EXPECT_GE(outcome.recall, 0.98);
  EXPECT_LT(outcome.asked_part, 0.8);
}

TEST_F(CountedPredicate, OneThatNoMatchLinksToIsSoughtBeyondTheBorder) {
  constexpr size_t kTogether = 39;
  AddAround(77, kTogether);
  matches_.insert(ByDistance(vectors_, vectors_[77])[600]);
  const Outcome outcome = Search(kTogether + 1);
  EXPECT_GE(outcome.recall, 0.98);
  EXPECT_LT(outcome.asked_part, 0.8);
}

// The few that lie elsewhere may be the nearest.
TEST_F(CountedPredicate, AFewThatLieElsewhereAreNotForgotten) {
  const Vectors queries = ClusteredVectors(20, 24, 2);
  AddAround(77, kMatches - 2);
  matches_.insert(ByDistance(vectors_, queries[0])[500]);
  matches_.insert(ByDistance(vectors_, queries[1])[700]);
  EXPECT_EQ(Search(kMatches).recall, 1);
}

TEST_F(CountedPredicate, ScatteredMatchesAreAllFound) {
  for (size_t i = 0; i < kMatches; ++i) matches_.insert(static_cast<Slot>(i * 211));
  const Outcome outcome = Search(kMatches);
  EXPECT_EQ(outcome.recall, 1);
  EXPECT_LT(outcome.asked_part, 1.2);
}

TEST_F(CountedPredicate, ATooSmallCountHidesNothing) {
  AddAround(77, kMatches / 2);
  AddAround(78, kMatches / 2);
  EXPECT_GE(Search(kMatches / 2).recall, 0.98);
  EXPECT_GE(Search(kMatches / 4).recall, 0.98);
}

// So few that hardly any is met by chance.
TEST_F(CountedPredicate, ACountOfNoneHidesNothing) {
  for (Slot shift = 0; shift < 5; ++shift) {
    matches_.clear();
    for (Slot i = 0; i < 12; ++i) matches_.insert(i * 1'500 + shift);
    EXPECT_EQ(Search(0).recall, 1) << shift;
    EXPECT_EQ(Search(1).recall, 1) << shift;
  }
}

// A walk through everything finds matches around the query; a scan would ask about all.
TEST(Predicate, MatchesAroundTheQueryAreFoundByAskingAboutAFew) {
  constexpr size_t kCount = 80'000;
  constexpr uint32_t kDimension = 8;
  const auto index = MakeIndex({.dimension = kDimension, .m = 8, .ef_construction = 32});
  const Vectors vectors = ClusteredVectors(kCount, kDimension, 1);
  PutAll(*index, vectors);
  LinkAll(*index);

  for (Slot pivot = 0; pivot < 5; ++pivot) {
    const std::vector<Slot> order = ByDistance(vectors, vectors[pivot]);
    // More than the beam, or fewer, which it takes some more nodes to know.
    const std::set<Slot> matches(order.begin(), order.begin() + (pivot % 2 == 0 ? 300 : 30));
    size_t asked = 0;
    SearchOptions options;
    options.filter = [&](Slot slot) {
      ++asked;
      return matches.contains(slot);
    };
    options.filter_count = matches.size();
    const auto hits = SearchOrDie(*index, vectors[pivot], options);
    ASSERT_EQ(hits.size(), 10u);
    size_t found = 0;
    for (const Hit& hit : hits) {
      found += std::find(order.begin(), order.begin() + 10, hit.slot) != order.begin() + 10;
    }
    EXPECT_GE(found, 9u);
    EXPECT_LT(asked, kCount / 50);
  }
}

}  // namespace
}  // namespace vectron::index
