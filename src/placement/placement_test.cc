#include "placement/placement.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <future>

#include "common/atomic_file.h"
#include "common/sync_call.h"
#include "consensus/testing/fake_host.h"
#include "placement/catalog_machine.h"

namespace vectron::placement {
namespace {

using consensus::FakeHost;
using std::chrono::milliseconds;
using std::chrono::seconds;

CollectionConfig Config(const std::string& name, uint32_t shard_count = 2) {
  CollectionConfig config;
  config.name = name;
  VectorConfig vector;
  vector.dimension = 8;
  config.vectors = {vector};
  config.shard_count = shard_count;
  return config;
}

Deadline In(Duration delay) { return SystemClock().Now() + delay; }

// Holds back an answer to the question who leads, which then is old news.
class SlowHost : public FakeHost {
 public:
  using FakeHost::FakeHost;

  StatusOr<consensus::GroupStatus> GetStatus(GroupId group) const override {
    auto status = FakeHost::GetStatus(group);
    MutexLock lock(mutex_);
    if (!std::exchange(hold_next_, false)) return status;
    holding_ = true;
    changed_.NotifyAll();
    while (holding_) changed_.Wait(mutex_);
    return status;
  }

  // Returns once an answer that was made after the call is held back.
  void HoldAnAnswer() {
    MutexLock lock(mutex_);
    hold_next_ = true;
    while (!holding_) changed_.Wait(mutex_);
  }
  void LetGo() {
    MutexLock lock(mutex_);
    holding_ = false;
    changed_.NotifyAll();
  }

 private:
  mutable Mutex mutex_;
  mutable CondVar changed_;
  mutable bool hold_next_ ABSL_GUARDED_BY(mutex_) = false;
  mutable bool holding_ ABSL_GUARDED_BY(mutex_) = false;
};

// One process with a placement over a host whose disk survives it.
class PlacementTest : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = ::testing::TempDir() + "placement_test_" +
           ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(dir_);
    options_.dir = dir_;
    options_.members = {{ReplicaId(1), NodeId(1), false}};
    StartProcess();
  }
  void TearDown() override {
    Crash();
    std::filesystem::remove_all(dir_);
  }

  void StartProcess() {
    ++options_.seed;
    metrics_ = std::make_unique<MetricsRegistry>();
    host_ = std::make_unique<SlowHost>(NodeId(1), disk_);
    auto placement = Placement::Start(options_, {&SystemClock(), host_.get(), metrics_.get()});
    ASSERT_TRUE(placement.ok()) << placement.status();
    placement_ = *std::move(placement);
  }
  // What kill -9 leaves: nobody says goodbye.
  void Crash() {
    placement_.reset();
    host_.reset();
  }

  StatusOr<rpc::CollectionInfo> Create(CollectionConfig config, Duration timeout = seconds(10)) {
    return SyncCall<rpc::CollectionInfo>(
        [&](auto done) { placement_->CreateCollection(config, In(timeout), std::move(done)); });
  }
  std::future<StatusOr<rpc::CollectionInfo>> StartCreate(CollectionConfig config,
                                                         Duration timeout = seconds(10)) {
    auto promise = std::make_shared<std::promise<StatusOr<rpc::CollectionInfo>>>();
    placement_->CreateCollection(std::move(config), In(timeout),
                                 [promise](auto info) { promise->set_value(std::move(info)); });
    return promise->get_future();
  }
  StatusOr<bool> Drop(const std::string& name) {
    return SyncCall<bool>(
        [&](auto done) { placement_->DropCollection(name, In(seconds(10)), std::move(done)); });
  }
  rpc::ClusterMapPtr Map() {
    auto map = SyncCall<rpc::ClusterMapPtr>(
        [&](auto done) { placement_->GetMap(In(seconds(10)), std::move(done)); });
    EXPECT_TRUE(map.ok()) << map.status();
    return *map;
  }
  StatusOr<rpc::RegisterResponse> Register(rpc::RegisterRequest request) {
    return SyncCall<rpc::RegisterResponse>(
        [&](auto done) { placement_->Register(request, In(seconds(10)), std::move(done)); });
  }
  StatusOr<rpc::HeartbeatResponse> Heartbeat(rpc::HeartbeatRequest request) {
    return SyncCall<rpc::HeartbeatResponse>(
        [&](auto done) { placement_->Heartbeat(request, std::move(done)); });
  }
  // As a worker that leads all shards the map gives it.
  void HeartbeatAsLeader(NodeId node) {
    const rpc::ClusterMapPtr map = Map();
    rpc::HeartbeatRequest request{node, map->version, {}};
    for (const auto& [name, collection] : map->collections) {
      for (const rpc::ShardInfo& shard : collection.shards) {
        for (const rpc::ShardReplica& replica : shard.replicas) {
          if (replica.node != node) continue;
          request.replicas.push_back({shard.id, replica.replica, true, Term(1), {}});
        }
      }
    }
    ASSERT_TRUE(Heartbeat(request).ok());
  }
  // A collection, ready.
  rpc::CollectionInfo Created(const CollectionConfig& config) {
    auto info = StartCreate(config);
    HeartbeatAsLeader(NodeId(1));
    auto result = info.get();
    EXPECT_TRUE(result.ok()) << result.status();
    return *result;
  }

