#include "gateway/rest/dialect/collection_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "common/string_map.h"
#include "gateway/rest/dialect/fields.h"
#include "gateway/rest/dialect/json_reader.h"
#include "gateway/rest/dialect/json_writer.h"

namespace vectron::gateway::rest {
namespace {

// Settings that may stand at the collection, at a vector, or at both: a vector's own
// ones win, member by member.
struct IndexSettings {
  std::optional<uint32_t> m;
  std::optional<uint32_t> ef_construct;
  std::optional<Quantization> quantization;
};

struct VectorSettings {
  VectorConfig config;
  IndexSettings index;
};

bool IsOneOf(std::string_view key, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), key) != names.end();
}

Status ReadOptionalUint(JsonReader* json, std::optional<uint32_t>* value) {
  if (json->TryNull()) return OkStatus();
  uint32_t number = 0;
  VECTRON_RETURN_IF_ERROR(ReadUint32(json, 0, UINT32_MAX, &number));
  *value = number;
  return OkStatus();
}

Status ReadHnswConfig(JsonReader* json, IndexSettings* index) {
  if (json->TryNull()) return OkStatus();
  return json->ReadObject([&](std::string_view key) -> Status {
    if (key == "m") return ReadOptionalUint(json, &index->m);
    if (key == "ef_construct") return ReadOptionalUint(json, &index->ef_construct);
    if (IsOneOf(key, {"full_scan_threshold", "max_indexing_threads", "on_disk", "memory",
                      "payload_m", "inline_storage"})) {
      return ReadHint(json);
    }
    return json->UnknownField(key);
  });
}

Status ReadScalarQuantization(JsonReader* json) {
  bool typed = false;
  VECTRON_RETURN_IF_ERROR(json->ReadObject([&](std::string_view key) -> Status {
    if (key == "type") {
      typed = true;
      std::string type;
      VECTRON_RETURN_IF_ERROR(json->ReadString(&type));
      return type == "int8" ? OkStatus() : json->Error("the only scalar type is int8");
    }
    if (IsOneOf(key, {"quantile", "always_ram", "memory"})) return ReadHint(json);
    return json->UnknownField(key);
  }));
  return typed ? OkStatus() : json->Error("'type' is missing");
}

// {"scalar":{"type":"int8"}}; "Disabled", which the dialect knows in updates, chooses
// 32-bit floats. Null leaves the choice to us.
Status ReadQuantization(JsonReader* json, IndexSettings* index) {
  if (json->TryNull()) return OkStatus();
  if (json->Peek() == JsonReader::Kind::kString) {
    std::string text;
    VECTRON_RETURN_IF_ERROR(json->ReadString(&text));
    if (text != "Disabled") return json->Error("expected an object or \"Disabled\"");
    index->quantization = Quantization::kNone;
    return OkStatus();
  }
  VECTRON_RETURN_IF_ERROR(json->ReadObject([&](std::string_view key) -> Status {
    if (key == "scalar") {
      index->quantization = Quantization::kSq8;
      return ReadScalarQuantization(json);
    }
    if (IsOneOf(key, {"product", "binary", "turbo"})) {
      return json->Unsupported(fmt::format("{} quantization is not supported", key));
    }
    return json->UnknownField(key);
  }));
  return index->quantization.has_value() ? OkStatus() : json->Error("expected 'scalar'");
}

Status ReadDistance(JsonReader* json, Metric* metric) {
  std::string name;
  VECTRON_RETURN_IF_ERROR(json->ReadString(&name));
  if (name == "Cosine") {
    *metric = Metric::kCosine;
  } else if (name == "Dot") {
    *metric = Metric::kDot;
  } else if (name == "Euclid") {
    *metric = Metric::kL2;
  } else if (name == "Manhattan") {
    return json->Unsupported("the distance Manhattan is not supported");
  } else {
    return json->Error("expected Cosine, Dot or Euclid");
  }
  return OkStatus();
}

Status ReadDatatype(JsonReader* json) {
  if (json->TryNull()) return OkStatus();
  std::string name;
  VECTRON_RETURN_IF_ERROR(json->ReadString(&name));
  if (name == "float32") return OkStatus();
  return json->Unsupported("the only datatype that is supported is float32");
}

// The members of one vector's settings, without the braces, so that both the unnamed
// and the named form can use it.
class VectorFields {
 public:
  explicit VectorFields(VectorSettings* vector) : vector_(vector) {}

  Status Read(JsonReader* json, std::string_view key) {
    if (key == "size") {
      sized_ = true;
      return ReadUint32(json, 1, kDimensionMax, &vector_->config.dimension);
    }
    if (key == "distance") {
      measured_ = true;
      return ReadDistance(json, &vector_->config.metric);
    }
    if (key == "hnsw_config") return ReadHnswConfig(json, &vector_->index);
    if (key == "quantization_config") return ReadQuantization(json, &vector_->index);
    if (key == "datatype") return ReadDatatype(json);
    if (key == "multivector_config") return ReadOnlyNull(json, "multivectors are");
    if (key == "on_disk" || key == "memory") return ReadHint(json);
    return json->UnknownField(key);
  }

