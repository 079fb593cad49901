#include "gateway/rest/rest_api.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "common/sync_call.h"
#include "gateway/rest/dialect/json_writer.h"
#include "gateway/rest/http/test_client.h"
#include "gateway/rest/testing/fake_gateway.h"

namespace vectron::gateway::rest {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using Response = TestClient::Response;

constexpr char kUuid[] = "550e8400-e29b-41d4-a716-446655440000";

// The whole REST interface over loopback, on a gateway in memory.
class RestApiTest : public testing::Test {
 protected:
  void SetUp() override {
    RestOptions options;
    options.http.listen = "127.0.0.1:0";
    server_ = std::make_unique<RestServer>(options, &gateway_, &registry_, &SystemClock());
    ASSERT_TRUE(server_->Start().ok());
    client_ = std::make_unique<TestClient>(server_->port());
  }

  void TearDown() override {
    gateway_.Release();
    server_->Stop();
  }

  Response Do(std::string_view method, std::string_view target, std::string_view body = {},
              std::string_view headers = {}) {
    Response response = client_->Do(method, target, body, headers);
    // Times differ: tests compare what comes before.
    const size_t time = response.body.rfind(",\"time\":");
    if (time != std::string::npos) response.body.resize(time);
    return response;
  }

  // The result's JSON of a request that succeeds.
  std::string Result(std::string_view method, std::string_view target, std::string_view body = {}) {
    const Response response = Do(method, target, body);
    EXPECT_EQ(response.status, 200) << response.body;
    EXPECT_THAT(response.body, StartsWith("{\"result\":"));
    const size_t end = response.body.rfind(",\"status\":\"ok\"");
    EXPECT_NE(end, std::string::npos) << response.body;
    return response.body.substr(10, end - 10);
  }

  // "CODE MESSAGE" of one that is refused.
  std::string Error(std::string_view method, std::string_view target, std::string_view body = {},
                    std::string_view headers = {}) {
    const Response response = Do(method, target, body, headers);
    constexpr std::string_view kBegin = "\"status\":{\"error\":\"";
    const size_t begin = response.body.find(kBegin);
    if (begin == std::string::npos) return fmt::format("{} {}", response.status, response.body);
    std::string message = response.body.substr(begin + kBegin.size());
    const size_t end = message.find("\",\"reason\"");
    if (end != std::string::npos) message.resize(end);
    for (size_t at = 0; (at = message.find("\\\"", at)) != std::string::npos;) message.erase(at, 1);
    return fmt::format("{} {}", response.status, message);
  }

  void CreateC(std::string_view distance = "Euclid") {
    ASSERT_EQ(Result("PUT", "/collections/c",
                     fmt::format(R"({{"vectors":{{"size":2,"distance":"{}"}}}})", distance)),
              "true");
  }

  // Points 1, 2 and 3 at (1,0), (2,0) and (3,0), and one with a UUID at (9,0).
  void UpsertFour() {
    ASSERT_EQ(Result("PUT", "/collections/c/points?wait=true",
                     fmt::format(R"({{"points":[
      {{"id":1,"vector":[1,0],"payload":{{"n":1,"tag":"a"}}}},
      {{"id":2,"vector":[2,0],"payload":{{"n":2.50}}}},
      {{"id":3,"vector":[3,0]}},
      {{"id":"{}","vector":[9,0],"payload":null}}]}})",
                                 kUuid)),
              R"({"operation_id":1,"status":"completed"})");
  }

  MetricsRegistry registry_;
  FakeGateway gateway_;
  std::unique_ptr<RestServer> server_;
  std::unique_ptr<TestClient> client_;
};

TEST_F(RestApiTest, SaysWhoItIs) {
  EXPECT_EQ(Do("GET", "/").body,
            R"({"title":"vectron","version":"1.19.0","vectron_version":")" VECTRON_VERSION "\"}");
  EXPECT_EQ(Do("GET", "/healthz").body, "healthz check passed");
  EXPECT_EQ(Do("GET", "/livez").status, 200);
  EXPECT_EQ(Do("GET", "/readyz").status, 200);
  gateway_.FailWith(MakeError(Reason::kUnavailable, "no leader"));
  EXPECT_EQ(Error("GET", "/readyz"), "503 no leader");
  EXPECT_EQ(Do("GET", "/livez").status, 200);
}

TEST_F(RestApiTest, AnswersForPathsAndMethodsThereAreNot) {
  EXPECT_EQ(Error("GET", "/nowhere?x=1"), "404 there is no route GET /nowhere");
  EXPECT_EQ(Error("GET", "/collections/a/b/c/d"), "404 there is no route GET /collections/a/b/c/d");
  EXPECT_EQ(Error("GET", "/%zz"), "400 the URL has a '%' without two hexadecimal digits");
  const Response wrong = Do("POST", "/collections");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.Header("Allow"), "GET, HEAD, OPTIONS");
  EXPECT_THAT(wrong.body, HasSubstr(R"("reason":"METHOD_NOT_ALLOWED")"));
  EXPECT_THAT(Do("GET", "/nowhere").body, HasSubstr(R"("reason":"UNKNOWN_ROUTE")"));
  const Response options = Do("OPTIONS", "/collections/c/points/payload");
  EXPECT_EQ(options.status, 204);
  EXPECT_THAT(options.Header("Allow"), HasSubstr("POST, PUT"));
  EXPECT_EQ(Do("HEAD", "/collections").status, 200);
  EXPECT_EQ(Error("PUT", "/collections/c/index", "{}"),
            "400 PUT /collections/{collection_name}/index is not supported");
}

