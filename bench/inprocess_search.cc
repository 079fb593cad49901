// Builds our index in this process and searches it on one thread: what a search
// costs without a server around it.
//
//   inprocess_search BASE QUERIES GROUNDTRUTH EF M EF_CONSTRUCTION
//
// Prints a line of JSON when the index is built, and one for each line that it reads then:
//
//   COUNT PAUSE_US
//
// so many searches, with a pause before each. Those one after the other (0) find their thread's
// caches, branch predictions and processor awake; a server's thread has slept until the
// request came. So both can be measured in turn with a server, as the machine's speed changes.

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
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

constexpr size_t kSearchCountMax = 10'000'000;
constexpr uint64_t kPauseMaxUs = 10'000'000;

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

class Searches {
 public:
  Searches(const VectorFile& queries, const IdFile& truth, uint32_t ef,
           const index::VectorIndex& index)
      : truth_(truth), index_(index), options_{.k = kNeighbours, .ef = ef} {
    rows_.assign(queries.count(), std::vector<float>(queries.dimension()));
    for (size_t i = 0; i < rows_.size(); ++i) queries.CopyRow(i, rows_[i]);
  }

  // Goes on with the queries where the last pass ended. Prints the result.
  Status Pass(size_t count, std::chrono::microseconds pause) {
    size_t found = 0;
    double cpu = 0;
    const TimePoint start = SystemClock().Now();
    for (size_t i = 0; i < count; ++i, next_ = (next_ + 1) % rows_.size()) {
      if (pause.count() > 0) std::this_thread::sleep_for(pause);
      const double before = CpuSeconds();
      VECTRON_ASSIGN_OR_RETURN(const auto hits, index_.Search(rows_[next_], options_));
      cpu += CpuSeconds() - before - clock_seconds_;
      found += CountFound(hits, next_);
    }
    const auto searches = static_cast<double>(count);
    fmt::print(
        "{{\"searches\": {}, \"cpu_us_per_query\": {:.2f}, \"queries_per_second\": {:.1f}, "
        "\"recall\": {:.5f}}}\n",
        count, cpu * 1e6 / searches, searches / SecondsSince(start),
        static_cast<double>(found) / (searches * kNeighbours));
    std::fflush(stdout);
    return OkStatus();
  }

 private:
  size_t CountFound(const std::vector<index::Hit>& hits, size_t query) const {
    const auto neighbours = truth_.Row(query).first(kNeighbours);
    return static_cast<size_t>(std::count_if(hits.begin(), hits.end(), [&](const index::Hit& hit) {
      const auto label = static_cast<int32_t>(hit.label);
      return std::find(neighbours.begin(), neighbours.end(), label) != neighbours.end();
    }));
  }

  // What one look at the processor's clock takes.
  static double MeasureClock() {
    constexpr int kLooks = 10'000;
    const double start = CpuSeconds();
    for (int i = 1; i < kLooks; ++i) CpuSeconds();
    return (CpuSeconds() - start) / kLooks;
  }

  const double clock_seconds_ = MeasureClock();
  const IdFile& truth_;
  const index::VectorIndex& index_;
  const index::SearchOptions options_;
  std::vector<std::vector<float>> rows_;
  size_t next_ = 0;
};

Status Run(char** argv) {
  VECTRON_ASSIGN_OR_RETURN(const VectorFile base, VectorFile::Open(argv[1]));
  VECTRON_ASSIGN_OR_RETURN(const VectorFile queries, VectorFile::Open(argv[2]));
  VECTRON_ASSIGN_OR_RETURN(const IdFile truth, IdFile::Open(argv[3]));
  if (queries.count() == 0 || queries.dimension() != base.dimension() ||
      truth.count() < queries.count() || truth.width() < kNeighbours) {
    return InvalidArgument("the files do not belong together");
  }
  index::IndexOptions options;
  options.dimension = base.dimension();
  options.m = static_cast<uint32_t>(std::atoi(argv[5]));
  options.ef_construction = static_cast<uint32_t>(std::atoi(argv[6]));
  VECTRON_ASSIGN_OR_RETURN(const auto index, index::VectorIndex::Create(options));
  const TimePoint start = SystemClock().Now();
  VECTRON_RETURN_IF_ERROR(Build(base, index.get()));
  fmt::print("{{\"points\": {}, \"build_seconds\": {:.3f}}}\n", base.count(), SecondsSince(start));
  std::fflush(stdout);
  Searches searches(queries, truth, static_cast<uint32_t>(std::atoi(argv[4])), *index);
  size_t count = 0;
  uint64_t pause_us = 0;
  while (std::cin >> count >> pause_us) {
    if (count == 0 || count > kSearchCountMax || pause_us > kPauseMaxUs) {
      return InvalidArgument("a line is not COUNT PAUSE_US");
    }
    VECTRON_RETURN_IF_ERROR(searches.Pass(count, std::chrono::microseconds(pause_us)));
  }
  return OkStatus();
}

int Main(int argc, char** argv) {
  if (argc != 7) {
    fmt::print(stderr, "usage: inprocess_search BASE QUERIES GROUNDTRUTH EF M EF_CONSTRUCTION\n");
    return 2;
  }
  const Status status = Run(argv);
  if (!status.ok()) {
    fmt::print(stderr, "inprocess_search: {}\n", std::string(status.message()));
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace vectron

int main(int argc, char** argv) { return vectron::Main(argc, argv); }
