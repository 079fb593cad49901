#include "worker/worker.h"

#include <filesystem>
#include <fstream>
#include <future>
#include <limits>

#include "worker/testing/worker_fixture.h"

namespace vectron::worker {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Collection;
using testing::kNode;
using testing::MakePoint;

class WorkerTest : public testing::WorkerFixture {};

TEST_F(WorkerTest, ServesWhatWasWrittenAtOnce) {
  StartWith({Collection("a", {16})});
  const auto written = Upsert(16, {MakePoint(1), MakePoint(2), MakePoint(3)});
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_EQ(written->changed_count, 3u);
  const auto found = Search(16, {0, 2, 0, 1}, 2);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_GE(found->read_index, written->index);
  ASSERT_EQ(found->results.size(), 1u);
  ASSERT_EQ(found->results[0].size(), 2u);
  EXPECT_EQ(found->results[0][0].record.id, PointId(uint64_t{2}));

  Select all;
  all.payload = all.vectors = true;
  const std::vector<PointId> ids = {PointId(uint64_t{3}), PointId(uint64_t{9})};
  const auto got = SyncCall<rpc::GetResponse>([&](auto done) {
    worker_->Get({RouteTo(16), {}, ids, all}, std::move(done));
  });
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_EQ(got->records.size(), 1u);
  EXPECT_EQ(got->records[0].payload, "{\"id\":1}");
  EXPECT_EQ(got->records[0].vectors, MakePoint(3).vectors);

  const auto page = SyncCall<rpc::ScrollResponse>([&](auto done) {
    worker_->Scroll({RouteTo(16), {}, {PointId(uint64_t{2}), 1}, {}}, std::move(done));
  });
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(page->page.records[0].id, PointId(uint64_t{2}));
  EXPECT_EQ(page->page.next, PointId(uint64_t{3}));
  EXPECT_EQ(*Count(16), 3u);
}

// Every consistency, with the read point known at once and not.
TEST_F(WorkerTest, ReadsSeeWhatTheirConsistencyPromises) {
  StartWith({Collection("a", {16})});
  for (const bool is_fast : {true, false}) {
    if (!is_fast) host_->DisableFastReads();
    for (uint64_t i = 0; i < 50; ++i) {
      const uint64_t id = 2 * i + (is_fast ? 0 : 1);
      const auto written = Upsert(16, {MakePoint(id, 100.f + static_cast<float>(id))});
      ASSERT_TRUE(written.ok());
      for (const Consistency consistency :
           {Consistency::kLinearizable, Consistency::kSession, Consistency::kEventual}) {
        SearchQuery query;
        query.vector = MakePoint(id, 100.f + static_cast<float>(id)).vectors[0].values;
        const auto found = Search({RouteTo(16),
                                   {consistency, written->index, kNoDeadline},
                                   std::vector<SearchQuery>(2, query),
                                   {}});
        ASSERT_TRUE(found.ok()) << found.status();
        ASSERT_EQ(found->results.size(), 2u);
        for (const auto& hits : found->results) {
          ASSERT_EQ(hits[0].record.id, PointId(id));
          ASSERT_EQ(hits[0].score, 0);
        }
        EXPECT_GE(found->read_index, written->index);
        EXPECT_GE(found->seen_index, found->read_index);
      }
    }
  }
}

TEST_F(WorkerTest, ASessionAheadOfThisReplicaWaits) {
  StartWith({Collection("a", {16})});
  const rpc::ReadOptions ahead{Consistency::kSession, LogIndex(1000), In(milliseconds(50))};
  EXPECT_EQ(ReasonOf(Count(16, ahead).status()), Reason::kDeadlineExceeded);
}

TEST_F(WorkerTest, RoutesAreChecked) {
  StartWith({Collection("a", {16, 17})});
  rpc::WriteRequest write{RouteTo(16), {}, UpsertPoints{{MakePoint(1)}}, kNoDeadline};
  write.route.epoch = Epoch{1, 2};
  EXPECT_EQ(ReasonOf(Write(write).status()), Reason::kStaleEpoch);
  write.route = RouteTo(99);
  EXPECT_EQ(ReasonOf(Write(write).status()), Reason::kShardNotFound);
  EXPECT_EQ(ReasonOf(Search(99, {0, 0, 0, 0}).status()), Reason::kShardNotFound);
  SearchQuery query;
  query.vector = {0, 0, 0, 0};
  rpc::SearchRequest search{RouteTo(16), {}, std::vector<SearchQuery>{query}, {}};
  search.route.epoch = Epoch{2, 1};
  EXPECT_EQ(ReasonOf(Search(search).status()), Reason::kStaleEpoch);

  // Every id has one shard; the other one refuses it, and the whole batch.
  const HashRange first = SplitHashSpace(2)[0];
  std::vector<Point> mine;
  std::vector<Point> others;
  for (uint64_t id = 0; id < 40; ++id) {
    (first.Contains(PointId(id).RingHash()) ? mine : others).push_back(MakePoint(id));
  }
  ASSERT_TRUE(Upsert(16, mine).ok());
  EXPECT_EQ(ReasonOf(Upsert(16, {mine[0], others[0]}).status()), Reason::kStaleEpoch);
  EXPECT_EQ(ReasonOf(Write({RouteTo(16), {}, DeletePoints{{others[0].id}}, kNoDeadline}).status()),
            Reason::kStaleEpoch);
  const auto got = SyncCall<rpc::GetResponse>([&](auto done) {
    worker_->Get({RouteTo(16), {}, {others[0].id}, {}}, std::move(done));
  });
  EXPECT_EQ(ReasonOf(got.status()), Reason::kStaleEpoch);
  EXPECT_EQ(*Count(16), mine.size());
  EXPECT_EQ(*Count(17), 0u);
}

TEST_F(WorkerTest, BadRequestsChangeNothing) {
  StartWith({Collection("a", {16})});
  const auto point = [](std::vector<float> values) {
    return Point{PointId(uint64_t{7}), {{"", std::move(values)}}, ""};
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  const auto refused = [&](WriteOp op) {
    const auto result = Write({RouteTo(16), {}, std::move(op), kNoDeadline});
    EXPECT_FALSE(result.ok());
    EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument) << result.status();
  };
  refused(UpsertPoints{{MakePoint(1), point({1, 2, 3})}});
  refused(UpsertPoints{{MakePoint(1), point({1, 2, 3, nan})}});
  refused(UpsertPoints{{MakePoint(1), point({1, 2, inf, 3})}});
  refused(UpsertPoints{{MakePoint(1), {PointId(uint64_t{2}), {{"other", {1, 2, 3, 4}}}, ""}}});
  Point broken = MakePoint(1);
  broken.payload = "{\"a\":";
  refused(UpsertPoints{{broken}});
  refused(UpsertPoints{});
  refused(UpsertPoints{std::vector<Point>(Limits().batch_points_max + 1, MakePoint(1))});
  refused(DeletePoints{});
  refused(OverwritePayload{std::vector<PointId>(100),
                           "{\"a\":\"" + std::string(1'000'000, 'x') + "\"}"});
  EXPECT_EQ(*Count(16), 0u);

  for (const std::vector<float>& vector :
       {std::vector<float>{1, 2, 3}, std::vector<float>{1, 2, 3, nan}, std::vector<float>{}}) {
    EXPECT_EQ(Search(16, vector).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(Search(16, {1, 2, 3, 4}, 0).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Search(16, {1, 2, 3, 4}, 1 << 30).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(Search({RouteTo(16), {}, {}, {}}).status()), Reason::kInvalidArgument);
  rpc::SearchRequest many{
      RouteTo(16), {}, std::vector<SearchQuery>(Limits().batch_queries_max + 1), {}};
  EXPECT_EQ(ReasonOf(Search(many).status()), Reason::kLimitExceeded);
  std::vector<SearchQuery> queries(2);
  queries[0].vector = {1, 2, 3, 4};
  queries[1].vector = {1, 2};
  many.queries = queries;
  EXPECT_NE(Search(many).status().message().find("query 1"), absl::string_view::npos);
  queries.pop_back();
  many.queries = queries;
  many.select.vectors = true;
  many.select.vector_names = {"nothing"};
  EXPECT_EQ(ReasonOf(Search(many).status()), Reason::kInvalidArgument);
  // Missing ids are an error of the write itself.
  const auto missing =
      Write({RouteTo(16), {}, SetPayload{{PointId(uint64_t{5})}, "{}"}, kNoDeadline});
  EXPECT_EQ(ReasonOf(missing.status()), Reason::kPointNotFound);
}

TEST_F(WorkerTest, ErrorsOfTheGroupReachTheCaller) {
  StartWith({Collection("a", {16})});
  host_->FailProposals(GroupOf(ShardId(16)), {MakeError(Reason::kOutcomeUnknown, "lost")});
  const WriteSession session{5, 1, 0};
  const rpc::WriteRequest write{RouteTo(16), session, UpsertPoints{{MakePoint(1)}}, kNoDeadline};
  EXPECT_EQ(ReasonOf(Write(write).status()), Reason::kOutcomeUnknown);
  // The retry under the same sequence finds that it was done.
  const auto retried = Write(write);
  ASSERT_TRUE(retried.ok()) << retried.status();
  EXPECT_EQ(retried->changed_count, 1u);
  EXPECT_EQ(*Count(16), 1u);

  host_->SetLeading(GroupOf(ShardId(16)), false);
  EXPECT_EQ(ReasonOf(Upsert(16, {MakePoint(2)}).status()), Reason::kNotLeader);
  EXPECT_EQ(ReasonOf(Count(16).status()), Reason::kUnavailable);
  EXPECT_EQ(*Count(16, {Consistency::kEventual, LogIndex(0), kNoDeadline}), 1u);
}

TEST_F(WorkerTest, ExpiredRequestsAreNotRun) {
  StartWith({Collection("a", {16})});
  const rpc::ReadOptions late{Consistency::kLinearizable, LogIndex(0), In(-seconds(1))};
  EXPECT_EQ(ReasonOf(Count(16, late).status()), Reason::kDeadlineExceeded);
}

TEST_F(WorkerTest, DataSurvivesACrashAndAStop) {
  StartWith({Collection("a", {16, 17})});
  const HashRange first = SplitHashSpace(2)[0];
  uint64_t counts[2] = {0, 0};
  for (uint64_t round = 0; round < 4; ++round) {
    for (uint64_t id = round * 100; id < round * 100 + 100; ++id) {
      const int part = first.Contains(PointId(id).RingHash()) ? 0 : 1;
      ASSERT_TRUE(Upsert(16 + static_cast<uint64_t>(part), {MakePoint(id)}).ok());
      ++counts[part];
    }
    if (round % 2 == 1) worker_->Stop(In(seconds(5)));
    Crash();
    StartWorker();
    WaitReady();
    EXPECT_EQ(*Count(16), counts[0]);
    EXPECT_EQ(*Count(17), counts[1]);
  }
  const auto found =
      Search(first.Contains(PointId(uint64_t{42}).RingHash()) ? 16 : 17, {0, 42, 0, 1}, 1);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->results[0][0].record.id, PointId(uint64_t{42}));
}

// The heartbeat that names the map comes only once the shards no longer answer.
TEST_F(WorkerTest, ReportsAMapOnceItIsFollowed) {
  StartWith({Collection("a", {16})});
  ASSERT_TRUE(WaitUntil([&] {
    const auto heartbeat = placement_.last_heartbeat();
    return heartbeat.replicas.size() == 1 && heartbeat.replicas[0].is_leader;
  }));
  EXPECT_EQ(placement_.last_heartbeat().replicas[0].replica, ReplicaId(116));
  placement_.SetCollections({});
  ASSERT_TRUE(WaitUntil(
      [&] { return placement_.last_heartbeat().map_version == placement_.map_version(); }));
  EXPECT_EQ(ReasonOf(Count(16).status()), Reason::kShardNotFound);
  EXPECT_TRUE(placement_.last_heartbeat().replicas.empty());
}

TEST_F(WorkerTest, LeadershipChangesAreToldAtOnce) {
  options_.heartbeat = seconds(1000);
  StartWith({Collection("a", {16})});
  ASSERT_TRUE(WaitUntil([&] {
    const auto heartbeat = placement_.last_heartbeat();
    return heartbeat.replicas.size() == 1 && heartbeat.replicas[0].is_leader;
  }));
  host_->SetLeading(GroupOf(ShardId(16)), false);
  ASSERT_TRUE(WaitUntil([&] { return !placement_.last_heartbeat().replicas[0].is_leader; }));
}

TEST_F(WorkerTest, HeartbeatsComeRegularly) {
  options_.heartbeat = milliseconds(30);
  StartWith({});
  ASSERT_TRUE(WaitUntil([&] { return placement_.heartbeat_count() >= 5; }));
}

TEST_F(WorkerTest, APlacementThatIsAwayIsWaitedFor) {
  placement_.SetCollections({Collection("a", {16})});
  placement_.SetDown(true);
  StartWorker();
  EXPECT_EQ(ReasonOf(worker_->Ready()), Reason::kUnavailable);
  EXPECT_EQ(ReasonOf(Count(16).status()), Reason::kUnavailable);
  // The timers' thread registers: placement must not be back before it was refused once.
  ASSERT_TRUE(WaitUntil([&] { return placement_.register_count() >= 1; }));
  placement_.SetDown(false);
  WaitReady();
  // Shards go on without it.
  placement_.SetDown(true);
  EXPECT_TRUE(Upsert(16, {MakePoint(1)}).ok());
  placement_.SetDown(false);
  placement_.ForgetWorkers();
  ASSERT_TRUE(WaitUntil([&] { return placement_.register_count() >= 3; }));
  placement_.SetCollections({});
  ASSERT_TRUE(WaitUntil([&] { return !std::filesystem::exists(options_.dir + "/shard-16"); }));
}

TEST_F(WorkerTest, RemembersWhoItIs) {
  StartWith({});
  EXPECT_EQ(placement_.last_register().cluster_id, "");
  Crash();
  StartWorker();
  WaitReady();
  EXPECT_EQ(placement_.last_register().cluster_id, "c1");
  Crash();
  options_.node = NodeId(2);
  EXPECT_EQ(ReasonOf(TryStart().status()), Reason::kInvalidArgument);
  options_.node = kNode;
  std::ofstream(options_.dir + "/identity") << "damaged";
  EXPECT_EQ(ReasonOf(TryStart().status()), Reason::kCorruption);
}

// The worst that could happen: another cluster's empty map.
TEST_F(WorkerTest, AnotherClusterCannotMakeItDestroyItsShards) {
  StartWith({Collection("a", {16})});
  ASSERT_TRUE(Upsert(16, {MakePoint(1)}).ok());
  Crash();
  testing::FakePlacement other("c2");
  other.SetCollections({});
  host_ = std::make_unique<consensus::FakeHost>(kNode, disk_);
  worker_ = *Worker::Start(options_, {&SystemClock(), host_.get(), &other, &metrics_});
  ASSERT_TRUE(WaitUntil([&] { return other.register_count() >= 2; }));
  EXPECT_EQ(ReasonOf(worker_->Ready()), Reason::kInvalidArgument);
  EXPECT_TRUE(std::filesystem::exists(options_.dir + "/shard-16"));
  Crash();
  StartWorker();
  WaitReady();
  EXPECT_EQ(*Count(16), 1u);
}

// --- bounds ---

TEST_F(WorkerTest, WritesStopWhileTheDiskIsNearlyFull) {
  StartWith({Collection("a", {16})});
  Crash();
  options_.disk_reserve_bytes = uint64_t{1} << 62;
  StartWorker();
  WaitReady();
  EXPECT_EQ(ReasonOf(Upsert(16, {MakePoint(1)}).status()), Reason::kDiskFull);
  EXPECT_EQ(*Count(16), 0u);  // reads go on
  Crash();
  options_.disk_reserve_bytes = 0;
  StartWorker();
  WaitReady();
  EXPECT_TRUE(Upsert(16, {MakePoint(1)}).ok());
}

TEST_F(WorkerTest, InsertsAreRefusedWhileTooMuchIsUnlinked) {
  options_.tail_scan_max = std::chrono::microseconds(1);
  StartWith({Collection("a", {16})});
  std::vector<Point> points;
  for (uint64_t id = 0; id < 3'000; ++id) points.push_back(MakePoint(id));
  ASSERT_TRUE(Upsert(16, points).ok());
  const Status refused = Upsert(16, {MakePoint(1)}).status();
  EXPECT_EQ(ReasonOf(refused), Reason::kOverloaded) << refused;
  EXPECT_EQ(DetailsOf(refused)[0].first, "retry_after_ms");
  // What makes the tail no longer is taken, and reads go on.
  EXPECT_TRUE(Write({RouteTo(16), {}, DeletePoints{{PointId(uint64_t{3})}}, kNoDeadline}).ok());
  EXPECT_EQ(*Count(16), 2'999u);
  ASSERT_TRUE(WaitUntil([&] { return Upsert(16, {MakePoint(3)}).ok(); }));
}

TEST_F(WorkerTest, SearchesBeyondTheQueueAreRefused) {
  options_.search_concurrency = 1;
  options_.search_queue_max = 2;
  StartWith({Collection("a", {16})});
  std::vector<Point> points;
  for (uint64_t id = 0; id < 10'000; ++id) points.push_back(MakePoint(id));
  ASSERT_TRUE(Upsert(16, points).ok());
  // One search that takes long, and others that arrive meanwhile.
  SearchQuery query;
  query.vector = {0, 1, 0, 1};
  query.exact = true;
  const rpc::SearchRequest longest{RouteTo(16), {}, std::vector<SearchQuery>(1000, query), {}};
  std::promise<StatusOr<rpc::SearchResponse>> promise;
  auto running = promise.get_future();
  worker_->Search(longest, [&](StatusOr<rpc::SearchResponse> response) {
    promise.set_value(std::move(response));
  });
  Mutex mutex;
  CondVar ended;
  int answered = 0;
  int refused = 0;
  int sent = 0;
  while (running.wait_for(milliseconds(0)) != std::future_status::ready) {
    ++sent;
    rpc::SearchRequest one{RouteTo(16), {}, std::vector<SearchQuery>{query}, {}};
    worker_->Search(one, [&](const StatusOr<rpc::SearchResponse>& response) {
      MutexLock lock(mutex);
      ++answered;
      refused += ReasonOf(response.status()) == Reason::kOverloaded ? 1 : 0;
      EXPECT_TRUE(response.ok() || ReasonOf(response.status()) == Reason::kOverloaded);
      ended.NotifyAll();
    });
    MutexLock lock(mutex);
    if (refused > 0) break;
  }
  EXPECT_TRUE(running.get().ok());
  MutexLock lock(mutex);
  while (answered < sent) ended.Wait(mutex);
  EXPECT_GT(refused, 0);
}

TEST_F(WorkerTest, SearchesWhoseCallerHasGoneEnd) {
  options_.search_concurrency = 1;
  StartWith({Collection("c", {16})});
  std::vector<Point> points;
  for (uint64_t id = 0; id < 10'000; ++id) points.push_back(MakePoint(id));
  ASSERT_TRUE(Upsert(16, points).ok());
  // The first would take long; the second waits behind it.
  std::atomic<bool> first_gone = false;
  std::atomic<bool> second_gone = false;
  SearchQuery query;
  query.vector = {0, 1, 0, 1};
  query.exact = true;
  rpc::SearchRequest request{RouteTo(16), {}, std::vector<SearchQuery>(1000, query), {}};
  std::atomic<int> cancelled_count = 0;
  std::atomic<int> answered_count = 0;
  const auto count = [&](const StatusOr<rpc::SearchResponse>& response) {
    cancelled_count += ReasonOf(response.status()) == Reason::kCancelled ? 1 : 0;
    ++answered_count;
  };
  request.read.cancelled = &first_gone;
  worker_->Search(request, count);
  request.read.cancelled = &second_gone;
  worker_->Search(request, count);
  EXPECT_EQ(answered_count, 0);
  second_gone = true;
  first_gone = true;
  ASSERT_TRUE(WaitUntil([&] { return answered_count == 2; }));
  EXPECT_EQ(cancelled_count, 2);
  // It does not even begin.
  EXPECT_EQ(ReasonOf(Search(request).status()), Reason::kCancelled);
  EXPECT_NE(RenderMetrics(metrics_).find(
                "vectron_worker_requests_total{operation=\"search\",outcome=\"CANCELLED\"} 3"),
            std::string::npos);
}

// All that a search or a page found may be of one shard.
TEST_F(WorkerTest, AFetchMayBeOfMoreIdsThanAClientMayName) {
  options_.limits.batch_points_max = 2;
  options_.limits.scroll_limit_max = 3;
  options_.limits.batch_results_max = 4;
  StartWith({Collection("c", {16})});
  const auto get = [&](uint64_t count) {
    std::vector<PointId> ids;
    for (uint64_t id = 0; id < count; ++id) ids.emplace_back(id);
    return SyncCall<rpc::GetResponse>([&](auto done) {
             worker_->Get({RouteTo(16), {}, std::move(ids), {}}, std::move(done));
           })
        .status();
  };
  EXPECT_TRUE(get(4).ok()) << get(4);
  EXPECT_EQ(ReasonOf(get(5)), Reason::kLimitExceeded);
}

TEST_F(WorkerTest, AnswersAreBoundedInBytes) {
  options_.limits.response_bytes_max = 10'000;
  StartWith({Collection("c", {16})});
  std::vector<Point> points;
  for (uint64_t id = 1; id <= 20; ++id) {
    points.push_back(MakePoint(id));
    points.back().payload = "{\"text\":\"" + std::string(3'000, 'x') + "\"}";
  }
  points.back().payload = "{\"text\":\"" + std::string(20'000, 'x') + "\"}";
  ASSERT_TRUE(Upsert(16, points).ok());
  const auto scroll = [&](PointId from) {
    return SyncCall<rpc::ScrollResponse>([&](auto done) {
      worker_->Scroll({RouteTo(16), {}, {.from = from, .limit = 100}, {.payload = true}},
                      std::move(done));
    });
  };
  // Pages end early, and lead on to all points.
  std::vector<PointId> seen;
  std::optional<PointId> next = PointId(1);
  while (next.has_value()) {
    const auto page = scroll(*next);
    ASSERT_TRUE(page.ok()) << page.status();
    ASSERT_FALSE(page->page.records.empty());
    EXPECT_LE(page->page.records.size(), 4u);
    for (const Record& record : page->page.records) seen.push_back(record.id);
    next = page->page.next;
  }
  EXPECT_EQ(seen.size(), 20u);

  const auto get = [&](std::vector<PointId> ids) {
    return SyncCall<rpc::GetResponse>([&](auto done) {
             worker_->Get({RouteTo(16), {}, std::move(ids), {.payload = true}}, std::move(done));
           })
        .status();
  };
  EXPECT_TRUE(get({PointId(1), PointId(2), PointId(3)}).ok());
  const Status refused = get({PointId(1), PointId(2), PointId(3), PointId(4)});
  EXPECT_EQ(ReasonOf(refused), Reason::kResponseTooLarge);
  EXPECT_NE(refused.message().find("10000 bytes"), absl::string_view::npos) << refused;
  EXPECT_TRUE(get({PointId(20)}).ok());  // there is no less to ask for

  SearchQuery query;
  query.vector = {0, 1, 0, 1};
  query.k = 3;
  const auto search = [&](std::vector<SearchQuery> queries, bool payload) {
    return Search({RouteTo(16), {}, std::move(queries), {.payload = payload}}).status();
  };
  EXPECT_TRUE(search({query}, true).ok());
  EXPECT_EQ(ReasonOf(search({query, query}, true)), Reason::kResponseTooLarge);
  EXPECT_TRUE(search({query, query}, false).ok());
  query.k = 4;
  EXPECT_EQ(ReasonOf(search({query}, true)), Reason::kResponseTooLarge);
}

TEST_F(WorkerTest, ChangesOfPayloadsAreBoundedInBytes) {
  options_.limits.request_bytes_max = 10'000;
  StartWith({Collection("c", {16})});
  std::vector<Point> points;
  std::vector<PointId> ids;
  for (uint64_t id = 1; id <= 5; ++id) {
    points.push_back(MakePoint(id));
    points.back().payload = "{\"text\":\"" + std::string(3'000, 'x') + "\"}";
    ids.emplace_back(id);
  }
  ASSERT_TRUE(Upsert(16, points).ok());
  // By itself it is small; what the points have makes it large.
  const Status refused =
      Write({RouteTo(16), {}, SetPayload{ids, "{\"a\":1}"}, kNoDeadline}).status();
  EXPECT_EQ(ReasonOf(refused), Reason::kLimitExceeded) << refused;
  EXPECT_NE(refused.message().find("10000"), absl::string_view::npos) << refused;
  ids.resize(3);
  EXPECT_TRUE(Write({RouteTo(16), {}, SetPayload{ids, "{\"a\":1}"}, kNoDeadline}).ok());
}

TEST_F(WorkerTest, StopRefusesAndLetsFinish) {
  StartWith({Collection("a", {16})});
  ASSERT_TRUE(Upsert(16, {MakePoint(1)}).ok());
  worker_->Stop(In(seconds(5)));
  EXPECT_EQ(ReasonOf(Upsert(16, {MakePoint(2)}).status()), Reason::kShuttingDown);
  EXPECT_EQ(ReasonOf(Count(16).status()), Reason::kShuttingDown);
  EXPECT_EQ(ReasonOf(worker_->Ready()), Reason::kShuttingDown);
  EXPECT_FALSE(host_->IsRunning(GroupOf(ShardId(16))));
}

TEST_F(WorkerTest, MetricsCountRequestsAndPoints) {
  StartWith({Collection("a", {16})});
  ASSERT_TRUE(Upsert(16, {MakePoint(1), MakePoint(2)}).ok());
  ASSERT_TRUE(Search(16, {0, 0, 0, 0}).ok());
  EXPECT_FALSE(Search(16, {0, 0}).ok());
  ASSERT_TRUE(WaitUntil([&] {
    return RenderMetrics(metrics_).find("\nvectron_points 2\n") != std::string::npos;
  })) << RenderMetrics(metrics_);
  const std::string text = RenderMetrics(metrics_);
  for (const char* line :
       {"vectron_worker_requests_total{operation=\"write\",outcome=\"OK\"} 1\n",
        "vectron_worker_requests_total{operation=\"search\",outcome=\"OK\"} 1\n",
        "vectron_worker_request_seconds_count{operation=\"search\"} 2\n",
        "vectron_worker_shards_serving 1\n", "vectron_worker_shards_leading 1\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

TEST_F(WorkerTest, TheIndexCatchesUpBehindTheWrites) {
  StartWith({Collection("a", {16})});
  for (uint64_t batch = 0; batch < 20; ++batch) {
    std::vector<Point> points;
    for (uint64_t i = 0; i < 100; ++i) points.push_back(MakePoint(batch * 100 + i));
    ASSERT_TRUE(Upsert(16, std::move(points)).ok());
  }
  ASSERT_TRUE(WaitUntil([&] {
    const auto count = SyncCall<rpc::CountResponse>([&](auto done) {
      worker_->Count({RouteTo(16), {}}, std::move(done));
    });
    return count.ok() && count->stats.pending_count == 0 && count->stats.linked_count == 2000;
  }));
}

}  // namespace
}  // namespace vectron::worker
