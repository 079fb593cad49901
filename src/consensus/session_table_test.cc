#include "consensus/session_table.h"

#include <gtest/gtest.h>

#include <map>

#include "common/random.h"

namespace vectron::consensus {
namespace {

// What a state machine's store would hold.
using Stored = std::map<std::string, std::string>;

void ApplyChanges(const std::vector<SessionChange>& changes, Stored* stored) {
  for (const SessionChange& change : changes) {
    if (change.value.has_value()) {
      (*stored)[change.key] = *change.value;
    } else {
      stored->erase(change.key);
    }
  }
}

class SessionTableTest : public testing::Test {
 protected:
  explicit SessionTableTest(const SessionTable::Options& options = Small())
      : options_(options), table_(options) {}

  static SessionTable::Options Small() {
    SessionTable::Options options;
    options.session_count_max = 3;
    options.idle_session_count_max = 2;
    options.result_count_max = 4;
    options.result_bytes_max = 100;
    return options;
  }

  // True if the write was new, and is now recorded with `result`.
  bool Apply(WriteSession write, const ApplyResult& result = std::string("done")) {
    index_ = Next(index_);
    if (table_.Find(write).has_value()) return false;
    std::vector<SessionChange> changes;
    table_.Record(write, index_, result, &changes);
    ApplyChanges(changes, &stored_);
    return true;
  }

  Reason FoundReason(WriteSession write) {
    const auto found = table_.Find(write);
    return found.has_value() ? ReasonOf(found->status()) : Reason::kInternal;
  }

