#include "gateway/grpc_service.h"

#include <gmock/gmock.h>
#include <google/rpc/error_details.pb.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <limits>

#include "common/thread.h"
#include "gateway/testing/fake_cluster.h"
#include "rpc/channel.h"
#include "rpc/grpc_server.h"
#include "rpc/service.h"
#include "rpc/status.h"
#include "vectron/v1/vectron.grpc.pb.h"

// The service over loopback, with a real client, gateway and server.

namespace vectron::gateway {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::StartsWith;
namespace v1 = ::vectron::v1;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

class GrpcServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Limits limits;
    limits.request_bytes_max = 4 << 20;
    GatewayOptions options = cluster_.OptionsFor(SystemClock());
    options.limits = limits;
    gateway_ = MakeGateway(std::move(options));
    service_ =
        MakeGrpcService({.gateway = gateway_.get(), .clock = &SystemClock(), .limits = limits});
    auto server = rpc::GrpcServer::Start(
        {.listen = "127.0.0.1:0", .message_bytes_max = limits.request_bytes_max}, {service_.get()});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = rpc::MakeChannel(server_->address(), {.own_connection = true});
    stub_ = v1::Vectron::NewStub(channel_);
  }

  void TearDown() override { server_->Shutdown(milliseconds(1000)); }

  // Calls a method and returns its error as the client sees it.
  template <typename Method, typename Request, typename Response>
  grpc::Status Call(Method method, const Request& request, Response* response,
                    milliseconds timeout = milliseconds(10'000)) {
    grpc::ClientContext context;
    rpc::SetDeadline(SystemClock().Now() + timeout, SystemClock(), &context);
    return ((*stub_).*method)(&context, request, response);
  }
  template <typename Response, typename Method, typename Request>
  Status Refusal(Method method, const Request& request) {
    Response response;
    return rpc::FromGrpcStatus(Call(method, request, &response));
  }

  void Create(uint32_t shard_count, v1::Metric metric = v1::METRIC_L2) {
    v1::CreateCollectionRequest request;
    request.mutable_config()->set_name("c");
    request.mutable_config()->set_shard_count(shard_count);
    v1::VectorConfig* vector = request.mutable_config()->add_vectors();
    vector->set_dimension(2);
    vector->set_metric(metric);
    v1::CreateCollectionResponse response;
    const grpc::Status status = Call(&v1::Vectron::Stub::CreateCollection, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.collection().shards_size(), static_cast<int>(shard_count));
  }

  static v1::Point* AddPoint(uint64_t id, std::initializer_list<float> values,
                             google::protobuf::RepeatedPtrField<v1::Point>* points) {
    v1::Point* point = points->Add();
    point->mutable_id()->set_number(id);
    point->mutable_vector()->Add(values.begin(), values.end());
    return point;
  }

  static v1::StoreVectorRequest Store(uint64_t first, uint64_t count) {
    v1::StoreVectorRequest request;
    request.set_collection("c");
    for (uint64_t id = first; id < first + count; ++id) {
      AddPoint(id, {static_cast<float>(id), 1}, request.mutable_points());
    }
    return request;
  }

  Status StoreRefusal(const v1::StoreVectorRequest& request) {
    return Refusal<v1::WriteResponse>(&v1::Vectron::Stub::StoreVector, request);
  }

  static v1::SearchRequest Query(std::initializer_list<float> values, uint32_t k) {
    v1::SearchRequest request;
    request.set_collection("c");
    v1::Query* query = request.add_queries();
    query->mutable_vector()->Add(values.begin(), values.end());
    query->set_k(k);
    return request;
  }

  Status SearchRefusal(const v1::SearchRequest& request) {
    return Refusal<v1::SearchResponse>(&v1::Vectron::Stub::Search, request);
  }

  FakeCluster cluster_{3};
  std::unique_ptr<Gateway> gateway_;
  std::unique_ptr<rpc::Service> service_;
  std::unique_ptr<rpc::GrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Vectron::Stub> stub_;
};