  std::string dir_;
  std::shared_ptr<FakeHost::Disk> disk_ = std::make_shared<FakeHost::Disk>();
  PlacementOptions options_;
  std::unique_ptr<MetricsRegistry> metrics_;
  std::unique_ptr<SlowHost> host_;
  std::unique_ptr<Placement> placement_;
};

TEST_F(PlacementTest, CreationAnswersOnceEveryShardHasALeader) {
  ASSERT_EQ(Register({NodeId(1), "", "", {}})->node, NodeId(1));
  auto created = StartCreate(Config("a", 2));
  EXPECT_EQ(created.wait_for(milliseconds(50)), std::future_status::timeout);
  const auto shards = Map()->collections.at("a").shards;
  ASSERT_TRUE(Heartbeat({NodeId(1), 1, {{shards[0].id, ReplicaId(1), true, Term(1), {}}}}).ok());
  EXPECT_EQ(created.wait_for(milliseconds(50)), std::future_status::timeout);
  HeartbeatAsLeader(NodeId(1));
  const auto info = created.get();
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->shards, shards);
  EXPECT_EQ(info->config.shard_count, 2u);
}

TEST_F(PlacementTest, CreationThatIsNotReadyInTimeSaysThatItHappened) {
  ASSERT_TRUE(Register({NodeId(1), "", "", {}}).ok());
  const auto info = Create(Config("a"), milliseconds(100));
  EXPECT_EQ(ReasonOf(info.status()), Reason::kOutcomeUnknown);
  EXPECT_NE(std::string(info.status().message()).find("was created, but is not ready"),
            std::string::npos);
  EXPECT_TRUE(Map()->collections.contains("a"));
}

TEST_F(PlacementTest, CreationErrorsAreClear) {
  EXPECT_EQ(ReasonOf(Create(Config("a")).status()), Reason::kUnavailable);  // no worker yet
  ASSERT_TRUE(Register({NodeId(1), "", "", {}}).ok());
  EXPECT_EQ(ReasonOf(Create(Config("../x")).status()), Reason::kInvalidArgument);
  EXPECT_EQ(ReasonOf(Create(Config("")).status()), Reason::kInvalidArgument);
  EXPECT_EQ(ReasonOf(Create(Config(std::string(256, 'a'))).status()), Reason::kLimitExceeded);
  CollectionConfig flat = Config("a");
  flat.vectors[0].dimension = 0;
  EXPECT_EQ(ReasonOf(Create(flat).status()), Reason::kLimitExceeded);
  CollectionConfig wide = Config("a");
  wide.replication_factor = 3;
  const auto few = Create(wide);
  EXPECT_EQ(ReasonOf(few.status()), Reason::kInvalidArgument);
  EXPECT_NE(few.status().message().find("the cluster has 1 worker"), absl::string_view::npos);

  Created(Config("a"));
  EXPECT_NE(Create(Config("a")).status().message().find("the same settings"),
            absl::string_view::npos);
  const auto other = Create(Config("a", 7));
  EXPECT_EQ(ReasonOf(other.status()), Reason::kCollectionExists);
  EXPECT_NE(other.status().message().find("other settings"), absl::string_view::npos);
  EXPECT_EQ(ReasonOf(Drop("../x").status()), Reason::kInvalidArgument);
}

