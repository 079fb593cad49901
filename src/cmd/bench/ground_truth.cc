#include "cmd/bench/ground_truth.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "cmd/bench/dot_block.h"
#include "cmd/bench/progress.h"
#include "common/check.h"
#include "common/thread.h"

namespace vectron::cmd {
namespace {

// A block of queries stays in the second-level cache at a thousand dimensions.
constexpr size_t kQueryBlock = 128;
constexpr size_t kBaseBlock = 64;

struct Candidate {
  double distance = 0;
  int32_t row = 0;

  bool operator<(const Candidate& other) const {
    return distance != other.distance ? distance < other.distance : row < other.row;
  }
};

double Square(std::span<const float> row) {
  // Several sums, so that the additions need not wait for each other.
  double lanes[8] = {};
  size_t i = 0;
  for (; i + 8 <= row.size(); i += 8) {
    for (size_t lane = 0; lane < 8; ++lane) {
      lanes[lane] += static_cast<double>(row[i + lane]) * row[i + lane];
    }
  }
  double sum = 0;
  for (; i < row.size(); ++i) sum += static_cast<double>(row[i]) * row[i];
  for (double lane : lanes) sum += lane;
  return sum;
}

// Rows as floats, with their squared norms.
struct Block {
  std::vector<float> rows;
  std::vector<double> squares;
  size_t count = 0;

  void Read(const VectorFile& file, size_t first, size_t count_max) {
    const size_t dimension = file.dimension();
    count = std::min(count_max, file.count() - first);
    rows.resize(count * dimension);
    squares.resize(count);
    for (size_t i = 0; i < count; ++i) {
      const std::span<float> row(rows.data() + i * dimension, dimension);
      file.CopyRow(first + i, row);
      squares[i] = Square(row);
    }
  }
};

// Smaller is nearer, from an inner product and squared norms.
double DistanceOf(Metric metric, double dot, double query_square, double base_square) {
  switch (metric) {
    case Metric::kL2:
      return query_square + base_square - 2 * dot;
    case Metric::kCosine:
      return base_square == 0 ? 0 : -dot / std::sqrt(base_square);
    case Metric::kDot:
      return -dot;
    case Metric::kManhattan:
      break;  // takes no inner product; bench_command.cc refuses it
  }
  return 0;
}

double ExactDistance(Metric metric, std::span<const float> query, std::span<const float> base) {
  double squared = 0;
  double dot = 0;
  double base_square = 0;
  for (size_t i = 0; i < query.size(); ++i) {
    const double difference = static_cast<double>(query[i]) - base[i];
    squared += difference * difference;
    dot += static_cast<double>(query[i]) * base[i];
    base_square += static_cast<double>(base[i]) * base[i];
  }
  return metric == Metric::kL2 ? squared : DistanceOf(metric, dot, 0, base_square);
}

// Finds the neighbours of one block of queries after another. Distances are first
// computed in single precision, which may put close ones in the wrong order; the
// best k and a margin are then measured again in double. A query whose margin is
// too thin for single precision's error bound is scanned in double altogether.
class BlockSearcher {
 public:
  BlockSearcher(const VectorFile& base, const VectorFile& queries, Metric metric, size_t k)
      : base_(base),
        queries_(queries),
        metric_(metric),
        k_(std::min(k, base.count())),
        kept_(std::min(base.count(), k_ + std::max<size_t>(32, k_ / 2))),
        dots_(kQueryBlock * kBaseBlock),
        row_(base.dimension()) {}

  void Search(size_t first_query, std::vector<std::vector<int32_t>>* results) {
    query_block_.Read(queries_, first_query, kQueryBlock);
    candidates_.assign(query_block_.count, {});
    double base_square_max = 0;
    for (size_t first = 0; first < base_.count(); first += kBaseBlock) {
      base_block_.Read(base_, first, kBaseBlock);
      for (double square : base_block_.squares) base_square_max = std::max(base_square_max, square);
      Offer(first);
    }
    for (size_t i = 0; i < query_block_.count; ++i) {
      (*results)[first_query + i] = Settle(i, base_square_max);
    }
  }

 private:
  void Offer(size_t first_base) {
    DotBlock(query_block_.rows.data(), query_block_.count, base_block_.rows.data(),
             base_block_.count, base_.dimension(), dots_.data());
    for (size_t i = 0; i < query_block_.count; ++i) {
      auto& heap = candidates_[i];
      for (size_t j = 0; j < base_block_.count; ++j) {
        const Candidate candidate{DistanceOf(metric_, dots_[i * base_block_.count + j],
                                             query_block_.squares[i], base_block_.squares[j]),
                                  static_cast<int32_t>(first_base + j)};
        if (heap.size() < kept_) {
          heap.push_back(candidate);
          std::push_heap(heap.begin(), heap.end());
        } else if (candidate < heap.front()) {
          std::pop_heap(heap.begin(), heap.end());
          heap.back() = candidate;
          std::push_heap(heap.begin(), heap.end());
        }
      }
    }
  }