  const SessionTable::Options options_;
  SessionTable table_;
  Stored stored_;
  LogIndex index_;
};

TEST_F(SessionTableTest, RetryGetsTheFirstResult) {
  ASSERT_TRUE(Apply({7, 1, 0}, std::string("first")));
  ASSERT_FALSE(Apply({7, 1, 0}));
  EXPECT_EQ(**table_.Find({7, 1, 0}), "first");
  EXPECT_FALSE(table_.Find({7, 2, 0}).has_value());
  EXPECT_FALSE(table_.Find({8, 1, 0}).has_value());
}

TEST_F(SessionTableTest, ErrorsKeepReasonAndDetails) {
  ASSERT_TRUE(Apply({7, 1, 0}, MakeError(Reason::kPointNotFound, "no point 5", {{"id", "5"}})));
  const Status status = table_.Find({7, 1, 0})->status();
  EXPECT_EQ(ReasonOf(status), Reason::kPointNotFound);
  EXPECT_EQ(status.message(), "no point 5");
  EXPECT_EQ(DetailsOf(status), (ErrorDetails{{"id", "5"}}));
  ASSERT_TRUE(Apply({7, 2, 0}, absl::AbortedError("plain")));
  EXPECT_EQ(table_.Find({7, 2, 0})->status(), absl::AbortedError("plain"));
}

TEST_F(SessionTableTest, WritesWithoutSessionAreAlwaysNew) {
  EXPECT_TRUE(Apply({}));
  EXPECT_TRUE(Apply({}));
  EXPECT_TRUE(stored_.empty());
}

TEST_F(SessionTableTest, AcknowledgedResultsAreDroppedAndNeverAppliedAgain) {
  ASSERT_TRUE(Apply({7, 1, 0}));
  ASSERT_TRUE(Apply({7, 2, 0}));
  ASSERT_TRUE(Apply({7, 5, 3}));
  EXPECT_EQ(stored_.size(), 2u);  // the session and the result of 5
  EXPECT_EQ(FoundReason({7, 1, 0}), Reason::kOutcomeForgotten);
  EXPECT_EQ(FoundReason({7, 2, 0}), Reason::kOutcomeForgotten);
  EXPECT_FALSE(table_.Find({7, 3, 3}).has_value());  // still on its way
  EXPECT_TRUE(table_.Find({7, 5, 3})->ok());
}

TEST_F(SessionTableTest, WriteBelowItsOwnAcknowledgementIsRefused) {
  EXPECT_EQ(FoundReason({7, 4, 9}), Reason::kOutcomeForgotten);
}

TEST_F(SessionTableTest, SequencesMayArriveOutOfOrderAcrossShards) {
  // The first write of a session that this shard sees has any sequence.
  EXPECT_TRUE(Apply({7, 500, 499}));
  EXPECT_TRUE(Apply({7, 499, 499}));
  EXPECT_FALSE(Apply({7, 499, 499}));
}

TEST_F(SessionTableTest, TooManyResultsOfOneSessionDropItsLowest) {
  for (uint64_t sequence = 1; sequence <= 5; ++sequence) ASSERT_TRUE(Apply({7, sequence, 0}));
  EXPECT_EQ(FoundReason({7, 1, 0}), Reason::kOutcomeForgotten);
  EXPECT_TRUE(table_.Find({7, 2, 0})->ok());
}

TEST_F(SessionTableTest, LargeResultIsNotKept) {
  ASSERT_TRUE(Apply({7, 1, 0}, std::string(101, 'x')));
  EXPECT_EQ(FoundReason({7, 1, 0}), Reason::kOutcomeForgotten);
}

TEST_F(SessionTableTest, EvictedSessionRefusesRetriesAndTakesNewWrites) {
  for (uint64_t session = 1; session <= 4; ++session) ASSERT_TRUE(Apply({session, 9, 0}));
  EXPECT_EQ(table_.session_count(), 3u);
  EXPECT_EQ(table_.idle_session_count(), 1u);
  EXPECT_EQ(FoundReason({1, 9, 0}), Reason::kOutcomeForgotten);
  EXPECT_EQ(FoundReason({1, 8, 0}), Reason::kOutcomeForgotten);
  EXPECT_TRUE(Apply({1, 10, 0}));
  EXPECT_FALSE(Apply({1, 10, 0}));
}

TEST_F(SessionTableTest, UseKeepsASessionFromEviction) {
  for (uint64_t session = 1; session <= 3; ++session) ASSERT_TRUE(Apply({session, 1, 0}));
  ASSERT_TRUE(Apply({1, 2, 0}));
  ASSERT_TRUE(Apply({4, 1, 0}));
  EXPECT_TRUE(table_.Find({1, 1, 0})->ok());
  EXPECT_EQ(FoundReason({2, 1, 0}), Reason::kOutcomeForgotten);
}

TEST_F(SessionTableTest, StoredFormIsBounded) {
  for (uint64_t session = 1; session <= 100; ++session) {
    for (uint64_t sequence = 1; sequence <= 10; ++sequence) Apply({session, sequence, 0});
  }
  EXPECT_EQ(table_.session_count(), 3u);
  EXPECT_EQ(table_.idle_session_count(), 2u);
  EXPECT_EQ(stored_.size(), 3 * (1 + 4) + 2u);
}

TEST_F(SessionTableTest, ReloadedTableBehavesAsTheOneThatWasStored) {
  Random random(1);
  SessionTable other(options_);
  for (int step = 0; step < 3000; ++step) {
    const uint64_t sequence = 1 + random.Below(30) + step / 20;
    const WriteSession write{1 + random.Below(8), sequence,
                             random.Below(4) == 0 ? sequence - random.Below(5) : 0};
    Apply(write, std::to_string(step));
    if (step % 100 != 0) continue;
    SessionTable loaded(options_);
    for (const auto& [key, value] : stored_) ASSERT_TRUE(loaded.Load(key, value).ok());
    ASSERT_TRUE(loaded.FinishLoad().ok());
    Stored dumped;
    ApplyChanges(loaded.Dump(), &dumped);
    ASSERT_EQ(dumped, stored_) << "step " << step;
    table_ = SessionTable(options_);
    for (const auto& [key, value] : stored_) ASSERT_TRUE(table_.Load(key, value).ok());
    ASSERT_TRUE(table_.FinishLoad().ok());
  }
}

TEST_F(SessionTableTest, MalformedRecordsAreCorruption) {
  ASSERT_TRUE(Apply({7, 1, 0}));
  for (const auto& [key, value] : stored_) {
    SessionTable table(options_);
    EXPECT_EQ(ReasonOf(table.Load(key.substr(1), value)), Reason::kCorruption);
    EXPECT_EQ(ReasonOf(table.Load(key, "")), Reason::kCorruption);
  }
  SessionTable table(options_);  // a result without its session
  for (const auto& [key, value] : stored_) {
    if (key[0] == 'r') {
      ASSERT_TRUE(table.Load(key, value).ok());
    }
  }
  EXPECT_EQ(ReasonOf(table.FinishLoad()), Reason::kCorruption);
}

}  // namespace
}  // namespace vectron::consensus
