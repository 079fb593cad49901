#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "common/logging.h"
#include "consensus/testing/sim_cluster.h"

// Groups of several replicas, simulated: see SimCluster.

namespace vectron::consensus {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::SimCluster;

constexpr auto kGroup = [] { return SimCluster::Group(0); };

class ClusterTest : public ::testing::Test {
 protected:
  ClusterTest() { EXPECT_TRUE(SetUpLogging("off").ok()); }
  ~ClusterTest() override { EXPECT_TRUE(SetUpLogging("warn").ok()); }

  static SimCluster::Options Nodes(int count) {
    SimCluster::Options options;
    options.node_count = count;
    return options;
  }
};

TEST_F(ClusterTest, WritesReachAllReplicas) {
  SimCluster cluster(Nodes(3));
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(cluster.Write(kGroup(), fmt::format("command {}", i)).has_value());
  }
  EXPECT_TRUE(cluster.RunUntil([&] { return cluster.Converged(kGroup(), 20); }));
}

TEST_F(ClusterTest, FollowersNameTheLeader) {
  SimCluster cluster(Nodes(3));
  ASSERT_TRUE(cluster.Write(kGroup(), "a").has_value());
  const int leader = cluster.LeaderOf(kGroup());
  const int follower = leader == 1 ? 2 : 1;
  Status status;
  cluster.host(follower).Propose(kGroup(), {{}, "b"}, kNoDeadline,
                                 [&](StatusOr<Applied> result) { status = result.status(); });
  cluster.Run(milliseconds(20));
  EXPECT_EQ(ReasonOf(status), Reason::kNotLeader);
  EXPECT_EQ(LeaderHint(status), NodeId(static_cast<uint64_t>(leader)));
}

TEST_F(ClusterTest, EveryReplicaServesLinearizableReads) {
  SimCluster cluster(Nodes(3));
  for (int i = 0; i < 20; ++i) {
    const auto applied = cluster.Write(kGroup(), fmt::format("command {}", i));
    ASSERT_TRUE(applied.has_value());
    for (int node = 1; node <= 3; ++node) {
      EXPECT_FALSE(cluster.host(node).TryReadIndex(kGroup()).has_value());
      const auto read = cluster.Read(node, kGroup());
      ASSERT_TRUE(read.has_value());
      EXPECT_GE(*read, applied->index);
      EXPECT_GE(cluster.machine(node, kGroup()).AppliedIndex(), *read);
    }
  }
}

TEST_F(ClusterTest, BrokenConnectionMovesLeadershipAtOnce) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SimCluster::Options options = Nodes(3);
    options.seed = seed;
    SimCluster cluster(options);
    ASSERT_TRUE(cluster.Write(kGroup(), "a").has_value());
    const int leader = cluster.LeaderOf(kGroup());
    cluster.Crash(leader);
    const TimePoint start = cluster.clock().Now();
    ASSERT_TRUE(cluster.Write(kGroup(), "b").has_value());
    EXPECT_LT(cluster.clock().Now() - start, milliseconds(120)) << "seed " << seed;
    cluster.Restart(leader);
    EXPECT_TRUE(cluster.RunUntil([&] { return cluster.Converged(kGroup(), 2); }));
  }
}

TEST_F(ClusterTest, SilentLeaderIsReplacedByTheElectionTimeout) {
  SimCluster cluster(Nodes(3));
  ASSERT_TRUE(cluster.Write(kGroup(), "a").has_value());
  const int leader = cluster.LeaderOf(kGroup());
  cluster.network().Isolate(NodeId(static_cast<uint64_t>(leader)), true);
  ASSERT_TRUE(cluster.RunUntil(
      [&] {
        const int now = cluster.LeaderOf(kGroup());
        return now != 0 && now != leader;
      },
      seconds(3)));
  ASSERT_TRUE(cluster.Write(kGroup(), "b").has_value());
  // The old leader answers no read, and steps down.
  EXPECT_FALSE(cluster.Read(leader, kGroup()).has_value());
  EXPECT_FALSE(cluster.host(leader).GetStatus(kGroup())->is_leader);
  cluster.network().Isolate(NodeId(static_cast<uint64_t>(leader)), false);
  EXPECT_TRUE(cluster.RunUntil([&] { return cluster.Converged(kGroup(), 2); }));
}

