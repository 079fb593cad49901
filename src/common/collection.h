#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "common/ids.h"

namespace vectron {

enum class Metric : uint8_t {
  kL2 = 1,         // score: Euclidean distance, smaller is nearer
  kCosine = 2,     // score: cosine similarity, larger is nearer
  kDot = 3,        // score: inner product, larger is nearer
  kManhattan = 4,  // score: sum of absolute differences, smaller is nearer
};
inline constexpr Metric kMetrics[] = {Metric::kL2, Metric::kCosine, Metric::kDot,
                                      Metric::kManhattan};

// Whether a score of `a` is better than one of `b`: the order of every answer. Equal
// scores are ordered by the ids.
constexpr bool IsBetterScore(Metric metric, float a, float b) {
  return metric == Metric::kL2 || metric == Metric::kManhattan ? a < b : a > b;
}

enum class Quantization : uint8_t {
  kNone = 1,  // the graph is walked on 32-bit floats
  kSq8 = 2,   // walked on 8-bit codes, the best reranked exactly
};

std::string_view MetricName(Metric metric);             // "l2", "cosine", "dot", "manhattan"
std::string_view QuantizationName(Quantization value);  // "none", "sq8"
// nullopt-like: INVALID_ARGUMENT that names the accepted values.
StatusOr<Metric> MetricFromName(std::string_view name);
StatusOr<Quantization> QuantizationFromName(std::string_view name);

struct HnswConfig {
  uint32_t m = 16;  // links a node above layer 0; 2m at layer 0
  uint32_t ef_construction = 200;
  uint32_t ef_search = 64;  // default of searches that name none

  bool operator==(const HnswConfig&) const = default;
};

struct VectorConfig {
  std::string name;  // "" is the unnamed default vector
  uint32_t dimension = 0;
  Metric metric = Metric::kL2;
  Quantization quantization = Quantization::kSq8;
  HnswConfig hnsw;

  bool operator==(const VectorConfig&) const = default;
};

// What a user chooses when creating a collection.
struct CollectionConfig {
  std::string name;
  std::vector<VectorConfig> vectors;
  uint32_t shard_count = 0;  // 0: as many as the cluster has workers
  uint32_t replication_factor = 1;

  bool operator==(const CollectionConfig&) const = default;
};

inline constexpr uint32_t kDimensionMax = 65'535;
inline constexpr size_t kCollectionNameBytesMax = 255;
inline constexpr size_t kVectorNamesMax = 16;
inline constexpr uint32_t kShardCountMax = 1024;
inline constexpr uint32_t kReplicationFactorMax = 7;

// INVALID_ARGUMENT for a metric that the index has, but collections and their interfaces do not.
Status ValidateServedMetric(Metric metric);

// 1 to 255 bytes of [A-Za-z0-9._-], not starting with '.'.
Status ValidateCollectionName(std::string_view name);

// Checks everything in `config` that can be checked without the cluster: name,
// vector names, dimensions and metrics, HNSW parameters, counts. The error names the field.
Status ValidateCollectionConfig(const CollectionConfig& config);

// A contiguous range of the 64-bit hash space, both ends included (so that the
// whole space has a form).
struct HashRange {
  uint64_t first = 0;
  uint64_t last = ~uint64_t{0};

  bool Contains(uint64_t hash) const { return first <= hash && hash <= last; }
  bool operator==(const HashRange&) const = default;
};

// The whole space in `count` (>= 1) ranges of equal size, in order.
std::vector<HashRange> SplitHashSpace(uint32_t count);

}  // namespace vectron
