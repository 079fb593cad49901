#include "contender.h"

#include <atomic>
#include <cmath>
#include <utility>

#include "common/check.h"
#include "common/thread.h"
#include "hnswlib_index.h"

namespace vectron::bench {

Contender BuildOurs(const BuildOptions& options, const DataSet& data,
                    std::shared_ptr<index::VectorIndex>* index) {
  index::IndexOptions index_options;
  index_options.dimension = static_cast<uint32_t>(data.dimension);
  index_options.metric = options.metric;
  index_options.quantization = options.quantization;
  index_options.m = options.m;
  index_options.ef_construction = options.ef_construction;
  auto created = index::VectorIndex::Create(index_options);
  VECTRON_CHECK_OK(created);
  const std::shared_ptr<index::VectorIndex> built = std::move(created).value();

  Contender ours{.name = "vectron"};
  const double start = Seconds(options.watch);
  for (size_t i = 0; i < data.count(); ++i) {
    VECTRON_CHECK_OK(built->Put({data.Row(i), data.dimension}, i));
  }
  ours.put_seconds = Seconds(options.watch) - start;
  RunInParallel("build", options.threads, [&](int) {
    while (built->LinkPending(64) > 0) {
    }
  });
  ours.build_seconds = Seconds(options.watch) - start;
  const index::IndexStats stats = built->Stats();
  const auto count = static_cast<double>(data.count());
  ours.bytes_per_vector = static_cast<double>(stats.memory_bytes) / count;
  ours.hot_bytes_per_vector = static_cast<double>(stats.memory_bytes - stats.cold_bytes) / count;

  const auto search = std::make_shared<index::SearchOptions>();
  search->k = kK;
  ours.set_ef = [search](uint32_t ef) { search->ef = ef; };
  ours.search = [built, search, dimension = data.dimension](const float* query,
                                                            std::vector<uint32_t>* labels) {
    const auto hits = built->Search({query, dimension}, *search);
    VECTRON_CHECK_OK(hits);
    labels->clear();
    for (const index::Hit& hit : *hits) labels->push_back(static_cast<uint32_t>(hit.label));
  };
  *index = built;
  return ours;
}

Contender BuildTheirs(const BuildOptions& options, const DataSet& data) {
  const auto index = std::make_shared<HnswlibIndex>(options.metric, data.dimension, data.count(),
                                                    options.m, options.ef_construction);
  Contender theirs{.name = "hnswlib"};
  const double start = Seconds(options.watch);
  // Its first element must be there before others are added in parallel.
  index->Add(data.Row(0), 0);
  std::atomic<size_t> next{1};
  RunInParallel("build", options.threads, [&](int) {
    for (size_t i = next.fetch_add(1); i < data.count(); i = next.fetch_add(1)) {
      index->Add(data.Row(i), static_cast<uint32_t>(i));
    }
  });
  theirs.build_seconds = Seconds(options.watch) - start;
  theirs.bytes_per_vector =
      static_cast<double>(index->memory_bytes()) / static_cast<double>(data.count());
  theirs.hot_bytes_per_vector = theirs.bytes_per_vector;  // its floats are what it walks
  theirs.set_ef = [index](uint32_t ef) { index->SetEf(ef); };
  theirs.search = [index](const float* query, std::vector<uint32_t>* labels) {
    index->Search(query, kK, labels);
  };
  return theirs;
}

double QpsAt(const Contender& contender, double recall) {
  const Point* before = nullptr;
  for (const Point& point : contender.points) {
    if (point.recall >= recall) {
      if (before == nullptr || point.recall == before->recall) return point.qps;
      const double part = (recall - before->recall) / (point.recall - before->recall);
      return std::exp(std::log(before->qps) + part * (std::log(point.qps) - std::log(before->qps)));
    }
    before = &point;
  }
  return std::nan("");
}

}  // namespace vectron::bench