TEST_F(ClusterTest, WriteWithoutAMajorityHasAnUnknownOutcome) {
  SimCluster cluster(Nodes(3));
  ASSERT_TRUE(cluster.Write(kGroup(), "a").has_value());
  const int leader = cluster.LeaderOf(kGroup());
  cluster.network().Isolate(NodeId(static_cast<uint64_t>(leader)), true);
  Status status;
  cluster.host(leader).Propose(kGroup(), {{}, "lost"}, cluster.clock().Now() + milliseconds(100),
                               [&](StatusOr<Applied> result) { status = result.status(); });
  cluster.Run(milliseconds(150));
  EXPECT_EQ(ReasonOf(status), Reason::kOutcomeUnknown) << status;
}

TEST_F(ClusterTest, ReplacedProposalIsKnownNotToBeDone) {
  SimCluster cluster(Nodes(3));
  ASSERT_TRUE(cluster.Write(kGroup(), "a").has_value());
  const int leader = cluster.LeaderOf(kGroup());
  const NodeId node(static_cast<uint64_t>(leader));
  cluster.network().Isolate(node, true);
  Status status;
  cluster.host(leader).Propose(kGroup(), {{}, "lost"}, kNoDeadline,
                               [&](StatusOr<Applied> result) { status = result.status(); });
  cluster.Run(milliseconds(20));
  ASSERT_TRUE(cluster.RunUntil([&] { return cluster.LeaderOf(kGroup()) != leader; }));
  ASSERT_TRUE(cluster.Write(kGroup(), "b").has_value());
  cluster.network().Isolate(node, false);
  EXPECT_TRUE(cluster.RunUntil([&] { return cluster.Converged(kGroup(), 2); }));
  EXPECT_EQ(ReasonOf(status), Reason::kUnavailable) << status;
  EXPECT_EQ(cluster.machine(leader, kGroup()).CountOf("lost"), 0);
}

TEST_F(ClusterTest, LeadershipIsTransferred) {
  SimCluster cluster(Nodes(3));
  ASSERT_TRUE(cluster.Write(kGroup(), "a").has_value());
  const int leader = cluster.LeaderOf(kGroup());
  const int next = leader % 3 + 1;
  cluster.host(leader).TransferLeadership(kGroup(), ReplicaId(static_cast<uint64_t>(next)));
  EXPECT_TRUE(cluster.RunUntil([&] { return cluster.LeaderOf(kGroup()) == next; }, seconds(1)));
  EXPECT_TRUE(cluster.Write(kGroup(), "b").has_value());
}

TEST_F(ClusterTest, LaggingFollowerCatchesUpFromTheLog) {
  SimCluster cluster(Nodes(3));
  ASSERT_TRUE(cluster.Write(kGroup(), "a").has_value());
  const int leader = cluster.LeaderOf(kGroup());
  const int slow = leader % 3 + 1;
  cluster.network().Isolate(NodeId(static_cast<uint64_t>(slow)), true);
  // More than the leader keeps in memory.
  const std::string large(1 << 20, 'x');
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(cluster.Write(kGroup(), fmt::format("{} {}", i, large)).has_value());
  }
  cluster.network().Isolate(NodeId(static_cast<uint64_t>(slow)), false);
  EXPECT_TRUE(cluster.RunUntil([&] { return cluster.Converged(kGroup(), 21); }));
  EXPECT_EQ(cluster.machine(slow, kGroup()).restore_count(), 0);
}