TEST_F(RestApiTest, TakesAbsoluteTargets) {
  CreateC();
  UpsertFour();
  for (const std::string target :
       {"http://localhost/collections/c/points/1", "HTTP://a:1/collections/c/points/1?timeout=5",
        "https://[::1]:80/collections/c/points/1/"}) {
    EXPECT_THAT(Result("GET", target), HasSubstr(R"("id":1)")) << target;
  }
  for (const std::string target : {"http://localhost", "http://localhost?", "http://a?#x"}) {
    EXPECT_THAT(client_->Do("GET", target).body, HasSubstr("vectron")) << target;
  }
  EXPECT_EQ(client_->Do("GET", "?x").status, 400);
  EXPECT_EQ(client_->Do("GET", "ftp://localhost/collections").status, 400);
}

TEST_F(RestApiTest, TakesJsonOnly) {
  const std::string body = R"({"vectors":{"size":2,"distance":"Dot"}})";
  TestClient client(server_->port());
  for (const std::string type : {"text/plain", "application/x-www-form-urlencoded",
                                 "application/json; charset=utf-16", "application/jsonp"}) {
    client.Send(
        fmt::format("PUT /collections/c HTTP/1.1\r\nHost: x\r\nContent-Type: {}\r\n"
                    "Content-Length: {}\r\n\r\n{}",
                    type, body.size(), body));
    const Response response = client.Read();
    EXPECT_EQ(response.status, 415) << type;
    EXPECT_THAT(response.body, HasSubstr(type));
    EXPECT_THAT(response.body, HasSubstr(R"("reason":"UNSUPPORTED_MEDIA_TYPE")"));
  }
  client.Send(
      fmt::format("PUT /collections/c HTTP/1.1\r\nHost: x\r\nContent-Type: Application/JSON; "
                  "charset=UTF-8\r\nContent-Length: {}\r\n\r\n{}",
                  body.size(), body));
  EXPECT_EQ(client.Read().status, 200);
}

TEST_F(RestApiTest, CollectionsComeAndGo) {
  EXPECT_EQ(Result("GET", "/collections"), R"({"collections":[]})");
  CreateC();
  EXPECT_EQ(Error("PUT", "/collections/c", R"({"vectors":{"size":2,"distance":"Euclid"}})"),
            "409 collection 'c' exists");
  EXPECT_EQ(Result("PUT", "/collections/a%2Dz", R"({"vectors":{"size":3,"distance":"Dot"}})"),
            "true");
  EXPECT_EQ(Result("GET", "/collections"), R"({"collections":[{"name":"a-z"},{"name":"c"}]})");
  EXPECT_EQ(Result("GET", "/collections/c/exists"), R"({"exists":true})");
  EXPECT_EQ(Result("DELETE", "/collections/c?timeout=5"), "true");
  EXPECT_EQ(Result("DELETE", "/collections/c"), "false");
  EXPECT_EQ(Result("GET", "/collections/c/exists"), R"({"exists":false})");
  EXPECT_EQ(Error("GET", "/collections/c"), "404 there is no collection 'c'");
  EXPECT_EQ(Error("PUT", "/collections/c/points", R"({"points":[{"id":1,"vector":[1]}]})"),
            "404 there is no collection 'c'");
}

TEST_F(RestApiTest, RefusesBadCollectionNames) {
  const std::string body = R"({"vectors":{"size":2,"distance":"Dot"}})";
  for (const std::string& name : {std::string("..%2Fx"), std::string(256, 'x'), std::string("%00"),
                                  std::string(".x"), std::string("a%20b")}) {
    EXPECT_THAT(Error("PUT", "/collections/" + name, body), StartsWith("400 a collection's name"));
  }
  EXPECT_EQ(Do("PUT", "/collections/", body).status, 405);
}

TEST_F(RestApiTest, DescribesACollection) {
  ASSERT_EQ(Result("PUT", "/collections/c", R"({"vectors":{
      "image":{"size":2,"distance":"Cosine","hnsw_config":{"m":32},"on_disk":true},
      "text":{"size":3,"distance":"Dot","quantization_config":{"scalar":{"type":"int8"}}}},
      "hnsw_config":{"m":8,"ef_construct":64},"quantization_config":"Disabled",
      "shard_number":3,"replication_factor":3,"write_consistency_factor":2,
      "optimizers_config":{"indexing_threshold":10000},"sparse_vectors":null})"),
            "true");
  EXPECT_EQ(
      Result("GET", "/collections/c"),
      R"({"status":"green","optimizer_status":"ok","indexed_vectors_count":0,"points_count":0,)"
      R"("segments_count":3,"config":{"params":{"vectors":{"image":{"size":2,"distance":"Cosine"},)"
      R"("text":{"size":3,"distance":"Dot","hnsw_config":{"m":8,"ef_construct":64},)"
      R"("quantization_config":{"scalar":{"type":"int8","always_ram":true}}}},"shard_number":3,)"
      R"("replication_factor":3,"write_consistency_factor":2,"on_disk_payload":true},)"
      R"("hnsw_config":{"m":32,"ef_construct":64,"full_scan_threshold":0,"max_indexing_threads":0,)"
      R"("on_disk":false},"optimizer_config":{"deleted_threshold":0,"vacuum_min_vector_number":0,)"
      R"("default_segment_number":1,"indexing_threshold":0,"flush_interval_sec":0},)"
      R"("wal_config":null,"quantization_config":null},"payload_schema":{}})");
}

