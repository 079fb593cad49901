#pragma once

#include <cstddef>
#include <cstdint>

#include "index/filter/plan_costs.h"
#include "index/filter/slot_filter.h"
#include "index/vector_index.h"

namespace vectron::index {

// What a filtered search is about.
struct FilterTask {
  uint64_t matches = 0;    // that pass, about
  uint64_t linked = 1;     // nodes of the graph
  size_t ef = 1;           // matches that are to be found, more or less
  uint32_t degree = 32;    // links a node
  size_t row_bytes = 128;  // of what distances are measured on
  bool listed = false;     // the matches can be gone through without asking all others
  // What part of the neighbours of matches passes, where that was sampled: more than of all, if
  // matches lie together.
  double around = 0;
};

// True if the matches are so few that a scan costs least whatever the machine: any walk would
// measure as many rows, and those scattered.
bool IsSmall(const FilterTask& task);

// True if a walk finds the matches if they lie together, as they are not too few for that.
bool IsWalkableTogether(const FilterTask& task);

// The plan that costs least, of those that find the matches. Only the proportions of costs matter:
// see docs/adr/0012-the-planner-measures.md.
FilterPlan ChoosePlan(const FilterTask& task, const PlanCosts& costs);

// Fewer nodes around the query do not tell whether most of what is there passes.
inline constexpr size_t kNodesToTell = 4;
// How many of them to look at first: where most passes, Collect costs a small part of the plan,
// whatever passes elsewhere. The more the plan costs, the more. 0 if it cannot pay.
size_t NodesToLookAt(FilterPlan plan, const FilterTask& task, const PlanCosts& costs);

// FilterTask's `around`, of some matches. Takes the time of a small part of asking about all slots;
// 0 if that finds too few matches to tell, or if some of them have none around.
double PartAround(const Graph& graph, SlotFilter& filter, uint64_t slot_count);

// What the plan would cost, in nanoseconds.
double CostOf(FilterPlan plan, const FilterTask& task, const PlanCosts& costs);

}  // namespace vectron::index
