// Measures filtered search: recall and time of each plan, and what the planner
// chooses, at falling selectivities, for matches that are scattered at random and for
// matches that lie together far from the query. Times are of the thread's
// processor time: the machine may be shared.

#include <fmt/format.h>
#include <roaring/roaring.h>
#include <sys/stat.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/random.h"
#include "common/texmex.h"
#include "common/thread.h"
#include "index/kernels/kernels.h"
#include "index/vector_index.h"

namespace vectron::bench {
namespace {

struct Arguments {
  std::string base;
  std::string queries;
  std::string checkpoint;
  size_t limit = std::numeric_limits<size_t>::max();
  size_t query_limit = 200;
  int threads = 2;
  uint32_t ef = 128;
  bool predicate = false;
  std::vector<double> selectivities = {0.5, 0.1, 0.01, 0.001, 0.0001};
};

constexpr uint32_t kK = 10;
// The least disturbed counts.
constexpr int kPasses = 5;
constexpr size_t kPivots = 4;

double ThreadSeconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

struct BitmapDeleter {
  void operator()(roaring_bitmap_t* bitmap) const { roaring_bitmap_free(bitmap); }
};
using Bitmap = std::unique_ptr<roaring_bitmap_t, BitmapDeleter>;

// Which slots match, for each query one of a few sets.
struct Filters {
  std::vector<Bitmap> sets;
  std::vector<size_t> set_of_query;
};

using Rows = std::vector<std::vector<float>>;

StatusOr<Rows> ReadRows(const std::string& path, size_t limit) {
  VECTRON_ASSIGN_OR_RETURN(const VectorFile file, VectorFile::Open(path));
  Rows rows(std::min(limit, file.count()), std::vector<float>(file.dimension()));
  for (size_t i = 0; i < rows.size(); ++i) file.CopyRow(i, rows[i]);
  return rows;
}

std::unique_ptr<index::VectorIndex> Build(const index::IndexOptions& options, const Rows& base,
                                          int thread_count) {
  auto index = index::VectorIndex::Create(options);
  VECTRON_CHECK_OK(index);
  for (size_t i = 0; i < base.size(); ++i) VECTRON_CHECK_OK((*index)->Put(base[i], i));
  std::vector<std::unique_ptr<Thread>> threads;
  for (int i = 0; i < thread_count; ++i) {
    threads.push_back(std::make_unique<Thread>("build", ThreadPriority::kNormal, [&index] {
      while ((*index)->LinkPending(64) > 0) {
      }
    }));
  }
  for (auto& thread : threads) thread->Join();
  return std::move(index).value();
}

// From the checkpoint, if there is one; else it is written.
StatusOr<std::unique_ptr<index::VectorIndex>> LoadOrBuild(const Arguments& arguments,
                                                          const Rows& base) {
  index::IndexOptions options;
  options.dimension = static_cast<uint32_t>(base[0].size());
  struct stat stat {};
  if (!arguments.checkpoint.empty() && ::stat(arguments.checkpoint.c_str(), &stat) == 0) {
    VECTRON_ASSIGN_OR_RETURN(auto index, index::VectorIndex::Load(options, arguments.checkpoint));
    if (index->Stats().live_count == base.size()) return index;
    return InvalidArgument("the checkpoint holds another number of vectors");
  }
  auto index = Build(options, base, arguments.threads);
  if (!arguments.checkpoint.empty()) {
    VECTRON_RETURN_IF_ERROR(index->WriteCheckpoint(*index->Cut(), arguments.checkpoint, 0));
  }
  return index;
}

Filters Scattered(size_t count, size_t matches, size_t query_count) {
  Random random(matches);
  Filters filters;
  filters.sets.emplace_back(roaring_bitmap_create());
  while (roaring_bitmap_get_cardinality(filters.sets[0].get()) < matches) {
    roaring_bitmap_add(filters.sets[0].get(), static_cast<uint32_t>(random.Below(count)));
  }
  filters.set_of_query.assign(query_count, 0);
  return filters;
}

double SquaredDistance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t d = 0; d < a.size(); ++d) sum += (a[d] - b[d]) * (a[d] - b[d]);
  return sum;
}