TEST_F(GrpcServiceTest, StoresFindsReadsAndDeletes) {
  Create(2);
  v1::StoreVectorRequest store = Store(0, 20);
  store.mutable_points(5)->set_payload(R"({ "a" : 1.50, "b":["x"] })");
  v1::Point* named = store.add_points();
  named->mutable_id()->set_text("hello");
  named->add_vector(5.1f);
  named->add_vector(1);
  v1::WriteResponse stored;
  ASSERT_TRUE(Call(&v1::Vectron::Stub::StoreVector, store, &stored).ok());
  EXPECT_EQ(stored.changed_count(), 21u);
  EXPECT_EQ(stored.token().shards_size(), 2);

  v1::SearchRequest search = Query({5, 1}, 3);
  search.mutable_select()->set_payload(true);
  search.mutable_select()->set_vectors(true);
  v1::SearchResponse found;
  ASSERT_TRUE(Call(&v1::Vectron::Stub::Search, search, &found).ok());
  ASSERT_EQ(found.results_size(), 1);
  ASSERT_EQ(found.results(0).points_size(), 3);
  const v1::ScoredRecord& best = found.results(0).points(0);
  EXPECT_EQ(best.id().number(), 5u);
  EXPECT_EQ(best.score(), 0);
  EXPECT_EQ(best.payload(), R"({ "a" : 1.50, "b":["x"] })");
  ASSERT_EQ(best.vector_size(), 2);
  EXPECT_EQ(best.vector(0), 5);
  EXPECT_EQ(found.results(0).points(1).id().text(), "hello");

  v1::GetVectorsRequest get;
  get.set_collection("c");
  get.add_ids()->set_text("hello");
  get.add_ids()->set_number(1000);
  get.add_ids()->set_number(7);
  v1::GetVectorsResponse got;
  ASSERT_TRUE(Call(&v1::Vectron::Stub::GetVectors, get, &got).ok());
  ASSERT_EQ(got.points_size(), 2);
  EXPECT_EQ(got.points(0).id().text(), "hello");
  EXPECT_EQ(got.points(1).id().number(), 7u);
  EXPECT_GT(got.points(1).version(), 0u);
  EXPECT_EQ(got.points(1).vector_size(), 0);

  v1::DeleteVectorsRequest remove;
  remove.set_collection("c");
  *remove.mutable_ids() = get.ids();
  ASSERT_TRUE(Call(&v1::Vectron::Stub::DeleteVectors, remove, &stored).ok());
  EXPECT_EQ(stored.changed_count(), 2u);
  v1::CountRequest count;
  count.set_collection("c");
  v1::CountResponse counted;
  ASSERT_TRUE(Call(&v1::Vectron::Stub::Count, count, &counted).ok());
  EXPECT_EQ(counted.count(), 19u);
}

TEST_F(GrpcServiceTest, ScrollsPageByPage) {
  Create(3);
  v1::WriteResponse stored;
  ASSERT_TRUE(Call(&v1::Vectron::Stub::StoreVector, Store(0, 25), &stored).ok());
  v1::ScrollRequest request;
  request.set_collection("c");
  request.set_limit(10);
  uint64_t expected = 0;
  for (int pages = 1;; ++pages) {
    v1::ScrollResponse page;
    ASSERT_TRUE(Call(&v1::Vectron::Stub::Scroll, request, &page).ok());
    for (const v1::Record& record : page.points()) EXPECT_EQ(record.id().number(), expected++);
    if (!page.has_next()) {
      EXPECT_EQ(pages, 3);
      break;
    }
    *request.mutable_from() = page.next();
  }
  EXPECT_EQ(expected, 25u);
}