TEST_F(PlacementTest, RegistrationErrorsAreClear) {
  Map();  // it has caught up with its group
  EXPECT_EQ(ReasonOf(Register({NodeId(1), "", std::string(400, 'h'), {}}).status()),
            Reason::kLimitExceeded);
  EXPECT_EQ(ReasonOf(Register({NodeId(1), "", "", {{"a", "1"}, {"a", "2"}}}).status()),
            Reason::kInvalidArgument);
  EXPECT_EQ(ReasonOf(Register({NodeId(1), "", "", {{"", "1"}}}).status()),
            Reason::kInvalidArgument);
  EXPECT_EQ(ReasonOf(Register({NodeId(9), "", "", {}}).status()), Reason::kInvalidArgument);
  EXPECT_EQ(ReasonOf(Register({NodeId(1), "another", "", {}}).status()), Reason::kInvalidArgument);
  EXPECT_EQ(ReasonOf(Heartbeat({NodeId(5), 0, {}}).status()), Reason::kInvalidArgument);
  EXPECT_EQ(Register({NodeId(0), "", "", {{"zone\xff", "\xfe"}}})->node, NodeId(2));
}

TEST_F(PlacementTest, DropWaitsUntilNobodyServesTheShards) {
  ASSERT_TRUE(Register({NodeId(1), "", "", {}}).ok());
  EXPECT_EQ(*Drop("a"), false);
  Created(Config("a"));
  const uint64_t version = Map()->version;
  auto dropped = std::async(std::launch::async, [&] { return Drop("a"); });
  while (Map()->collections.contains("a")) {
  }
  EXPECT_EQ(dropped.wait_for(milliseconds(50)), std::future_status::timeout);
  ASSERT_TRUE(Heartbeat({NodeId(1), version, {}}).ok());  // has not seen the drop yet
  EXPECT_EQ(dropped.wait_for(milliseconds(50)), std::future_status::timeout);
  ASSERT_TRUE(Heartbeat({NodeId(1), Map()->version, {}}).ok());
  EXPECT_EQ(*dropped.get(), true);
  EXPECT_EQ(*Drop("a"), false);
}

TEST_F(PlacementTest, DropDoesNotWaitForWorkersThatAreGone) {
  options_.worker_alive_timeout = milliseconds(100);
  Crash();
  StartProcess();
  ASSERT_TRUE(Register({NodeId(1), "", "", {}}).ok());
  Created(Config("a"));
  const TimePoint begin = SystemClock().Now();
  EXPECT_EQ(*Drop("a"), true);
  EXPECT_LT(SystemClock().Now() - begin, seconds(3));
}

TEST_F(PlacementTest, DropDuringCreationEndsTheCreation) {
  ASSERT_TRUE(Register({NodeId(1), "", "", {}}).ok());
  auto created = StartCreate(Config("a"));
  auto dropped = std::async(std::launch::async, [&] { return Drop("a"); });
  EXPECT_EQ(ReasonOf(created.get().status()), Reason::kCollectionNotFound);
  ASSERT_TRUE(Heartbeat({NodeId(1), Map()->version, {}}).ok());
  EXPECT_EQ(*dropped.get(), true);
}

// Many creations and drops of few names at once: each name is created once between two
// drops, and the map ends as the answers say.
TEST_F(PlacementTest, RacesOfCreationAndDrop) {
  options_.drop_wait_max = milliseconds(1);
  Crash();
  StartProcess();
  ASSERT_TRUE(Register({NodeId(1), "", "", {}}).ok());
  std::atomic<int> balance[3] = {};
  std::vector<std::future<void>> threads;
  for (int t = 0; t < 4; ++t) {
    threads.push_back(std::async(std::launch::async, [&, t] {
      for (int i = 0; i < 60; ++i) {
        const int n = (t + i) % 3;
        const std::string name = "c" + std::to_string(n);
        if ((t + i) % 2 == 0) {
          const auto info = Create(Config(name, 1), milliseconds(1));
          // Nobody leads in this test: created is "not ready", or dropped meanwhile.
          const Reason reason = ReasonOf(info.status());
          EXPECT_TRUE(reason == Reason::kOutcomeUnknown || reason == Reason::kCollectionExists ||
                      reason == Reason::kCollectionNotFound || reason == Reason::kDeadlineExceeded)
              << info.status();
          if (reason == Reason::kOutcomeUnknown || reason == Reason::kCollectionNotFound) {
            ++balance[n];
          }
        } else if (*Drop(name)) {
          --balance[n];
        }
      }
    }));
  }
  for (auto& thread : threads) thread.get();
  for (int n = 0; n < 3; ++n) {
    EXPECT_EQ(balance[n], Map()->collections.contains("c" + std::to_string(n)) ? 1 : 0) << n;
  }
}