  Status Finish(JsonReader* json) const {
    if (!sized_) return json->Error("'size' is missing");
    return measured_ ? OkStatus() : json->Error("'distance' is missing");
  }

 private:
  VectorSettings* const vector_;
  bool sized_ = false;
  bool measured_ = false;
};

// Whether `name`, the first member of "vectors", is a setting of the unnamed vector and
// not the name of a vector.
bool IsSetting(JsonReader* json, std::string_view name) {
  return json->Peek() != JsonReader::Kind::kObject ||
         IsOneOf(name, {"hnsw_config", "quantization_config", "multivector_config"});
}

// {"size":..., "distance":...} or {NAME:{"size":..., "distance":...}, ...}.
Status ReadVectors(JsonReader* json, std::vector<VectorSettings>* vectors) {
  vectors->reserve(kVectorNamesMax);  // `unnamed` points into it
  std::optional<VectorFields> unnamed;
  VECTRON_RETURN_IF_ERROR(json->ReadObject([&](std::string_view name) -> Status {
    if (vectors->empty() && IsSetting(json, name)) unnamed.emplace(&vectors->emplace_back());
    if (unnamed.has_value()) return unnamed->Read(json, name);
    if (vectors->size() >= kVectorNamesMax) {
      return json->Error(fmt::format("more than {} vectors", kVectorNamesMax));
    }
    VectorSettings& vector = vectors->emplace_back();
    vector.config.name = name;
    VectorFields fields(&vector);
    VECTRON_RETURN_IF_ERROR(
        json->ReadObject([&](std::string_view key) { return fields.Read(json, key); }));
    return fields.Finish(json);
  }));
  return unnamed.has_value() ? unnamed->Finish(json) : OkStatus();
}

Status ReadShardingMethod(JsonReader* json) {
  if (json->TryNull()) return OkStatus();
  std::string method;
  VECTRON_RETURN_IF_ERROR(json->ReadString(&method));
  return method == "auto" ? OkStatus() : json->Unsupported("the only sharding method is auto");
}

uint32_t Majority(uint32_t replicas) { return replicas / 2 + 1; }

struct CreateRequest {
  CollectionConfig config;
  std::vector<VectorSettings> vectors;
  IndexSettings index;
  uint32_t write_consistency_factor = 1;
};

Status ReadMember(JsonReader* json, std::string_view key, CreateRequest* request) {
  if (key == "vectors") return ReadVectors(json, &request->vectors);
  if (key == "shard_number") {
    return ReadUint32(json, 1, kShardCountMax, &request->config.shard_count);
  }
  if (key == "replication_factor") {
    return ReadUint32(json, 1, kReplicationFactorMax, &request->config.replication_factor);
  }
  if (key == "write_consistency_factor") {
    return ReadUint32(json, 1, kReplicationFactorMax, &request->write_consistency_factor);
  }
  if (key == "hnsw_config") return ReadHnswConfig(json, &request->index);
  if (key == "quantization_config") return ReadQuantization(json, &request->index);
  if (key == "sharding_method") return ReadShardingMethod(json);
  if (IsOneOf(key, {"on_disk_payload", "payload", "wal_config", "optimizers_config"})) {
    return ReadHint(json);
  }
  if (key == "sparse_vectors") {
    std::string_view raw;
    VECTRON_RETURN_IF_ERROR(json->ReadRaw(&raw));
    if (raw == "null" || raw == "{}") return OkStatus();
    return json->Unsupported("sparse vectors are not supported");
  }
  if (key == "init_from") return ReadOnlyNull(json, "copying a collection is");
  if (key == "strict_mode_config") return ReadOnlyNull(json, "strict mode is");
  if (key == "metadata") return ReadOnlyNull(json, "a collection's metadata is");
  return json->UnknownField(key);
}

std::string_view DistanceName(Metric metric) {
  switch (metric) {
    case Metric::kCosine:
      return "Cosine";
    case Metric::kDot:
      return "Dot";
    case Metric::kL2:
      return "Euclid";
    case Metric::kManhattan:
      return "Manhattan";
  }
  return "Euclid";
}

void WriteQuantization(Quantization quantization, JsonWriter* json) {
  json->Key("quantization_config");
  if (quantization == Quantization::kNone) {
    json->Null();
    return;
  }
  json->Begin('{').Key("scalar").Begin('{').Key("type").Value("int8");
  json->Key("always_ram").Value(true).End('}').End('}');
}