TEST_F(RestApiTest, RefusesSettingsThatItCannotKeep) {
  const auto create = [&](std::string_view vectors, std::string_view more = "") {
    return Error("PUT", "/collections/c", fmt::format(R"({{"vectors":{}{}}})", vectors, more));
  };
  const std::string good = R"({"size":2,"distance":"Dot"})";
  EXPECT_EQ(create(R"({"size":2,"distance":"Manhattan"})"),
            "400 vectors.distance: the distance Manhattan is not supported");
  EXPECT_THAT(create(R"({"size":2,"distance":"dot"})"),
              HasSubstr("expected Cosine, Dot or Euclid"));
  EXPECT_THAT(create(R"({"size":0,"distance":"Dot"})"), HasSubstr("0 is not from 1 to 65535"));
  EXPECT_THAT(create(R"({"size":65536,"distance":"Dot"})"),
              StartsWith("400 vectors.size: 65536 is not from 1 to 65535"));
  EXPECT_THAT(create(R"({"size":2.5,"distance":"Dot"})"), HasSubstr("vectors.size: expected an"));
  EXPECT_THAT(create(R"({"size":2})"), HasSubstr("'distance' is missing"));
  EXPECT_THAT(create(R"({"a":{"distance":"Dot"}})"), HasSubstr("vectors.a: 'size' is missing"));
  EXPECT_THAT(create("{}"), HasSubstr("'vectors' is missing or empty"));
  EXPECT_EQ(create(R"({"size":2,"distance":"Dot","colour":1})"),
            "400 vectors.colour: unknown field 'colour'");
  EXPECT_EQ(create(R"({"size":2,"distance":"Dot","datatype":"float16"})"),
            "400 vectors.datatype: the only datatype that is supported is float32");
  EXPECT_THAT(create(R"({"size":2,"distance":"Dot","multivector_config":{}})"),
              HasSubstr("multivectors are not supported"));
  EXPECT_THAT(create(good, R"(,"sparse_vectors":{"s":{}})"), HasSubstr("sparse vectors are not"));
  EXPECT_THAT(create(good, R"(,"sharding_method":"custom")"), HasSubstr("sharding_method:"));
  EXPECT_THAT(create(good, R"(,"quantization_config":{"binary":{}})"),
              HasSubstr("binary quantization is not supported"));
  EXPECT_THAT(create(good, R"(,"write_consistency_factor":2)"),
              HasSubstr("write_consistency_factor 2 is not supported"));
  EXPECT_THAT(create(good, R"(,"replication_factor":9)"), HasSubstr("9 is not from 1 to 7"));
  EXPECT_THAT(create(good, R"(,"hnsw_config":{"m":0})"), HasSubstr("hnsw m is 0"));
  EXPECT_THAT(create(good, R"(,"init_from":{"collection":"x"})"), HasSubstr("init_from"));
  EXPECT_THAT(create(good, R"(,"metadata":{"x":1})"), HasSubstr("metadata is not supported"));
}

TEST_F(RestApiTest, PointsComeBackAsTheyWent) {
  CreateC();
  UpsertFour();
  EXPECT_EQ(Result("GET", "/collections/c/points/2"),
            R"({"id":2,"payload":{"n":2.50},"vector":[2,0]})");
  EXPECT_EQ(Result("GET", "/collections/c/points/550E8400E29B41D4A716446655440000"),
            fmt::format(R"({{"id":"{}","payload":{{}},"vector":[9,0]}})", kUuid));
  EXPECT_EQ(Error("GET", "/collections/c/points/7"), "404 there is no point 7");
  // 32 digits are a UUID here as well.
  EXPECT_THAT(Result("GET", "/collections/c/points/0002"), StartsWith(R"({"id":2,)"));
  EXPECT_EQ(Error("GET", "/collections/c/points/00000000000000000000000000000002"),
            R"(404 there is no point "00000000-0000-0000-0000-000000000002")");
  EXPECT_THAT(Error("GET", "/collections/c/points/seven"), StartsWith("400 'seven': a point id"));
  EXPECT_EQ(Result("POST", "/collections/c/points", R"({"ids":[3,7,1]})"),
            R"([{"id":3,"payload":{}},{"id":1,"payload":{"n":1,"tag":"a"}}])");
  EXPECT_EQ(Result("POST", "/collections/c/points",
                   R"({"ids":[1],"with_payload":["tag"],"with_vector":true})"),
            R"([{"id":1,"payload":{"tag":"a"},"vector":[1,0]}])");
  EXPECT_EQ(Result("POST", "/collections/c/points",
                   R"({"ids":[1,2],"with_payload":{"exclude":["tag"]},"with_vectors":false})"),
            R"([{"id":1,"payload":{"n":1}},{"id":2,"payload":{"n":2.50}}])");
  EXPECT_EQ(Result("POST", "/collections/c/points", R"({"ids":[1],"with_payload":false})"),
            R"([{"id":1}])");
  EXPECT_EQ(Result("POST", "/collections/c/points/count", R"({"exact":true})"), R"({"count":4})");
  EXPECT_EQ(Result("POST", "/collections/c/points/delete", R"({"points":[1,7]})"),
            R"({"operation_id":2,"status":"completed"})");
  EXPECT_EQ(Result("POST", "/collections/c/points/count", "{}"), R"({"count":3})");
}

