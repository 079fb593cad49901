#include "common/validation.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <span>

#include "common/json_object.h"

namespace vectron {
namespace {

// With |v|^2 below this for every stored vector and query, no distance or product
// of two of them overflows: |a - b|^2 <= (|a| + |b|)^2 <= 4 max(|a|^2, |b|^2).
constexpr float kSquaredNormMax = std::numeric_limits<float>::max() / 4;

// In vectors of four lanes, because a plain loop of float additions may not be
// reordered by the compiler: a batch of 1,000 x 128 is summed in microseconds.
using Lanes = float __attribute__((vector_size(16)));

Lanes LoadLanes(const float* values) {
  Lanes lanes;
  std::memcpy(&lanes, values, sizeof(lanes));
  return lanes;
}

// Not finite if any value is not.
float SquaredNorm(std::span<const float> values) {
  constexpr size_t kStep = 16;
  Lanes sums[4] = {};
  size_t i = 0;
  for (; i + kStep <= values.size(); i += kStep) {
    for (size_t j = 0; j < 4; ++j) {
      const Lanes lanes = LoadLanes(values.data() + i + 4 * j);
      sums[j] += lanes * lanes;
    }
  }
  const Lanes sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  float total = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  for (; i < values.size(); ++i) total += values[i] * values[i];
  return total;
}

Status LimitExceeded(std::string_view what, uint64_t value, uint64_t max) {
  return MakeError(Reason::kLimitExceeded,
                   fmt::format("{} is {}, the limit is {}", what, value, max));
}

// Why a vector whose squared norm is not a small enough number is refused.
Status ExplainNorm(std::span<const float> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i])) return InvalidArgument(fmt::format("component {} is NaN", i));
    if (std::isinf(values[i])) return InvalidArgument(fmt::format("component {} is infinite", i));
  }
  return InvalidArgument(
      fmt::format("its length is too large: the squares of its components must add up to less "
                  "than {:.2g}",
                  kSquaredNormMax));
}

// Messages do not name the vector; callers do.
Status ValidateValues(const VectorConfig& config, std::span<const float> values) {
  if (values.size() != config.dimension) {
    return InvalidArgument(
        fmt::format("dimension {}, expected {}", values.size(), config.dimension));
  }
  const float squared_norm = SquaredNorm(values);
  // Written so that NaN fails it.
  if (!(squared_norm < kSquaredNormMax)) return ExplainNorm(values);
  if (config.metric == Metric::kCosine && squared_norm < std::numeric_limits<float>::min()) {
    return InvalidArgument("it is zero, or nearly so: the cosine metric needs a direction");
  }
  return OkStatus();
}

std::string VectorLabel(std::string_view name) {
  return name.empty() ? "vector" : fmt::format("vector '{}'", name);
}

std::string VectorNames(const CollectionConfig& config) {
  std::string names;
  for (const VectorConfig& vector : config.vectors) {
    names += fmt::format("{}'{}'", names.empty() ? "" : ", ", vector.name);
  }
  return names;
}

const NamedVector* FindVector(const Point& point, std::string_view name) {
  for (const NamedVector& vector : point.vectors) {
    if (vector.name == name) return &vector;
  }
  return nullptr;
}

Status ValidateId(const PointId& id) {
  return id.is_number() ? OkStatus() : PointId::ValidateText(id.text());
}

Status ValidateVectors(const CollectionConfig& config, const Point& point) {
  for (const VectorConfig& expected : config.vectors) {
    const NamedVector* vector = FindVector(point, expected.name);
    if (vector == nullptr) {
      // Where a name is unknown it is the mistake, not that the right one is missing.
      for (const NamedVector& given : point.vectors) {
        VECTRON_RETURN_IF_ERROR(FindVectorConfig(config, given.name).status());
      }
      return InvalidArgument(fmt::format("{} is missing", VectorLabel(expected.name)));
    }
    Status status = ValidateValues(expected, vector->values);
    if (!status.ok()) return Annotate(status, VectorLabel(expected.name));
  }
  if (point.vectors.size() == config.vectors.size()) return OkStatus();
  // Every expected one is there, so what is more is unknown or given twice.
  for (const NamedVector& vector : point.vectors) {
    VECTRON_RETURN_IF_ERROR(FindVectorConfig(config, vector.name).status());
    if (FindVector(point, vector.name) != &vector) {
      return InvalidArgument(fmt::format("{} is given twice", VectorLabel(vector.name)));
    }
  }
  return Internal("vectors could not be matched with the collection's");
}

Status ValidatePayload(std::string_view payload, const Limits& limits) {
  const Status status = ValidateJsonObject(
      payload, {.bytes_max = limits.payload_bytes_max, .depth_max = limits.payload_depth_max});
  return status.ok() ? status : Annotate(status, "payload");
}

Status ValidatePoint(const CollectionConfig& config, const Point& point, const Limits& limits) {
  VECTRON_RETURN_IF_ERROR(ValidateId(point.id));
  VECTRON_RETURN_IF_ERROR(ValidateVectors(config, point));
  return point.payload.empty() ? OkStatus() : ValidatePayload(point.payload, limits);
}

// An id that is not valid may be long, or not printable: then it is left out.
std::string PointLabel(size_t position, const PointId& id) {
  if (!ValidateId(id).ok()) return fmt::format("point {}", position);
  return fmt::format("point {} (id {})", position, id.ToString());
}

