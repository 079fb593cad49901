// Measures the vector index while it changes: what searches find during ingestion and how long
// they take, and what replacing all vectors again and again does to recall, memory and
// the time of a replacement. Says of each whether it is within its limit; the exit code is 2 if
// one is not.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/clock.h"
#include "common/texmex.h"
#include "common/thread.h"
#include "data_set.h"
#include "hnswlib_index.h"
#include "index/kernels/kernels.h"
#include "index/vector_index.h"
#include "search_beside.h"
#include "stopwatch.h"

namespace vectron::bench {
namespace {

struct Arguments {
  std::string base;
  std::string queries;
  size_t count = 100'000;
  size_t query_limit = 10'000;  // of 1,000, a loss is uncertain by two thirds of what is allowed
  size_t rounds = 10;
  int threads = 1;
  uint32_t ef = 64;
  double replacement_us_max = 250;
};

// The apply thread links too while more than this waits, so that the tail stays
// short, as a database that refuses writes then does.
constexpr uint64_t kPendingMax = 2000;
// Of who finds nothing to do.
constexpr Duration kPause = std::chrono::microseconds(200);
constexpr int kIdleLooks = 100;

// Limits; see Churn::Run.
constexpr double kRecallLossMax = 0.003;
constexpr double kRecallLossWhileIngestingMax = 0.005;
constexpr double kMemoryFactorMax = 1.3;
// A machine may be half as fast as another: of hnswlib's time for an update.
constexpr double kReplacementFactorMax = 0.25;

// Updates of hnswlib's that are timed: each takes about a millisecond.
constexpr size_t kTheirUpdates = 5'000;

struct State {
  double recall = 0;
  uint64_t memory_bytes = 0;
  std::vector<double> recalls;  // of each query
};

struct Loss {
  double mean = 0;
  double error = 0;  // of the mean: one standard deviation
};

// Of what `before` found, over the queries.
Loss LossOf(const State& before, const State& after) {
  const auto count = static_cast<double>(before.recalls.size());
  Loss loss{before.recall - after.recall};
  double squares = 0;
  for (size_t i = 0; i < before.recalls.size(); ++i) {
    const double off = before.recalls[i] - after.recalls[i] - loss.mean;
    squares += off * off;
  }
  loss.error = std::sqrt(squares / std::max(1.0, count - 1) / count);
  return loss;
}

class Churn {
 public:
  Churn(const Arguments& arguments, const VectorFile& base, const VectorFile& queries)
      : arguments_(arguments), base_(base), row_(base.dimension()) {
    index_ = MakeIndex();
    queries_.resize(std::min(arguments.query_limit, queries.count()),
                    std::vector<float>(queries.dimension()));
    for (size_t i = 0; i < queries_.size(); ++i) queries.CopyRow(i, queries_[i]);
  }

  // True if everything is within its limits.
  bool Run() {
    StartBackground();
    const double recall_while_ingesting = Ingest();
    Settle();
    const State built = Report("built", *index_, 0);
    uint64_t memory_bytes = built.memory_bytes;
    Loss lost;
    double slowest = 0;
    for (size_t round = 1; round <= arguments_.rounds; ++round) {
      const double start = Seconds(Watch::kProcess);
      ReplaceAll(round);
      Settle();
      const double seconds =
          (Seconds(Watch::kProcess) - start) / static_cast<double>(arguments_.count);
      slowest = std::max(slowest, seconds);
      const State state = Report(fmt::format("round {}", round), *index_, seconds);
      memory_bytes = std::max(memory_bytes, state.memory_bytes);
      // Other vectors have another recall: what was lost shows beside an index of the same.
      if (round != 1 && round != arguments_.rounds) continue;
      const Loss now = LossOf(BuildAnew(round), state);
      fmt::print("lost       {:.4f}, give or take {:.4f}\n", now.mean, now.error);
      if (round == 1 || now.mean > lost.mean) lost = now;
    }
    ReplaceBesideSearches();
    StopBackground();
    const double theirs = UpdateTheirs();

    fmt::print("\n");
    bool good = Within(fmt::format("recall lost, +-{:.4f}", lost.error), lost.mean, kRecallLossMax);
    good &= Within("recall lost while ingesting", built.recall - recall_while_ingesting,
                   kRecallLossWhileIngestingMax);
    good &= Within("memory, times what was built",
                   static_cast<double>(memory_bytes) / static_cast<double>(built.memory_bytes),
                   kMemoryFactorMax);
    good &= Within("us of processor a replacement", slowest * 1e6, arguments_.replacement_us_max);
    return Within("a replacement, times hnswlib's", slowest / theirs, kReplacementFactorMax) &&
           good;
  }