TEST_F(GrpcServiceTest, AUuidIsOnePointInAllItsForms) {
  const std::string canonical = "aaaaaaaa-0000-4000-8000-00000000000f";
  const std::vector<std::string> forms = {"AAAAAAAA-0000-4000-8000-00000000000F",
                                          "aaaaaaaa000040008000-00000000000f",  // none
                                          "{aaaaaaaa-0000-4000-8000-00000000000f}",
                                          "AAAAAAAA00004000800000000000000f", canonical};
  Create(2);
  v1::StoreVectorRequest store;
  store.set_collection("c");
  for (const std::string& form : forms) {
    AddPoint(0, {1, 1}, store.mutable_points())->mutable_id()->set_text(form);
  }
  v1::WriteResponse stored;
  ASSERT_TRUE(Call(&v1::Vectron::Stub::StoreVector, store, &stored).ok());

  v1::ScrollRequest scroll;
  scroll.set_collection("c");
  scroll.set_limit(1);
  v1::ScrollResponse page;
  ASSERT_TRUE(Call(&v1::Vectron::Stub::Scroll, scroll, &page).ok());
  EXPECT_EQ(page.points(0).id().text(), canonical);
  EXPECT_EQ(page.next().text(), forms[1]);
  *scroll.mutable_from() = page.next();
  ASSERT_TRUE(Call(&v1::Vectron::Stub::Scroll, scroll, &page).ok());
  EXPECT_FALSE(page.has_next());
  // Where a page begins is taken as it is: all lower-case letters come after this.
  scroll.mutable_from()->set_text("BBBBBBBB-0000-4000-8000-000000000000");
  ASSERT_TRUE(Call(&v1::Vectron::Stub::Scroll, scroll, &page).ok());
  EXPECT_EQ(page.points(0).id().text(), canonical);

  v1::DeleteVectorsRequest remove;
  remove.set_collection("c");
  remove.add_ids()->set_text(forms[0]);
  ASSERT_TRUE(Call(&v1::Vectron::Stub::DeleteVectors, remove, &stored).ok());
  EXPECT_EQ(stored.changed_count(), 1u);
}

TEST_F(GrpcServiceTest, TellsOfCollectionsAndCluster) {
  Create(2, v1::METRIC_COSINE);
  v1::GetCollectionRequest get;
  get.set_name("c");
  v1::GetCollectionResponse got;
  ASSERT_TRUE(Call(&v1::Vectron::Stub::GetCollection, get, &got).ok());
  const v1::VectorConfig& vector = got.collection().config().vectors(0);
  EXPECT_EQ(vector.metric(), v1::METRIC_COSINE);
  EXPECT_EQ(vector.quantization(), v1::QUANTIZATION_SQ8);
  EXPECT_EQ(vector.hnsw().m(), 16u);
  EXPECT_EQ(got.collection().config().replication_factor(), 1u);
  EXPECT_EQ(got.collection().shards(1).hash_last(), ~uint64_t{0});
  v1::ListCollectionsResponse list;
  ASSERT_TRUE(Call(&v1::Vectron::Stub::ListCollections, v1::ListCollectionsRequest(), &list).ok());
  ASSERT_EQ(list.collections_size(), 1);
  EXPECT_EQ(list.collections(0).config().name(), "c");
  v1::ClusterStatusResponse cluster;
  ASSERT_TRUE(Call(&v1::Vectron::Stub::ClusterStatus, v1::ClusterStatusRequest(), &cluster).ok());
  EXPECT_EQ(cluster.cluster_id(), "fake");
  ASSERT_EQ(cluster.workers_size(), 3);
  EXPECT_EQ(cluster.workers(0).state(), v1::WORKER_STATE_UP);
  v1::DropCollectionRequest drop;
  drop.set_name("c");
  v1::DropCollectionResponse dropped;
  ASSERT_TRUE(Call(&v1::Vectron::Stub::DropCollection, drop, &dropped).ok());
  EXPECT_TRUE(dropped.existed());
  ASSERT_TRUE(Call(&v1::Vectron::Stub::DropCollection, drop, &dropped).ok());
  EXPECT_FALSE(dropped.existed());
  EXPECT_EQ(ReasonOf(Refusal<v1::GetCollectionResponse>(&v1::Vectron::Stub::GetCollection, get)),
            Reason::kCollectionNotFound);
}

