#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "common/collection.h"
#include "common/error.h"
#include "common/texmex.h"
#include "index/vector_index.h"

namespace vectron::bench {

// Neighbours that are asked for, wherever recall is measured.
inline constexpr size_t kK = 10;

// Which files, and how much of them.
struct DataSetFiles {
  std::string base;
  std::string queries;
  std::string truth;  // may be empty
  size_t base_limit = ~size_t{0};
  size_t query_limit = ~size_t{0};
};

// A TEXMEX data set in memory. Immutable once its truth is known.
struct DataSet {
  size_t dimension = 0;
  std::vector<float> base;
  std::vector<float> queries;
  std::vector<std::vector<uint32_t>> truth;  // the kK nearest of each query

  size_t count() const { return base.size() / dimension; }
  size_t query_count() const { return queries.size() / dimension; }
  const float* Row(size_t i) const { return base.data() + i * dimension; }
  const float* Query(size_t i) const { return queries.data() + i * dimension; }
};

// INVALID_ARGUMENT unless the first `limit` rows of `file`, called `name`, are at least one and all
// finite, and none is zero under cosine.
Status CheckRows(const VectorFile& file, const std::string& name, size_t limit, Metric metric);

// For cosine, vectors and queries are made directions: not every contender has cosine. The
// truth stays empty if there is no file of it or it is of more vectors than are used.
StatusOr<DataSet> ReadDataSet(const DataSetFiles& files, Metric metric);

// Scans `index`, whose labels are row numbers, for the truth.
void FindTruth(const index::VectorIndex& index, DataSet* data);

// The part of the truth that was found; `found` has a row for each query.
double RecallOf(const std::vector<std::vector<uint32_t>>& found, const DataSet& data);

}  // namespace vectron::bench