  std::span<const float> Query(size_t i) const {
    return {query_block_.rows.data() + i * base_.dimension(), base_.dimension()};
  }

  std::vector<int32_t> Settle(size_t i, double base_square_max) {
    auto& candidates = candidates_[i];
    const double worst_kept = candidates.front().distance;
    for (Candidate& candidate : candidates) {
      base_.CopyRow(static_cast<size_t>(candidate.row), row_);
      candidate.distance = ExactDistance(metric_, Query(i), row_);
    }
    std::sort(candidates.begin(), candidates.end());
    if (kept_ < base_.count()) {
      // A left-out row is at least `worst_kept` away in single precision. For l2
      // the two ways to compute a distance agree up to the same error.
      const double error = ErrorBound(query_block_.squares[i], base_square_max);
      if (candidates[k_ - 1].distance + error >= worst_kept) ScanAll(i);
    }
    std::vector<int32_t> rows;
    for (size_t j = 0; j < k_; ++j) rows.push_back(candidates[j].row);
    return rows;
  }

  // Of a distance computed from a single-precision inner product summed in 8
  // lanes: Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1.
  double ErrorBound(double query_square, double base_square_max) const {
    const double unit = 0x1.0p-24;
    const double terms = static_cast<double>(base_.dimension()) / 8 + 12;
    const double dot_error = terms * unit * std::sqrt(query_square * base_square_max);
    switch (metric_) {
      case Metric::kL2:
        return 2 * dot_error + 1e-12 * (query_square + base_square_max);
      case Metric::kCosine:
        return terms * unit * std::sqrt(query_square);
      case Metric::kDot:
        return dot_error;
      case Metric::kManhattan:
        break;
    }
    return 0;
  }

  void ScanAll(size_t i) {
    auto& candidates = candidates_[i];
    candidates.clear();
    for (size_t row = 0; row < base_.count(); ++row) {
      base_.CopyRow(row, row_);
      candidates.push_back({ExactDistance(metric_, Query(i), row_), static_cast<int32_t>(row)});
    }
    std::partial_sort(candidates.begin(), candidates.begin() + static_cast<ptrdiff_t>(k_),
                      candidates.end());
  }

  const VectorFile& base_;
  const VectorFile& queries_;
  const Metric metric_;
  const size_t k_;
  const size_t kept_;  // candidates measured again in double
  Block query_block_;
  Block base_block_;
  std::vector<float> dots_;
  std::vector<float> row_;
  std::vector<std::vector<Candidate>> candidates_;  // by query of the block: max-heaps
};

}  // namespace

StatusOr<std::vector<std::vector<int32_t>>> ExactNeighbours(const VectorFile& base,
                                                            const VectorFile& queries,
                                                            const GroundTruthOptions& options) {
  if (base.dimension() != queries.dimension()) {
    return InvalidArgument(fmt::format("{} has dimension {}, {} has {}", options.base_path,
                                       base.dimension(), options.query_path, queries.dimension()));
  }
  if (options.k < 1 || options.k > base.count()) {
    return InvalidArgument(fmt::format("k is {}, it must be 1 to {}, the number of rows in {}",
                                       options.k, base.count(), options.base_path));
  }
  if (base.count() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return InvalidArgument(
        fmt::format("{} has more rows than .ivecs can number", options.base_path));
  }
  std::vector<std::vector<int32_t>> results(queries.count());
  std::atomic<size_t> next{0};
  std::atomic<size_t> done{0};
  Progress progress("exact neighbours", "queries", queries.count(), options.quiet);
  std::vector<std::unique_ptr<Thread>> threads;
  const int thread_count = options.thread_count > 0 ? options.thread_count : UsableCores();
  for (int t = 0; t < thread_count; ++t) {
    threads.push_back(
        std::make_unique<Thread>("exact-" + std::to_string(t), ThreadPriority::kNormal, [&] {
          BlockSearcher searcher(base, queries, options.metric, options.k);
          for (;;) {
            const size_t first = next.fetch_add(kQueryBlock);
            if (first >= queries.count()) return;
            searcher.Search(first, &results);
            const size_t count = std::min(kQueryBlock, queries.count() - first);
            progress.Update(done.fetch_add(count) + count);
          }
        }));
  }
  for (auto& thread : threads) thread->Join();
  return results;
}

Status ComputeGroundTruth(const GroundTruthOptions& options) {
  VECTRON_ASSIGN_OR_RETURN(const VectorFile base, VectorFile::Open(options.base_path));
  VECTRON_ASSIGN_OR_RETURN(const VectorFile queries, VectorFile::Open(options.query_path));
  VECTRON_ASSIGN_OR_RETURN(const auto neighbours, ExactNeighbours(base, queries, options));
  VECTRON_ASSIGN_OR_RETURN(const auto writer, IdFileWriter::Create(options.out_path));
  for (const auto& row : neighbours) VECTRON_RETURN_IF_ERROR(writer->Append(row));
  return writer->Close();
}

}  // namespace vectron::cmd
