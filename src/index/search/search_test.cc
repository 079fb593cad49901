#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <roaring/roaring.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <set>

#include "index/search/search_cursor.h"
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

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr size_t kDimension = 16;
constexpr size_t kCount = 3000;

class Search : public ::testing::Test {
 protected:
  Search() : index_(MakeIndex(Options())) {
    PutAll(*index_, ClusteredVectors(kCount, kDimension, 1));
    LinkAll(*index_);
  }

  static IndexOptions Options() {
    IndexOptions options;
    options.dimension = kDimension;
    return options;
  }

  std::vector<Hit> AllExactly(const std::vector<float>& query) const {
    SearchOptions options;
    options.k = kCount;
    options.exact = true;
    return SearchOrDie(*index_, query, options);
  }

  const std::unique_ptr<VectorIndex> index_;
  const Vectors queries_ = ClusteredVectors(20, kDimension, 2);
};

TEST_F(Search, WithinARadiusFindsNearlyAllThatIsThere) {
  size_t wanted = 0;
  size_t found = 0;
  for (const auto& query : queries_) {
    const auto truth = AllExactly(query);
    for (const size_t inside : {0u, 1u, 5u, 40u, 300u}) {
      const float radius = inside == 0 ? truth[0].distance / 2 : truth[inside - 1].distance;
      SearchOptions options;
      options.k = kCount;
      const auto hits = index_->SearchWithin(query, radius, options);
      ASSERT_TRUE(hits.ok());
      for (const Hit& hit : *hits) EXPECT_LE(hit.distance, radius);
      EXPECT_LE(hits->size(), inside);
      EXPECT_TRUE(std::is_sorted(hits->begin(), hits->end(), [](const Hit& a, const Hit& b) {
        return a.distance < b.distance;
      }));
      wanted += inside;
      found += hits->size();
    }
  }
  EXPECT_GE(static_cast<double>(found), 0.98 * static_cast<double>(wanted));
}

TEST_F(Search, WithinARadiusKeepsToItsLimitAndItsFilter) {
  const auto truth = AllExactly(queries_[0]);
  const auto count = [&](float radius, const SearchOptions& options) {
    const auto hits = index_->SearchWithin(queries_[0], radius, options);
    EXPECT_TRUE(hits.ok());
    return hits.ok() ? hits->size() : 0;
  };
  SearchOptions options;
  options.k = 100;
  EXPECT_EQ(count(truth[499].distance, options), 100u);
  EXPECT_EQ(count(kInfinity, options), 100u);
  EXPECT_EQ(count(-kInfinity, options), 0u);
  options.k = std::numeric_limits<uint32_t>::max();
  EXPECT_EQ(count(kInfinity, options), kCount);
  options.exact = true;
  EXPECT_EQ(count(truth[499].distance, options), 500u);
  options.filter = [](Slot slot) { return slot % 2 == 0; };
  EXPECT_EQ(count(kInfinity, options), kCount / 2);
}

// As an array of what was found, this would move gigabytes.
TEST(WideSearch, GivesTheWholeIndexInOrder) {
  constexpr size_t kPoints = 60'000;
  IndexOptions index_options;
  index_options.dimension = 4;
  const auto index = MakeIndex(index_options);
  const Vectors points = ClusteredVectors(kPoints, 4, 5);
  PutAll(*index, points);  // not linked: all in the tail
  index->Delete(7);
  SearchOptions options;
  options.k = std::numeric_limits<uint32_t>::max();
  const auto hits = SearchOrDie(*index, points[0], options);
  EXPECT_EQ(hits.size(), kPoints - 1);
  EXPECT_TRUE(std::is_sorted(hits.begin(), hits.end(), [](const Hit& a, const Hit& b) {
    return a.distance != b.distance ? a.distance < b.distance : a.slot < b.slot;
  }));
  EXPECT_TRUE(std::none_of(hits.begin(), hits.end(), [](const Hit& hit) { return hit.slot == 7; }));

  options.k = 10;
  options.ef = kPoints;
  options.filter = [](Slot slot) { return slot % 2 == 1; };
  const auto odd = SearchOrDie(*index, points[0], options);
  options.exact = true;
  EXPECT_EQ(odd, SearchOrDie(*index, points[0], options));
  options.k = kPoints;
  options.label_less = [](uint64_t a, uint64_t b) { return a > b; };
  EXPECT_EQ(SearchOrDie(*index, points[0], options).size(), kPoints / 2 - 1);
}