TEST_F(RestApiTest, TakesTheBatchForm) {
  CreateC();
  Result("PUT", "/collections/c/points",
         R"({"batch":{"ids":[1,2],"vectors":[[1,0],[2,0]],"payloads":[{"a":1},null]}})");
  EXPECT_EQ(Result("POST", "/collections/c/points", R"({"ids":[1,2],"with_vector":true})"),
            R"([{"id":1,"payload":{"a":1},"vector":[1,0]},{"id":2,"payload":{},"vector":[2,0]}])");
  EXPECT_THAT(Error("PUT", "/collections/c/points", R"({"batch":{"ids":[1],"vectors":[]}})"),
              HasSubstr("batch: 0 vectors for 1 ids"));
  EXPECT_THAT(Error("PUT", "/collections/c/points",
                    R"({"batch":{"ids":[1],"vectors":[[1,0]],"payloads":[{},{}]}})"),
              HasSubstr("batch: 2 payloads for 1 ids"));
}

TEST_F(RestApiTest, OfEqualIdsTheLastWins) {
  CreateC();
  Result("PUT", "/collections/c/points",
         R"({"points":[{"id":1,"vector":[1,0]},{"id":1,"vector":[5,0]}]})");
  EXPECT_EQ(Result("GET", "/collections/c/points/1"), R"({"id":1,"payload":{},"vector":[5,0]})");
}

TEST_F(RestApiTest, VectorsKeepEveryBit) {
  CreateC();
  Result("PUT", "/collections/c/points",
         R"({"points":[{"id":1,"vector":[0.1,-0.0]},{"id":2,"vector":[1e-45,16777217]},
             {"id":3,"vector":[1.00000017881393432617187499,1e-60]}]})");
  EXPECT_EQ(Result("POST", "/collections/c/points",
                   R"({"ids":[1,2,3],"with_payload":false,"with_vector":true})"),
            R"([{"id":1,"vector":[0.1,-0]},{"id":2,"vector":[1e-45,16777216]},)"
            R"({"id":3,"vector":[1.0000001,0]}])");
}

TEST_F(RestApiTest, NamedVectorsGoByName) {
  Result("PUT", "/collections/c",
         R"({"vectors":{"a":{"size":2,"distance":"Euclid"},"b":{"size":1,"distance":"Dot"}}})");
  Result("PUT", "/collections/c/points", R"({"points":[
      {"id":1,"vector":{"a":[1,0],"b":[5]}},{"id":2,"vector":{"b":[7],"a":[2,0]}}]})");
  EXPECT_EQ(Result("POST", "/collections/c/points/query",
                   R"({"query":[1],"using":"b","limit":1,"with_vector":["a"]})"),
            R"({"points":[{"id":2,"version":1,"score":7,"vector":{"a":[2,0]}}]})");
  EXPECT_EQ(Result("POST", "/collections/c/points/search",
                   R"({"vector":{"name":"a","vector":[0,0]},"limit":1})"),
            R"([{"id":1,"version":1,"score":1}])");
  EXPECT_THAT(Error("POST", "/collections/c/points/query", R"({"query":[1],"using":"z"})"),
              StartsWith("400 "));
  EXPECT_THAT(Error("POST", "/collections/c/points/query", R"({"query":[1]})"), StartsWith("400 "));
}

TEST_F(RestApiTest, SearchesNearestFirst) {
  CreateC();
  UpsertFour();
  EXPECT_EQ(Result("POST", "/collections/c/points/query",
                   R"({"query":[0,0],"limit":2,"with_payload":["n"]})"),
            R"({"points":[{"id":1,"version":1,"score":1,"payload":{"n":1}},)"
            R"({"id":2,"version":1,"score":2,"payload":{"n":2.50}}]})");
  EXPECT_EQ(Result("POST", "/collections/c/points/query",
                   R"({"query":{"nearest":[0,0]},"limit":2,"offset":1,"score_threshold":2.5})"),
            R"({"points":[{"id":2,"version":1,"score":2}]})");
  EXPECT_EQ(Result("POST", "/collections/c/points/search", R"({"vector":[0,0],"limit":1})"),
            R"([{"id":1,"version":1,"score":1}])");
  EXPECT_EQ(Result("POST", "/collections/c/points/query/batch",
                   R"({"searches":[{"query":[0,0],"limit":1,"with_vector":true},
                                   {"query":[9,0],"limit":1}]})"),
            fmt::format(R"([{{"points":[{{"id":1,"version":1,"score":1,"vector":[1,0]}}]}},)"
                        R"({{"points":[{{"id":"{}","version":1,"score":0}}]}}])",
                        kUuid));
  EXPECT_EQ(Result("POST", "/collections/c/points/search/batch",
                   R"({"searches":[{"vector":[3,0],"limit":1}]})"),
            R"([[{"id":3,"version":1,"score":0}]])");
}

TEST_F(RestApiTest, ScoresBySimilarity) {
  CreateC("Cosine");
  Result("PUT", "/collections/c/points",
         R"({"points":[{"id":1,"vector":[3,4]},{"id":2,"vector":[0,2]}]})");
  EXPECT_EQ(Result("POST", "/collections/c/points/query",
                   R"({"query":[0,1],"with_vector":true,"score_threshold":0.5})"),
            R"({"points":[{"id":2,"version":1,"score":1,"vector":[0,2]},)"
            R"({"id":1,"version":1,"score":0.8,"vector":[3,4]}]})");
}