TEST_F(PlacementTest, AllMetadataSurvivesRestarts) {
  ASSERT_TRUE(Register({NodeId(1), "", "h:1", {{"zone", "a"}}}).ok());
  Created(Config("kept", 3));
  Created(Config("dropped", 1));
  auto drop = std::async(std::launch::async, [&] { return Drop("dropped"); });
  while (Map()->collections.contains("dropped")) {
  }
  HeartbeatAsLeader(NodeId(1));
  ASSERT_EQ(*drop.get(), true);
  const rpc::ClusterMapPtr before = Map();
  for (int round = 0; round < 4; ++round) {
    if (round % 2 == 0) {
      Crash();
    } else {
      placement_->Stop();
      Crash();
    }
    StartProcess();
    const rpc::ClusterMapPtr after = Map();
    EXPECT_EQ(after->version, before->version);
    EXPECT_EQ(after->cluster_id, before->cluster_id);
    EXPECT_EQ(after->workers, before->workers);
    EXPECT_EQ(after->collections, before->collections);
    // And goes on from there.
    EXPECT_EQ(Register({NodeId(1), before->cluster_id, "h:1", {{"zone", "a"}}})->node, NodeId(1));
  }
  EXPECT_EQ(Register({NodeId(0), "", "", {}})->node, NodeId(2));
}

TEST_F(PlacementTest, ChangesWithUnknownOutcomeAreMadeOnce) {
  ASSERT_TRUE(Register({NodeId(1), "", "", {}}).ok());
  const uint64_t version = Map()->version;
  const Status unknown = MakeError(Reason::kOutcomeUnknown, "lost");
  const Status unavailable = MakeError(Reason::kUnavailable, "no leader");
  host_->FailProposals(kPlacementGroup,
                       {unavailable, unknown, NotLeader(kPlacementGroup, {}), unknown});
  const auto info = Create(Config("a"), milliseconds(300));
  EXPECT_NE(info.status().message().find("was created"), absl::string_view::npos) << info.status();
  EXPECT_EQ(Map()->version, version + 1);
  host_->FailProposals(kPlacementGroup, {unknown});
  EXPECT_EQ(Register({NodeId(0), "", "", {}})->node, NodeId(2));
  EXPECT_EQ(Map()->workers.size(), 2u);
}

TEST_F(PlacementTest, AnUnknownOutcomeIsNotCalledAFailure) {
  ASSERT_TRUE(Register({NodeId(1), "", "", {}}).ok());
  host_->FailProposals(kPlacementGroup, {MakeError(Reason::kOutcomeUnknown, "lost"),
                                         NotLeader(kPlacementGroup, NodeId(7))});
  EXPECT_EQ(ReasonOf(Create(Config("a")).status()), Reason::kOutcomeUnknown);
  host_->FailProposals(kPlacementGroup, {NotLeader(kPlacementGroup, NodeId(7))});
  EXPECT_EQ(LeaderHint(Create(Config("b")).status()), NodeId(7));
}

TEST_F(PlacementTest, WithoutALeaderCallsWaitAndThenSayUnavailable) {
  ASSERT_TRUE(Register({NodeId(1), "", "", {}}).ok());
  host_->SetLeading(kPlacementGroup, false);
  const auto map = SyncCall<rpc::ClusterMapPtr>(
      [&](auto done) { placement_->GetMap(In(milliseconds(100)), std::move(done)); });
  EXPECT_EQ(ReasonOf(map.status()), Reason::kUnavailable);
  EXPECT_EQ(ReasonOf(Heartbeat({NodeId(1), 0, {}}).status()), Reason::kNotLeader);
  auto created = StartCreate(Config("a"));
  EXPECT_EQ(created.wait_for(milliseconds(100)), std::future_status::timeout);
  host_->SetLeading(kPlacementGroup, true);
  HeartbeatAsLeader(NodeId(1));
  while (!Map()->collections.contains("a")) {
  }
  HeartbeatAsLeader(NodeId(1));
  EXPECT_TRUE(created.get().ok());
}

TEST_F(PlacementTest, ReadsWorkWithoutTheFastPath) {
  host_->DisableFastReads();
  ASSERT_TRUE(Register({NodeId(1), "", "", {}}).ok());
  Created(Config("a"));
  EXPECT_TRUE(Map()->collections.contains("a"));
}