TEST_F(GrpcServiceTest, RefusesBadPoints) {
  Create(1);
  v1::StoreVectorRequest request = Store(0, 3);
  request.mutable_points(2)->add_vector(1);
  EXPECT_EQ(StoreRefusal(request).message(), "point 2 (id 2): vector: dimension 3, expected 2");
  request = Store(0, 3);
  request.mutable_points(1)->set_vector(0, kNaN);
  EXPECT_EQ(StoreRefusal(request).message(), "point 1 (id 1): vector: component 0 is NaN");
  request.mutable_points(1)->set_vector(0, std::numeric_limits<float>::infinity());
  EXPECT_EQ(StoreRefusal(request).message(), "point 1 (id 1): vector: component 0 is infinite");
  EXPECT_EQ(StoreRefusal(Store(0, 0)).message(), "the request has no points");
  EXPECT_EQ(ReasonOf(StoreRefusal(Store(0, 10'001))), Reason::kLimitExceeded);
  request = Store(0, 3);
  request.mutable_points(1)->clear_id();
  EXPECT_EQ(StoreRefusal(request).message(),
            "point 1: the id is missing: it must be a number or a text");
  request.mutable_points(1)->mutable_id()->set_text(std::string(513, 'x'));
  EXPECT_EQ(ReasonOf(StoreRefusal(request)), Reason::kLimitExceeded);
  request.mutable_points(1)->mutable_id()->set_text("");
  EXPECT_EQ(StoreRefusal(request).message(), "point 1: a point id must not be empty");
  request = Store(0, 3);
  request.mutable_points(0)->set_payload("[1]");
  EXPECT_THAT(std::string(StoreRefusal(request).message()), StartsWith("point 0 (id 0): payload"));
  request.mutable_points(0)->set_payload(R"({"a":)" + std::string(100, '[') +
                                         std::string(100, ']') + "}");
  EXPECT_EQ(ReasonOf(StoreRefusal(request)), Reason::kLimitExceeded);
  request.mutable_points(0)->set_payload(R"({"a":")" + std::string(1 << 20, 'x') + R"("})");
  EXPECT_EQ(ReasonOf(StoreRefusal(request)), Reason::kLimitExceeded);
  request = Store(0, 3);
  request.mutable_points(0)->add_vectors()->set_name("other");
  EXPECT_THAT(std::string(StoreRefusal(request).message()), HasSubstr("has no vector 'other'"));
  request = Store(0, 3);
  request.set_collection("nowhere");
  EXPECT_EQ(ReasonOf(StoreRefusal(request)), Reason::kCollectionNotFound);
  for (const std::string& name : {std::string("../x"), std::string(), std::string(256, 'x')}) {
    request.set_collection(name);
    EXPECT_EQ(StoreRefusal(request).code(), absl::StatusCode::kInvalidArgument) << name;
  }
  EXPECT_TRUE(cluster_.Writes().empty());
}

TEST_F(GrpcServiceTest, RefusesAZeroVectorUnderCosine) {
  Create(1, v1::METRIC_COSINE);
  v1::StoreVectorRequest request = Store(0, 1);
  request.mutable_points(0)->set_vector(1, 0);
  EXPECT_THAT(std::string(StoreRefusal(request).message()), HasSubstr("zero"));
  EXPECT_THAT(std::string(SearchRefusal(Query({0, 0}, 3)).message()), HasSubstr("zero"));
}

TEST_F(GrpcServiceTest, LastOfEqualIdsWins) {
  Create(2);
  v1::StoreVectorRequest request = Store(0, 3);
  AddPoint(1, {77, 7}, request.mutable_points());
  v1::WriteResponse stored;
  ASSERT_TRUE(Call(&v1::Vectron::Stub::StoreVector, request, &stored).ok());
  v1::SearchResponse found;
  ASSERT_TRUE(Call(&v1::Vectron::Stub::Search, Query({77, 7}, 1), &found).ok());
  EXPECT_EQ(found.results(0).points(0).id().number(), 1u);
  EXPECT_EQ(found.results(0).points(0).score(), 0);
}

TEST_F(GrpcServiceTest, RefusesBadSearches) {
  Create(1);
  EXPECT_EQ(SearchRefusal(Query({1}, 3)).message(), "vector: dimension 1, expected 2");
  EXPECT_EQ(SearchRefusal(Query({1, kNaN}, 3)).message(), "vector: component 1 is NaN");
  EXPECT_EQ(SearchRefusal(Query({1, 1}, 0)).message(), "k is 0, it must be at least 1");
  EXPECT_EQ(SearchRefusal(Query({1, 1}, 16'385)).message(), "k is 16385, the limit is 16384");
  v1::SearchRequest request = Query({1, 1}, 3);
  request.mutable_queries(0)->set_ef(65'537);
  EXPECT_EQ(SearchRefusal(request).message(), "ef is 65537, the limit is 65536");
  request = Query({1, 1}, 3);
  request.mutable_queries(0)->set_vector_name("other");
  EXPECT_THAT(std::string(SearchRefusal(request).message()), HasSubstr("no vector 'other'"));
  request.clear_queries();
  EXPECT_EQ(SearchRefusal(request).message(), "the request has no queries");
  request = Query({1, 1}, 3);
  request.mutable_read()->set_consistency(static_cast<v1::Consistency>(9));
  EXPECT_EQ(SearchRefusal(request).message(), "consistency 9 is not known");
  request = Query({1, 1}, 3);
  request.set_collection("nowhere");
  EXPECT_EQ(ReasonOf(SearchRefusal(request)), Reason::kCollectionNotFound);
  v1::ScrollRequest scroll;
  scroll.set_collection("c");
  EXPECT_EQ(Refusal<v1::ScrollResponse>(&v1::Vectron::Stub::Scroll, scroll).message(),
            "limit is 0, it must be at least 1");
}

TEST_F(GrpcServiceTest, RefusesBadCollections) {
  const auto refusal = [&](const v1::CreateCollectionRequest& request) {
    return Refusal<v1::CreateCollectionResponse>(&v1::Vectron::Stub::CreateCollection, request);
  };
  v1::CreateCollectionRequest request;
  v1::CollectionConfig* config = request.mutable_config();
  config->set_name("c");
  EXPECT_EQ(refusal(request).message(), "a collection needs at least one vector");
  config->add_vectors()->set_dimension(2);
  EXPECT_THAT(std::string(refusal(request).message()), StartsWith("vector '': metric is missing"));
  config->mutable_vectors(0)->set_metric(static_cast<v1::Metric>(77));
  EXPECT_EQ(refusal(request).message(), "vector '': metric 77 is not known");
  // The index's number of it; this interface has none.
  config->mutable_vectors(0)->set_metric(static_cast<v1::Metric>(Metric::kManhattan));
  EXPECT_EQ(refusal(request).message(), "vector '': metric 4 is not known");
  config->mutable_vectors(0)->set_metric(v1::METRIC_DOT);
  config->mutable_vectors(0)->set_dimension(65'536);
  EXPECT_EQ(ReasonOf(refusal(request)), Reason::kLimitExceeded);
  config->mutable_vectors(0)->set_dimension(2);
  for (const std::string& name : {std::string("../x"), std::string(), std::string(256, 'x')}) {
    config->set_name(name);
    EXPECT_EQ(refusal(request).code(), absl::StatusCode::kInvalidArgument) << name;
  }
  config->set_name("c");
  EXPECT_TRUE(refusal(request).ok());
  config->mutable_vectors(0)->set_dimension(3);
  EXPECT_EQ(ReasonOf(refusal(request)), Reason::kCollectionExists);
}

TEST_F(GrpcServiceTest, ErrorsCarryAnErrorInfo) {
  v1::SearchResponse response;
  const grpc::Status status = Call(&v1::Vectron::Stub::Search, Query({1, 1}, 3), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(rpc::FindDetail(status, &info));
  EXPECT_EQ(info.domain(), "vectron");
  EXPECT_EQ(info.reason(), "COLLECTION_NOT_FOUND");
}

TEST_F(GrpcServiceTest, RefusesAMessageThatIsTooLargeAndGoesOn) {
  Create(1);
  v1::StoreVectorRequest request = Store(0, 1);
  request.mutable_points(0)->set_payload(std::string(5 << 20, 'x'));
  EXPECT_EQ(StoreRefusal(request).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(StoreRefusal(Store(0, 1)).ok());
}

TEST_F(GrpcServiceTest, RefusesWhatIsNoMessage) {
  grpc::GenericStub generic(channel_);
  grpc::ClientContext context;
  rpc::SetDeadline(SystemClock().Now() + milliseconds(10'000), SystemClock(), &context);
  const grpc::Slice slice("\xff\xff\xff garbage");
  const grpc::ByteBuffer request(&slice, 1);
  grpc::CompletionQueue queue;
  grpc::ByteBuffer response;
  grpc::Status status;
  auto call = generic.PrepareUnaryCall(&context, "/vectron.v1.Vectron/Search", request, &queue);
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_FALSE(status.ok());
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  Create(1);
  EXPECT_TRUE(SearchRefusal(Query({1, 1}, 1)).ok());
}

TEST_F(GrpcServiceTest, MixedOutcomesAreToldPointByPoint) {
  Create(2);
  const rpc::CollectionInfo info = cluster_.Info("c");
  cluster_.Inject(info.shards[1].id, {MakeError(Reason::kDiskFull, "no room")});
  const v1::StoreVectorRequest request = Store(0, 40);
  v1::WriteResponse response;
  const grpc::Status status = Call(&v1::Vectron::Stub::StoreVector, request, &response);
  EXPECT_EQ(ReasonOf(rpc::FromGrpcStatus(status)), Reason::kDiskFull);
  v1::WriteOutcome outcome;
  ASSERT_TRUE(rpc::FindDetail(status, &outcome));
  EXPECT_EQ(outcome.done_count() + outcome.not_done_count(), 40u);
  EXPECT_EQ(outcome.unknown_count(), 0u);
  ASSERT_EQ(outcome.outcomes().size(), 10u);
  for (uint64_t i = 0; i < 40; ++i) {
    const int expected = info.shards[0].range.Contains(PointId(i).RingHash())
                             ? v1::WriteOutcome::POINT_OUTCOME_DONE
                             : v1::WriteOutcome::POINT_OUTCOME_NOT_DONE;
    EXPECT_EQ((outcome.outcomes()[i / 4] >> (2 * (i % 4))) & 3, expected) << i;
  }
}

TEST_F(GrpcServiceTest, TheLargestMixedOutcomeFitsIntoTheTrailers) {
  Create(2);
  cluster_.Inject(cluster_.Info("c").shards[1].id, {MakeError(Reason::kDiskFull, "no room")});
  v1::WriteResponse response;
  const grpc::Status status = Call(&v1::Vectron::Stub::StoreVector, Store(0, 10'000), &response);
  EXPECT_EQ(ReasonOf(rpc::FromGrpcStatus(status)), Reason::kDiskFull);
  v1::WriteOutcome outcome;
  ASSERT_TRUE(rpc::FindDetail(status, &outcome));
  EXPECT_EQ(outcome.outcomes().size(), 2'500u);
}

TEST_F(GrpcServiceTest, DeadlinesReachTheWorkers) {
  Create(1);
  v1::SearchResponse response;
  ASSERT_TRUE(Call(&v1::Vectron::Stub::Search, Query({1, 1}, 1), &response).ok());
  Deadline given = cluster_.Reads().back().second.deadline;
  EXPECT_GT(given, SystemClock().Now() + milliseconds(5'000));
  // gRPC rounds timeouts up, by up to a hundredth.
  EXPECT_LE(given, SystemClock().Now() + milliseconds(10'200));
  // Without one, the gateway's: 10 s for reads.
  grpc::ClientContext context;
  ASSERT_TRUE(stub_->Search(&context, Query({1, 1}, 1), &response).ok());
  given = cluster_.Reads().back().second.deadline;
  EXPECT_LE(given, SystemClock().Now() + milliseconds(10'000));

  cluster_.Inject(cluster_.Info("c").shards[0].id, {MakeError(Reason::kUnavailable, "x")}, 1000);
  const grpc::Status late =
      Call(&v1::Vectron::Stub::Search, Query({1, 1}, 1), &response, milliseconds(100));
  EXPECT_FALSE(late.ok());
}

TEST_F(GrpcServiceTest, ACancelledSearchIsNotTriedAgain) {
  Create(1);
  cluster_.Inject(cluster_.Info("c").shards[0].id, {MakeError(Reason::kUnavailable, "electing")},
                  1'000'000);
  grpc::ClientContext context;
  v1::SearchResponse response;
  grpc::Status status;
  std::atomic<bool> answered = false;
  const v1::SearchRequest request = Query({1, 2}, 1);
  stub_->async()->Search(&context, &request, &response, [&](grpc::Status s) {
    status = s;
    answered = true;
  });
  const auto wait = [](auto holds) {
    const TimePoint until = SystemClock().Now() + std::chrono::seconds(10);
    while (!holds() && SystemClock().Now() < until) {
      SleepUntil(SystemClock().Now() + milliseconds(1));
    }
    return holds();
  };
  ASSERT_TRUE(wait([&] { return cluster_.Reads().size() > 2; }));
  EXPECT_NE(cluster_.Reads()[0].second.cancelled, nullptr);
  context.TryCancel();
  ASSERT_TRUE(wait([&] { return answered.load(); }));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
  // The server has stopped too.
  EXPECT_TRUE(wait([&] {
    return RenderMetrics(cluster_.metrics)
               .find(
                   "vectron_gateway_requests_total{operation=\"search\",reason=\"CANCELLED\"} 1") !=
           std::string::npos;
  }));
}

TEST_F(GrpcServiceTest, StreamsBatchesAndAcknowledgesEach) {
  Create(2);
  grpc::ClientContext context;
  auto stream = stub_->StoreVectors(&context);
  constexpr uint64_t kCount = 50;
  for (uint64_t i = 0; i < kCount; ++i) {
    v1::StoreVectorsRequest message;
    if (i == 0) message.set_collection("c");
    *message.mutable_points() = Store(i * 100, 100).points();
    // One is refused; the stream goes on.
    if (i == 7) message.mutable_points(3)->add_vector(1);
    ASSERT_TRUE(stream->Write(message));
  }
  ASSERT_TRUE(stream->WritesDone());
  std::set<uint64_t> seen;
  v1::StoreVectorsResponse answer;
  while (stream->Read(&answer)) {
    EXPECT_TRUE(seen.insert(answer.message_index()).second);
    EXPECT_EQ(answer.has_error(), answer.message_index() == 7);
    if (answer.has_error()) {
      EXPECT_EQ(answer.error().reason(), "INVALID_ARGUMENT");
      EXPECT_EQ(answer.error().message(), "point 3 (id 703): vector: dimension 3, expected 2");
    } else {
      EXPECT_EQ(answer.changed_count(), 100u);
      EXPECT_EQ(answer.token().shards_size(), 2);
    }
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(seen.size(), kCount);
  v1::CountRequest count;
  count.set_collection("c");
  v1::CountResponse counted;
  ASSERT_TRUE(Call(&v1::Vectron::Stub::Count, count, &counted).ok());
  EXPECT_EQ(counted.count(), (kCount - 1) * 100);
}

TEST_F(GrpcServiceTest, AStreamReadsOnOnlyWhileFewWritesWait) {
  Create(1);
  cluster_.HoldWrites();
  grpc::ClientContext context;
  auto stream = stub_->StoreVectors(&context);
  constexpr uint64_t kCount = 40;
  Thread writer("writer", ThreadPriority::kNormal, [&] {
    for (uint64_t i = 0; i < kCount; ++i) {
      v1::StoreVectorsRequest message;
      message.set_collection("c");
      *message.mutable_points() = Store(i, 1).points();
      EXPECT_TRUE(stream->Write(message));
    }
    EXPECT_TRUE(stream->WritesDone());
  });
  // Time for more than eight to arrive, if they were read.
  Mutex mutex;
  CondVar never;
  {
    MutexLock lock(mutex);
    for (int i = 0; i < 100 && cluster_.held_write_count() < 8; ++i) {
      never.WaitFor(mutex, milliseconds(20));
    }
    never.WaitFor(mutex, milliseconds(100));
  }
  EXPECT_EQ(cluster_.held_write_count(), 8u);
  cluster_.ReleaseWrites();
  uint64_t answers = 0;
  v1::StoreVectorsResponse answer;
  while (stream->Read(&answer)) ++answers;
  writer.Join();
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(answers, kCount);
}

TEST_F(GrpcServiceTest, AStreamThatIsCancelledEndsOnceItsWritesHave) {
  Create(1);
  cluster_.HoldWrites();
  grpc::ClientContext context;
  auto stream = stub_->StoreVectors(&context);
  v1::StoreVectorsRequest message;
  message.set_collection("c");
  *message.mutable_points() = Store(0, 10).points();
  ASSERT_TRUE(stream->Write(message));
  Mutex mutex;
  CondVar never;
  {
    MutexLock lock(mutex);
    while (cluster_.held_write_count() == 0) never.WaitFor(mutex, milliseconds(5));
  }
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  cluster_.ReleaseWrites();
  EXPECT_EQ(cluster_.IdsOn(cluster_.Info("c").shards[0].id).size(), 10u);
}

TEST_F(GrpcServiceTest, AnUnnamedCollectionOnAStreamIsRefused) {
  grpc::ClientContext context;
  auto stream = stub_->StoreVectors(&context);
  v1::StoreVectorsRequest message;
  *message.mutable_points() = Store(0, 1).points();
  ASSERT_TRUE(stream->Write(message));
  ASSERT_TRUE(stream->WritesDone());
  v1::StoreVectorsResponse answer;
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.error().message(), "a collection's name must not be empty");
  EXPECT_TRUE(stream->Finish().ok());
}

}  // namespace
}  // namespace vectron::gateway
