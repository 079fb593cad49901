#include "gateway/rest/dialect/query_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace vectron::gateway::rest {
namespace {

using Kind = JsonReader::Kind;

constexpr std::string_view kNeedsVector = "expected a vector (an array of numbers) or a point id";

// What "nearest" may be: a vector or the id of a point that has one.
Status ReadNearest(JsonReader* json, ParsedQuery* query) {
  switch (json->Peek()) {
    case Kind::kArray:
      return json->ReadFloats(&query->search.vector);
    case Kind::kNumber:
    case Kind::kString:
      return ReadPointId(json, &query->id.emplace());
    case Kind::kObject:
      return json->Unsupported("sparse vectors and objects to be embedded are not supported");
    default:
      return json->Error(kNeedsVector);
  }
}

// The value of "query": what ReadNearest takes, or an object that says what kind of
// query it is.
Status ReadQueryValue(JsonReader* json, ParsedQuery* query) {
  constexpr std::array<std::string_view, 9> kOtherKinds = {
      "recommend", "discover", "context", "order_by",          "fusion",
      "rrf",       "formula",  "sample",  "relevance_feedback"};
  if (json->Peek() != Kind::kObject) return ReadNearest(json, query);
  bool found = false;
  VECTRON_RETURN_IF_ERROR(json->ReadObject([&](std::string_view key) -> Status {
    if (key == "nearest") {
      found = true;
      return ReadNearest(json, query);
    }
    if (key == "mmr") return ReadOnlyNull(json, "reranking by mmr is");
    if (std::find(kOtherKinds.begin(), kOtherKinds.end(), key) != kOtherKinds.end()) {
      return json->Unsupported(fmt::format("queries of the kind '{}' are not supported", key));
    }
    if (key == "indices" || key == "values" || key == "text" || key == "image" || key == "object" ||
        key == "model") {
      return json->Unsupported("sparse vectors and objects to be embedded are not supported");
    }
    return json->UnknownField(key);
  }));
  return found ? OkStatus() : json->Error(kNeedsVector);
}

// search's "vector": an array, or {"name":..., "vector":[...]}.
Status ReadSearchVector(JsonReader* json, ParsedQuery* query) {
  if (json->Peek() != Kind::kObject) return json->ReadFloats(&query->search.vector);
  bool has_vector = false;
  VECTRON_RETURN_IF_ERROR(json->ReadObject([&](std::string_view key) -> Status {
    if (key == "name") return json->ReadString(&query->search.vector_name);
    if (key != "vector") return json->UnknownField(key);
    has_vector = true;
    if (json->Peek() == Kind::kObject) return json->Unsupported("sparse vectors are not supported");
    return json->ReadFloats(&query->search.vector);
  }));
  return has_vector ? OkStatus() : json->Error("'vector' is missing");
}

Status ReadQuantizationParams(JsonReader* json) {
  if (json->TryNull()) return OkStatus();
  return json->ReadObject([&](std::string_view key) -> Status {
    // Results are ranked by the stored 32-bit vectors whatever these say.
    if (key == "ignore" || key == "rescore" || key == "oversampling") return ReadHint(json);
    return json->UnknownField(key);
  });
}

Status ReadParams(JsonReader* json, const Limits& limits, SearchQuery* search) {
  if (json->TryNull()) return OkStatus();
  return json->ReadObject([&](std::string_view key) -> Status {
    if (key == "hnsw_ef") return ReadUint32(json, 1, limits.ef_max, &search->ef);
    if (key == "exact") return json->TryNull() ? OkStatus() : json->ReadBool(&search->exact);
    if (key == "quantization") return ReadQuantizationParams(json);
    if (key == "indexed_only" || key == "acorn") return ReadHint(json);
    if (key == "idf") return ReadOnlyNull(json, "idf is");
    return json->UnknownField(key);
  });
}

Status ReadThreshold(JsonReader* json, SearchQuery* search) {
  if (json->TryNull()) return OkStatus();
  double threshold = 0;
  VECTRON_RETURN_IF_ERROR(json->ReadDouble(&threshold));
  search->score_threshold = static_cast<float>(threshold);
  return OkStatus();
}

Status ReadPrefetch(JsonReader* json) {
  if (json->TryNull()) return OkStatus();
  std::string_view raw;
  VECTRON_RETURN_IF_ERROR(json->ReadRaw(&raw));
  return raw == "[]" ? OkStatus() : json->Unsupported("prefetch is not supported");
}

// Members that query and search have in common; unknown ones are refused.
Status ReadCommonMember(JsonReader* json, std::string_view key, const Limits& limits,
                        ParsedQuery* query) {
  if (key == "limit") return ReadUint32(json, 1, limits.k_max, &query->limit);
  if (key == "offset") return ReadUint32(json, 0, limits.k_max, &query->offset);
  if (key == "params") return ReadParams(json, limits, &query->search);
  if (key == "score_threshold") return ReadThreshold(json, &query->search);
  if (key == "with_payload") return ReadPayloadSelector(json, &query->payload);
  if (key == "with_vector" || key == "with_vectors") {
    return ReadVectorSelector(json, &query->vectors);
  }
  if (key == "filter") return ReadNoFilter(json);
  if (key == "shard_key") return ReadOnlyNull(json, "shard keys are");
  return json->UnknownField(key);
}

Status FinishQuery(JsonReader* json, const Limits& limits, ParsedQuery* query) {
  const uint64_t k = uint64_t{query->limit} + query->offset;
  if (k > limits.k_max) {
    return json->Error(fmt::format("limit + offset is {}, at most {}", k, limits.k_max));
  }
  query->search.k = static_cast<uint32_t>(k);
  return OkStatus();
}

// The members of a query object; `json` stands at its brace.
Status ReadQueryObject(JsonReader* json, const Limits& limits, ParsedQuery* query) {
  bool found = false;
  VECTRON_RETURN_IF_ERROR(json->ReadObject([&](std::string_view key) -> Status {
    if (key == "query") {
      if (json->TryNull()) return OkStatus();
      found = true;
      return ReadQueryValue(json, query);
    }
    if (key == "using") {
      return json->TryNull() ? OkStatus() : json->ReadString(&query->search.vector_name);
    }
    if (key == "prefetch") return ReadPrefetch(json);
    if (key == "lookup_from") return ReadOnlyNull(json, "lookup in another collection is");
    return ReadCommonMember(json, key, limits, query);
  }));
  if (!found) {
    return json->Unsupported(
        "'query' is missing: to list points in the order of their ids use points/scroll");
  }
  return FinishQuery(json, limits, query);
}

Status ReadSearchObject(JsonReader* json, const Limits& limits, ParsedQuery* query) {
  bool has_vector = false;
  bool has_limit = false;
  VECTRON_RETURN_IF_ERROR(json->ReadObject([&](std::string_view key) -> Status {
    if (key == "vector") {
      has_vector = true;
      return ReadSearchVector(json, query);
    }
    if (key == "limit" || key == "top") has_limit = true;
    return ReadCommonMember(json, key == "top" ? "limit" : key, limits, query);
  }));
  if (!has_vector) return json->Error("'vector' is missing");
  if (!has_limit) return json->Error("'limit' is missing");
  return FinishQuery(json, limits, query);
}

using ReadOne = Status (*)(JsonReader*, const Limits&, ParsedQuery*);

StatusOr<ParsedQuery> ParseOne(std::string_view body, const Limits& limits, ReadOne read) {
  VECTRON_RETURN_IF_ERROR(JsonReader::CheckUtf8(body));
  JsonReader json(body);
  ParsedQuery query;
  VECTRON_RETURN_IF_ERROR(read(&json, limits, &query));
  VECTRON_RETURN_IF_ERROR(json.Finish());
  return query;
}

StatusOr<std::vector<ParsedQuery>> ParseMany(std::string_view body, const Limits& limits,
                                             ReadOne read) {
  std::vector<ParsedQuery> queries;
  bool has_searches = false;
  VECTRON_RETURN_IF_ERROR(ReadBody(body, [&](JsonReader* json, std::string_view key) -> Status {
    if (key != "searches") return json->UnknownField(key);
    has_searches = true;
    return json->ReadArray([&]() -> Status {
      if (queries.size() >= limits.batch_queries_max) {
        return MakeError(Reason::kLimitExceeded, fmt::format("more than {} queries in one request",
                                                             limits.batch_queries_max));
      }
      return read(json, limits, &queries.emplace_back());
    });
  }));
  if (!has_searches) return InvalidArgument("'searches' is missing");
  return queries;
}

}  // namespace

StatusOr<ParsedQuery> ParseQuery(std::string_view body, const Limits& limits) {
  return ParseOne(body, limits, ReadQueryObject);
}
StatusOr<std::vector<ParsedQuery>> ParseQueryBatch(std::string_view body, const Limits& limits) {
  return ParseMany(body, limits, ReadQueryObject);
}
StatusOr<ParsedQuery> ParseSearch(std::string_view body, const Limits& limits) {
  return ParseOne(body, limits, ReadSearchObject);
}
StatusOr<std::vector<ParsedQuery>> ParseSearchBatch(std::string_view body, const Limits& limits) {
  return ParseMany(body, limits, ReadSearchObject);
}

}  // namespace vectron::gateway::rest