TEST_F(ClusterTest, FollowerBehindTheLogGetsASnapshot) {
  SimCluster::Options options = Nodes(3);
  options.host.log_bytes_flush = 1 << 20;
  options.host.log_segment_bytes = 1 << 20;
  SimCluster cluster(options);
  ASSERT_TRUE(cluster.Write(kGroup(), "a").has_value());
  const int slow = cluster.LeaderOf(kGroup()) % 3 + 1;
  cluster.Crash(slow);
  const std::string large(100 << 10, 'x');
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(cluster.Write(kGroup(), fmt::format("{} {}", i, large)).has_value());
    cluster.Run(milliseconds(50));
  }
  ASSERT_GT(cluster.host(cluster.LeaderOf(kGroup())).GetStatus(kGroup())->first_index,
            LogIndex(10));
  cluster.Restart(slow);
  EXPECT_TRUE(cluster.RunUntil([&] { return cluster.Converged(kGroup(), 61); }));
  EXPECT_EQ(cluster.machine(slow, kGroup()).restore_count(), 1);
  ASSERT_TRUE(cluster.Write(kGroup(), "b").has_value());
  // And it starts again from there.
  cluster.Crash(slow);
  cluster.Restart(slow);
  EXPECT_TRUE(cluster.RunUntil([&] { return cluster.Converged(kGroup(), 62); }));
}

TEST_F(ClusterTest, IdleGroupsSendNothingUntilTheyAreNeeded) {
  SimCluster::Options options = Nodes(3);
  options.group_count = 4;
  SimCluster cluster(options);
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(cluster.Write(SimCluster::Group(i), "a").has_value());
  }
  cluster.Run(seconds(5));
  const uint64_t before = cluster.network().message_count();
  cluster.Run(seconds(20));
  EXPECT_EQ(cluster.network().message_count(), before);
  // A read at a follower, a write, and the loss of a leader wake them.
  const int leader = cluster.LeaderOf(SimCluster::Group(0));
  EXPECT_TRUE(cluster.Read(leader % 3 + 1, SimCluster::Group(0)).has_value());
  EXPECT_TRUE(cluster.Write(SimCluster::Group(1), "b").has_value());
  cluster.Run(seconds(5));
  cluster.Crash(leader);
  EXPECT_TRUE(cluster.RunUntil([&] { return cluster.AllHaveLeaders(); }, seconds(2)));
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(cluster.Write(SimCluster::Group(i), "c").has_value());
  }
}

TEST_F(ClusterTest, SleepingGroupNoticesASilentLeaderWhenItIsAsked) {
  SimCluster cluster(Nodes(3));
  ASSERT_TRUE(cluster.Write(kGroup(), "a").has_value());
  cluster.Run(seconds(5));
  const int leader = cluster.LeaderOf(kGroup());
  cluster.network().Isolate(NodeId(static_cast<uint64_t>(leader)), true);
  cluster.Run(seconds(2));
  EXPECT_TRUE(cluster.Read(leader % 3 + 1, kGroup()).has_value());
}

Member MemberOf(uint64_t id, bool learner = false) { return {ReplicaId(id), NodeId(id), learner}; }

StatusOr<LogIndex> ChangeMembers(SimCluster* cluster, std::vector<Member> members) {
  std::optional<StatusOr<LogIndex>> answer;
  for (int attempt = 0; attempt < 5; ++attempt) {
    answer.reset();
    cluster->RunUntil([&] { return cluster->LeaderOf(kGroup()) != 0; });
    cluster->host(cluster->LeaderOf(kGroup()))
        .ChangeMembers(kGroup(), members, cluster->clock().Now() + seconds(5),
                       [&](StatusOr<LogIndex> result) { answer = std::move(result); });
    cluster->RunUntil([&] { return answer.has_value(); });
    // The leader that is to go hands over first.
    if (ReasonOf(answer->status()) != Reason::kNotLeader) return *answer;
    cluster->Run(milliseconds(200));
  }
  return *answer;
}