// Around each of a few vectors, what is nearest to it; each query gets the set whose
// middle is farthest from it.
Filters Together(const Rows& base, const Rows& queries, size_t matches) {
  Random random(7);
  Filters filters;
  std::vector<size_t> pivots;
  for (size_t p = 0; p < kPivots; ++p) {
    pivots.push_back(random.Below(base.size()));
    std::vector<std::pair<double, uint32_t>> order(base.size());
    for (size_t i = 0; i < base.size(); ++i) {
      order[i] = {SquaredDistance(base[i], base[pivots[p]]), static_cast<uint32_t>(i)};
    }
    std::nth_element(order.begin(), order.begin() + static_cast<ptrdiff_t>(matches - 1),
                     order.end());
    filters.sets.emplace_back(roaring_bitmap_create());
    for (size_t i = 0; i < matches; ++i) {
      roaring_bitmap_add(filters.sets[p].get(), order[i].second);
    }
  }
  for (const auto& query : queries) {
    size_t farthest = 0;
    for (size_t p = 1; p < kPivots; ++p) {
      if (SquaredDistance(query, base[pivots[p]]) >
          SquaredDistance(query, base[pivots[farthest]])) {
        farthest = p;
      }
    }
    filters.set_of_query.push_back(farthest);
  }
  return filters;
}

struct Outcome {
  double recall = 0;
  double microseconds = 0;
};

using Found = std::vector<std::vector<index::Hit>>;

class Measurement {
 public:
  Measurement(const Arguments& arguments, const index::VectorIndex& index, const Rows& queries,
              const Filters& filters)
      : arguments_(arguments), index_(index), queries_(queries), filters_(filters) {
    index::SearchOptions options;
    options.exact = true;
    truth_ = Search(options);
  }

  // Of each of the plans, which take turns.
  std::vector<Outcome> Of(std::span<const index::FilterPlan> plans) const {
    std::vector<Outcome> outcomes(plans.size());
    for (int pass = 0; pass < kPasses; ++pass) {
      for (size_t p = 0; p < plans.size(); ++p) {
        index::SearchOptions options;
        options.ef = arguments_.ef;
        options.filter_plan = plans[p];
        const double start = ThreadSeconds();
        const Found found = Search(options);
        const double microseconds =
            (ThreadSeconds() - start) / static_cast<double>(found.size()) * 1e6;
        outcomes[p].recall = RecallOf(found);
        outcomes[p].microseconds =
            pass == 0 ? microseconds : std::min(outcomes[p].microseconds, microseconds);
      }
    }
    return outcomes;
  }

 private:
  double RecallOf(const Found& found) const {
    size_t hits = 0;
    size_t wanted = 0;
    for (size_t i = 0; i < found.size(); ++i) {
      wanted += truth_[i].size();
      for (const index::Hit& hit : truth_[i]) {
        hits += std::find(found[i].begin(), found[i].end(), hit) != found[i].end();
      }
    }
    return static_cast<double>(hits) / static_cast<double>(wanted);
  }

  Found Search(index::SearchOptions options) const {
    options.k = kK;
    Found found;
    for (size_t i = 0; i < queries_.size(); ++i) {
      const roaring_bitmap_t* set = filters_.sets[filters_.set_of_query[i]].get();
      if (arguments_.predicate) {
        options.filter = [set](index::Slot slot) { return roaring_bitmap_contains(set, slot); };
        options.filter_count = roaring_bitmap_get_cardinality(set);
      } else {
        options.filter_slots = set;
      }
      auto hits = index_.Search(queries_[i], options);
      VECTRON_CHECK_OK(hits);
      found.push_back(std::move(hits).value());
    }
    return found;
  }

