#pragma once

#include <cstddef>
#include <cstdint>

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
};

// The plan that costs least, of those that find the matches.
//
// Costs are in nanoseconds as they were measured on one machine; only
// their proportions matter, which are those of memory to arithmetic. See
// docs/adr/0007-the-index-measured.md.
FilterPlan ChoosePlan(const FilterTask& task);

// What the plan would cost.
double CostOf(FilterPlan plan, const FilterTask& task);

}  // namespace vectron::index