TEST_F(ClusterTest, GroupGrowsFromOneVoterToThree) {
  SimCluster cluster(Nodes(1));
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(cluster.Write(kGroup(), fmt::format("{}", i)).has_value());
  }
  EXPECT_TRUE(cluster.host(1).TryReadIndex(kGroup()).has_value());
  cluster.StartJoining(2, kGroup());
  cluster.StartJoining(3, kGroup());
  auto changed = ChangeMembers(&cluster, {MemberOf(1), MemberOf(2, true), MemberOf(3, true)});
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_TRUE(cluster.RunUntil([&] { return cluster.Converged(kGroup(), 10); }));
  EXPECT_TRUE(cluster.host(1).TryReadIndex(kGroup()).has_value());
  changed = ChangeMembers(&cluster, {MemberOf(1), MemberOf(2), MemberOf(3)});
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_FALSE(cluster.host(1).TryReadIndex(kGroup()).has_value());
  EXPECT_THAT(cluster.host(2).GetStatus(kGroup())->members, ::testing::SizeIs(3));
  ASSERT_TRUE(cluster.Write(kGroup(), "b").has_value());
  cluster.Crash(1);
  ASSERT_TRUE(cluster.Write(kGroup(), "c").has_value());
  EXPECT_TRUE(cluster.RunUntil([&] { return cluster.Converged(kGroup(), 12); }));
}

TEST_F(ClusterTest, AllMembersAreReplacedTheLeaderIncluded) {
  SimCluster cluster(Nodes(3));
  ASSERT_TRUE(cluster.Write(kGroup(), "a").has_value());
  for (uint64_t id = 4; id <= 6; ++id) cluster.StartJoining(static_cast<int>(id), kGroup());
  const std::vector<std::vector<Member>> steps = {
      {MemberOf(1), MemberOf(2), MemberOf(3), MemberOf(4, true), MemberOf(5, true),
       MemberOf(6, true)},
      {MemberOf(3), MemberOf(4), MemberOf(5), MemberOf(6)},
      {MemberOf(4), MemberOf(5), MemberOf(6)}};
  for (const auto& members : steps) {
    const auto changed = ChangeMembers(&cluster, members);
    ASSERT_TRUE(changed.ok()) << changed.status();
    ASSERT_TRUE(cluster.Write(kGroup(), "b").has_value());
  }
  const int leader = cluster.LeaderOf(kGroup());
  EXPECT_GE(leader, 4);
  EXPECT_EQ(cluster.host(leader).GetStatus(kGroup())->members.size(), 3u);
  for (int node = 1; node <= 3; ++node) cluster.Crash(node);
  ASSERT_TRUE(cluster.Write(kGroup(), "c").has_value());
  EXPECT_TRUE(cluster.RunUntil([&] { return cluster.Converged(kGroup(), 5); }));
}

TEST_F(ClusterTest, MembershipSurvivesCrashes) {
  SimCluster cluster(Nodes(3));
  ASSERT_TRUE(cluster.Write(kGroup(), "a").has_value());
  cluster.StartJoining(4, kGroup());
  const auto changed =
      ChangeMembers(&cluster, {MemberOf(1), MemberOf(2), MemberOf(3), MemberOf(4, true)});
  ASSERT_TRUE(changed.ok()) << changed.status();
  for (int node = 1; node <= 3; ++node) {
    // Durable there, but not in the log's own record of the membership.
    cluster.machine(node, kGroup()).RequestFlush();
    cluster.Crash(node);
  }
  for (int node = 1; node <= 3; ++node) cluster.Restart(node);
  ASSERT_TRUE(cluster.Write(kGroup(), "b").has_value());
  EXPECT_TRUE(cluster.RunUntil([&] { return cluster.Converged(kGroup(), 2); }));
  EXPECT_EQ(cluster.host(1).GetStatus(kGroup())->members.size(), 4u);
}