TEST_F(PlacementTest, WatchersSeeEveryChangeAndAreBounded) {
  ASSERT_TRUE(Register({NodeId(1), "", "", {}}).ok());
  const uint64_t version = Map()->version;
  const auto watch = [&](uint64_t known, Duration timeout) {
    return SyncCall<rpc::ClusterMapPtr>(
        [&](auto done) { placement_->WatchMap(known, In(timeout), std::move(done)); });
  };
  EXPECT_EQ((*watch(0, seconds(10)))->version, version);
  // At the deadline: the map there is.
  EXPECT_EQ((*watch(version, milliseconds(30)))->version, version);
  auto waiting = std::async(std::launch::async, [&] { return watch(version, seconds(10)); });
  EXPECT_EQ(waiting.wait_for(milliseconds(30)), std::future_status::timeout);
  Created(Config("a"));
  EXPECT_TRUE((*waiting.get())->collections.contains("a"));

  options_.watcher_count_max = 2;
  Crash();
  StartProcess();
  const uint64_t known = Map()->version;
  std::vector<std::shared_ptr<std::promise<Status>>> watchers;
  for (int i = 0; i < 3; ++i) {
    auto promise = watchers.emplace_back(std::make_shared<std::promise<Status>>());
    placement_->WatchMap(known, In(seconds(10)),
                         [promise](const auto& map) { promise->set_value(map.status()); });
  }
  EXPECT_EQ(ReasonOf(watchers[2]->get_future().get()), Reason::kOverloaded);
  placement_->Stop();
  EXPECT_EQ(ReasonOf(watchers[0]->get_future().get()), Reason::kShuttingDown);
  EXPECT_EQ(ReasonOf(watchers[1]->get_future().get()), Reason::kShuttingDown);
  EXPECT_EQ(ReasonOf(watch(0, seconds(1)).status()), Reason::kShuttingDown);
}

TEST_F(PlacementTest, StopAnswersWhatWaits) {
  ASSERT_TRUE(Register({NodeId(1), "", "", {}}).ok());
  auto created = StartCreate(Config("a"));
  placement_->Stop();
  EXPECT_EQ(ReasonOf(created.get().status()), Reason::kShuttingDown);
  EXPECT_EQ(ReasonOf(Create(Config("b")).status()), Reason::kShuttingDown);
  EXPECT_FALSE(host_->IsRunning(kPlacementGroup));
}

TEST_F(PlacementTest, StatusShowsWorkersAndTheirReports) {
  ASSERT_TRUE(Register({NodeId(1), "", "h:1", {}}).ok());
  Created(Config("a", 3));
  const auto status = SyncCall<rpc::ClusterStatus>(
      [&](auto done) { placement_->GetStatus(In(seconds(5)), std::move(done)); });
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(status->placement_leader, NodeId(1));
  ASSERT_EQ(status->workers.size(), 1u);
  EXPECT_TRUE(status->workers[0].alive);
  EXPECT_TRUE(status->workers[0].last_heartbeat_ms_ago.has_value());
  EXPECT_EQ(status->workers[0].replicas.size(), 3u);
  EXPECT_EQ(status->workers[0].info.internal_address, "h:1");
}

// The duties look at the group as heartbeats do. What they saw before it had a leader
// says nothing about the leadership in which a heartbeat came.
TEST_F(PlacementTest, AHeartbeatIsNotForgottenOverOldNewsOfTheLeadership) {
  ASSERT_TRUE(Register({NodeId(1), "", "h:1", {}}).ok());
  Created(Config("a", 3));
  host_->SetLeading(kPlacementGroup, false);
  host_->HoldAnAnswer();  // the duties': it says that nobody leads
  host_->SetLeading(kPlacementGroup, true);
  std::future<void> heartbeat =
      std::async(std::launch::async, [&] { HeartbeatAsLeader(NodeId(1)); });
  // If it need not wait for the duties, it is done by then.
  heartbeat.wait_for(milliseconds(100));
  host_->LetGo();
  heartbeat.get();
  // What the duties do next, and more of their rounds.
  for (int round = 0; round < 5; ++round) {
    const auto status = SyncCall<rpc::ClusterStatus>(
        [&](auto done) { placement_->GetStatus(In(seconds(5)), std::move(done)); });
    ASSERT_TRUE(status.ok()) << status.status();
    EXPECT_EQ(status->workers[0].replicas.size(), 3u);
    Mutex mutex;
    CondVar never;
    MutexLock lock(mutex);
    never.WaitFor(mutex, milliseconds(20));
  }
}