TEST_F(RestApiTest, SearchesByTheVectorOfAPoint) {
  CreateC();
  UpsertFour();
  EXPECT_EQ(Result("POST", "/collections/c/points/query", R"({"query":1,"limit":2})"),
            R"({"points":[{"id":2,"version":1,"score":1},{"id":3,"version":1,"score":2}]})");
  EXPECT_EQ(gateway_.last_queries().at(0).k, 3u);
  EXPECT_EQ(Result("POST", "/collections/c/points/query", R"({"query":1,"limit":1,"offset":1})"),
            R"({"points":[{"id":3,"version":1,"score":2}]})");
  EXPECT_EQ(Result("POST", "/collections/c/points/query",
                   fmt::format(R"({{"query":{{"nearest":"{}"}},"limit":1}})", kUuid)),
            R"({"points":[{"id":3,"version":1,"score":6}]})");
  EXPECT_EQ(Error("POST", "/collections/c/points/query", R"({"query":7})"),
            "404 there is no point 7");
}

TEST_F(RestApiTest, HandsOnWhatASearchAsksFor) {
  CreateC();
  Result("POST", "/collections/c/points/query?consistency=eventual&timeout=3",
         R"({"query":[0,0],"limit":7,"offset":5,"params":{"hnsw_ef":99,"exact":true,
             "quantization":{"rescore":true,"oversampling":2.0},"indexed_only":false},
             "filter":{"must":[]},"prefetch":[],"shard_key":null,"score_threshold":-1.5})");
  const SearchQuery query = gateway_.last_queries().at(0);
  EXPECT_EQ(query.k, 12u);
  EXPECT_EQ(query.ef, 99u);
  EXPECT_TRUE(query.exact);
  EXPECT_EQ(query.score_threshold, -1.5f);
  EXPECT_EQ(gateway_.last_options().consistency, Consistency::kEventual);
  EXPECT_LT(gateway_.last_options().deadline, SystemClock().Now() + std::chrono::seconds(4));
}

TEST_F(RestApiTest, RefusesQueriesItCannotAnswer) {
  CreateC();
  const auto query = [&](std::string_view body) {
    return Error("POST", "/collections/c/points/query", body);
  };
  EXPECT_EQ(query(R"({"query":{"recommend":{"positive":[1]}}})"),
            "400 query.recommend: queries of the kind 'recommend' are not supported");
  EXPECT_THAT(query(R"({"query":{"fusion":"rrf"}})"), HasSubstr("kind 'fusion'"));
  EXPECT_THAT(query(R"({"query":{"indices":[1],"values":[1]}})"), HasSubstr("sparse vectors"));
  EXPECT_THAT(query(R"({"query":{"text":"x","model":"y"}})"), HasSubstr("embedded"));
  EXPECT_THAT(query(R"({"query":[[0,0]]})"), HasSubstr("query[0]: expected a number"));
  EXPECT_THAT(query("{}"), HasSubstr("points/scroll"));
  EXPECT_EQ(query(R"({"query":[0,0],"filter":{"must":[{"key":"a","match":{"value":1}}]}})"),
            "400 filter.must: filters are not supported");
  EXPECT_THAT(query(R"({"query":[0,0],"prefetch":[{}]})"), HasSubstr("prefetch is not supported"));
  EXPECT_THAT(query(R"({"query":[0,0],"lookup_from":{"collection":"x"}})"),
              HasSubstr("lookup in another collection is not supported"));
  EXPECT_THAT(query(R"({"query":[0,0],"limit":0})"), HasSubstr("limit: 0 is not from 1 to 16384"));
  EXPECT_THAT(query(R"({"query":[0,0],"limit":16384,"offset":1})"),
              HasSubstr("limit + offset is 16385, at most 16384"));
  EXPECT_THAT(query(R"({"query":[0,0],"params":{"hnsw_ef":0}})"), HasSubstr("params.hnsw_ef: 0"));
  EXPECT_THAT(query(R"({"query":[0,0],"params":{"hnsw_ef":99999}})"), HasSubstr("1 to 65536"));
  EXPECT_EQ(query(R"({"query":[0,0],"lmit":3})"), "400 lmit: unknown field 'lmit'");
  EXPECT_THAT(query(R"({"query":[0,0],"with_payload":["a.b"]})"), HasSubstr("path into the"));
  EXPECT_THAT(query(R"({"query":[0,0,0]})"), HasSubstr("dimension 3, expected 2"));
  EXPECT_THAT(query(R"({"query":[0,1e39]})"), HasSubstr("query[1]: a number too large"));
  EXPECT_THAT(query(R"({"query":-1})"), HasSubstr("a point id is an unsigned 64-bit integer"));
}

TEST_F(RestApiTest, ScrollsThroughAllPoints) {
  CreateC();
  UpsertFour();
  EXPECT_EQ(Result("POST", "/collections/c/points/scroll", R"({"limit":2,"with_payload":false})"),
            R"({"points":[{"id":1},{"id":2}],"next_page_offset":3})");
  EXPECT_EQ(
      Result("POST", "/collections/c/points/scroll", R"({"limit":1,"offset":3})"),
      fmt::format(R"({{"points":[{{"id":3,"payload":{{}}}}],"next_page_offset":"{}"}})", kUuid));
  EXPECT_EQ(Result("POST", "/collections/c/points/scroll",
                   fmt::format(R"({{"offset":"{}","with_vector":true}})", kUuid)),
            fmt::format(R"({{"points":[{{"id":"{}","payload":{{}},"vector":[9,0]}}],)"
                        R"("next_page_offset":null}})",
                        kUuid));
  EXPECT_THAT(Error("POST", "/collections/c/points/scroll", R"({"order_by":"x"})"),
              HasSubstr("order_by: scrolling in the order of a key is not supported"));
  EXPECT_THAT(Error("POST", "/collections/c/points/scroll", R"({"limit":0})"), StartsWith("400 "));
}