TEST_F(ClusterTest, FullDiskRefusesWritesAndServesReads) {
  SimCluster cluster(Nodes(1));
  const auto before = cluster.Write(kGroup(), "a");
  ASSERT_TRUE(before.has_value());
  cluster.disk(1).SetRoom(64 << 20);  // less than the reserve
  cluster.Run(milliseconds(200));
  Status status;
  cluster.host(1).Propose(kGroup(), {{}, "b"}, kNoDeadline,
                          [&](StatusOr<Applied> result) { status = result.status(); });
  EXPECT_EQ(ReasonOf(status), Reason::kDiskFull);
  EXPECT_TRUE(cluster.Read(1, kGroup()).has_value());
  EXPECT_GE(*cluster.host(1).TryReadIndex(kGroup()), before->index);
  cluster.disk(1).SetRoom(1ull << 40);
  cluster.Run(milliseconds(200));
  EXPECT_TRUE(cluster.Write(kGroup(), "c").has_value());
}

TEST_F(ClusterTest, WriteCaughtByAFullDiskIsDoneWhenThereIsRoom) {
  SimCluster::Options options = Nodes(1);
  options.host.disk_reserve_bytes = 0;
  SimCluster cluster(options);
  ASSERT_TRUE(cluster.Write(kGroup(), "a").has_value());
  cluster.disk(1).SetRoom(10);
  std::optional<StatusOr<Applied>> answer;
  cluster.host(1).Propose(kGroup(), {{}, "b"}, kNoDeadline,
                          [&](StatusOr<Applied> result) { answer = std::move(result); });
  cluster.Run(seconds(1));
  EXPECT_FALSE(answer.has_value());
  EXPECT_TRUE(cluster.Read(1, kGroup()).has_value());
  cluster.disk(1).SetRoom(1 << 20);
  ASSERT_TRUE(cluster.RunUntil([&] { return answer.has_value(); }));
  EXPECT_TRUE(answer->ok()) << answer->status();
  EXPECT_EQ(cluster.machine(1, kGroup()).CountOf("b"), 1);
}

TEST_F(ClusterTest, WhatCannotBeAppliedOnAFullDiskIsAppliedWhenThereIsRoom) {
  SimCluster cluster(Nodes(1));
  ASSERT_TRUE(cluster.Write(kGroup(), "a").has_value());
  cluster.machine(1, kGroup()).FailApply(MakeError(Reason::kDiskFull, "no room"));
  std::optional<StatusOr<Applied>> answer;
  for (const char* command : {"b", "c"}) {
    cluster.host(1).Propose(kGroup(), {{}, command}, kNoDeadline,
                            [&](StatusOr<Applied> result) { answer = std::move(result); });
    cluster.Run(seconds(2));
  }
  EXPECT_FALSE(answer.has_value());
  EXPECT_TRUE(cluster.host(1).GetStatus(kGroup())->health.ok());
  cluster.machine(1, kGroup()).FailApply(OkStatus());
  ASSERT_TRUE(cluster.RunUntil([&] { return answer.has_value(); }));
  EXPECT_TRUE(answer->ok()) << answer->status();
  EXPECT_EQ(cluster.machine(1, kGroup()).CountOf("b"), 1);
  EXPECT_EQ(cluster.machine(1, kGroup()).CountOf("c"), 1);
}

