#include "common/point.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

namespace vectron {
namespace {

TEST(PointIdTest, KeyOrderIsIdOrder) {
  const std::vector<PointId> ids = {
      PointId(uint64_t{0}),          PointId(uint64_t{255}),
      PointId(uint64_t{256}),        PointId(std::numeric_limits<uint64_t>::max()),
      PointId(std::string("a")),     PointId(std::string("ab")),
      PointId(std::string("a\x80")), PointId(std::string("b"))};
  for (size_t i = 0; i < ids.size(); ++i) {
    for (size_t j = 0; j < ids.size(); ++j) {
      EXPECT_EQ(ids[i] <=> ids[j], i <=> j) << i << " " << j;
      EXPECT_EQ(ids[i].Key() < ids[j].Key(), ids[i] < ids[j]);
    }
    EXPECT_EQ(*PointId::FromKey(ids[i].Key()), ids[i]);
  }
  EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end(),
                             [](const auto& a, const auto& b) { return a.Key() < b.Key(); }));
}

TEST(PointIdTest, RefusesBadStringsAndKeys) {
  EXPECT_EQ(ReasonOf(PointId::FromString("").status()), Reason::kInvalidArgument);
  EXPECT_EQ(ReasonOf(PointId::FromString(std::string(513, 'x')).status()), Reason::kLimitExceeded);
  EXPECT_EQ(ReasonOf(PointId::FromString("\xff").status()), Reason::kInvalidArgument);
  EXPECT_TRUE(PointId::FromString(std::string(512, 'x')).ok());
  for (std::string_view key : {"", "x", "\1", "\2abc"}) {
    EXPECT_EQ(ReasonOf(PointId::FromKey(key).status()), Reason::kCorruption);
  }
}

TEST(PointIdTest, RingHashIsPinned) {
  EXPECT_EQ(PointId(uint64_t{1}).RingHash(), 746442697922379352u);
  EXPECT_EQ(PointId(std::string("a")).RingHash(), 2434250871652260420u);
}

}  // namespace
}  // namespace vectron
