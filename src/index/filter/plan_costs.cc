#include "index/filter/plan_costs.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

#include "common/random.h"

namespace vectron::index {
namespace {

// With fewer nodes every plan takes microseconds.
constexpr uint64_t kLinkedMin = 4096;

constexpr size_t kRowsPerBatch = 32;
constexpr size_t kRowsPerChunk = 256;  // timed as one
constexpr size_t kWalks = 7;
constexpr size_t kWalkBeam = 128;
constexpr size_t kAskers = 32;

// Repeats `piece`, which returns how much it did, and gives the nanoseconds for one of
// that: the median, as the thread may lose its processor meanwhile. 0 if it cannot be told.
template <typename Piece>
double MedianCost(const Clock& clock, size_t repeats, Piece&& piece) {
  std::vector<double> costs;
  for (size_t i = 0; i < repeats; ++i) {
    const TimePoint start = clock.Now();
    const size_t done = piece(i);
    const Duration time = clock.Now() - start;
    if (done > 0) costs.push_back(static_cast<double>(time.count()) / static_cast<double>(done));
  }
  if (costs.empty()) return 0;
  const auto middle = costs.begin() + static_cast<ptrdiff_t>(costs.size() / 2);
  std::nth_element(costs.begin(), middle, costs.end());
  return *middle;
}

// Living slots of everywhere, ascending, not at equal distances.
std::vector<Slot> SpreadSlots(const CostSample& sample, uint64_t bytes, Random* random) {
  std::vector<Slot> slots;
  const uint64_t count = std::max<uint64_t>(bytes / sample.scorer.row_bytes(), 1);
  const uint64_t step = std::max<uint64_t>(sample.slot_count / count, 1);
  for (uint64_t slot = 0; slot + step <= sample.slot_count; slot += step) {
    const uint64_t some = slot + random->Below(step);
    if (sample.live.Test(some)) slots.push_back(static_cast<Slot>(some));
  }
  return slots;
}

// Living nodes of the graph, at random.
std::vector<Slot> RandomNodes(const CostSample& sample, size_t count) {
  constexpr size_t kTriesFactor = 8;
  std::vector<Slot> nodes;
  Random random(sample.slot_count);
  for (size_t i = 0; i < count * kTriesFactor && nodes.size() < count; ++i) {
    const auto slot = static_cast<Slot>(random.Below(sample.slot_count));
    if (sample.live.Test(slot) && sample.graph.State(slot) & Graph::kLinked) nodes.push_back(slot);
  }
  return nodes;
}

// Measures the rows as a scan does: while some are computed, the next are fetched, and the
// best are kept.
double ScanOnce(const CostSample& sample, const Prepared& query, const std::vector<Slot>& slots,
                CandidatePool* best) {
  constexpr size_t kBest = 64;
  best->Reset(kBest);
  const std::byte* rows[2][kRowsPerBatch];
  float distances[kRowsPerBatch];
  size_t living = 0;
  const size_t chunks = slots.size() / kRowsPerChunk;
  const double cost = MedianCost(sample.clock, chunks, [&](size_t chunk) {
    for (size_t batch = 0; batch * kRowsPerBatch < kRowsPerChunk; ++batch) {
      const Slot* first = &slots[chunk * kRowsPerChunk + batch * kRowsPerBatch];
      for (size_t i = 0; i < kRowsPerBatch; ++i) {
        // A scan asks that of each.
        living += sample.live.Test(first[i]);
        rows[batch % 2][i] = sample.scorer.Row(first[i]);
        sample.scorer.Prefetch(rows[batch % 2][i]);
      }
      if (batch == 0) continue;
      sample.scorer.Distances(query, rows[1 - batch % 2], kRowsPerBatch, distances);
      for (size_t i = 0; i < kRowsPerBatch; ++i) {
        best->InsertUnique(distances[i], (first - kRowsPerBatch)[i]);
      }
    }
    return kRowsPerChunk - kRowsPerBatch;
  });
  best->Insert(0, static_cast<Slot>(living));  // so that it is counted
  return cost;
}

// What was just gone through is near; what was not yet is far.
void MeasureScans(const CostSample& sample, const Prepared& query, CandidatePool* best,
                  PlanCosts* costs) {
  Random random(sample.slot_count);
  for (size_t i = 0; i < PlanCosts::kFootprints.size(); ++i) {
    const auto slots = SpreadSlots(sample, PlanCosts::kFootprints[i], &random);
    ScanOnce(sample, query, slots, best);
    costs->scan_row[i] = ScanOnce(sample, query, slots, best);
  }
  const auto others = SpreadSlots(sample, PlanCosts::kFootprints.back(), &random);
  costs->far_scan_row = std::max(ScanOnce(sample, query, others, best), costs->scan_row.back());
}

double MeasureWalks(const CostSample& sample, const std::vector<Slot>& nodes,
                    WalkScratch* scratch) {
  const Walker walker(sample.graph, sample.scorer, sample.slot_count);
  Prepared query;
  return MedianCost(sample.clock, nodes.size(), [&](size_t i) {
    sample.scorer.PrepareSlot(nodes[i], &query);
    const Candidate start = walker.Descend(query, sample.entry, 0, scratch);
    walker.Walk(query, start, 0, kWalkBeam, WalkLimit{}, scratch);
    return scratch->pool.size();
  });
}

// Looks at the neighbours of each node's neighbours, as a walk in two hops does. `nodes` lie
// as near each other as those that a walk comes by.
double MeasureAsking(const CostSample& sample, const std::vector<Slot>& nodes,
                     WalkScratch* scratch) {
  scratch->visited.Reset(sample.slot_count);
  const uint32_t degree = sample.graph.degree_max(0);
  std::vector<Slot> between;
  size_t passed = 0;
  const double cost = MedianCost(sample.clock, nodes.size(), [&](size_t i) {
    sample.graph.CopyLinks(nodes[i], 0, &between);
    for (const Slot node : between) PrefetchLinks(sample.graph, node);
    size_t asked = 0;
    for (const Slot node : between) {
      if (node >= sample.slot_count) continue;
      const std::atomic<Slot>* links = sample.graph.BaseLinks(node);
      for (uint32_t l = 0; l < degree; ++l) {
        const Slot neighbour = links[l].load(std::memory_order_acquire);
        if (neighbour == kNoSlot) break;
        ++asked;
        if (neighbour >= sample.slot_count || scratch->visited.Contains(neighbour)) continue;
        passed += sample.live.Test(neighbour);
      }
    }
    return asked;
  });
  scratch->slots[0] = static_cast<Slot>(passed);  // so that it is computed
  return cost;
}

}  // namespace

double PlanCosts::ScanRow(double footprint_bytes) const {
  double low_bytes = static_cast<double>(kFootprints[0]);
  double low = scan_row[0];
  for (size_t i = 1; i <= kFootprints.size(); ++i) {
    const bool last = i == kFootprints.size();
    const auto high_bytes = static_cast<double>(last ? kFarFootprint : kFootprints[i]);
    const double high = last ? far_scan_row : scan_row[i];
    if (footprint_bytes < high_bytes) {
      const double part =
          std::max(std::log(footprint_bytes / low_bytes) / std::log(high_bytes / low_bytes), 0.0);
      return low + part * (high - low);
    }
    low_bytes = high_bytes;
    low = high;
  }
  return far_scan_row;
}

PlanCosts AssumedCosts(size_t row_bytes, uint32_t degree) {
  const double lines = static_cast<double>(row_bytes) / 64;
  PlanCosts costs;
  costs.scan_row = {4 + 5 * lines, 4 + 7 * lines};
  costs.far_scan_row = 4 + 14 * lines;
  costs.expand = 150 + 0.35 * degree * (56 + 10 * lines);
  costs.ask = 4;
  return costs;
}

PlanCosts MeasureCosts(const CostSample& sample, WalkScratch* scratch) {
  PlanCosts costs = AssumedCosts(sample.scorer.row_bytes(), sample.graph.degree_max(0));
  const std::vector<Slot> nodes = RandomNodes(sample, kWalks);
  if (nodes.empty()) return costs;
  PlanCosts measured;
  Prepared query;
  sample.scorer.PrepareSlot(nodes[0], &query);
  MeasureScans(sample, query, &scratch->pool, &measured);
  measured.expand = MeasureWalks(sample, nodes, scratch);
  std::vector<Slot> near;
  for (size_t i = 0; i < std::min(scratch->pool.size(), kAskers); ++i) {
    near.push_back(scratch->pool[i].slot);
  }
  measured.ask = MeasureAsking(sample, near, scratch);
  const bool all = measured.far_scan_row > 0 && measured.scan_row[0] > 0 &&
                   measured.scan_row[1] > 0 && measured.expand > 0 && measured.ask > 0;
  return all ? measured : costs;
}

bool KnownCosts::IsKnown(uint64_t linked, uint64_t row_bytes) const {
  const uint64_t known = linked_.load(std::memory_order_relaxed);
  return linked < 2 * known && known < 2 * linked &&
         row_bytes == row_bytes_.load(std::memory_order_relaxed);
}

PlanCosts KnownCosts::For(const CostSample& sample, uint64_t linked, WalkScratch* scratch) const {
  const uint64_t row_bytes = sample.scorer.row_bytes();
  if (linked < kLinkedMin) return AssumedCosts(row_bytes, sample.graph.degree_max(0));
  if (!IsKnown(linked, row_bytes) && measuring_.TryLock()) {
    if (!IsKnown(linked, row_bytes)) {
      const PlanCosts costs = MeasureCosts(sample, scratch);
      for (size_t i = 0; i < scan_row_.size(); ++i) {
        scan_row_[i].store(costs.scan_row[i], std::memory_order_relaxed);
      }
      far_scan_row_.store(costs.far_scan_row, std::memory_order_relaxed);
      expand_.store(costs.expand, std::memory_order_relaxed);
      ask_.store(costs.ask, std::memory_order_relaxed);
      row_bytes_.store(row_bytes, std::memory_order_relaxed);
      linked_.store(linked, std::memory_order_relaxed);
    }
    measuring_.Unlock();
  }
  if (row_bytes_.load(std::memory_order_relaxed) != row_bytes) {
    return AssumedCosts(row_bytes, sample.graph.degree_max(0));
  }
  PlanCosts costs;
  for (size_t i = 0; i < scan_row_.size(); ++i) {
    costs.scan_row[i] = scan_row_[i].load(std::memory_order_relaxed);
  }
  costs.far_scan_row = far_scan_row_.load(std::memory_order_relaxed);
  costs.expand = expand_.load(std::memory_order_relaxed);
  costs.ask = ask_.load(std::memory_order_relaxed);
  return costs;
}

}  // namespace vectron::index