Status ValidateCount(std::string_view what, size_t count, size_t count_max) {
  if (count == 0) return InvalidArgument(fmt::format("the request has no {}", what));
  if (count <= count_max) return OkStatus();
  return LimitExceeded(fmt::format("the number of {}", what), count, count_max);
}

Status ValidateIdsUpTo(size_t count_max, const std::vector<PointId>& ids) {
  VECTRON_RETURN_IF_ERROR(ValidateCount("ids", ids.size(), count_max));
  for (size_t i = 0; i < ids.size(); ++i) {
    Status status = ValidateId(ids[i]);
    if (!status.ok()) return Annotate(status, PointLabel(i, ids[i]));
  }
  return OkStatus();
}

Status Validate(const CollectionConfig& config, const UpsertPoints& op, const Limits& limits) {
  VECTRON_RETURN_IF_ERROR(ValidateCount("points", op.points.size(), limits.batch_points_max));
  for (size_t i = 0; i < op.points.size(); ++i) {
    Status status = ValidatePoint(config, op.points[i], limits);
    if (!status.ok()) return Annotate(status, PointLabel(i, op.points[i].id));
  }
  return OkStatus();
}

Status Validate(const CollectionConfig&, const DeletePoints& op, const Limits& limits) {
  return ValidateIds(op.ids, limits);
}

// Every point gets the payload, or adds it to what it has: a small request may ask for much
// to be written. What the points have is counted where it is known, in the shard.
Status ValidateChange(const std::vector<PointId>& ids, std::string_view payload,
                      const Limits& limits) {
  VECTRON_RETURN_IF_ERROR(ValidateIds(ids, limits));
  VECTRON_RETURN_IF_ERROR(ValidatePayload(payload, limits));
  const uint64_t written_bytes = uint64_t{ids.size()} * payload.size();
  if (ids.size() == 1 || written_bytes <= limits.request_bytes_max) return OkStatus();
  return MakeError(
      Reason::kLimitExceeded,
      fmt::format("a payload of {} bytes for {} points would write {} bytes, the limit is {}; "
                  "change fewer points at once",
                  payload.size(), ids.size(), written_bytes, limits.request_bytes_max));
}

Status Validate(const CollectionConfig&, const SetPayload& op, const Limits& limits) {
  return ValidateChange(op.ids, op.payload, limits);
}

Status Validate(const CollectionConfig&, const OverwritePayload& op, const Limits& limits) {
  return ValidateChange(op.ids, op.payload, limits);
}

Status Validate(const CollectionConfig&, const DeletePayloadKeys& op, const Limits& limits) {
  VECTRON_RETURN_IF_ERROR(ValidateIds(op.ids, limits));
  return ValidateCount("payload keys", op.keys.size(), limits.batch_points_max);
}

Status Validate(const CollectionConfig&, const ClearPayload& op, const Limits& limits) {
  return ValidateIds(op.ids, limits);
}

}  // namespace

Status ValidateWrite(const CollectionConfig& config, const WriteOp& op, const Limits& limits) {
  return std::visit([&](const auto& typed) { return Validate(config, typed, limits); }, op);
}

Status ValidateSearch(const CollectionConfig& config, const SearchQuery& query,
                      const Limits& limits) {
  VECTRON_ASSIGN_OR_RETURN(const VectorConfig* vector, FindVectorConfig(config, query.vector_name));
  Status status = ValidateValues(*vector, query.vector);
  if (!status.ok()) return Annotate(status, VectorLabel(query.vector_name));
  if (query.k == 0) return InvalidArgument("k is 0, it must be at least 1");
  if (query.k > limits.k_max) return LimitExceeded("k", query.k, limits.k_max);
  if (query.ef > limits.ef_max) return LimitExceeded("ef", query.ef, limits.ef_max);
  if (query.score_threshold.has_value() && !std::isfinite(*query.score_threshold)) {
    return InvalidArgument("score_threshold is not a finite number");
  }
  return OkStatus();
}

Status ValidateSelect(const CollectionConfig& config, const Select& select) {
  for (const std::string& name : select.vector_names) {
    VECTRON_RETURN_IF_ERROR(FindVectorConfig(config, name).status());
  }
  return OkStatus();
}

Status ValidateScroll(const ScrollQuery& query, const Limits& limits) {
  if (query.limit == 0) return InvalidArgument("limit is 0, it must be at least 1");
  if (query.limit > limits.scroll_limit_max) {
    return LimitExceeded("limit", query.limit, limits.scroll_limit_max);
  }
  if (!query.from.has_value()) return OkStatus();
  Status status = ValidateId(*query.from);
  return status.ok() ? status : Annotate(status, "the start of the page");
}

Status ValidateIds(const std::vector<PointId>& ids, const Limits& limits) {
  return ValidateIdsUpTo(limits.batch_points_max, ids);
}

Status ValidateFetch(const std::vector<PointId>& ids, const Limits& limits) {
  return ValidateIdsUpTo(limits.fetch_points_max(), ids);
}

StatusOr<const VectorConfig*> FindVectorConfig(const CollectionConfig& config,
                                               std::string_view name) {
  for (const VectorConfig& vector : config.vectors) {
    if (vector.name == name) return &vector;
  }
  return InvalidArgument(fmt::format("collection '{}' has no vector '{}', it has {}", config.name,
                                     name, VectorNames(config)));
}

}  // namespace vectron