 private:
  static bool Within(const std::string& what, double value, double limit) {
    const bool good = value <= limit;
    fmt::print("{:<30} {:>9.4f}  at most {:<7g} {}\n", what, value, limit, good ? "ok" : "FAILED");
    return good;
  }

  std::unique_ptr<index::VectorIndex> MakeIndex() const {
    index::IndexOptions options;
    options.dimension = static_cast<uint32_t>(base_.dimension());
    auto index = index::VectorIndex::Create(options);
    VECTRON_CHECK_OK(index);
    return std::move(index).value();
  }

  index::Slot Put(size_t row, index::VectorIndex* index) {
    base_.CopyRow(row % base_.count(), row_);
    const auto slot = index->Put(row_, row);
    VECTRON_CHECK_OK(slot);
    return *slot;
  }

  // An index of what is there after `round`.
  State BuildAnew(size_t round) {
    const auto index = MakeIndex();
    const double start = Seconds(Watch::kProcess);
    for (size_t i = 0; i < arguments_.count; ++i) Put(round * arguments_.count + i, index.get());
    RunInParallel("build", arguments_.threads + 1, [&](int) {
      while (index->LinkPending(64) > 0) {
      }
    });
    const double seconds = Seconds(Watch::kProcess) - start;
    return Report("built anew", *index, seconds / static_cast<double>(arguments_.count));
  }

  // Seconds of processor that hnswlib, with as many of the same vectors, takes to put another in
  // the place of one, which repairs what led to it.
  double UpdateTheirs() {
    const index::IndexOptions options;
    HnswlibIndex theirs(options.metric, base_.dimension(), arguments_.count, options.m,
                        options.ef_construction);
    const auto put = [&](size_t row, size_t label) {
      base_.CopyRow(row % base_.count(), row_);
      theirs.Add(row_.data(), static_cast<uint32_t>(label));
    };
    const double start = Seconds(Watch::kProcess);
    for (size_t i = 0; i < arguments_.count; ++i) put(i, i);
    const double built = Seconds(Watch::kProcess);
    const size_t updates = std::min(arguments_.count, kTheirUpdates);
    for (size_t i = 0; i < updates; ++i) put(arguments_.count + i, i);
    const double update = (Seconds(Watch::kProcess) - built) / static_cast<double>(updates);
    fmt::print("hnswlib    {:.0f} us a vector to build, {:.0f} us an update\n",
               (built - start) / static_cast<double>(arguments_.count) * 1e6, update * 1e6);
    return update;
  }

  void KeepTailShort() {
    while (index_->Stats().pending_count > kPendingMax) index_->LinkPending(64);
  }

  bool Work() { return index_->LinkPending(64) > 0 || index_->Consolidate(); }

  void StartBackground() {
    for (int i = 0; i < arguments_.threads; ++i) {
      background_.push_back(std::make_unique<Thread>("link", ThreadPriority::kNormal, [this] {
        while (!stop_) {
          // Waiting must not count as work.
          if (!Work()) SleepUntil(SystemClock().Now() + kPause);
        }
      }));
    }
  }

  void StopBackground() {
    stop_ = true;
    for (auto& thread : background_) thread->Join();
    background_.clear();
  }

  // Until nobody has had anything to do for a while: a look may also find another thread at it.
  void Settle() {
    for (int idle = 0; idle < kIdleLooks;) {
      const bool worked = Work();
      idle = worked || index_->Stats().pending_count > 0 ? 0 : idle + 1;
      if (!worked) SleepUntil(SystemClock().Now() + kPause);
    }
  }

  // At full speed, beside searches. Returns what part of the neighbours these found.
  double Ingest() {
    SearchBeside searches(*index_, queries_, arguments_.ef);
    for (size_t i = 0; i < arguments_.count; ++i) {
      slots_.push_back(Put(i, index_.get()));
      KeepTailShort();
    }
    searches.Stop();
    fmt::print("during ingestion: {}\n", searches.Summary());
    return searches.recall();
  }

