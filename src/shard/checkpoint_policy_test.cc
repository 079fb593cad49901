#include "shard/checkpoint_policy.h"

#include <gtest/gtest.h>

namespace vectron::shard {
namespace {

using std::chrono::seconds;
using Observed = CheckpointPolicy::Observed;

constexpr CheckpointPolicy::Options kOptions{
    .interval = seconds(120),
    .changed_fraction = 0.25,
    .changed_min = 1000,
    .wait_max = seconds(100),
};

// Asks once a second, as a shard does.
class CheckpointPolicyTest : public ::testing::Test {
 protected:
  // At the next second.
  bool IsDue() {
    now_ += seconds(1);
    return policy_.IsDue(index_, now_);
  }
  // The number of the second, of `count`, at which one was due first; 0: none.
  int SecondsUntilDue(int count) {
    for (int i = 1; i <= count; ++i) {
      if (IsDue()) return i;
    }
    return 0;
  }
  void Put(uint64_t count) {
    index_.vector_count += count;
    index_.change_count += count;
    index_.pending_count += count;
  }
  void Link(uint64_t count) { index_.pending_count -= count; }
  void Write() { policy_.SetCheckpoint(index_, now_); }

  TimePoint now_ = SystemClock().Now();
  CheckpointPolicy policy_{kOptions, now_};
  Observed index_;
};

TEST_F(CheckpointPolicyTest, NothingIsNotWorthACheckpoint) {
  EXPECT_EQ(SecondsUntilDue(1000), 0);
  policy_.Request();
  EXPECT_TRUE(IsDue());  // whoever keeps the log wants to cut it
}

TEST_F(CheckpointPolicyTest, AFewVectorsWaitForTheInterval) {
  Put(10);
  Link(10);
  EXPECT_EQ(SecondsUntilDue(200), 120);
}

TEST_F(CheckpointPolicyTest, ALoadIsWrittenOnceWhenItIsLinked) {
  for (int i = 0; i < 20; ++i) {
    Put(50'000);
    Link(10'000);
    if (i == 15) policy_.Request();
    ASSERT_FALSE(IsDue()) << i;
  }
  while (index_.pending_count > 10'000) {
    Link(10'000);
    ASSERT_FALSE(IsDue()) << index_.pending_count;
  }
  Link(10'000);
  ASSERT_TRUE(IsDue());
  Write();
  EXPECT_TRUE(policy_.IsUnchanged(index_));
  EXPECT_EQ(SecondsUntilDue(1000), 0);
}

TEST_F(CheckpointPolicyTest, ATailThatDoesNotGetShorterIsNotWaitedForLong) {
  Put(1'000'000);
  policy_.Request();
  ASSERT_EQ(SecondsUntilDue(300), 101);
  Write();
  // The rest is linked: its links are worth another one, which does not wait for the
  // interval, but for the last of them.
  for (int i = 0; i < 9; ++i) {
    Link(100'000);
    ASSERT_FALSE(IsDue());
  }
  EXPECT_FALSE(policy_.IsUnchanged(index_));
  Link(100'000);
  ASSERT_TRUE(IsDue());
  Write();
  EXPECT_TRUE(policy_.IsUnchanged(index_));
  EXPECT_EQ(SecondsUntilDue(1000), 0);
}

TEST_F(CheckpointPolicyTest, OneThatGetsShorterIsWaitedForLongerButNotForEver) {
  Put(1'000'000);
  policy_.Request();
  ASSERT_FALSE(IsDue());
  int waited = 0;
  do {
    Link(1);
    ++waited;
  } while (!IsDue());
  EXPECT_EQ(waited, 500);
}

TEST_F(CheckpointPolicyTest, LinksThatAreQuicklyMadeAgainAreNotWorthIt) {
  Put(1'000'000);
  Link(985'000);
  policy_.Request();
  IsDue();
  Write();
  Link(15'000);
  EXPECT_EQ(SecondsUntilDue(1000), 0);
  EXPECT_TRUE(policy_.IsUnchanged(index_));
  policy_.AdvanceCheckpoint(now_);
  EXPECT_TRUE(policy_.IsUnchanged(index_));
  Put(1);
  EXPECT_FALSE(policy_.IsUnchanged(index_));
}

TEST_F(CheckpointPolicyTest, AfterwardsAQuarterMustHaveChanged) {
  Put(100'000);
  Link(100'000);
  ASSERT_TRUE(IsDue());
  Write();
  for (int i = 0; i < 33; ++i) {
    Put(1000);
    Link(1000);
    ASSERT_EQ(SecondsUntilDue(200), 0) << i;
  }
  Put(1000);
  Link(1000);
  EXPECT_TRUE(IsDue());
}

TEST_F(CheckpointPolicyTest, WhoCutsTheLogNeedsNotWaitForTheInterval) {
  Put(100'000);
  Link(100'000);
  ASSERT_TRUE(IsDue());
  Write();
  Put(50'000);
  Link(50'000);
  EXPECT_FALSE(IsDue());
  policy_.Request();
  EXPECT_TRUE(IsDue());
}

}  // namespace
}  // namespace vectron::shard
