#include "gateway/rest/dialect/points_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/collection.h"

namespace vectron::gateway::rest {
namespace {

constexpr std::string_view kShardKeys = "shard keys are";

Status ReadUpdateMode(JsonReader* json) {
  if (json->TryNull()) return OkStatus();
  std::string mode;
  VECTRON_RETURN_IF_ERROR(json->ReadString(&mode));
  return mode == "upsert" ? OkStatus() : json->Unsupported("the only update mode is upsert");
}

Status CheckPointCount(size_t count, const Limits& limits) {
  if (count <= limits.batch_points_max) return OkStatus();
  return MakeError(Reason::kLimitExceeded,
                   fmt::format("more than {} points in one request", limits.batch_points_max));
}

// A payload: an object, or null for none.
Status ReadPayload(JsonReader* json, std::string* payload) {
  if (json->TryNull()) return OkStatus();
  if (json->Peek() != JsonReader::Kind::kObject) return json->Error("expected an object");
  std::string_view raw;
  VECTRON_RETURN_IF_ERROR(json->ReadRaw(&raw));
  *payload = raw;
  return OkStatus();
}

// The numbers of one dense vector; says what else it is, if it is none.
Status ReadDenseVector(JsonReader* json, size_t expected_size, std::vector<float>* values) {
  if (json->Peek() == JsonReader::Kind::kObject) {
    return json->Unsupported(
        "expected an array of numbers; sparse vectors and objects to be "
        "embedded are not supported");
  }
  values->reserve(expected_size);
  return json->ReadFloats(values);
}

// An array of numbers, or an object of such by name.
Status ReadVectorsOfPoint(JsonReader* json, size_t expected_size,
                          std::vector<NamedVector>* vectors) {
  if (json->Peek() != JsonReader::Kind::kObject) {
    return ReadDenseVector(json, expected_size, &vectors->emplace_back().values);
  }
  return json->ReadObject([&](std::string_view name) -> Status {
    NamedVector& vector = vectors->emplace_back();
    vector.name = name;
    return ReadDenseVector(json, expected_size, &vector.values);
  });
}

// How long vectors are expected to be: as the one before, so that they are allocated once.
size_t SizeHint(const std::vector<Point>& points) {
  if (points.size() < 2) return 0;
  const auto& vectors = points[points.size() - 2].vectors;
  return vectors.empty() ? 0 : std::min<size_t>(vectors[0].values.size(), kDimensionMax);
}

Status ReadPoint(JsonReader* json, size_t size_hint, Point* point) {
  bool has_id = false;
  bool has_vector = false;
  VECTRON_RETURN_IF_ERROR(json->ReadObject([&](std::string_view key) -> Status {
    if (key == "id") {
      has_id = true;
      return ReadPointId(json, &point->id);
    }
    if (key == "vector") {
      has_vector = true;
      return ReadVectorsOfPoint(json, size_hint, &point->vectors);
    }
    if (key == "payload") return ReadPayload(json, &point->payload);
    return json->UnknownField(key);
  }));
  if (!has_id) return json->Error("'id' is missing");
  return has_vector ? OkStatus() : json->Error("'vector' is missing");
}

Status ReadPointList(JsonReader* json, const Limits& limits, std::vector<Point>* points) {
  return json->ReadArray([&]() -> Status {
    VECTRON_RETURN_IF_ERROR(CheckPointCount(points->size() + 1, limits));
    Point& point = points->emplace_back();
    return ReadPoint(json, SizeHint(*points), &point);
  });
}

// The columns of the batch form.
struct Batch {
  std::vector<PointId> ids;
  std::vector<std::string> payloads;
  bool has_payloads = false;
  bool has_vectors = false;
  // By name; a column of vectors each, as long as `ids`.
  std::vector<std::pair<std::string, std::vector<std::vector<float>>>> vectors;
};

Status ReadColumn(JsonReader* json, const Limits& limits, std::vector<std::vector<float>>* column) {
  return json->ReadArray([&]() -> Status {
    VECTRON_RETURN_IF_ERROR(CheckPointCount(column->size() + 1, limits));
    const size_t hint = column->empty() ? 0 : column->back().size();
    return ReadDenseVector(json, hint, &column->emplace_back());
  });
}

Status ReadBatchMember(JsonReader* json, std::string_view key, const Limits& limits, Batch* batch) {
  if (key == "ids") return ReadPointIds(json, limits, &batch->ids);
  if (key == "vectors") {
    batch->has_vectors = true;
    if (json->Peek() != JsonReader::Kind::kObject) {
      return ReadColumn(json, limits, &batch->vectors.emplace_back().second);
    }
    return json->ReadObject([&](std::string_view name) -> Status {
      auto& [column_name, column] = batch->vectors.emplace_back();
      column_name = name;
      return ReadColumn(json, limits, &column);
    });
  }
  if (key == "payloads") {
    if (json->TryNull()) return OkStatus();
    batch->has_payloads = true;
    return json->ReadArray([&]() -> Status {
      VECTRON_RETURN_IF_ERROR(CheckPointCount(batch->payloads.size() + 1, limits));
      return ReadPayload(json, &batch->payloads.emplace_back());
    });
  }
  return json->UnknownField(key);
}

Status ReadBatch(JsonReader* json, const Limits& limits, std::vector<Point>* points) {
  Batch batch;
  VECTRON_RETURN_IF_ERROR(json->ReadObject(
      [&](std::string_view key) { return ReadBatchMember(json, key, limits, &batch); }));
  const size_t count = batch.ids.size();
  if (!batch.has_vectors) return json->Error("'vectors' is missing");
  for (const auto& [name, column] : batch.vectors) {
    if (column.size() != count) {
      return json->Error(fmt::format("{} vectors{} for {} ids", column.size(),
                                     name.empty() ? "" : fmt::format(" '{}'", name), count));
    }
  }
  if (batch.has_payloads && batch.payloads.size() != count) {
    return json->Error(fmt::format("{} payloads for {} ids", batch.payloads.size(), count));
  }
  points->resize(count);
  for (size_t i = 0; i < count; ++i) {
    Point& point = (*points)[i];
    point.id = std::move(batch.ids[i]);
    for (auto& [name, column] : batch.vectors) {
      point.vectors.push_back({name, std::move(column[i])});
    }
    if (batch.has_payloads) point.payload = std::move(batch.payloads[i]);
  }
  return OkStatus();
}

// "points" of requests that take ids; a filter in their place is not supported.
class IdSelection {
 public:
  IdSelection(const Limits& limits, std::vector<PointId>* ids) : limits_(limits), ids_(ids) {}