  void ReplaceAll(size_t round) {
    for (size_t i = 0; i < arguments_.count; ++i) {
      const index::Slot old = slots_[i];
      slots_[i] = Put(round * arguments_.count + i, index_.get());
      index_->Delete(old);
      KeepTailShort();
    }
  }

  void ReplaceBesideSearches() {
    SearchBeside searches(*index_, queries_, arguments_.ef);
    ReplaceAll(arguments_.rounds + 1);
    searches.Stop();
    fmt::print("during replacement: {}\n", searches.Summary());
  }

  std::vector<index::Hit> Search(const index::VectorIndex& index, size_t i, bool exact) const {
    index::SearchOptions options;
    options.ef = arguments_.ef;
    options.exact = exact;
    auto hits = index.Search(queries_[i], options);
    VECTRON_CHECK_OK(hits);
    return std::move(hits).value();
  }

  double RecallOf(const index::VectorIndex& index, size_t query) const {
    const auto truth = Search(index, query, true);
    const auto hits = Search(index, query, false);
    const auto found = std::count_if(truth.begin(), truth.end(), [&](const index::Hit& hit) {
      return std::find(hits.begin(), hits.end(), hit) != hits.end();
    });
    return static_cast<double>(found) / static_cast<double>(truth.size());
  }

  State Report(const std::string& name, const index::VectorIndex& index,
               double seconds_per_vector) const {
    const index::IndexStats stats = index.Stats();
    State state{0, stats.memory_bytes, std::vector<double>(queries_.size())};
    std::atomic<size_t> next{0};
    RunInParallel("recall", arguments_.threads + 1, [&](int) {
      for (size_t i = next++; i < queries_.size(); i = next++) {
        state.recalls[i] = RecallOf(index, i);
      }
    });
    state.recall = std::accumulate(state.recalls.begin(), state.recalls.end(), 0.0) /
                   static_cast<double>(queries_.size());
    fmt::print("{:<10} recall@10 {:.4f}, {:.1f} MB, {} slots, {} dead, {:.0f} us a vector\n", name,
               state.recall, static_cast<double>(stats.memory_bytes) * 1e-6, stats.slot_count,
               stats.deleted_count, seconds_per_vector * 1e6);
    std::fflush(stdout);
    return state;
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

StatusOr<bool> Run(const Arguments& arguments) {
  VECTRON_ASSIGN_OR_RETURN(const VectorFile base, VectorFile::Open(arguments.base));
  VECTRON_ASSIGN_OR_RETURN(const VectorFile queries, VectorFile::Open(arguments.queries));
  if (base.dimension() != queries.dimension()) {
    return InvalidArgument("base and queries have different dimensions");
  }
  VECTRON_RETURN_IF_ERROR(CheckRows(base, arguments.base, base.count(), Metric::kL2));
  VECTRON_RETURN_IF_ERROR(
      CheckRows(queries, arguments.queries, arguments.query_limit, Metric::kL2));
  fmt::print("{} vectors, {} dimensions, ef {}; isa: {}\n", arguments.count, base.dimension(),
             arguments.ef, index::BestKernels().name);
  return Churn(arguments, base, queries).Run();
}

}  // namespace
}  // namespace vectron::bench

int main(int argc, char** argv) {
  vectron::bench::Arguments arguments;
  CLI::App app{"The vector index while it changes: recall, memory and time under replacement"};
  app.add_option("--base", arguments.base, "vectors: .fvecs or .bvecs; taken in turn")->required();
  app.add_option("--queries", arguments.queries, "queries: .fvecs or .bvecs")->required();
  app.add_option("--count", arguments.count, "vectors in the index")->check(CLI::PositiveNumber);
  app.add_option("--query-limit", arguments.query_limit, "use the first so many queries")
      ->check(CLI::PositiveNumber);
  app.add_option("--rounds", arguments.rounds, "how often everything is replaced")
      ->check(CLI::PositiveNumber);
  app.add_option("--threads", arguments.threads,
                 "that link and consolidate, beside the one that puts")
      ->check(CLI::Range(0, 1024));
  app.add_option("--ef", arguments.ef, "beam");
  app.add_option("--replacement-us-max", arguments.replacement_us_max,
                 "processor time that a replacement may take, on average of a round");
  CLI11_PARSE(app, argc, argv);
  const auto good = vectron::bench::Run(arguments);
  if (good.ok()) return *good ? 0 : 2;
  fmt::print(stderr, "churn_bench: {}\n", std::string(good.status().message()));
  return 1;
}