TEST_F(RestApiTest, ScrollsThroughIdsThatRestItselfDoesNotTake) {
  CreateC();
  UpsertPoints op;
  const std::vector<std::string> ids = {"7", "AAAAAAAA-0000-4000-8000-000000000000", "doc-\"1\"",
                                        "doc-2"};
  for (const std::string& id : ids) op.points.push_back({PointId(id), {{"", {1, 0}}}, ""});
  const auto written = SyncCall<WriteReport>(
      [&](Callback<WriteReport> done) { gateway_.Write("c", op, {}, std::move(done)); });
  ASSERT_TRUE(written.ok()) << written.status();
  std::string offset = "null";
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto quoted = [&](size_t place) {
      std::string json;
      JsonWriter(&json).Value(PointId(ids[place]));
      return json;
    };
    const std::string next = i + 1 < ids.size() ? quoted(i + 1) : "null";
    EXPECT_EQ(Result("POST", "/collections/c/points/scroll",
                     fmt::format(R"({{"limit":1,"with_payload":false,"offset":{}}})", offset)),
              fmt::format(R"({{"points":[{{"id":{}}}],"next_page_offset":{}}})", quoted(i), next));
    offset = next;
  }
  const auto scroll = [&](const std::string& from) {
    return Error("POST", "/collections/c/points/scroll", fmt::format(R"({{"offset":{}}})", from));
  };
  EXPECT_THAT(scroll("\"\""), HasSubstr("offset: a point id must not be empty"));
  EXPECT_THAT(scroll('"' + std::string(513, 'x') + '"'), HasSubstr("the limit is 512"));
  EXPECT_THAT(scroll("true"), HasSubstr("offset: a point id is an unsigned 64-bit integer"));
}

TEST_F(RestApiTest, ChangesPayloads) {
  CreateC();
  UpsertFour();
  Result("POST", "/collections/c/points/payload", R"({"payload":{"n":9,"x":[1]},"points":[1,2]})");
  EXPECT_THAT(Result("GET", "/collections/c/points/1"), HasSubstr(R"({"n":9,"tag":"a","x":[1]})"));
  Result("PUT", "/collections/c/points/payload", R"({"payload":{"y":true},"points":[2]})");
  EXPECT_THAT(Result("GET", "/collections/c/points/2"), HasSubstr(R"("payload":{"y":true})"));
  Result("POST", "/collections/c/points/payload/delete", R"({"keys":["n","x"],"points":[1]})");
  EXPECT_THAT(Result("GET", "/collections/c/points/1"), HasSubstr(R"("payload":{"tag":"a"})"));
  Result("POST", "/collections/c/points/payload/clear", R"({"points":[1]})");
  EXPECT_THAT(Result("GET", "/collections/c/points/1"), HasSubstr(R"("payload":{})"));
  EXPECT_EQ(Error("POST", "/collections/c/points/payload", R"({"payload":{"a":1},"points":[77]})"),
            "404 there is no point 77");
  EXPECT_EQ(Error("POST", "/collections/c/points/payload", R"({"payload":{"a":1}})"),
            "400 'points' (the ids) is missing");
  EXPECT_THAT(Error("POST", "/collections/c/points/payload",
                    R"({"payload":{"a":1},"points":[1],"key":"a.b"})"),
              HasSubstr("a path into the payload is not supported"));
  EXPECT_THAT(
      Error("POST", "/collections/c/points/payload/delete", R"({"keys":["a.b"],"points":[1]})"),
      HasSubstr("only top-level keys are supported"));
}

TEST_F(RestApiTest, RefusesBadPoints) {
  CreateC();
  const auto upsert = [&](std::string_view point) {
    return Error("PUT", "/collections/c/points", fmt::format(R"({{"points":[{}]}})", point));
  };
  EXPECT_THAT(upsert(R"({"id":1,"vector":[1]})"), HasSubstr("dimension 1, expected 2"));
  EXPECT_THAT(upsert(R"({"id":1,"vector":[1,1e999]})"),
              HasSubstr("points[0].vector[1]: a number too large"));
  EXPECT_THAT(upsert(R"({"id":1,"vector":[1,NaN]})"),
              HasSubstr("points[0].vector[1]: expected a number at byte"));
  EXPECT_THAT(upsert(R"({"id":1,"vector":[1,"2"]})"), HasSubstr("expected a number"));
  EXPECT_THAT(upsert(R"({"id":1,"vector":[1,01]})"), StartsWith("400 points[0].vector[1]: "));
  for (const std::string id : {"-1", "1.5", "\"abc\"", "null", "1e3", "18446744073709551616", "[1]",
                               "\"550e8400-e29b-41d4-a716-44665544000\""}) {
    EXPECT_THAT(upsert(fmt::format(R"({{"id":{},"vector":[1,0]}})", id)),
                testing::AllOf(StartsWith("400 "), HasSubstr("points[0].id")))
        << id;
  }
  EXPECT_THAT(upsert(R"({"vector":[1,0]})"), HasSubstr("points[0]: 'id' is missing"));
  EXPECT_THAT(upsert(R"({"id":1})"), HasSubstr("points[0]: 'vector' is missing"));
  EXPECT_THAT(upsert(R"({"id":1,"vector":[1,0],"payload":[]})"), HasSubstr("expected an object"));
  EXPECT_THAT(upsert(R"({"id":1,"vector":[1,0],"vectors":[]})"), HasSubstr("unknown field"));
  EXPECT_THAT(upsert(R"({"id":1,"id":2,"vector":[1,0]})"), HasSubstr("'id' appears twice"));
  EXPECT_THAT(upsert(R"({"id":1,"vector":{"x":[1]}})"), StartsWith("400 "));
  EXPECT_THAT(upsert(""), StartsWith("400 "));  // an empty batch
  EXPECT_EQ(Result("POST", "/collections/c/points/count", "{}"), R"({"count":0})");
}

