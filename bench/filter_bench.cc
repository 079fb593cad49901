// Measures filtered search: recall and time of each plan, and of what the planner chooses, at
// falling selectivities, for matches that lie here or there. Says of each cell whether
// the planner's choice finds enough and takes no longer than it may; the exit code is 2 if one
// does not.

#include <fmt/format.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/thread.h"
#include "data_set.h"
#include "filter_sets.h"
#include "index/kernels/kernels.h"
#include "index/vector_index.h"
#include "stopwatch.h"

namespace vectron::bench {
namespace {

struct Arguments {
  DataSetFiles files;
  std::string checkpoint;
  int threads = 2;
  int passes = 7;
  uint32_t ef = 128;
  bool predicate = false;
  std::vector<double> selectivities = {0.5, 0.1, 0.01, 0.001, 0.0001};
};

constexpr index::FilterPlan kPlans[] = {index::FilterPlan::kScan, index::FilterPlan::kTwoHop,
                                        index::FilterPlan::kCollect, index::FilterPlan::kAuto};
constexpr size_t kPlanCount = std::size(kPlans);
constexpr size_t kChosen = kPlanCount - 1;

constexpr double kRecallMin = 0.95;
// The planner's time, as a multiple of that of the best plan that finds enough.
constexpr double kRatioMax = 1.2;

bool HoldsSame(const index::VectorIndex& index, const DataSet& data) {
  if (index.Stats().live_count != data.count()) return false;
  bool same = true;
  index.ForEachLive([&](index::Slot slot, uint64_t label) {
    const auto vector = index.GetVector(slot);
    same = same && label < data.count() && vector.ok() &&
           std::equal(vector->begin(), vector->end(), data.Row(label));
  });
  return same;
}

// From the checkpoint, if there is one; else it is written.
StatusOr<std::unique_ptr<index::VectorIndex>> LoadOrBuild(const Arguments& arguments,
                                                          const DataSet& data) {
  index::IndexOptions options;
  options.dimension = static_cast<uint32_t>(data.dimension);
  struct stat stat {};
  if (!arguments.checkpoint.empty() && ::stat(arguments.checkpoint.c_str(), &stat) == 0) {
    VECTRON_ASSIGN_OR_RETURN(auto index, index::VectorIndex::Load(options, arguments.checkpoint));
    if (HoldsSame(*index, data)) return index;
    return InvalidArgument(
        fmt::format("{} holds other vectors than {}", arguments.checkpoint, arguments.files.base));
  }
  VECTRON_ASSIGN_OR_RETURN(auto index, index::VectorIndex::Create(options));
  for (size_t i = 0; i < data.count(); ++i) {
    VECTRON_RETURN_IF_ERROR(index->Put({data.Row(i), data.dimension}, i).status());
  }
  RunInParallel("build", arguments.threads, [&](int) {
    while (index->LinkPending(64) > 0) {
    }
  });
  if (!arguments.checkpoint.empty()) {
    VECTRON_RETURN_IF_ERROR(index->WriteCheckpoint(*index->Cut(), arguments.checkpoint, 0));
  }
  return index;
}

struct Outcome {
  double recall = 0;
  double microseconds = 0;
};
using Outcomes = std::array<Outcome, kPlanCount>;

// One cell: a place and a selectivity.
class Measurement {
 public:
  Measurement(const Arguments& arguments, const index::VectorIndex& index, const DataSet& data,
              const FilterSets& filters)
      : arguments_(arguments), index_(index), data_(data), filters_(filters) {}

  // The plans take turns, each with all queries, in another order each time, so that none always
  // finds its caches as the same other one left them. Of each query, the least disturbed
  // of its searches counts.
  Outcomes Run() const {
    std::array<std::vector<double>, kPlanCount> seconds;
    seconds.fill(std::vector<double>(data_.query_count(), std::numeric_limits<double>::max()));
    Outcomes outcomes;
    for (int pass = 0; pass < arguments_.passes; ++pass) {
      for (size_t i = 0; i < kPlanCount; ++i) {
        const size_t place = pass % 2 == 0 ? i : kPlanCount - 1 - i;
        const size_t p = (static_cast<size_t>(pass / 2) + place) % kPlanCount;
        const std::vector<std::vector<index::Hit>> found = RunPass(kPlans[p], &seconds[p]);
        if (pass == 0) outcomes[p].recall = RecallOfPass(found);
      }
    }
    for (size_t p = 0; p < kPlanCount; ++p) {
      for (const double one : seconds[p]) outcomes[p].microseconds += one * 1e6;
      outcomes[p].microseconds /= static_cast<double>(data_.query_count());
    }
    return outcomes;
  }

 private:
  std::vector<std::vector<index::Hit>> RunPass(index::FilterPlan plan,
                                               std::vector<double>* seconds) const {
    std::vector<std::vector<index::Hit>> found;
    for (size_t i = 0; i < data_.query_count(); ++i) {
      index::SearchOptions options = Options(i);
      options.filter_plan = plan;
      const double start = Seconds(Watch::kWall);
      found.push_back(Search(i, options));
      (*seconds)[i] = std::min((*seconds)[i], Seconds(Watch::kWall) - start);
    }
    return found;
  }

