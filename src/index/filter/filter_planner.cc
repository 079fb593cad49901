#include "index/filter/filter_planner.h"

#include <algorithm>

namespace vectron::index {
namespace {

// Measuring a row in the order of slots (prefetched): what it costs besides its cache
// lines; a line; and so much more for a line as the rows outgrow the caches.
constexpr double kScanRow = 3;
constexpr double kScanLine = 5;
constexpr double kColdLine = 7;
constexpr double kColdBytes = 8e6;
// Measuring a row as links name it, with what follows from its distance.
constexpr double kWalkRow = 56;
constexpr double kWalkLine = 10;
// Asking the filter about a node; and about all slots in order.
constexpr double kAsk = 4;
constexpr double kAskAll = 4;
// Coming to a node: its links. TwoHop comes to those between as well.
constexpr double kExpand = 150;
// New neighbours of an expanded node, as a part of its links.
constexpr double kNewPart = 0.35;
// For one neighbour that passes and is new, as many pass that are not.
constexpr double kMetPart = 2;
// Less than so many matches within two hops, and the matches hang together no more.
constexpr double kTwoHopMatchesMin = 16;

}  // namespace

double CostOf(FilterPlan plan, const FilterTask& task) {
  const double matches = static_cast<double>(std::max<uint64_t>(task.matches, 1));
  const double linked = static_cast<double>(std::max<uint64_t>(task.linked, 1));
  const double selectivity = std::min(matches / linked, 1.0);
  const double ef = static_cast<double>(task.ef);
  const double degree = task.degree;
  const double lines = static_cast<double>(task.row_bytes) / 64;
  const double new_rows = kNewPart * degree * (kWalkRow + lines * kWalkLine);
  switch (plan) {
    case FilterPlan::kScan: {
      const double bytes = matches * static_cast<double>(task.row_bytes);
      const double line = kScanLine + kColdLine * std::min(bytes / kColdBytes, 1.0);
      return (task.listed ? 0 : linked * kAskAll) + matches * (kScanRow + lines * line);
    }
    case FilterPlan::kTwoHop: {
      const double asked = std::min(kMetPart * degree / selectivity, degree * degree);
      return ef * (2 * kExpand + asked * kAsk + new_rows);
    }
    case FilterPlan::kCollect:
    case FilterPlan::kAuto:
      break;
  }
  return std::min(ef / selectivity, linked) * (kExpand + new_rows);
}

FilterPlan ChoosePlan(const FilterTask& task) {
  const double within_two_hops = static_cast<double>(task.matches) * task.degree * task.degree /
                                 static_cast<double>(std::max<uint64_t>(task.linked, 1));
  FilterPlan best = FilterPlan::kScan;
  for (const FilterPlan plan : {FilterPlan::kTwoHop, FilterPlan::kCollect}) {
    if (plan == FilterPlan::kTwoHop && within_two_hops < kTwoHopMatchesMin) continue;
    if (CostOf(plan, task) < CostOf(best, task)) best = plan;
  }
  return best;
}

}  // namespace vectron::index