TEST_F(RestApiTest, RefusesBadJson) {
  CreateC();
  const auto put = [&](std::string_view body) {
    return Error("PUT", "/collections/c/points", body);
  };
  EXPECT_THAT(put(R"({"points":[})"), HasSubstr("at byte 11"));
  EXPECT_THAT(put(R"({"points":[]} x)"), HasSubstr("more text after the request at byte 14"));
  EXPECT_THAT(put("[1]"), HasSubstr("expected an object at byte 0"));
  EXPECT_THAT(put("x"), HasSubstr("expected an object at byte 0"));
  EXPECT_THAT(put("{\"points\xff\":[]}"), HasSubstr("not valid UTF-8"));
  EXPECT_THAT(Error("PUT", "/collections/c/points"), HasSubstr("expected an object at byte 0"));
  const std::string deep(100'000, '[');
  EXPECT_THAT(put(R"({"points":)" + deep), StartsWith("400 "));
  EXPECT_THAT(put(R"({"points":[{"id":1,"vector":[1,0],"payload":{"a":)" + deep),
              HasSubstr("nested deeper than"));
  EXPECT_THAT(put(R"({"points":[{"id":1,"vector":[1,0],"payload":{"a":)" + std::string(70, '[') +
                  std::string(70, ']') + "}}]}"),
              HasSubstr("nested deeper than 64"));
}

TEST_F(RestApiTest, RefusesTooManyPointsAndQueries) {
  CreateC();
  std::string ids;
  for (int i = 0; i <= 10'000; ++i) ids += fmt::format("{}{}", ids.empty() ? "" : ",", i);
  EXPECT_EQ(Error("POST", "/collections/c/points/delete", fmt::format(R"({{"points":[{}]}})", ids)),
            "400 more than 10000 ids in one request");
  std::string searches;
  for (int i = 0; i <= 1024; ++i)
    searches += searches.empty() ? "" : ",", searches += R"({"query":1})";
  EXPECT_EQ(Error("POST", "/collections/c/points/query/batch",
                  fmt::format(R"({{"searches":[{}]}})", searches)),
            "400 more than 1024 queries in one request");
}

TEST_F(RestApiTest, ReadsTheParametersOfTheUrl) {
  CreateC();
  UpsertFour();
  const auto count = [&](std::string_view query) {
    return Error("POST", fmt::format("/collections/c/points/count?{}", query), "{}");
  };
  for (const std::string level : {"1", "2", "majority", "quorum", "all", "linearizable"}) {
    EXPECT_THAT(count("consistency=" + level), StartsWith("200 ")) << level;
    EXPECT_EQ(gateway_.last_options().consistency, Consistency::kLinearizable);
  }
  EXPECT_THAT(count("consistency=0"), StartsWith("400 parameter 'consistency' is '0'"));
  EXPECT_THAT(count("timeout=0"), StartsWith("400 parameter 'timeout' is '0'"));
  EXPECT_THAT(count("timeout=x"), StartsWith("400 "));
  EXPECT_THAT(count("timeout=99999999999"), StartsWith("200 "));
  EXPECT_THAT(count("timeout=1&timeout=2"), StartsWith("400 parameter 'timeout' appears twice"));
  EXPECT_THAT(count("wait=true"), StartsWith("400 unknown parameter 'wait'"));
  EXPECT_THAT(Error("POST", "/collections/c/points/delete?wait=maybe", R"({"points":[1]})"),
              StartsWith("400 parameter 'wait'"));
  EXPECT_THAT(
      Error("POST", "/collections/c/points/delete?ordering=strong&wait=false", R"({"points":[1]})"),
      StartsWith("200 "));
}

TEST_F(RestApiTest, CarriesSessions) {
  CreateC();
  UpsertFour();
  const Response read = Do("POST", "/collections/c/points", R"({"ids":[1]})");
  EXPECT_EQ(read.Header("Vectron-Session"), "16:1");
  EXPECT_EQ(Do("POST", "/collections/c/points?consistency=session", R"({"ids":[1]})",
               "Vectron-Session: 16:1,17:5\r\n")
                .status,
            200);
  const auto session = gateway_.last_options().session.seen;
  ASSERT_EQ(session.size(), 2u);
  gateway_.ShowInGets({{{ShardId(17), LogIndex(9)}}});
  EXPECT_EQ(Do("POST", "/collections/c/points/query", R"({"query":1})").Header("Vectron-Session"),
            "16:1,17:9");
  EXPECT_EQ(session[1], std::make_pair(ShardId(17), LogIndex(5)));
  EXPECT_THAT(Error("POST", "/collections/c/points?consistency=session", R"({"ids":[1]})"),
              StartsWith("400 consistency 'session' needs the header Vectron-Session"));
  EXPECT_THAT(Error("POST", "/collections/c/points?consistency=session", R"({"ids":[1]})",
                    "Vectron-Session: 16-1\r\n"),
              StartsWith("400 the header Vectron-Session is malformed"));
}

TEST_F(RestApiTest, NamesTheShardsThatAPartialAnswerLacks) {
  CreateC();
  const Response response =
      Do("POST", "/collections/c/points/query?allow_partial=true", R"({"query":[0,0]})");
  EXPECT_THAT(response.body, HasSubstr(R"("missing_shards":[99])"));
  EXPECT_THAT(Do("POST", "/collections/c/points/query", R"({"query":[0,0]})").body,
              Not(HasSubstr("missing_shards")));
}

TEST_F(RestApiTest, SaysHowAWriteEnded) {
  CreateC();
  WriteReport report;
  report.status = MakeError(Reason::kOutcomeUnknown, "shard 17 did not answer");
  report.done = {PointId(uint64_t{1})};
  report.unknown = {PointId(uint64_t{2}), PointId(std::string(kUuid))};
  gateway_.ReportWrites(report);
  const Response response = Do("PUT", "/collections/c/points",
                               R"({"points":[{"id":1,"vector":[1,0]},{"id":2,"vector":[1,0]}]})");
  EXPECT_EQ(response.status, 504);
  EXPECT_EQ(response.body,
            fmt::format(R"({{"result":{{"done":[1],"not_done":[],"unknown":[2,"{}"]}},)"
                        R"("status":{{"error":"shard 17 did not answer",)"
                        R"("reason":"OUTCOME_UNKNOWN"}})",
                        kUuid));
}

TEST_F(RestApiTest, AskingForNothingAnswersNothing) {
  CreateC();
  EXPECT_EQ(Result("POST", "/collections/c/points", R"({"ids":[]})"), "[]");
  for (const std::string route : {"query/batch", "search/batch"}) {
    EXPECT_EQ(Result("POST", "/collections/c/points/" + route, R"({"searches":[]})"), "[]");
    EXPECT_EQ(Error("POST", "/collections/d/points/" + route, R"({"searches":[]})"),
              "404 there is no collection 'd'");
  }
  EXPECT_EQ(Error("POST", "/collections/d/points", R"({"ids":[]})"),
            "404 there is no collection 'd'");
}

TEST_F(RestApiTest, MapsErrorsToCodes) {
  struct Case {
    Reason reason;
    int code;
  };
  for (const Case& c : {Case{Reason::kUnavailable, 503}, Case{Reason::kOverloaded, 429},
                        Case{Reason::kDiskFull, 507}, Case{Reason::kDeadlineExceeded, 504},
                        Case{Reason::kInternal, 500}, Case{Reason::kShuttingDown, 503}}) {
    gateway_.FailWith(MakeError(c.reason, "because", {{"retry_after_ms", "1500"}}));
    const Response response = Do("POST", "/collections/c/points/count", "{}");
    EXPECT_EQ(response.status, c.code);
    EXPECT_THAT(response.body, HasSubstr(fmt::format(R"("reason":"{}")", ReasonName(c.reason))));
    EXPECT_EQ(response.Header("Retry-After"), c.code == 429 || c.code == 503 ? "2" : "");
  }
}

TEST_F(RestApiTest, CountsRequestsByRouteAndCode) {
  CreateC();
  Do("GET", "/collections/c");
  Do("GET", "/collections/another");
  Do("GET", "/nowhere");
  const std::string metrics = Do("GET", "/metrics").body;
  EXPECT_THAT(metrics, HasSubstr("vectron_http_requests_total{code=\"200\","
                                 "route=\"GET /collections/{collection_name}\"} 1"));
  EXPECT_THAT(metrics, HasSubstr("vectron_http_requests_total{code=\"404\","
                                 "route=\"GET /collections/{collection_name}\"} 1"));
  EXPECT_THAT(metrics, HasSubstr("vectron_http_requests_total{code=\"404\",route=\"other\"} 1"));
  EXPECT_THAT(metrics, HasSubstr("vectron_http_request_duration_seconds_count{"
                                 "route=\"PUT /collections/{collection_name}\"} 1"));
  EXPECT_THAT(metrics, Not(HasSubstr("another")));
}

TEST_F(RestApiTest, SurvivesAServerThatStopsBeforeTheAnswer) {
  CreateC();
  gateway_.Hold();
  ASSERT_TRUE(client_->Send(MakeRequest("GET", "/collections/c", "")));
  RestOptions options;
  options.http.listen = "127.0.0.1:0";
  options.http.drain_timeout = std::chrono::milliseconds(20);
  RestServer second(options, &gateway_, &registry_, &SystemClock());
  ASSERT_TRUE(second.Start().ok());
  TestClient client(second.port());
  ASSERT_TRUE(client.Send(MakeRequest("GET", "/collections/c", "")));
  second.Stop();
  gateway_.Release();
  EXPECT_EQ(client_->Read().status, 200);
  EXPECT_TRUE(client.IsClosed());
}

}  // namespace
}  // namespace vectron::gateway::rest
