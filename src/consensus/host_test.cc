#include "consensus/host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <thread>

#include "consensus/testing/test_machine.h"
#include "storage/testing/temp_dir.h"

namespace vectron::consensus {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::TestMachine;

constexpr GroupId kGroup{7};
constexpr NodeId kNode{1};
constexpr ReplicaId kSelf{1};

// One process with one group that has one voter, on a real disk.
class HostTest : public ::testing::Test {
 protected:
  ~HostTest() override {
    if (host_ != nullptr) host_->Stop();
  }

  void Open() {
    HostEnvironment environment;
    environment.clock = &SystemClock();
    environment.metrics = &metrics_;
    options_.self = kNode;
    options_.dir = dir_.Join("log");
    auto host = Host::Open(options_, environment);
    ASSERT_TRUE(host.ok()) << host.status();
    host_ = std::move(*host);
  }

  void StartGroup(GroupId group = kGroup) {
    machine_ = std::make_shared<TestMachine>(dir_.Join("machine"));
    GroupOptions options;
    options.group = group;
    options.self = kSelf;
    options.initial_members = {{kSelf, kNode, false}};
    const Status started = host_->StartGroup(options, machine_);
    ASSERT_TRUE(started.ok()) << started;
  }

  void OpenAndStart() {
    Open();
    StartGroup();
  }

  // As a killed process leaves it, but for what the operating system holds.
  void Restart() {
    host_->Stop();
    host_.reset();
    OpenAndStart();
  }

  std::future<StatusOr<Applied>> ProposeAsync(std::string command, WriteSession session = {},
                                              Deadline deadline = kNoDeadline) {
    auto promise = std::make_shared<std::promise<StatusOr<Applied>>>();
    auto future = promise->get_future();
    host_->Propose(kGroup, {session, std::move(command)}, deadline,
                   [promise](StatusOr<Applied> result) { promise->set_value(std::move(result)); });
    return future;
  }

  StatusOr<Applied> Propose(std::string command, WriteSession session = {}) {
    return ProposeAsync(std::move(command), session).get();
  }

  StatusOr<LogIndex> ReadIndex(Deadline deadline = kNoDeadline) {
    std::promise<StatusOr<LogIndex>> promise;
    host_->ReadIndex(kGroup, deadline, [&](StatusOr<LogIndex> r) { promise.set_value(r); });
    return promise.get_future().get();
  }

  Deadline In(Duration duration) { return SystemClock().Now() + duration; }

