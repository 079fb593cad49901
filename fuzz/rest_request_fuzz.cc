#include <simdjson.h>

#include <cmath>

#include "common/check.h"
#include "common/json_object.h"
#include "fuzz_target.h"
#include "gateway/rest/call_options.h"
#include "gateway/rest/dialect/collection_json.h"
#include "gateway/rest/dialect/points_json.h"
#include "gateway/rest/dialect/query_json.h"
#include "gateway/rest/http/url.h"

// Bodies and targets of REST requests. What is accepted must be JSON to another parser
// too, and what was read from it must be as the gateway expects it: finite floats,
// payloads that are objects.

namespace {

using namespace vectron::gateway::rest;

constexpr vectron::Limits kLimits{.batch_points_max = 64, .batch_queries_max = 8};

// Integers of more than 64 bits and numbers that only a hint has are beyond simdjson,
// not beyond JSON.
bool IsJson(std::string_view body) {
  static simdjson::dom::parser parser;
  const auto error = parser.parse(body.data(), body.size()).error();
  return error == simdjson::SUCCESS || error == simdjson::NUMBER_ERROR;
}

void CheckFinite(const std::vector<float>& values) {
  for (const float value : values) VECTRON_CHECK(std::isfinite(value));
}

void CheckPayload(const std::string& payload) {
  if (payload.empty()) return;
  VECTRON_CHECK(vectron::ValidateJsonObject(payload, {.depth_max = 200}).ok());
}

void CheckWrites(std::string_view body) {
  if (const auto upsert = ParseUpsert(body, kLimits); upsert.ok()) {
    VECTRON_CHECK(IsJson(body));
    VECTRON_CHECK(upsert->points.size() <= kLimits.batch_points_max);
    for (const vectron::Point& point : upsert->points) {
      CheckPayload(point.payload);
      for (const vectron::NamedVector& vector : point.vectors) CheckFinite(vector.values);
    }
  }
  if (const auto change = ParsePayloadChange(body, kLimits); change.ok()) {
    VECTRON_CHECK(IsJson(body));
    CheckPayload(change->payload);
  }
  VECTRON_CHECK(!ParseDeletePayload(body, kLimits).ok() || IsJson(body));
  VECTRON_CHECK(!ParsePointSelection(body, kLimits).ok() || IsJson(body));
}

void CheckReads(std::string_view body) {
  if (const auto queries = ParseQueryBatch(body, kLimits); queries.ok()) {
    VECTRON_CHECK(IsJson(body));
    for (const ParsedQuery& query : *queries) CheckFinite(query.search.vector);
  }
  for (const auto& query : {ParseQuery(body, kLimits), ParseSearch(body, kLimits)}) {
    if (!query.ok()) continue;
    VECTRON_CHECK(IsJson(body));
    VECTRON_CHECK(query->search.k >= 1 && query->search.k <= kLimits.k_max);
    CheckFinite(query->search.vector);
  }
  VECTRON_CHECK(!ParseRetrieve(body, kLimits).ok() || IsJson(body));
  VECTRON_CHECK(!ParseScroll(body).ok() || IsJson(body));
  VECTRON_CHECK(!ParseCount(body).ok() || IsJson(body));
}

}  // namespace

void FuzzOne(std::string_view input) {
  CheckWrites(input);
  CheckReads(input);
  VECTRON_CHECK(!ParseCreateCollection("c", input).ok() || IsJson(input));
  static_cast<void>(ParseTarget(input));
  static_cast<void>(PointIdFromText(input));
  if (const auto token = ParseSessionToken(input); token.ok()) {
    VECTRON_CHECK(ParseSessionToken(FormatSessionToken(*token))->seen == token->seen);
  }
}

std::vector<std::string> FuzzSeeds() {
  return {
      R"({"points":[{"id":1,"vector":[0.5,-1e-7,3],"payload":{"a":[1,{"b":"\u00e9"}]}},)"
      R"({"id":"550e8400-e29b-41d4-a716-446655440000","vector":{"x":[1],"y":[2.25]}}]})",
      R"({"batch":{"ids":[1,2],"vectors":[[1,2],[3,4]],"payloads":[{"a":1},null]}})",
      R"({"query":[1,2.5],"limit":3,"offset":1,"params":{"hnsw_ef":9,"exact":true},)"
      R"("with_payload":{"include":["a"]},"with_vector":["x"],"score_threshold":0.5})",
      R"({"searches":[{"query":{"nearest":7}},{"query":[1],"filter":{"must":[]}}]})",
      R"({"vector":{"name":"x","vector":[1]},"limit":1,"with_payload":["a","b"]})",
      R"({"ids":[1,18446744073709551615],"with_payload":false,"with_vectors":true})",
      R"({"payload":{"a":{"b":[null,true]}},"points":[1]})",
      R"({"keys":["a","b"],"points":[1,2]})",
      R"({"offset":5,"limit":10,"with_vector":true})",
      R"({"vectors":{"a":{"size":4,"distance":"Cosine","hnsw_config":{"m":8}}},"shard_number":2,)"
      R"("quantization_config":{"scalar":{"type":"int8","quantile":0.99}},"on_disk_payload":true})",
      "/collections/a%20b/points/7?timeout=5&consistency=all",
      "16:42,17:3",
      "{550E8400-E29B-41D4-A716-446655440000}",
  };
}