TEST_F(PlacementTest, ADamagedCheckpointStopsTheStart) {
  ASSERT_TRUE(Register({NodeId(1), "", "", {}}).ok());
  placement_->Stop();
  Crash();
  auto content = *ReadWholeFile(dir_ + "/catalog");
  ASSERT_TRUE(content.has_value());
  content->back() ^= 1;
  ASSERT_TRUE(WriteFileAtomically(dir_ + "/catalog", *content).ok());
  host_ = std::make_unique<SlowHost>(NodeId(1), disk_);
  const auto placement = Placement::Start(options_, {&SystemClock(), host_.get(), metrics_.get()});
  EXPECT_EQ(ReasonOf(placement.status()), Reason::kCorruption);
  EXPECT_NE(placement.status().message().find(dir_), absl::string_view::npos);
}

// --- the state machine by itself ---

consensus::CommittedEntry Entry(uint64_t index, const std::string& command, uint64_t sequence) {
  return {LogIndex(index), Term(1), {77, sequence, 0}, command};
}

TEST_F(PlacementTest, TheMachineAppliesARetryOnceEvenAfterACheckpoint) {
  CatalogMachine::Options options;
  options.dir = dir_ + "/machine";
  const std::string init = EncodeCommand({1, InitCluster{"c1", 0}});
  const std::string join = EncodeCommand({1, RegisterWorker{}});
  {
    auto machine = *CatalogMachine::Open(options);
    const consensus::CommittedEntry entries[] = {Entry(1, init, 1), Entry(2, join, 2)};
    ASSERT_TRUE(machine->Apply(entries).ok());
    EXPECT_EQ(machine->DurableIndex(), LogIndex(0));
    ASSERT_TRUE(machine->WriteCheckpoint().ok());
    EXPECT_EQ(machine->DurableIndex(), LogIndex(2));
    const consensus::CommittedEntry lost = Entry(3, join, 3);
    ASSERT_TRUE(machine->Apply({&lost, 1}).ok());
  }
  auto machine = *CatalogMachine::Open(options);
  EXPECT_EQ(machine->AppliedIndex(), LogIndex(2));
  EXPECT_EQ(machine->Current()->workers.size(), 1u);
  const consensus::CommittedEntry retry = Entry(3, join, 2);
  const auto results = machine->Apply({&retry, 1});
  EXPECT_EQ(DecodeResult(*(*results)[0])->id, 1u);
  EXPECT_EQ(machine->Current()->workers.size(), 1u);
}

TEST_F(PlacementTest, ASnapshotCarriesAllOfTheState) {
  CatalogMachine::Options options;
  options.dir = dir_ + "/machine";
  auto machine = *CatalogMachine::Open(options);
  const std::string init = EncodeCommand({1, InitCluster{"c1", 0}});
  const std::string join = EncodeCommand({1, RegisterWorker{}});
  const consensus::CommittedEntry entries[] = {Entry(1, init, 1), Entry(2, join, 2)};
  ASSERT_TRUE(machine->Apply(entries).ok());
  const std::string snapshot = dir_ + "/snapshot";
  ASSERT_EQ(*machine->SaveSnapshot(snapshot), LogIndex(2));

  options.dir = dir_ + "/other";
  int maps = 0;
  options.on_map = [&](const rpc::ClusterMapPtr&) { ++maps; };
  {
    auto other = *CatalogMachine::Open(options);
    ASSERT_TRUE(other->RestoreSnapshot(snapshot).ok());
    EXPECT_EQ(maps, 1);
    EXPECT_EQ(*other->Current(), *machine->Current());
    EXPECT_EQ(other->DurableIndex(), LogIndex(2));
    EXPECT_FALSE(other->RestoreSnapshot(dir_ + "/missing").ok());
  }
  auto reopened = *CatalogMachine::Open(options);
  EXPECT_EQ(*reopened->Current(), *machine->Current());
  const consensus::CommittedEntry retry = Entry(3, join, 2);
  ASSERT_TRUE(reopened->Apply({&retry, 1}).ok());
  EXPECT_EQ(reopened->Current()->workers.size(), 1u);
}

TEST_F(PlacementTest, TheMachineWritesCheckpointsByItself) {
  CatalogMachine::Options options;
  options.dir = dir_ + "/machine";
  options.checkpoint_entries = 8;
  auto machine = *CatalogMachine::Open(options);
  for (uint64_t i = 1; i <= 100; ++i) {
    const consensus::CommittedEntry entry{LogIndex(i), Term(1), {}, ""};
    ASSERT_TRUE(machine->Apply({&entry, 1}).ok());
  }
  machine->RequestFlush();
  while (machine->DurableIndex() < LogIndex(93)) {
  }
}

}  // namespace
}  // namespace vectron::placement
