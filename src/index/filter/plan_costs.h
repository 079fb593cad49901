#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "common/clock.h"
#include "common/mutex.h"
#include "index/graph/walk.h"
#include "index/memory/slot_bitmap.h"

namespace vectron::index {

// What the pieces of a filtered search cost, in nanoseconds: on a machine's processor and memory,
// for one index's rows and lists.
struct PlanCosts {
  // Rows that are gone through again and again stay in a cache if they are few: the cost of
  // one in the order of slots, for these bytes of rows and for so many that none does.
  static constexpr std::array<uint64_t, 2> kFootprints = {512 << 10, 2 << 20};
  static constexpr uint64_t kFarFootprint = 8 << 20;
  std::array<double, kFootprints.size()> scan_row = {};
  double far_scan_row = 0;
  // A node of a walk through everything, with its new neighbours' distances.
  double expand = 0;
  // Asking about a neighbour of a neighbour.
  double ask = 0;

  // One row of so many bytes of them, between what was measured.
  double ScanRow(double footprint_bytes) const;
};

// As measured on one machine: for rows of this size, and lists of this length.
PlanCosts AssumedCosts(size_t row_bytes, uint32_t degree);

// What is measured on.
struct CostSample {
  const Graph& graph;
  const Scorer& scorer;
  const SlotBitmap& live;
  uint64_t slot_count;
  Graph::Entry entry;
  const Clock& clock;
};

// Measures all of it, within some milliseconds; under a guard. What cannot be measured (a
// clock that stands still) is as assumed.
PlanCosts MeasureCosts(const CostSample& sample, WalkScratch* scratch);

// The costs that an index's searches plan with: measured when there are enough vectors for plans to
// differ, by the search that needs them first, and again when there are twice as many
// or half as many, or rows have become codes. Until then, and for the searches
// beside the one that measures: as known. Thread-safe.
class KnownCosts {
 public:
  // `linked`: nodes in the graph.
  PlanCosts For(const CostSample& sample, uint64_t linked, WalkScratch* scratch) const;

 private:
  bool IsKnown(uint64_t linked, uint64_t row_bytes) const;

  mutable Mutex measuring_;  // held by the one thread that measures
  mutable std::atomic<uint64_t> linked_{0};
  mutable std::atomic<uint64_t> row_bytes_{0};
  // Mixtures of an old and a new measurement do no harm.
  mutable std::array<std::atomic<double>, PlanCosts::kFootprints.size()> scan_row_ = {};
  mutable std::atomic<double> far_scan_row_{0};
  mutable std::atomic<double> expand_{0};
  mutable std::atomic<double> ask_{0};
};

}  // namespace vectron::index