TEST_F(Search, WithinARadiusNamesWhatIsWrong) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(ReasonOf(index_->SearchWithin(queries_[0], nan, {}).status()),
            Reason::kInvalidArgument);
  EXPECT_EQ(ReasonOf(index_->SearchWithin({queries_[0].data(), 3}, 1, {}).status()),
            Reason::kInvalidArgument);
  SearchOptions none;
  none.k = 0;
  EXPECT_EQ(ReasonOf(index_->SearchWithin(queries_[0], 1, none).status()),
            Reason::kInvalidArgument);
  SearchOptions late;
  late.deadline = SystemClock().Now() - std::chrono::milliseconds(1);
  EXPECT_EQ(ReasonOf(index_->SearchWithin(queries_[0], 1, late).status()),
            Reason::kDeadlineExceeded);
}

// Every look at it takes a millisecond.
class SlowClock final : public Clock {
 public:
  TimePoint Now() const override { return TimePoint(std::chrono::milliseconds(++looks_)); }
  int64_t WallTimeMs() const override { return 0; }
  int64_t looks() const { return looks_; }

 private:
  mutable int64_t looks_ = 0;
};

TEST(SearchLimits, AWalkLooksAtTheClockEvery64Nodes) {
  const SlowClock clock;
  IndexOptions options;
  options.dimension = kDimension;
  options.clock = &clock;
  const auto index = MakeIndex(options);
  PutAll(*index, ClusteredVectors(kCount, kDimension, 1));
  LinkAll(*index);
  const auto query = ClusteredVectors(1, kDimension, 2)[0];
  const auto search_until = [&](int64_t deadline_ms, FilterPlan plan) {
    SearchOptions search;
    search.ef = 1280;
    search.deadline = TimePoint(std::chrono::milliseconds(deadline_ms));
    search.filter_plan = plan;
    if (plan != FilterPlan::kAuto) search.filter = [](Slot slot) { return slot % 8 != 0; };
    return index->Search(query, search).status();
  };
  // Auto: without a filter.
  for (const auto plan : {FilterPlan::kAuto, FilterPlan::kTwoHop, FilterPlan::kCollect}) {
    int64_t before = clock.looks();
    EXPECT_TRUE(search_until(1'000'000, plan).ok());
    const int64_t looks = clock.looks() - before;
    EXPECT_GE(looks, 1280 / 64);
    EXPECT_LE(looks, kCount / 64 + 2);
    // Some way through it.
    before = clock.looks();
    EXPECT_EQ(ReasonOf(search_until(before + 10, plan)), Reason::kDeadlineExceeded);
    EXPECT_EQ(clock.looks() - before, 10);
  }
}

TEST(SearchLimits, ABatchIsCancelledAsAWhole) {
  IndexOptions options;
  options.dimension = kDimension;
  const auto index = MakeIndex(options);
  PutAll(*index, ClusteredVectors(kCount, kDimension, 1));
  LinkAll(*index);
  std::vector<float> queries(20 * kDimension, 0.5f);
  std::atomic<bool> cancelled = false;
  uint64_t asked = 0;
  SearchOptions search;
  search.cancelled = &cancelled;
  search.filter = [&](Slot) {
    cancelled = ++asked > 2 * kCount;
    return true;
  };
  search.filter_plan = FilterPlan::kScan;
  EXPECT_EQ(ReasonOf(index->SearchBatch(queries, search).status()), Reason::kCancelled);
  EXPECT_LT(asked, 5 * kCount);
}

