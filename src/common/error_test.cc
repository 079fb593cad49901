#include "common/error.h"

#include <gtest/gtest.h>

namespace vectron {
namespace {

TEST(ErrorTest, KeepsReasonDetailsAndCodeThroughAnnotation) {
  const Status status = Annotate(
      MakeError(Reason::kOverloaded, "tail is full", {{"retry_after_ms", "20"}}), "shard 17");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(), "shard 17: tail is full");
  EXPECT_EQ(ReasonOf(status), Reason::kOverloaded);
  EXPECT_EQ(DetailsOf(status), (ErrorDetails{{"retry_after_ms", "20"}}));
  EXPECT_EQ(HttpCodeOf(status), 429);
}

TEST(ErrorTest, EveryReasonNameReadsBack) {
  for (int i = 0; i <= static_cast<int>(Reason::kInternal); ++i) {
    const auto reason = static_cast<Reason>(i);
    EXPECT_EQ(ReasonFromName(ReasonName(reason)), reason) << i;
  }
  EXPECT_EQ(ReasonFromName("no such reason"), Reason::kNone);
}

TEST(ErrorTest, NotLeaderCarriesTheLeaderWhereKnown) {
  EXPECT_EQ(LeaderHint(NotLeader(GroupId(3), NodeId(7))), NodeId(7));
  EXPECT_EQ(LeaderHint(NotLeader(GroupId(3), std::nullopt)), std::nullopt);
  EXPECT_EQ(LeaderHint(OkStatus()), std::nullopt);
}

TEST(ErrorTest, StatusWithoutReasonStillMapsToHttp) {
  EXPECT_EQ(HttpCodeOf(absl::NotFoundError("x")), 404);
  EXPECT_EQ(HttpCodeOf(OkStatus()), 200);
  EXPECT_EQ(ReasonOf(absl::NotFoundError("x")), Reason::kNone);
}

}  // namespace
}  // namespace vectron