TEST_F(ClusterTest, WhatMakesRoomIsTakenWhereWhatGrowsIsNot) {
  SimCluster cluster(Nodes(1));
  ASSERT_TRUE(cluster.Write(kGroup(), "a").has_value());
  const auto propose = [&](const char* command, RoomUse use) {
    std::optional<StatusOr<Applied>> answer;
    cluster.host(1).Propose(kGroup(), {{}, command, use}, kNoDeadline,
                            [&](StatusOr<Applied> result) { answer = std::move(result); });
    cluster.RunUntil([&] { return answer.has_value(); });
    return ReasonOf(answer.value().status());
  };
  cluster.disk(1).SetRoom(100 << 20);  // of a reserve of 256 MiB
  cluster.Run(milliseconds(200));
  EXPECT_EQ(propose("b", RoomUse::kGrowth), Reason::kDiskFull);
  EXPECT_EQ(propose("c", RoomUse::kRemoval), Reason::kNone);
  cluster.disk(1).SetRoom(60 << 20);
  cluster.Run(milliseconds(200));
  EXPECT_EQ(propose("d", RoomUse::kRemoval), Reason::kDiskFull);
  EXPECT_EQ(propose("e", RoomUse::kEssential), Reason::kNone);
  // The log finds no room at all, and gives up what it kept for that.
  cluster.disk(1).SetRoom(0);
  EXPECT_EQ(propose("f", RoomUse::kEssential), Reason::kNone);
  // So does a start.
  cluster.disk(1).SetRoom(1 << 30);
  cluster.Run(milliseconds(200));
  cluster.Crash(1);
  cluster.disk(1).SetRoom(0);
  cluster.Restart(1);
  EXPECT_TRUE(cluster.RunUntil([&] { return cluster.Read(1, kGroup()).has_value(); }));
}

uint64_t TraceOf(uint64_t seed) {
  SimCluster::Options options;
  options.seed = seed;
  options.network.seed = seed;
  options.network.loss_percent = 5;
  options.network.delay_max = milliseconds(5);
  SimCluster cluster(options);
  for (int i = 0; i < 5; ++i) cluster.Write(kGroup(), fmt::format("{}", i));
  cluster.Crash(1);
  cluster.Write(kGroup(), "x");
  cluster.Restart(1);
  cluster.Run(seconds(1));
  return cluster.network().trace_hash();
}

TEST_F(ClusterTest, RunRepeatsFromItsSeed) {
  for (uint64_t seed = 1; seed <= 5; ++seed) EXPECT_EQ(TraceOf(seed), TraceOf(seed)) << seed;
  EXPECT_NE(TraceOf(1), TraceOf(2));
}

// Crashes, partitions and losses at random, while a client writes: whatever was
// acknowledged is there exactly once, and all replicas agree.
TEST_F(ClusterTest, AcknowledgedWritesSurviveAnything) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    SimCluster::Options options = Nodes(3);
    options.seed = seed;
    options.network.seed = seed;
    options.network.loss_percent = static_cast<int>(seed % 4) * 3;
    options.network.repeat_percent = 5;
    options.network.delay_max = milliseconds(1 + seed % 8);
    options.host.log_bytes_flush = 20'000;
    options.host.log_segment_bytes = 10'000;
    SimCluster cluster(options);
    Random random(seed);
    std::vector<std::string> acknowledged;
    int down = 0;
    int isolated = 0;
    for (int i = 0; i < 60; ++i) {
      const std::string command = fmt::format("{}-{}", i, std::string(2000, 'x'));
      ASSERT_TRUE(cluster.Write(kGroup(), command).has_value()) << "write " << i;
      acknowledged.push_back(command);
      cluster.Run(milliseconds(random.Below(100)));
      if (down != 0 && random.Below(4) == 0) {
        cluster.Restart(down);
        down = 0;
      } else if (isolated != 0 && random.Below(4) == 0) {
        cluster.network().Isolate(NodeId(static_cast<uint64_t>(isolated)), false);
        isolated = 0;
      } else if (down == 0 && isolated == 0) {
        const int victim = 1 + static_cast<int>(random.Below(3));
        if (random.Below(3) == 0) {
          cluster.Crash(down = victim);
        } else if (random.Below(3) == 0) {
          cluster.network().Isolate(NodeId(static_cast<uint64_t>(isolated = victim)), true);
        }
      }
    }
    cluster.network().SetLoss(0);
    if (down != 0) cluster.Restart(down);
    if (isolated != 0) {
      cluster.network().Isolate(NodeId(static_cast<uint64_t>(isolated)), false);
    }
    ASSERT_TRUE(cluster.RunUntil([&] { return cluster.Converged(kGroup(), acknowledged.size()); }));
    for (const std::string& command : acknowledged) {
      ASSERT_EQ(cluster.machine(1, kGroup()).CountOf(command), 1) << command.substr(0, 5);
    }
  }
}