  const Arguments& arguments_;
  const index::VectorIndex& index_;
  const Rows& queries_;
  const Filters& filters_;
  Found truth_;
};

// "of best": the planner's time as a multiple of the best plan's that reaches the
// recall.
void Report(const std::string& name, double selectivity, const Measurement& measurement) {
  constexpr index::FilterPlan kPlans[] = {index::FilterPlan::kScan, index::FilterPlan::kTwoHop,
                                          index::FilterPlan::kCollect, index::FilterPlan::kAuto};
  constexpr double kRecallMin = 0.95;
  const std::vector<Outcome> outcomes = measurement.Of(kPlans);
  fmt::print("{:<10} {:>8.4f}", name, selectivity);
  double best = std::numeric_limits<double>::infinity();
  for (const Outcome& outcome : outcomes) {
    fmt::print("   {:.4f} {:>8.1f}", outcome.recall, outcome.microseconds);
    if (&outcome == &outcomes.back()) break;
    if (outcome.recall >= kRecallMin) best = std::min(best, outcome.microseconds);
  }
  fmt::print(" {:>6.2f}x\n", outcomes.back().microseconds / best);
  std::fflush(stdout);
}

Status Run(const Arguments& arguments) {
  VECTRON_ASSIGN_OR_RETURN(const Rows base, ReadRows(arguments.base, arguments.limit));
  VECTRON_ASSIGN_OR_RETURN(const Rows queries, ReadRows(arguments.queries, arguments.query_limit));
  if (base.empty() || queries.empty() || base[0].size() != queries[0].size()) {
    return InvalidArgument("no vectors, no queries, or of different dimensions");
  }
  VECTRON_ASSIGN_OR_RETURN(const auto index, LoadOrBuild(arguments, base));
  fmt::print("{} vectors, {} queries, {} dimensions, ef {}; kernels: {}; recall@10 and us\n",
             base.size(), queries.size(), base[0].size(), arguments.ef, index::BestKernels().name);
  fmt::print("{:<10} {:>8}   {:^15}   {:^15}   {:^15}   {:^15} {:>7}\n", "matches", "part", "scan",
             "two hops", "collect", "chosen", "of best");
  for (const bool together : {false, true}) {
    for (const double selectivity : arguments.selectivities) {
      const auto matches =
          std::max<size_t>(static_cast<size_t>(selectivity * static_cast<double>(base.size())), 1);
      const Filters filters = together ? Together(base, queries, matches)
                                       : Scattered(base.size(), matches, queries.size());
      Report(together ? "far away" : "scattered", selectivity,
             Measurement(arguments, *index, queries, filters));
    }
  }
  return OkStatus();
}

}  // namespace
}  // namespace vectron::bench

int main(int argc, char** argv) {
  vectron::bench::Arguments arguments;
  CLI::App app{"Filtered search: recall@10 and time of each plan, and of the planner's choice"};
  app.add_option("--base", arguments.base, "vectors: .fvecs or .bvecs")->required();
  app.add_option("--queries", arguments.queries, "queries: .fvecs or .bvecs")->required();
  app.add_option("--checkpoint", arguments.checkpoint,
                 "the index: read, if the file exists, else built and written");
  app.add_option("--limit", arguments.limit, "use the first so many vectors");
  app.add_option("--query-limit", arguments.query_limit, "use the first so many queries");
  app.add_option("--threads", arguments.threads, "threads that build")->check(CLI::Range(1, 1024));
  app.add_option("--ef", arguments.ef, "beam");
  app.add_option("--selectivity", arguments.selectivities, "parts of the vectors that match");
  app.add_flag("--predicate", arguments.predicate,
               "give the filter as a predicate and a count, not as a bitmap");
  CLI11_PARSE(app, argc, argv);
  const vectron::Status status = vectron::bench::Run(arguments);
  if (status.ok()) return 0;
  fmt::print(stderr, "filter_bench: {}\n", std::string(status.message()));
  return 1;
}