  testing::TempDir dir_;
  HostOptions options_;
  MetricsRegistry metrics_;
  std::unique_ptr<Host> host_;
  std::shared_ptr<TestMachine> machine_;
};

TEST_F(HostTest, ProposalIsAppliedAndAnswered) {
  OpenAndStart();
  const auto applied = Propose("a");
  ASSERT_TRUE(applied.ok()) << applied.status();
  EXPECT_EQ(applied->result, std::to_string(applied->index.value()));
  EXPECT_EQ(machine_->CountOf("a"), 1);
  EXPECT_GE(machine_->AppliedIndex(), applied->index);
}

TEST_F(HostTest, ApplicationErrorReachesTheProposer) {
  OpenAndStart();
  EXPECT_EQ(ReasonOf(Propose("error").status()), Reason::kPointNotFound);
  EXPECT_TRUE(Propose("a").ok());
}

TEST_F(HostTest, ReadSeesEveryAcknowledgedWrite) {
  OpenAndStart();
  for (int i = 0; i < 100; ++i) {
    const auto applied = Propose("a");
    ASSERT_TRUE(applied.ok());
    const auto now = host_->TryReadIndex(kGroup);
    ASSERT_TRUE(now.has_value());
    EXPECT_GE(*now, applied->index);
    EXPECT_GE(*ReadIndex(), applied->index);
  }
}

TEST_F(HostTest, RestartReplaysWhatTheMachineLacks) {
  OpenAndStart();
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(Propose("command" + std::to_string(i)).ok());
  const uint64_t hash = machine_->hash();
  Restart();
  ASSERT_TRUE(ReadIndex().ok());
  EXPECT_EQ(machine_->hash(), hash);
  EXPECT_EQ(machine_->command_count(), 300u);
  machine_->RequestFlush();
  ASSERT_TRUE(Propose("more").ok());
  const uint64_t hash2 = machine_->hash();
  Restart();
  ASSERT_TRUE(ReadIndex().ok());
  EXPECT_EQ(machine_->hash(), hash2);
}

TEST_F(HostTest, AloneItLeadsAtOnceAfterACrashThatLostAllThatWasApplied) {
  OpenAndStart();
  ASSERT_TRUE(Propose("a").ok());
  // The log begins with the group's membership, which is applied anew.
  options_.election_min = options_.election_max = std::chrono::minutes(1);
  Restart();
  ASSERT_TRUE(ReadIndex(In(std::chrono::seconds(20))).ok());
  EXPECT_EQ(machine_->CountOf("a"), 1);
}

TEST_F(HostTest, RetryIsAppliedOnce) {
  OpenAndStart();
  const WriteSession session{42, 1, 0};
  const auto first = Propose("a", session);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(Propose("a", session)->result, first->result);
  Restart();
  EXPECT_EQ(Propose("a", session)->result, first->result);
  EXPECT_EQ(machine_->CountOf("a"), 1);
}

TEST_F(HostTest, ManyProposersShareRounds) {
  OpenAndStart();
  std::vector<std::future<StatusOr<Applied>>> answers;
  for (int i = 0; i < 5000; ++i) answers.push_back(ProposeAsync(std::to_string(i)));
  for (auto& answer : answers) ASSERT_TRUE(answer.get().ok());
  EXPECT_EQ(machine_->command_count(), 5000u);
  const std::string text = RenderMetrics(metrics_);
  EXPECT_THAT(text, ::testing::HasSubstr("vectron_raft_proposals_total 5000"));
  EXPECT_THAT(text, ::testing::HasSubstr("vectron_log_fsync_seconds_count"));
}

TEST_F(HostTest, LargeCommandIsKept) {
  OpenAndStart();
  const std::string large(64 << 20, 'x');
  ASSERT_TRUE(Propose(large).ok());
  ASSERT_TRUE(Propose("after").ok());
  Restart();
  ASSERT_TRUE(ReadIndex().ok());
  EXPECT_EQ(machine_->CountOf(large), 1);
}

TEST_F(HostTest, TooLargeCommandIsRefused) {
  options_.command_bytes_max = 1000;
  OpenAndStart();
  EXPECT_EQ(ReasonOf(Propose(std::string(1001, 'x')).status()), Reason::kLimitExceeded);
  EXPECT_TRUE(Propose(std::string(1000, 'x')).ok());
}

TEST_F(HostTest, TooManyBytesInFlightAreRefused) {
  options_.inflight_bytes_max = 100'000;
  OpenAndStart();
  std::vector<std::future<StatusOr<Applied>>> answers;
  for (int i = 0; i < 200; ++i) answers.push_back(ProposeAsync(std::string(10'000, 'x')));
  int done = 0;
  int refused = 0;
  for (auto& answer : answers) {
    const auto result = answer.get();
    if (result.ok()) {
      ++done;
    } else {
      EXPECT_EQ(ReasonOf(result.status()), Reason::kOverloaded) << result.status();
      ++refused;
    }
  }
  EXPECT_GT(done, 0);
  EXPECT_GT(refused, 0);
  EXPECT_EQ(machine_->command_count(), static_cast<uint64_t>(done));
  EXPECT_TRUE(Propose("a").ok());
}

TEST_F(HostTest, PassedDeadlineIsRefusedBeforeAnythingIsDone) {
  OpenAndStart();
  ASSERT_TRUE(Propose("a").ok());
  const auto late = ProposeAsync("late", {}, In(-milliseconds(1))).get();
  EXPECT_EQ(ReasonOf(late.status()), Reason::kUnavailable);
  ASSERT_TRUE(Propose("b").ok());
  EXPECT_EQ(machine_->CountOf("late"), 0);
}

TEST_F(HostTest, UnknownGroupIsSaid) {
  Open();
  EXPECT_EQ(ReasonOf(Propose("a").status()), Reason::kShardNotFound);
  EXPECT_EQ(ReasonOf(ReadIndex().status()), Reason::kShardNotFound);
  EXPECT_FALSE(host_->TryReadIndex(kGroup).has_value());
  EXPECT_EQ(host_->GetStatus(kGroup).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(host_->StopGroup(kGroup)), Reason::kShardNotFound);
}

TEST_F(HostTest, SameGroupTwiceIsRefused) {
  OpenAndStart();
  GroupOptions options;
  options.group = kGroup;
  options.self = kSelf;
  EXPECT_EQ(ReasonOf(host_->StartGroup(options, std::make_shared<TestMachine>())),
            Reason::kInvalidArgument);
}

TEST_F(HostTest, StoppedGroupStartsAgainWhereItWas) {
  OpenAndStart();
  ASSERT_TRUE(Propose("a").ok());
  ASSERT_TRUE(host_->StopGroup(kGroup).ok());
  EXPECT_EQ(ReasonOf(Propose("b").status()), Reason::kShardNotFound);
  EXPECT_EQ(machine_.use_count(), 1);
  StartGroup();
  ASSERT_TRUE(Propose("c").ok());
  EXPECT_EQ(machine_->CountOf("a"), 1);
}

TEST_F(HostTest, DestroyedGroupStartsEmpty) {
  OpenAndStart();
  ASSERT_TRUE(Propose("a").ok());
  ASSERT_TRUE(host_->DestroyGroup(kGroup).ok());
  StartGroup();
  ASSERT_TRUE(Propose("b").ok());
  EXPECT_EQ(machine_->CountOf("a"), 0);
  Restart();
  ASSERT_TRUE(ReadIndex().ok());
  EXPECT_EQ(machine_->command_count(), 1u);
}

// What a group still had to write when it was removed must not come after its removal:
// the log would hold a group without a beginning, and refuse to be opened.
TEST_F(HostTest, NothingOfADestroyedGroupComesAfterItsEnd) {
  constexpr uint64_t kBusyCount = 40;
  constexpr uint64_t kDestroyedCount = 100;
  Open();
  const auto start = [&](uint64_t id) {
    GroupOptions options;
    options.group = GroupId(id);
    options.self = kSelf;
    options.initial_members = {{kSelf, kNode, false}};
    auto machine = std::make_shared<TestMachine>(dir_.Join("machine" + std::to_string(id)));
    ASSERT_TRUE(host_->StartGroup(options, std::move(machine)).ok());
  };
  // Makes the rounds in which groups are removed long ones.
  std::atomic<bool> stop{false};
  for (uint64_t id = 1; id <= kBusyCount; ++id) start(id);
  std::thread load([&] {
    while (!stop) {
      std::vector<std::future<void>> answers;
      for (uint64_t id = 1; id <= kBusyCount; ++id) {
        auto answered = std::make_shared<std::promise<void>>();
        answers.push_back(answered->get_future());
        host_->Propose(GroupId(id), {{}, "load"}, kNoDeadline,
                       [answered](const StatusOr<Applied>&) { answered->set_value(); });
      }
      for (auto& answer : answers) answer.wait();
    }
  });
  for (uint64_t id = kBusyCount + 1; id <= kBusyCount + kDestroyedCount; ++id) {
    start(id);
    std::promise<StatusOr<Applied>> applied;
    host_->Propose(GroupId(id), {{}, "a"}, kNoDeadline,
                   [&](StatusOr<Applied> result) { applied.set_value(std::move(result)); });
    EXPECT_TRUE(applied.get_future().get().ok());
    EXPECT_TRUE(host_->DestroyGroup(GroupId(id)).ok());
  }
  stop = true;
  load.join();
  host_->Stop();
  host_.reset();
  Open();
  ASSERT_NE(host_, nullptr);
  for (uint64_t id = kBusyCount + 1; id <= kBusyCount + kDestroyedCount; ++id) {
    EXPECT_FALSE(host_->HasLog(GroupId(id))) << id;
  }
}

TEST_F(HostTest, StatusTellsWhoLeads) {
  OpenAndStart();
  ASSERT_TRUE(Propose("a").ok());
  const auto status = host_->GetStatus(kGroup);
  ASSERT_TRUE(status.ok());
  EXPECT_TRUE(status->is_leader);
  EXPECT_EQ(status->leader, (Member{kSelf, kNode, false}));
  EXPECT_THAT(status->members, ::testing::ElementsAre(Member{kSelf, kNode, false}));
  EXPECT_TRUE(status->health.ok());
  EXPECT_GE(status->applied, LogIndex(2));
}

TEST_F(HostTest, FailedStateMachineStopsItsGroupOnly) {
  OpenAndStart();
  ASSERT_TRUE(Propose("a").ok());
  machine_->FailApply(Internal("no disk"));
  const auto result = Propose("b");
  EXPECT_FALSE(result.ok());
  EXPECT_EQ(ReasonOf(result.status()), Reason::kOutcomeUnknown) << result.status();
  EXPECT_FALSE(Propose("c").ok());
  EXPECT_FALSE(host_->TryReadIndex(kGroup).has_value());
  EXPECT_FALSE(host_->GetStatus(kGroup)->health.ok());
  const auto failed = machine_;
  StartGroup(GroupId(8));
  std::promise<StatusOr<Applied>> promise;
  host_->Propose(GroupId(8), {{}, "x"}, kNoDeadline,
                 [&](StatusOr<Applied> r) { promise.set_value(std::move(r)); });
  EXPECT_TRUE(promise.get_future().get().ok());
}

TEST_F(HostTest, WaitAppliedAnswersAtItsIndexOrItsDeadline) {
  OpenAndStart();
  const auto first = Propose("a");
  ASSERT_TRUE(first.ok());
  const auto wait = [&](LogIndex index, Deadline deadline) {
    auto promise = std::make_shared<std::promise<StatusOr<LogIndex>>>();
    host_->WaitApplied(kGroup, index, deadline, [promise](auto r) { promise->set_value(r); });
    return promise->get_future();
  };
  EXPECT_TRUE(wait(first->index, kNoDeadline).get().ok());
  auto next = wait(Next(first->index), kNoDeadline);
  ASSERT_TRUE(Propose("b").ok());
  EXPECT_TRUE(next.get().ok());
  EXPECT_EQ(ReasonOf(wait(LogIndex(1'000'000), In(milliseconds(50))).get().status()),
            Reason::kDeadlineExceeded);
}

TEST_F(HostTest, StopAnswersEveryone) {
  OpenAndStart();
  std::vector<std::future<StatusOr<Applied>>> answers;
  for (int i = 0; i < 1000; ++i) answers.push_back(ProposeAsync(std::string(1000, 'x')));
  auto promise = std::make_shared<std::promise<StatusOr<LogIndex>>>();
  host_->WaitApplied(kGroup, LogIndex(1'000'000), kNoDeadline,
                     [promise](auto r) { promise->set_value(r); });
  host_->Stop();
  host_->Stop();
  EXPECT_EQ(ReasonOf(promise->get_future().get().status()), Reason::kShuttingDown);
  for (auto& answer : answers) {
    const auto result = answer.get();
    if (result.ok()) continue;
    const Reason reason = ReasonOf(result.status());
    EXPECT_TRUE(reason == Reason::kShuttingDown || reason == Reason::kOutcomeUnknown);
  }
  EXPECT_EQ(ReasonOf(Propose("late").status()), Reason::kShuttingDown);
}

// A request that passes the check while the host stops must not wait for the host's end.
TEST_F(HostTest, RequestsThatRaceWithStopAreAnswered) {
  for (int round = 0; round < 20; ++round) {
    OpenAndStart();
    std::atomic<int> asked{0};
    std::atomic<int> answered{0};
    std::atomic<bool> stop{false};
    std::vector<std::thread> clients;
    for (int t = 0; t < 3; ++t) {
      clients.emplace_back([&] {
        while (!stop) {
          asked += 2;
          host_->Propose(kGroup, {{}, "a"}, kNoDeadline, [&](const auto&) { ++answered; });
          host_->ReadIndex(kGroup, kNoDeadline, [&](const auto&) { ++answered; });
        }
      });
    }
    while (asked < 100) {
    }
    host_->Stop();
    stop = true;
    for (std::thread& client : clients) client.join();
    ASSERT_EQ(asked.load(), answered.load()) << "round " << round;
  }
}

TEST_F(HostTest, LogIsTruncatedBehindTheDurableState) {
  options_.log_bytes_flush = 4 << 20;
  options_.log_segment_bytes = 1 << 20;
  OpenAndStart();
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(Propose(std::string(100'000, 'a' + i % 26)).ok());
  // Maintenance runs once a second.
  for (int i = 0; i < 100; ++i) {
    if (host_->GetStatus(kGroup)->first_index > LogIndex(100)) break;
    std::this_thread::sleep_for(milliseconds(50));
    ASSERT_TRUE(Propose("a").ok());
  }
  EXPECT_GT(host_->GetStatus(kGroup)->first_index, LogIndex(100));
  EXPECT_GT(machine_->flush_request_count(), 0);
  const uint64_t hash = machine_->hash();
  Restart();
  ASSERT_TRUE(ReadIndex().ok());
  EXPECT_EQ(machine_->hash(), hash);
}

}  // namespace
}  // namespace vectron::consensus
