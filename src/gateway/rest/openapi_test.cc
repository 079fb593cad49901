#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <simdjson.h>

#include <algorithm>
#include <string>
#include <vector>

#include "gateway/rest/dialect/collection_json.h"
#include "gateway/rest/dialect/points_json.h"
#include "gateway/rest/dialect/query_json.h"
#include "gateway/rest/rest_api.h"
#include "gateway/rest/testing/fake_gateway.h"

// The description that is served is written by hand: these tests hold it to the code.

namespace vectron::gateway::rest {
namespace {

using testing::HasSubstr;
using testing::Not;
namespace dom = simdjson::dom;

class OpenApiTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string_view text = OpenApiJson();
    ASSERT_EQ(parser_.parse(text.data(), text.size()).get(root_), simdjson::SUCCESS);
  }

  dom::parser parser_;
  dom::element root_;
};

TEST_F(OpenApiTest, DescribesTheRoutesThatAreOffered) {
  MetricsRegistry registry;
  FakeGateway gateway;
  const RestServer server({}, &gateway, &registry, &SystemClock());
  std::vector<std::string> described;
  for (const auto& [path, methods] : dom::object(root_["paths"])) {
    for (const auto& [method, operation] : dom::object(methods)) {
      std::string upper(method);
      for (char& c : upper) c = static_cast<char>(std::toupper(c));
      described.push_back(fmt::format("{} {}", upper, path));
    }
  }
  EXPECT_THAT(described, testing::UnorderedElementsAreArray(server.router().Offered()));
}

TEST_F(OpenApiTest, EveryReferenceLeadsSomewhere) {
  const std::string_view text = OpenApiJson();
  size_t count = 0;
  constexpr std::string_view kRef = "\"$ref\": \"#";
  for (size_t at = text.find(kRef); at != std::string_view::npos; at = text.find(kRef, at + 1)) {
    const size_t begin = at + kRef.size();
    const std::string_view pointer = text.substr(begin, text.find('"', begin) - begin);
    EXPECT_EQ(root_.at_pointer(pointer).error(), simdjson::SUCCESS) << pointer;
    ++count;
  }
  EXPECT_GT(count, 100u);
}

TEST_F(OpenApiTest, DescribesMembersThatAreRead) {
  const Limits limits;
  const auto message = [&](std::string_view schema, const std::string& body) -> std::string {
    const auto text = [](const auto& result) { return std::string(result.status().message()); };
    if (schema == "CreateCollection") return text(ParseCreateCollection("c", body));
    if (schema == "PointsList" || schema == "PointsBatch") return text(ParseUpsert(body, limits));
    if (schema == "PointIdsList") return text(ParsePointSelection(body, limits));
    if (schema == "SetPayload") return text(ParsePayloadChange(body, limits));
    if (schema == "DeletePayload") return text(ParseDeletePayload(body, limits));
    if (schema == "PointRequest") return text(ParseRetrieve(body, limits));
    if (schema == "ScrollRequest") return text(ParseScroll(body));
    if (schema == "CountRequest") return std::string(ParseCount(body).message());
    if (schema == "QueryRequest") return text(ParseQuery(body, limits));
    if (schema == "SearchRequest") return text(ParseSearch(body, limits));
    if (schema == "SearchParams") {
      return text(ParseQuery(R"({"query":[1],"params":)" + body + "}", limits));
    }
    if (schema == "HnswConfig") {
      return text(ParseCreateCollection("c", R"({"hnsw_config":)" + body + "}"));
    }
    if (schema == "VectorParams") {
      return text(ParseCreateCollection("c", R"({"vectors":{"x":)" + body + "}}"));
    }
    return text(ParseUpsert(R"({"points":[)" + body + "]}", limits));  // PointStruct
  };
  for (const char* schema :
       {"CreateCollection", "PointsList", "PointsBatch", "PointIdsList", "SetPayload",
        "DeletePayload", "PointRequest", "ScrollRequest", "CountRequest", "QueryRequest",
        "SearchRequest", "SearchParams", "HnswConfig", "VectorParams", "PointStruct"}) {
    auto properties = root_.at_pointer(fmt::format("/components/schemas/{}/properties", schema));
    ASSERT_EQ(properties.error(), simdjson::SUCCESS) << schema;
    for (const auto& [name, description] : dom::object(properties.value())) {
      EXPECT_THAT(message(schema, fmt::format(R"({{"{}":null}})", name)),
                  Not(HasSubstr("unknown field")))
          << schema << "." << name;
    }
    EXPECT_THAT(message(schema, R"({"no such member":null})"), HasSubstr("unknown field"))
        << schema;
  }
}

}  // namespace
}  // namespace vectron::gateway::rest
