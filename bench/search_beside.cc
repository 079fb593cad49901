#include "search_beside.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "common/check.h"
#include "stopwatch.h"

namespace vectron::bench {
namespace {

// Of so many searches, what one found is looked at: that takes two scans.
constexpr size_t kLookAtPart = 256;

double Percentile(std::vector<double> seconds, double part) {
  if (seconds.empty()) return std::nan("");
  std::sort(seconds.begin(), seconds.end());
  return seconds[static_cast<size_t>(part * static_cast<double>(seconds.size() - 1))];
}

}  // namespace

SearchBeside::SearchBeside(const index::VectorIndex& index,
                           const std::vector<std::vector<float>>& queries, uint32_t ef)
    : index_(index), queries_(queries), ef_(ef), thread_("search", ThreadPriority::kNormal, [this] {
        for (size_t i = 0; !stop_; ++i) {
          if (i % kLookAtPart == 0) LookAtOne(i / kLookAtPart);
          TimeOne(i);
        }
      }) {}

SearchBeside::~SearchBeside() {
  if (!stop_) Stop();
}

void SearchBeside::Stop() {
  stop_ = true;
  thread_.Join();
}

std::vector<index::Hit> SearchBeside::Search(size_t i, bool exact) const {
  index::SearchOptions options;
  options.ef = ef_;
  options.exact = exact;
  auto hits = index_.Search(queries_[i % queries_.size()], options);
  VECTRON_CHECK_OK(hits);
  return std::move(hits).value();
}

void SearchBeside::TimeOne(size_t i) {
  const double wall_start = Seconds(Watch::kWall);
  const double cpu_start = Seconds(Watch::kThread);
  Search(i, false);
  cpu_seconds_.push_back(Seconds(Watch::kThread) - cpu_start);
  wall_seconds_.push_back(Seconds(Watch::kWall) - wall_start);
}

void SearchBeside::LookAtOne(size_t i) {
  const auto before = Search(i, true);
  const auto hits = Search(i, false);
  const auto after = Search(i, true);
  const bool is_short = hits.empty() || hits.size() < after.size();
  const float farthest = is_short ? std::numeric_limits<float>::infinity() : hits.back().distance;
  for (const index::Hit& hit : before) {
    if (std::find(after.begin(), after.end(), hit) == after.end()) continue;
    if (hit.distance > farthest) continue;
    ++wanted_;
    found_ += std::find(hits.begin(), hits.end(), hit) != hits.end();
  }
}

double SearchBeside::recall() const {
  return static_cast<double>(found_) / static_cast<double>(wanted_);
}

std::string SearchBeside::Summary() const {
  const auto microseconds = [](const std::vector<double>& seconds, double part) {
    return Percentile(seconds, part) * 1e6;
  };
  return fmt::format(
      "{} searches; us of processor: p50 {:.0f}, p99 {:.0f}; on the wall: p50 {:.0f}, p99 {:.0f}; "
      "recall@10 {:.4f} of {} neighbours",
      cpu_seconds_.size(), microseconds(cpu_seconds_, 0.5), microseconds(cpu_seconds_, 0.99),
      microseconds(wall_seconds_, 0.5), microseconds(wall_seconds_, 0.99), recall(), wanted_);
}

}  // namespace vectron::bench