void WriteVectorParams(const VectorConfig& vector, const VectorConfig& first, JsonWriter* json) {
  json->Begin('{').Key("size").Value(vector.dimension);
  json->Key("distance").Value(DistanceName(vector.metric));
  if (vector.hnsw != first.hnsw) {
    json->Key("hnsw_config").Begin('{').Key("m").Value(vector.hnsw.m);
    json->Key("ef_construct").Value(vector.hnsw.ef_construction).End('}');
  }
  if (vector.quantization != first.quantization) WriteQuantization(vector.quantization, json);
  json->End('}');
}

void WriteParams(const CollectionConfig& config, size_t shard_count, JsonWriter* json) {
  const VectorConfig& first = config.vectors.front();
  json->Key("params").Begin('{').Key("vectors");
  if (config.vectors.size() == 1 && first.name.empty()) {
    WriteVectorParams(first, first, json);
  } else {
    json->Begin('{');
    for (const VectorConfig& vector : config.vectors) {
      json->Key(vector.name);
      WriteVectorParams(vector, first, json);
    }
    json->End('}');
  }
  json->Key("shard_number").Value(shard_count);
  json->Key("replication_factor").Value(config.replication_factor);
  json->Key("write_consistency_factor").Value(Majority(config.replication_factor));
  json->Key("on_disk_payload").Value(true).End('}');
}

// Members that clients require. Zero says "none" where we have no such setting.
void WriteConfig(const CollectionReport& report, JsonWriter* json) {
  const CollectionConfig& config = report.info.config;
  const VectorConfig& first = config.vectors.front();
  json->Key("config").Begin('{');
  WriteParams(config, report.info.shards.size(), json);
  json->Key("hnsw_config").Begin('{').Key("m").Value(first.hnsw.m);
  json->Key("ef_construct").Value(first.hnsw.ef_construction);
  json->Key("full_scan_threshold").Value(0).Key("max_indexing_threads").Value(0);
  json->Key("on_disk").Value(false).End('}');
  json->Key("optimizer_config").Begin('{').Key("deleted_threshold").Value(0);
  json->Key("vacuum_min_vector_number").Value(0).Key("default_segment_number").Value(1);
  json->Key("indexing_threshold").Value(0).Key("flush_interval_sec").Value(0).End('}');
  json->Key("wal_config").Null();
  WriteQuantization(first.quantization, json);
  json->End('}');
}

}  // namespace

StatusOr<CollectionConfig> ParseCreateCollection(std::string name, std::string_view body) {
  CreateRequest request;
  VECTRON_RETURN_IF_ERROR(ReadBody(body, [&](JsonReader* json, std::string_view key) {
    return ReadMember(json, key, &request);
  }));
  if (request.vectors.empty()) return InvalidArgument("'vectors' is missing or empty");
  CollectionConfig& config = request.config;
  const uint32_t majority = Majority(config.replication_factor);
  if (request.write_consistency_factor > majority) {
    return MakeError(
        Reason::kUnsupported,
        fmt::format("write_consistency_factor {} is not supported: a write is acknowledged by a "
                    "majority, which is {} of {} replicas",
                    request.write_consistency_factor, majority, config.replication_factor));
  }
  config.name = std::move(name);
  for (VectorSettings& vector : request.vectors) {
    const IndexSettings& own = vector.index;
    const IndexSettings& all = request.index;
    HnswConfig& hnsw = vector.config.hnsw;
    hnsw.m = own.m.value_or(all.m.value_or(hnsw.m));
    hnsw.ef_construction =
        own.ef_construct.value_or(all.ef_construct.value_or(hnsw.ef_construction));
    vector.config.quantization =
        own.quantization.value_or(all.quantization.value_or(vector.config.quantization));
    config.vectors.push_back(std::move(vector.config));
  }
  return std::move(config);
}

std::string WriteCollectionInfo(const CollectionReport& report) {
  std::string out;
  JsonWriter json(&out);
  const ShardStats& stats = report.stats;
  json.Begin('{').Key("status");
  if (report.failed_shards.empty()) {
    json.Value(stats.pending_count == 0 ? "green" : "yellow");
    json.Key("optimizer_status").Value("ok");
  } else {
    const auto& [shard, status] = report.failed_shards.front();
    const std::string why =
        fmt::format("shard {} cannot serve: {}", shard.value(), std::string(status.message()));
    json.Value("red").Key("optimizer_status").Begin('{').Key("error").Value(why).End('}');
  }
  json.Key("indexed_vectors_count").Value(stats.linked_count);
  json.Key("points_count").Value(stats.point_count);
  json.Key("segments_count").Value(report.info.shards.size());
  WriteConfig(report, &json);
  json.Key("payload_schema").Begin('{').End('}').End('}');
  return out;
}

}  // namespace vectron::gateway::rest