  double RecallOfPass(const std::vector<std::vector<index::Hit>>& found) const {
    size_t hits = 0;
    size_t wanted = 0;
    for (size_t i = 0; i < found.size(); ++i) {
      const std::vector<index::Hit>& truth = Truth(i);
      wanted += truth.size();
      for (const index::Hit& hit : truth) {
        hits += std::find(found[i].begin(), found[i].end(), hit) != found[i].end();
      }
    }
    return static_cast<double>(hits) / static_cast<double>(wanted);
  }

  const std::vector<index::Hit>& Truth(size_t query) const {
    if (truth_.size() == query) {
      index::SearchOptions options = Options(query);
      options.exact = true;
      truth_.push_back(Search(query, options));
    }
    return truth_[query];
  }

  index::SearchOptions Options(size_t query) const {
    const roaring_bitmap_t* set = filters_.OfQuery(query);
    index::SearchOptions options;
    options.k = kK;
    options.ef = arguments_.ef;
    if (arguments_.predicate) {
      options.filter = [set](index::Slot slot) { return roaring_bitmap_contains(set, slot); };
      options.filter_count = roaring_bitmap_get_cardinality(set);
    } else {
      options.filter_slots = set;
    }
    return options;
  }

  std::vector<index::Hit> Search(size_t query, const index::SearchOptions& options) const {
    auto hits = index_.Search({data_.Query(query), data_.dimension}, options);
    VECTRON_CHECK_OK(hits);
    return std::move(hits).value();
  }

  const Arguments& arguments_;
  const index::VectorIndex& index_;
  const DataSet& data_;
  const FilterSets& filters_;
  mutable std::vector<std::vector<index::Hit>> truth_;  // found when it is first asked for
};

// A line. True if the choice is good: it finds enough, if any plan does, and is as fast as
// it must be.
bool Report(Place place, double selectivity, const Outcomes& outcomes) {
  fmt::print("{:<10} {:>7.4f}", PlaceName(place), selectivity);
  double best = std::numeric_limits<double>::infinity();
  for (size_t p = 0; p < kPlanCount; ++p) {
    fmt::print("  {:.3f} {:>8.1f}", outcomes[p].recall, outcomes[p].microseconds);
    if (p != kChosen && outcomes[p].recall >= kRecallMin) {
      best = std::min(best, outcomes[p].microseconds);
    }
  }
  const double ratio = outcomes[kChosen].microseconds / best;
  const bool found = outcomes[kChosen].recall >= kRecallMin;
  const bool good = found && ratio <= kRatioMax;
  fmt::print(" {:>6.2f}x  {}\n", ratio, good ? "ok" : found ? "SLOW" : "RECALL");
  std::fflush(stdout);
  return good;
}

StatusOr<bool> Run(const Arguments& arguments) {
  VECTRON_ASSIGN_OR_RETURN(const DataSet data, ReadDataSet(arguments.files, Metric::kL2));
  for (const double part : arguments.selectivities) {
    if (!(part > 0 && part <= 1)) {
      return InvalidArgument(fmt::format("--selectivity {} is not within 0 to 1", part));
    }
  }
  VECTRON_ASSIGN_OR_RETURN(const auto index, LoadOrBuild(arguments, data));
  fmt::print("{} vectors, {} queries, {} dimensions, ef {}; isa: {}; recall@{} and us\n",
             data.count(), data.query_count(), data.dimension, arguments.ef,
             index::BestKernels().name, kK);
  fmt::print("{:<10} {:>7}  {:^14}  {:^14}  {:^14}  {:^14} {:>7}\n", "matches", "part", "scan",
             "two hops", "collect", "chosen", "of best");
  bool good = true;
  for (const Place place : kPlaces) {
    for (const double selectivity : arguments.selectivities) {
      const double matches = selectivity * static_cast<double>(data.count());
      const FilterSets filters =
          MakeFilterSets(place, data, std::max<size_t>(static_cast<size_t>(matches), 1));
      good &= Report(place, selectivity, Measurement(arguments, *index, data, filters).Run());
    }
  }
  return good;
}

}  // namespace
}  // namespace vectron::bench

int main(int argc, char** argv) {
  vectron::bench::Arguments arguments;
  arguments.files.query_limit = 100;
  CLI::App app{"Filtered search: recall@10 and time of each plan, and of the planner's choice"};
  app.add_option("--base", arguments.files.base, "vectors: .fvecs or .bvecs")->required();
  app.add_option("--queries", arguments.files.queries, "queries: .fvecs or .bvecs")->required();
  app.add_option("--checkpoint", arguments.checkpoint,
                 "the index: read, if the file exists, else built and written");
  app.add_option("--limit", arguments.files.base_limit, "use the first so many vectors")
      ->check(CLI::PositiveNumber);
  app.add_option("--query-limit", arguments.files.query_limit, "use the first so many queries")
      ->check(CLI::PositiveNumber);
  app.add_option("--threads", arguments.threads, "threads that build")->check(CLI::Range(1, 1024));
  app.add_option("--passes", arguments.passes,
                 "searches of each kind for each query; the least counts")
      ->check(CLI::Range(1, 1000));
  app.add_option("--ef", arguments.ef, "beam");
  app.add_option("--selectivity", arguments.selectivities, "parts of the vectors that match");
  app.add_flag("--predicate", arguments.predicate,
               "give the filter as a predicate and a count, not as a bitmap");
  CLI11_PARSE(app, argc, argv);
  const auto good = vectron::bench::Run(arguments);
  if (good.ok()) return *good ? 0 : 2;
  fmt::print(stderr, "filter_bench: {}\n", std::string(good.status().message()));
  return 1;
}