TEST_F(Search, ABatchGivesWhatItsSearchesWould) {
  std::vector<float> all;
  for (const auto& query : queries_) all.insert(all.end(), query.begin(), query.end());
  const auto expect_same = [&](const SearchOptions& options) {
    const auto results = index_->SearchBatch(all, options);
    ASSERT_TRUE(results.ok());
    ASSERT_EQ(results->size(), queries_.size());
    for (size_t i = 0; i < queries_.size(); ++i) {
      EXPECT_EQ((*results)[i], SearchOrDie(*index_, queries_[i], options)) << i;
    }
  };
  SearchOptions options;
  expect_same(options);
  options.filter = [](Slot slot) { return slot % 10 < 3; };
  for (const auto plan : {FilterPlan::kScan, FilterPlan::kTwoHop, FilterPlan::kCollect}) {
    options.filter_plan = plan;
    expect_same(options);
  }
  roaring_bitmap_t* slots = roaring_bitmap_from_range(0, kCount, 3);
  options.filter = nullptr;
  options.filter_slots = slots;
  for (const auto plan : {FilterPlan::kScan, FilterPlan::kTwoHop, FilterPlan::kCollect}) {
    options.filter_plan = plan;
    expect_same(options);
  }
  roaring_bitmap_free(slots);
}

TEST_F(Search, ABatchNamesTheQueryThatIsWrong) {
  std::vector<float> all(3 * kDimension, 1.0f);
  all[2 * kDimension + 5] = kInfinity;
  const Status status = index_->SearchBatch(all, {}).status();
  EXPECT_EQ(ReasonOf(status), Reason::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("component 5 of the query 2"));
  all.pop_back();
  EXPECT_EQ(ReasonOf(index_->SearchBatch(all, {}).status()), Reason::kInvalidArgument);
  EXPECT_EQ(ReasonOf(index_->SearchBatch({}, {}).status()), Reason::kInvalidArgument);
}

TEST_F(Search, ACursorGoesThroughEverythingOnce) {
  SearchCursor cursor(*index_, queries_[0], {});
  const auto truth = AllExactly(queries_[0]);
  std::set<Slot> given;
  size_t in_first_100 = 0;
  for (size_t count = 1;; count = count * 2 % 97 + 1) {
    const auto hits = cursor.Next(count);
    ASSERT_TRUE(hits.ok());
    for (const Hit& hit : *hits) {
      EXPECT_TRUE(given.insert(hit.slot).second);
      if (given.size() > 100) continue;
      in_first_100 += std::find(truth.begin(), truth.begin() + 100, hit) != truth.begin() + 100;
    }
    if (hits->size() < count) break;
  }
  EXPECT_EQ(given.size(), kCount);
  EXPECT_GE(in_first_100, 97u);
  EXPECT_TRUE(cursor.Next(10)->empty());
}

TEST_F(Search, ACursorSeesWhatIsDeletedAndHoldsNothing) {
  SearchOptions options;
  options.filter = [](Slot slot) { return slot % 2 == 0; };
  SearchCursor cursor(*index_, queries_[0], options);
  std::set<Slot> given;
  const auto first = cursor.Next(50);
  for (const Hit& hit : *first) given.insert(hit.slot);
  EXPECT_EQ(given.size(), 50u);
  for (Slot slot = 0; slot < kCount; ++slot) {
    if (!given.contains(slot)) index_->Delete(slot);
  }
  // Beyond what the last search had found.
  EXPECT_LE(cursor.Next(kCount)->size(), 64u);
  testing::ConsolidateAll(*index_);
  EXPECT_EQ(index_->Stats().deleted_count, 0u);
  EXPECT_TRUE(cursor.Next(10)->empty());
}

TEST_F(Search, ACursorPassesErrorsOn) {
  std::atomic<bool> cancelled = true;
  SearchOptions options;
  options.cancelled = &cancelled;
  SearchCursor cursor(*index_, queries_[0], options);
  EXPECT_EQ(ReasonOf(cursor.Next(10).status()), Reason::kCancelled);
  cancelled = false;
  EXPECT_EQ(cursor.Next(10)->size(), 10u);
  EXPECT_EQ(ReasonOf(SearchCursor(*index_, {}, {}).Next(1).status()), Reason::kInvalidArgument);
}

}  // namespace
}  // namespace vectron::index
