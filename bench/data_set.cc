#include "data_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "common/check.h"

namespace vectron::bench {
namespace {

Status CheckRow(std::span<const float> row, const std::string& name, size_t i, Metric metric) {
  if (!std::all_of(row.begin(), row.end(), [](float x) { return std::isfinite(x); })) {
    return InvalidArgument(fmt::format("{}: row {} is not finite", name, i));
  }
  const bool zero = std::all_of(row.begin(), row.end(), [](float x) { return x == 0; });
  if (zero && metric == Metric::kCosine) {
    return InvalidArgument(fmt::format("{}: row {} is all zeros, which has no cosine", name, i));
  }
  return OkStatus();
}

// Of the first `limit` rows; at least one.
StatusOr<size_t> CountRows(const VectorFile& file, const std::string& name, size_t limit) {
  const size_t count = std::min(file.count(), limit);
  if (count == 0) return InvalidArgument(fmt::format("{}: no vectors", name));
  return count;
}

StatusOr<std::vector<float>> ReadRows(const VectorFile& file, const std::string& name, size_t limit,
                                      Metric metric) {
  VECTRON_ASSIGN_OR_RETURN(const size_t count, CountRows(file, name, limit));
  std::vector<float> rows(count * file.dimension());
  for (size_t i = 0; i < count; ++i) {
    const std::span<float> row(rows.data() + i * file.dimension(), file.dimension());
    file.CopyRow(i, row);
    VECTRON_RETURN_IF_ERROR(CheckRow(row, name, i, metric));
    if (metric != Metric::kCosine) continue;
    double squares = 0;
    for (const float x : row) squares += static_cast<double>(x) * x;
    for (float& x : row) x = static_cast<float>(x / std::sqrt(squares));
  }
  return rows;
}

}  // namespace

Status CheckRows(const VectorFile& file, const std::string& name, size_t limit, Metric metric) {
  VECTRON_ASSIGN_OR_RETURN(const size_t count, CountRows(file, name, limit));
  std::vector<float> row(file.dimension());
  for (size_t i = 0; i < count; ++i) {
    file.CopyRow(i, row);
    VECTRON_RETURN_IF_ERROR(CheckRow(row, name, i, metric));
  }
  return OkStatus();
}

StatusOr<DataSet> ReadDataSet(const DataSetFiles& files, Metric metric) {
  VECTRON_ASSIGN_OR_RETURN(const VectorFile base, VectorFile::Open(files.base));
  VECTRON_ASSIGN_OR_RETURN(const VectorFile queries, VectorFile::Open(files.queries));
  if (base.dimension() != queries.dimension()) {
    return InvalidArgument("base and queries have different dimensions");
  }
  DataSet data;
  data.dimension = base.dimension();
  VECTRON_ASSIGN_OR_RETURN(data.base, ReadRows(base, files.base, files.base_limit, metric));
  VECTRON_ASSIGN_OR_RETURN(data.queries,
                           ReadRows(queries, files.queries, files.query_limit, metric));
  if (files.truth.empty() || data.count() < base.count()) return data;
  VECTRON_ASSIGN_OR_RETURN(const IdFile truth, IdFile::Open(files.truth));
  if (truth.count() < data.query_count() || truth.width() < kK) {
    return InvalidArgument(
        fmt::format("the truth has fewer rows than queries, or fewer than {} columns", kK));
  }
  for (size_t i = 0; i < data.query_count(); ++i) {
    const auto row = truth.Row(i).first(kK);
    for (const int32_t id : row) {
      if (id >= 0 && static_cast<size_t>(id) < data.count()) continue;
      return InvalidArgument(
          fmt::format("row {} of the truth names vector {} of {}", i, id, data.count()));
    }
    data.truth.emplace_back(row.begin(), row.end());
  }
  return data;
}

void FindTruth(const index::VectorIndex& index, DataSet* data) {
  index::SearchOptions search;
  search.k = kK;
  search.exact = true;
  for (size_t i = 0; i < data->query_count(); ++i) {
    const auto hits = index.Search({data->Query(i), data->dimension}, search);
    VECTRON_CHECK_OK(hits);
    data->truth.emplace_back();
    for (const index::Hit& hit : *hits) {
      data->truth.back().push_back(static_cast<uint32_t>(hit.label));
    }
  }
}

double RecallOf(const std::vector<std::vector<uint32_t>>& found, const DataSet& data) {
  size_t hits = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    for (const uint32_t label : found[i]) {
      hits += static_cast<size_t>(std::count(data.truth[i].begin(), data.truth[i].end(), label));
    }
  }
  return static_cast<double>(hits) / static_cast<double>(kK * found.size());
}

}  // namespace vectron::bench