// 100,000 entries over 16 groups, with a crash of a leader, a restart and a follower
// that comes back by snapshot.
TEST_F(ClusterTest, SixteenGroupsOfThreeReplicasStayEqual) {
  constexpr int kGroups = 16;
  constexpr int kEntries = 100'000 / kGroups;
  SimCluster::Options options = Nodes(3);
  options.group_count = kGroups;
  options.host.log_entries_flush = 1000;
  options.host.log_bytes_flush = 64 << 10;
  options.host.log_segment_bytes = 1 << 20;
  SimCluster cluster(options);
  ASSERT_TRUE(cluster.RunUntil([&] { return cluster.AllHaveLeaders(); }));
  for (int node = 1; node <= 3; ++node) {
    for (int g = 0; g < kGroups; ++g) cluster.machine(node, SimCluster::Group(g)).ForgetCommands();
  }

  std::vector<int> next(kGroups, 0);  // to be proposed
  std::vector<int> done(kGroups, 0);
  std::vector<std::vector<int>> again(kGroups);
  const auto propose = [&](int g, int i) {
    const GroupId group = SimCluster::Group(g);
    const int leader = cluster.LeaderOf(group);
    if (leader == 0) {
      again[g].push_back(i);
      return;
    }
    const WriteSession session{static_cast<uint64_t>(g) + 1, static_cast<uint64_t>(i) + 1,
                               static_cast<uint64_t>(std::max(0, i - 900))};
    cluster.host(leader).Propose(group, {session, fmt::format("{} {} {:0>32}", g, i, i)},
                                 cluster.clock().Now() + seconds(1),
                                 [&, g, i](const StatusOr<Applied>& result) {
                                   if (result.ok()) {
                                     ++done[g];
                                   } else {
                                     again[g].push_back(i);
                                   }
                                 });
  };
  const auto total_done = [&] {
    int total = 0;
    for (const int d : done) total += d;
    return total;
  };
  bool crashed = false;
  bool restarted = false;
  const int victim = cluster.LeaderOf(SimCluster::Group(0));
  const TimePoint limit = cluster.clock().Now() + seconds(600);
  while (total_done() < kGroups * kEntries && cluster.clock().Now() < limit) {
    for (int g = 0; g < kGroups; ++g) {
      for (const int i : std::exchange(again[g], {})) propose(g, i);
      // A window, so that no session has more writes on their way than its table holds.
      for (int k = 0; k < 50 && next[g] < kEntries && next[g] - done[g] < 400; ++k) {
        propose(g, next[g]++);
      }
    }
    cluster.Run(milliseconds(5));
    if (!crashed && total_done() > 20'000) {
      crashed = true;
      cluster.Crash(victim);
    }
    if (crashed && !restarted && total_done() > 80'000) {
      restarted = true;
      cluster.Run(seconds(4));  // the others let go of what it lacks
      cluster.Restart(victim);
    }
  }
  ASSERT_EQ(total_done(), kGroups * kEntries);
  ASSERT_TRUE(restarted);
  int restored = 0;
  for (int g = 0; g < kGroups; ++g) {
    const GroupId group = SimCluster::Group(g);
    EXPECT_TRUE(cluster.RunUntil([&] { return cluster.Converged(group, kEntries); }))
        << "group " << g;
    restored += cluster.machine(victim, group).restore_count();
  }
  EXPECT_GT(restored, 0);
}

}  // namespace
}  // namespace vectron::consensus
