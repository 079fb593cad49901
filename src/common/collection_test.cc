#include "common/collection.h"

#include <gtest/gtest.h>

namespace vectron {
namespace {

CollectionConfig Valid() {
  return {.name = "images", .vectors = {{.name = "", .dimension = 128}}, .shard_count = 1};
}

TEST(CollectionTest, RefusesBadNames) {
  for (const std::string& name :
       {std::string(""), std::string("../x"), std::string("a/b"), std::string(".hidden"),
        std::string(256, 'x'), std::string("a b"), std::string("a\0b", 3)}) {
    EXPECT_FALSE(ValidateCollectionName(name).ok()) << name;
  }
  EXPECT_TRUE(ValidateCollectionName(std::string(255, 'x')).ok());
  EXPECT_TRUE(ValidateCollectionName("a.b_C-9").ok());
}

TEST(CollectionTest, NamesTheFieldThatIsOutOfRange) {
  EXPECT_TRUE(ValidateCollectionConfig(Valid()).ok());
  CollectionConfig config = Valid();
  config.vectors[0].dimension = kDimensionMax + 1;
  const Status status = ValidateCollectionConfig(config);
  EXPECT_EQ(ReasonOf(status), Reason::kLimitExceeded);
  EXPECT_EQ(status.message(), "dimension is 65536, it must be 1 to 65535");
  config = Valid();
  config.vectors.push_back(config.vectors[0]);
  EXPECT_EQ(ValidateCollectionConfig(config).message(), "vector name '' appears twice");
}

TEST(CollectionTest, MetricsHaveNames) {
  for (const Metric metric : kMetrics) {
    const auto named = MetricFromName(MetricName(metric));
    ASSERT_TRUE(named.ok());
    EXPECT_EQ(*named, metric);
  }
  EXPECT_EQ(MetricFromName("l1").status().message(),
            "metric 'l1' is not one of l2, cosine, dot, manhattan");
}

TEST(CollectionTest, ScoresThatAreDistancesAreBetterWhenSmaller) {
  EXPECT_TRUE(IsBetterScore(Metric::kL2, 1, 2));
  EXPECT_TRUE(IsBetterScore(Metric::kManhattan, 1, 2));
  EXPECT_TRUE(IsBetterScore(Metric::kCosine, 2, 1));
  EXPECT_TRUE(IsBetterScore(Metric::kDot, 2, 1));
}

TEST(CollectionTest, RefusesAMetricThatOnlyTheIndexHas) {
  CollectionConfig config = Valid();
  config.vectors[0].metric = Metric::kManhattan;
  const Status status = ValidateCollectionConfig(config);
  EXPECT_EQ(ReasonOf(status), Reason::kInvalidArgument);
  EXPECT_EQ(status.message(), "the metric manhattan is not supported for collections yet");
}

TEST(CollectionTest, HashRangesCoverTheSpaceWithoutOverlap) {
  for (uint32_t count : {1u, 2u, 3u, 7u, 1024u}) {
    const auto ranges = SplitHashSpace(count);
    ASSERT_EQ(ranges.size(), count);
    EXPECT_EQ(ranges.front().first, 0u);
    EXPECT_EQ(ranges.back().last, ~uint64_t{0});
    for (size_t i = 1; i < ranges.size(); ++i) {
      EXPECT_EQ(ranges[i].first, ranges[i - 1].last + 1);
    }
  }
}

}  // namespace
}  // namespace vectron
