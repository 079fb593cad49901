// Builds our index in this process and searches it on one thread: what a search
// costs without a server around it. Prints JSON.
//
// Searches one after the other find their thread's caches, branch predictions and
// processor awake; a server's thread has slept until the request came. So searches are
// measured a second time with a pause before each.
//
//   inprocess_search BASE QUERIES GROUNDTRUTH EF M EF_CONSTRUCTION PAUSE_US

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/error.h"
#include "common/texmex.h"
#include "common/thread.h"
#include "index/vector_index.h"

namespace vectron {
namespace {

constexpr uint32_t kNeighbours = 10;
// The queries are repeated until at least so many searches were measured.
constexpr size_t kSearchCountMin = 20'000;

struct Result {
  size_t points = 0;
  double build_seconds = 0;
  double cpu_us_per_query = 0;
  double paced_cpu_us_per_query = 0;
  double queries_per_second = 0;
  double recall = 0;
};

// Of this thread.
double CpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double SecondsSince(TimePoint start) {
  return std::chrono::duration<double>(SystemClock().Now() - start).count();
}

// Vectors are labelled with their row numbers.
Status Build(const VectorFile& base, index::VectorIndex* index) {
  std::vector<float> row(base.dimension());
  for (size_t i = 0; i < base.count(); ++i) {
    base.CopyRow(i, row);
    VECTRON_RETURN_IF_ERROR(index->Put(row, i).status());
  }
  std::vector<std::unique_ptr<Thread>> threads;
  for (int t = 0; t < UsableCores(); ++t) {
    threads.push_back(
        std::make_unique<Thread>(fmt::format("link-{}", t), ThreadPriority::kNormal, [index] {
          while (index->LinkPending(256) > 0) {
          }
        }));
  }
  for (auto& thread : threads) thread->Join();
  return OkStatus();
}

Status Search(const VectorFile& queries, const IdFile& truth, uint32_t ef,
              const index::VectorIndex& index, Result* result) {
  std::vector<std::vector<float>> rows(queries.count(), std::vector<float>(queries.dimension()));
  for (size_t i = 0; i < rows.size(); ++i) queries.CopyRow(i, rows[i]);
  const index::SearchOptions options{.k = kNeighbours, .ef = ef};
  const size_t count = std::max(kSearchCountMin, rows.size());
  size_t found = 0;
  const double cpu_before = CpuSeconds();
  const TimePoint start = SystemClock().Now();
  for (size_t i = 0; i < count; ++i) {
    const size_t query = i % rows.size();
    VECTRON_ASSIGN_OR_RETURN(const auto hits, index.Search(rows[query], options));
    if (i >= rows.size()) continue;
    const auto neighbours = truth.Row(query).first(kNeighbours);
    for (const index::Hit& hit : hits) {
      found += std::find(neighbours.begin(), neighbours.end(), static_cast<int32_t>(hit.label)) !=
               neighbours.end();
    }
  }
  result->queries_per_second = static_cast<double>(count) / SecondsSince(start);
  result->cpu_us_per_query = (CpuSeconds() - cpu_before) * 1e6 / static_cast<double>(count);
  result->recall = static_cast<double>(found) / static_cast<double>(rows.size() * kNeighbours);
  return OkStatus();
}

Status SearchPaced(const VectorFile& queries, uint32_t ef, std::chrono::microseconds pause,
                   const index::VectorIndex& index, Result* result) {
  const index::SearchOptions options{.k = kNeighbours, .ef = ef};
  std::vector<float> row(queries.dimension());
  double cpu = 0;
  for (size_t i = 0; i < kSearchCountMin; ++i) {
    queries.CopyRow(i % queries.count(), row);
    std::this_thread::sleep_for(pause);
    const double before = CpuSeconds();
    VECTRON_RETURN_IF_ERROR(index.Search(row, options).status());
    cpu += CpuSeconds() - before;
  }
  result->paced_cpu_us_per_query = cpu * 1e6 / static_cast<double>(kSearchCountMin);
  return OkStatus();
}

StatusOr<Result> Measure(char** argv) {
  VECTRON_ASSIGN_OR_RETURN(const VectorFile base, VectorFile::Open(argv[1]));
  VECTRON_ASSIGN_OR_RETURN(const VectorFile queries, VectorFile::Open(argv[2]));
  VECTRON_ASSIGN_OR_RETURN(const IdFile truth, IdFile::Open(argv[3]));
  if (queries.dimension() != base.dimension() || truth.count() < queries.count() ||
      truth.width() < kNeighbours) {
    return InvalidArgument("the files do not belong together");
  }
  index::IndexOptions options;
  options.dimension = base.dimension();
  options.m = static_cast<uint32_t>(std::atoi(argv[5]));
  options.ef_construction = static_cast<uint32_t>(std::atoi(argv[6]));
  VECTRON_ASSIGN_OR_RETURN(const auto index, index::VectorIndex::Create(options));
  Result result{.points = base.count()};
  const TimePoint start = SystemClock().Now();
  VECTRON_RETURN_IF_ERROR(Build(base, index.get()));
  result.build_seconds = SecondsSince(start);
  const auto ef = static_cast<uint32_t>(std::atoi(argv[4]));
  VECTRON_RETURN_IF_ERROR(Search(queries, truth, ef, *index, &result));
  VECTRON_RETURN_IF_ERROR(
      SearchPaced(queries, ef, std::chrono::microseconds(std::atoi(argv[7])), *index, &result));
  return result;
}

int Main(int argc, char** argv) {
  if (argc != 8) {
    fmt::print(stderr,
               "usage: inprocess_search BASE QUERIES GROUNDTRUTH EF M EF_CONSTRUCTION PAUSE_US\n");
    return 2;
  }
  const auto result = Measure(argv);
  if (!result.ok()) {
    fmt::print(stderr, "inprocess_search: {}\n", std::string(result.status().message()));
    return 1;
  }
  fmt::print(
      "{{\"points\": {}, \"build_seconds\": {:.3f}, \"cpu_us_per_query\": {:.2f}, "
      "\"paced_cpu_us_per_query\": {:.2f}, \"queries_per_second\": {:.1f}, \"recall\": {:.5f}}}\n",
      result->points, result->build_seconds, result->cpu_us_per_query,
      result->paced_cpu_us_per_query, result->queries_per_second, result->recall);
  return 0;
}

}  // namespace
}  // namespace vectron

int main(int argc, char** argv) { return vectron::Main(argc, argv); }
