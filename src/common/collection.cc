#include "common/collection.h"

#include <fmt/format.h>

#include "common/check.h"
#include "common/string_map.h"

namespace vectron {
namespace {

bool IsNameByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

// `what` begins the message.
Status ValidateName(std::string_view what, std::string_view name) {
  if (name.empty()) return InvalidArgument(fmt::format("{} must not be empty", what));
  if (name.size() > kCollectionNameBytesMax) {
    return MakeError(Reason::kLimitExceeded, fmt::format("{} has {} bytes, the limit is {}", what,
                                                         name.size(), kCollectionNameBytesMax));
  }
  if (name.front() == '.') {
    return InvalidArgument(fmt::format("{} must not start with '.'", what));
  }
  for (char c : name) {
    if (!IsNameByte(c)) {
      return InvalidArgument(
          fmt::format("{} may have letters, digits, '.', '_' and '-' only", what));
    }
  }
  return OkStatus();
}

Status CheckRange(std::string_view field, uint64_t value, uint64_t low, uint64_t high) {
  if (value >= low && value <= high) return OkStatus();
  return MakeError(Reason::kLimitExceeded,
                   fmt::format("{} is {}, it must be {} to {}", field, value, low, high));
}

Status ValidateVectorConfig(const VectorConfig& config) {
  if (!config.name.empty()) {
    VECTRON_RETURN_IF_ERROR(ValidateName("a vector's name", config.name));
  }
  VECTRON_RETURN_IF_ERROR(ValidateServedMetric(config.metric));
  VECTRON_RETURN_IF_ERROR(CheckRange("dimension", config.dimension, 1, kDimensionMax));
  VECTRON_RETURN_IF_ERROR(CheckRange("hnsw m", config.hnsw.m, 2, 64));
  VECTRON_RETURN_IF_ERROR(CheckRange("hnsw ef_construction", config.hnsw.ef_construction, 4, 4096));
  return CheckRange("hnsw ef_search", config.hnsw.ef_search, 1, 65'536);
}

}  // namespace

std::string_view MetricName(Metric metric) {
  switch (metric) {
    case Metric::kL2:
      return "l2";
    case Metric::kCosine:
      return "cosine";
    case Metric::kDot:
      return "dot";
    case Metric::kManhattan:
      return "manhattan";
  }
  return "unknown";
}

std::string_view QuantizationName(Quantization value) {
  return value == Quantization::kNone ? "none" : "sq8";
}

StatusOr<Metric> MetricFromName(std::string_view name) {
  for (Metric metric : kMetrics) {
    if (name == MetricName(metric)) return metric;
  }
  return InvalidArgument(fmt::format("metric '{}' is not one of l2, cosine, dot, manhattan", name));
}

StatusOr<Quantization> QuantizationFromName(std::string_view name) {
  for (Quantization value : {Quantization::kNone, Quantization::kSq8}) {
    if (name == QuantizationName(value)) return value;
  }
  return InvalidArgument(fmt::format("quantization '{}' is not one of none, sq8", name));
}

Status ValidateServedMetric(Metric metric) {
  if (metric != Metric::kManhattan) return OkStatus();
  return InvalidArgument(
      fmt::format("the metric {} is not supported for collections yet", MetricName(metric)));
}

Status ValidateCollectionName(std::string_view name) {
  return ValidateName("a collection's name", name);
}

Status ValidateCollectionConfig(const CollectionConfig& config) {
  VECTRON_RETURN_IF_ERROR(ValidateCollectionName(config.name));
  if (config.vectors.empty()) return InvalidArgument("a collection needs at least one vector");
  VECTRON_RETURN_IF_ERROR(
      CheckRange("the number of vectors", config.vectors.size(), 1, kVectorNamesMax));
  StringSet names;
  for (const VectorConfig& vector : config.vectors) {
    VECTRON_RETURN_IF_ERROR(ValidateVectorConfig(vector));
    if (!names.insert(vector.name).second) {
      return InvalidArgument(fmt::format("vector name '{}' appears twice", vector.name));
    }
  }
  VECTRON_RETURN_IF_ERROR(CheckRange("shard_count", config.shard_count, 0, kShardCountMax));
  return CheckRange("replication_factor", config.replication_factor, 1, kReplicationFactorMax);
}

std::vector<HashRange> SplitHashSpace(uint32_t count) {
  VECTRON_CHECK(count >= 1);
  std::vector<HashRange> ranges(count);
  const unsigned __int128 space = static_cast<unsigned __int128>(1) << 64;
  for (uint32_t i = 0; i < count; ++i) {
    ranges[i].first = static_cast<uint64_t>(space * i / count);
    ranges[i].last = static_cast<uint64_t>(space * (i + 1) / count - 1);
  }
  return ranges;
}

}  // namespace vectron