  // True, with `status` set, if `key` was one of its members.
  bool TryRead(JsonReader* json, std::string_view key, Status* status) {
    if (key == "points") {
      given_ = !json->TryNull();
      *status = given_ ? ReadPointIds(json, limits_, ids_) : OkStatus();
    } else if (key == "filter") {
      *status = ReadNoFilter(json);
    } else if (key == "shard_key") {
      *status = ReadOnlyNull(json, kShardKeys);
    } else {
      return false;
    }
    return true;
  }

  Status Finish() const {
    return given_ ? OkStatus() : InvalidArgument("'points' (the ids) is missing");
  }

 private:
  const Limits& limits_;
  std::vector<PointId>* const ids_;
  bool given_ = false;
};

}  // namespace

StatusOr<UpsertPoints> ParseUpsert(std::string_view body, const Limits& limits) {
  UpsertPoints op;
  bool has_points = false;
  VECTRON_RETURN_IF_ERROR(ReadBody(body, [&](JsonReader* json, std::string_view key) -> Status {
    if (key == "points" || key == "batch") {
      if (has_points) return json->Error("'points' and 'batch' together");
      has_points = true;
      return key == "points" ? ReadPointList(json, limits, &op.points)
                             : ReadBatch(json, limits, &op.points);
    }
    if (key == "shard_key") return ReadOnlyNull(json, kShardKeys);
    if (key == "update_filter") return ReadNoFilter(json);
    if (key == "update_mode") return ReadUpdateMode(json);
    return json->UnknownField(key);
  }));
  if (!has_points) return InvalidArgument("'points' or 'batch' is missing");
  return op;
}

StatusOr<std::vector<PointId>> ParsePointSelection(std::string_view body, const Limits& limits) {
  std::vector<PointId> ids;
  IdSelection selection(limits, &ids);
  VECTRON_RETURN_IF_ERROR(ReadBody(body, [&](JsonReader* json, std::string_view key) -> Status {
    Status status;
    return selection.TryRead(json, key, &status) ? status : json->UnknownField(key);
  }));
  VECTRON_RETURN_IF_ERROR(selection.Finish());
  return ids;
}

StatusOr<PayloadChange> ParsePayloadChange(std::string_view body, const Limits& limits) {
  PayloadChange change;
  IdSelection selection(limits, &change.ids);
  VECTRON_RETURN_IF_ERROR(ReadBody(body, [&](JsonReader* json, std::string_view key) -> Status {
    Status status;
    if (selection.TryRead(json, key, &status)) return status;
    if (key == "payload") {
      if (json->Peek() != JsonReader::Kind::kObject) return json->Error("expected an object");
      return ReadPayload(json, &change.payload);
    }
    if (key == "key") return ReadOnlyNull(json, "a path into the payload is");
    return json->UnknownField(key);
  }));
  if (change.payload.empty()) return InvalidArgument("'payload' is missing");
  VECTRON_RETURN_IF_ERROR(selection.Finish());
  return change;
}

StatusOr<DeletePayloadKeys> ParseDeletePayload(std::string_view body, const Limits& limits) {
  DeletePayloadKeys op;
  bool has_keys = false;
  IdSelection selection(limits, &op.ids);
  VECTRON_RETURN_IF_ERROR(ReadBody(body, [&](JsonReader* json, std::string_view key) -> Status {
    Status status;
    if (selection.TryRead(json, key, &status)) return status;
    if (key != "keys") return json->UnknownField(key);
    has_keys = true;
    return ReadPayloadKeys(json, &op.keys);
  }));
  if (!has_keys) return InvalidArgument("'keys' is missing");
  VECTRON_RETURN_IF_ERROR(selection.Finish());
  return op;
}

StatusOr<RetrieveRequest> ParseRetrieve(std::string_view body, const Limits& limits) {
  RetrieveRequest request;
  bool has_ids = false;
  VECTRON_RETURN_IF_ERROR(ReadBody(body, [&](JsonReader* json, std::string_view key) -> Status {
    if (key == "ids") {
      has_ids = true;
      return ReadPointIds(json, limits, &request.ids);
    }
    if (key == "with_payload") return ReadPayloadSelector(json, &request.payload);
    if (key == "with_vector" || key == "with_vectors") {
      return ReadVectorSelector(json, &request.vectors);
    }
    if (key == "shard_key") return ReadOnlyNull(json, kShardKeys);
    return json->UnknownField(key);
  }));
  if (!has_ids) return InvalidArgument("'ids' is missing");
  return request;
}

StatusOr<ScrollBody> ParseScroll(std::string_view body) {
  ScrollBody request;
  VECTRON_RETURN_IF_ERROR(ReadBody(body, [&](JsonReader* json, std::string_view key) -> Status {
    if (key == "offset") {
      if (json->TryNull()) return OkStatus();
      return ReadScrollOffset(json, &request.query.from.emplace());
    }
    if (key == "limit") return ReadUint32(json, 1, UINT32_MAX, &request.query.limit);
    if (key == "filter") return ReadNoFilter(json);
    if (key == "order_by") return ReadOnlyNull(json, "scrolling in the order of a key is");
    if (key == "with_payload") return ReadPayloadSelector(json, &request.payload);
    if (key == "with_vector" || key == "with_vectors") {
      return ReadVectorSelector(json, &request.vectors);
    }
    if (key == "shard_key") return ReadOnlyNull(json, kShardKeys);
    return json->UnknownField(key);
  }));
  return request;
}

Status ParseCount(std::string_view body) {
  return ReadBody(body, [&](JsonReader* json, std::string_view key) -> Status {
    if (key == "exact") {
      bool exact = true;
      return json->TryNull() ? OkStatus() : json->ReadBool(&exact);
    }
    if (key == "filter") return ReadNoFilter(json);
    if (key == "shard_key") return ReadOnlyNull(json, kShardKeys);
    return json->UnknownField(key);
  });
}

}  // namespace vectron::gateway::rest
