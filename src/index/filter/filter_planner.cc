#include "index/filter/filter_planner.h"

#include <algorithm>
#include <vector>

namespace vectron::index {
namespace {

// Finding a match of a scan in the bitmap.
constexpr double kScanMatch = 5;
// For one neighbour that passes and is new, as many pass that are not.
constexpr double kMetPart = 2;
// A node of Collect asks about its neighbours and offers them to the best; one of a walk in two
// hops brings more new neighbours, as it looks for them until it has as many as a node
// has links. In expansions of a plain walk.
constexpr double kCollectExpansions = 1.3;
constexpr double kTwoHopExpansions = 2.5;
// Less than so many matches within two hops, and too many of them hang together no more.
constexpr double kTwoHopMatchesMin = 28;

double Selectivity(const FilterTask& task) {
  const double linked = static_cast<double>(std::max<uint64_t>(task.linked, 1));
  return std::min(static_cast<double>(std::max<uint64_t>(task.matches, 1)) / linked, 1.0);
}

// Fewer matches than this part lie in so many places, together as they are, that a walk misses
// some.
constexpr double kTogetherMin = 0.005;

// As a walk through matches meets it.
double SelectivityAround(const FilterTask& task) {
  const double selectivity = Selectivity(task);
  return IsWalkableTogether(task) ? std::max(selectivity, task.around) : selectivity;
}

}  // namespace

double PartAround(const Graph& graph, SlotFilter& filter, uint64_t slot_count) {
  constexpr size_t kMatches = 16;
  constexpr size_t kMatchesMin = 3;
  constexpr uint64_t kPart = 64;      // of all, at the most, is asked about
  constexpr double kPassedMin = 0.2;  // where fewer pass, a walk misses some of what is far
  std::vector<Slot> matches;
  filter.Sample(slot_count, kMatches, slot_count / kPart, &matches);
  if (matches.size() < kMatchesMin) return 0;
  std::vector<Slot> neighbours;
  size_t asked = 0;
  size_t passed = 0;
  for (const Slot match : matches) {
    if (!(graph.State(match) & Graph::kLinked)) continue;
    graph.CopyLinks(match, 0, &neighbours);
    const size_t passed_before = passed;
    for (const Slot neighbour : neighbours) {
      if (neighbour >= slot_count) continue;
      ++asked;
      passed += filter.Passes(neighbour);
    }
    if (passed == passed_before) return 0;  // some lie alone
  }
  const double part = asked > 0 ? static_cast<double>(passed) / static_cast<double>(asked) : 0;
  return part >= kPassedMin ? part : 0;
}

double CostOf(FilterPlan plan, const FilterTask& task, const PlanCosts& costs) {
  const double matches = static_cast<double>(std::max<uint64_t>(task.matches, 1));
  const double linked = static_cast<double>(std::max<uint64_t>(task.linked, 1));
  const double ef = static_cast<double>(task.ef);
  const double degree = task.degree;
  switch (plan) {
    case FilterPlan::kScan: {
      const double row = costs.ScanRow(matches * static_cast<double>(task.row_bytes));
      return (task.listed ? 0 : linked * costs.ask) + matches * (kScanMatch + row);
    }
    case FilterPlan::kTwoHop: {
      const double asked = std::min(kMetPart * degree / SelectivityAround(task), degree * degree);
      return ef * (kTwoHopExpansions * costs.expand + asked * costs.ask);
    }
    case FilterPlan::kCollect:
    case FilterPlan::kAuto:
      break;
  }
  return std::min(ef / Selectivity(task), linked) * kCollectExpansions * costs.expand;
}

bool IsWalkableTogether(const FilterTask& task) { return Selectivity(task) >= kTogetherMin; }

size_t NodesToLookAt(FilterPlan plan, const FilterTask& task, const PlanCosts& costs) {
  constexpr double kPart = 32;           // of the plan's cost
  constexpr double kPlanNodesMin = 160;  // to find where to begin takes about as long as a dozen
  if (plan == FilterPlan::kCollect) return kNodesToTell;
  const double ef = static_cast<double>(task.ef);
  const double nodes = CostOf(plan, task, costs) / (kCollectExpansions * costs.expand);
  if (nodes < std::max(ef, kPlanNodesMin)) return 0;
  if (task.listed) return kNodesToTell;
  return std::max(static_cast<size_t>(std::min(nodes / kPart, ef)), kNodesToTell);
}

bool IsSmall(const FilterTask& task) {
  // Each node of a walk brings some new neighbours, whose distances are measured.
  constexpr uint64_t kRowsPerNode = 8;
  return task.listed && task.matches <= kRowsPerNode * task.ef;
}

FilterPlan ChoosePlan(const FilterTask& task, const PlanCosts& costs) {
  const double within_two_hops = SelectivityAround(task) * task.degree * task.degree;
  FilterPlan best = FilterPlan::kScan;
  for (const FilterPlan plan : {FilterPlan::kTwoHop, FilterPlan::kCollect}) {
    if (plan == FilterPlan::kTwoHop && within_two_hops < kTwoHopMatchesMin) continue;
    if (CostOf(plan, task, costs) < CostOf(best, task, costs)) best = plan;
  }
  return best;
}

}  // namespace vectron::index
