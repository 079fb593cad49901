// Measures the vector index while it changes: the latency of searches during
// ingestion, what a second searching thread brings, and what replacing all vectors
// again and again does to recall, memory and the time of a replacement.

#include <fmt/format.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/clock.h"
#include "common/texmex.h"
#include "common/thread.h"
#include "index/kernels/kernels.h"
#include "index/vector_index.h"

namespace vectron::bench {
namespace {

struct Arguments {
  std::string base;
  std::string queries;
  size_t count = 100'000;
  size_t query_limit = 500;
  size_t rounds = 10;
  int threads = 1;
  uint32_t ef = 64;
};

// The apply thread links too while more than this waits, so that the tail stays
// short, as a database that refuses writes then does.
constexpr uint64_t kPendingMax = 2000;

double Seconds(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

double WallSeconds() {
  return std::chrono::duration<double>(SystemClock().Now().time_since_epoch()).count();
}

class Churn {
 public:
  Churn(const Arguments& arguments, const VectorFile& base, const VectorFile& queries)
      : arguments_(arguments), base_(base), row_(base.dimension()) {
    index::IndexOptions options;
    options.dimension = static_cast<uint32_t>(base.dimension());
    auto index = index::VectorIndex::Create(options);
    VECTRON_CHECK_OK(index);
    index_ = std::move(index).value();
    queries_.resize(std::min(arguments.query_limit, queries.count()),
                    std::vector<float>(queries.dimension()));
    for (size_t i = 0; i < queries_.size(); ++i) queries.CopyRow(i, queries_[i]);
  }

  void Run() {
    StartBackground();
    Ingest();
    Settle();
    Report("built", 0);
    SearchOnThreads();
    for (size_t round = 1; round <= arguments_.rounds; ++round) {
      const double start = Seconds(CLOCK_PROCESS_CPUTIME_ID);
      for (size_t i = 0; i < arguments_.count; ++i) {
        const index::Slot old = slots_[i];
        slots_[i] = Put(round * arguments_.count + i);
        index_->Delete(old);
        KeepTailShort();
      }
      Settle();
      const double seconds = Seconds(CLOCK_PROCESS_CPUTIME_ID) - start;
      Report(fmt::format("round {}", round), seconds / static_cast<double>(arguments_.count));
    }
    stop_ = true;
    for (auto& thread : background_) thread->Join();
  }

 private:
  index::Slot Put(size_t row) {
    base_.CopyRow(row % base_.count(), row_);
    const auto slot = index_->Put(row_, row);
    VECTRON_CHECK_OK(slot);
    return *slot;
  }

  void KeepTailShort() {
    while (index_->Stats().pending_count > kPendingMax) index_->LinkPending(64);
  }

  bool Work() { return index_->LinkPending(64) > 0 || index_->Consolidate(); }

  void StartBackground() {
    for (int i = 0; i < arguments_.threads; ++i) {
      background_.push_back(std::make_unique<Thread>("link", ThreadPriority::kNormal, [this] {
        while (!stop_) Work();
      }));
    }
  }

  void Settle() {
    while (Work() || index_->Stats().pending_count > 0) {
    }
  }

  // At full speed, beside a thread that searches without a pause.
  void Ingest() {
    std::atomic<bool> done = false;
    std::vector<double> wall;
    std::vector<double> cpu;
    Thread searcher("search", ThreadPriority::kNormal, [&] {
      for (size_t i = 0; !done; ++i) {
        const double wall_start = WallSeconds();
        const double cpu_start = Seconds(CLOCK_THREAD_CPUTIME_ID);
        Search(i, false);
        cpu.push_back(Seconds(CLOCK_THREAD_CPUTIME_ID) - cpu_start);
        wall.push_back(WallSeconds() - wall_start);
      }
    });
    for (size_t i = 0; i < arguments_.count; ++i) {
      slots_.push_back(Put(i));
      KeepTailShort();
    }
    done = true;
    searcher.Join();
    const auto percentile = [](std::vector<double>* seconds, double part) {
      std::sort(seconds->begin(), seconds->end());
      return (*seconds)[static_cast<size_t>(part * static_cast<double>(seconds->size() - 1))] * 1e6;
    };
    fmt::print(
        "searches during ingestion: {}; us of processor: p50 {:.0f}, p99 {:.0f}; "
        "on the wall: p50 {:.0f}, p99 {:.0f}\n",
        cpu.size(), percentile(&cpu, 0.5), percentile(&cpu, 0.99), percentile(&wall, 0.5),
        percentile(&wall, 0.99));
  }

  std::vector<index::Hit> Search(size_t i, bool exact) const {
    index::SearchOptions options;
    options.ef = arguments_.ef;
    options.exact = exact;
    auto hits = index_->Search(queries_[i % queries_.size()], options);
    VECTRON_CHECK_OK(hits);
    return std::move(hits).value();
  }

  void SearchOnThreads() {
    const auto qps = [&](size_t thread_count) {
      constexpr size_t kSearches = 20'000;
      const double start = WallSeconds();
      std::vector<std::unique_ptr<Thread>> threads;
      for (size_t t = 0; t < thread_count; ++t) {
        threads.push_back(std::make_unique<Thread>("search", ThreadPriority::kNormal, [&] {
          for (size_t i = 0; i < kSearches; ++i) Search(i, false);
        }));
      }
      for (auto& thread : threads) thread->Join();
      return static_cast<double>(thread_count * kSearches) / (WallSeconds() - start);
    };
    stop_ = true;
    for (auto& thread : background_) thread->Join();
    background_.clear();
    const double one = qps(1);
    const double two = qps(2);
    fmt::print("QPS on one thread {:.0f}, on two {:.0f}: {:.2f}x\n", one, two, two / one);
    stop_ = false;
    StartBackground();
  }

  void Report(const std::string& name, double seconds_per_replacement) const {
    size_t found = 0;
    size_t wanted = 0;
    for (size_t i = 0; i < queries_.size(); ++i) {
      const auto truth = Search(i, true);
      const auto hits = Search(i, false);
      wanted += truth.size();
      for (const index::Hit& hit : truth) {
        found += std::find(hits.begin(), hits.end(), hit) != hits.end();
      }
    }
    const index::IndexStats stats = index_->Stats();
    fmt::print("{:<9} recall@10 {:.4f}, {:.1f} MB, {} slots, {} dead, {:.0f} us a replacement\n",
               name, static_cast<double>(found) / static_cast<double>(wanted),
               static_cast<double>(stats.memory_bytes) * 1e-6, stats.slot_count,
               stats.deleted_count, seconds_per_replacement * 1e6);
    std::fflush(stdout);
  }

  const Arguments& arguments_;
  const VectorFile& base_;
  std::vector<float> row_;
  std::vector<std::vector<float>> queries_;
  std::unique_ptr<index::VectorIndex> index_;
  std::vector<index::Slot> slots_;
  std::atomic<bool> stop_ = false;
  std::vector<std::unique_ptr<Thread>> background_;
};

Status Run(const Arguments& arguments) {
  VECTRON_ASSIGN_OR_RETURN(const VectorFile base, VectorFile::Open(arguments.base));
  VECTRON_ASSIGN_OR_RETURN(const VectorFile queries, VectorFile::Open(arguments.queries));
  if (base.dimension() != queries.dimension() || base.count() == 0 || queries.count() == 0) {
    return InvalidArgument("no vectors, no queries, or of different dimensions");
  }
  fmt::print("{} vectors, {} dimensions, ef {}; kernels: {}\n", arguments.count, base.dimension(),
             arguments.ef, index::BestKernels().name);
  Churn(arguments, base, queries).Run();
  return OkStatus();
}

}  // namespace
}  // namespace vectron::bench

int main(int argc, char** argv) {
  vectron::bench::Arguments arguments;
  CLI::App app{"The vector index while it changes: recall, memory and time under replacement"};
  app.add_option("--base", arguments.base, "vectors: .fvecs or .bvecs; taken in turn")->required();
  app.add_option("--queries", arguments.queries, "queries: .fvecs or .bvecs")->required();
  app.add_option("--count", arguments.count, "vectors in the index")->check(CLI::PositiveNumber);
  app.add_option("--query-limit", arguments.query_limit, "use the first so many queries");
  app.add_option("--rounds", arguments.rounds, "how often everything is replaced");
  app.add_option("--threads", arguments.threads,
                 "that link and consolidate, beside the one that "
                 "puts")
      ->check(CLI::Range(0, 1024));
  app.add_option("--ef", arguments.ef, "beam");
  CLI11_PARSE(app, argc, argv);
  const vectron::Status status = vectron::bench::Run(arguments);
  if (status.ok()) return 0;
  fmt::print(stderr, "churn_bench: {}\n", std::string(status.message()));
  return 1;
}
