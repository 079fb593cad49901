#include "index/filter/filtered_walk.h"

#include <algorithm>

namespace vectron::index {
namespace {

constexpr uint32_t kNodesPerLook = 64;
// After the first nodes, and again after each so many more, Collect looks back at what part passed
// of what it came by.
constexpr size_t kNodesOfMoreProof = 24;
constexpr size_t kPassedPartMin = 5;  // a fifth
// Fewer matches within two hops are hardly any.
constexpr size_t kAroundMin = 4;
// Matches from everywhere to begin with.
constexpr size_t kSeeds = 16;
constexpr size_t kSeedsFar = 256;
static_assert(kSeedsFar < WalkScratch::kDegreeMax);

// Flood: where it begins, and the part of all slots that may be asked about to find that.
constexpr size_t kSprings = 16;
constexpr uint64_t kSpringPart = 32;
// It is told by how many it came by whether those are all, ...
constexpr double kFloodedMin = 0.994;
constexpr double kFloodedMax = 1.1;
// ... or so many of them that the rest are worth a search on the border, if that reads no more
// links than this part of the slots.
constexpr double kFloodedMost = 0.97;
constexpr uint64_t kBorderPart = 3;
// Places of the table of what was asked, for each node that is gone through: a table's beam has 64.
constexpr size_t kNodesPerBeam = 4;
constexpr size_t kAskedBeamMax = 16'384;
constexpr size_t kBatch = 32;  // whose rows are fetched together

}  // namespace

// Distances of the scratch's rows.
void FilteredWalk::Measure(const Prepared& query, size_t count) {
  scorer_.Distances(query, scratch_.rows.data(), count, scratch_.distances.data());
}

void FilteredWalk::Gather(Slot slot, size_t* count) {
  scratch_.slots[*count] = slot;
  scratch_.rows[*count] = scorer_.Row(slot);
  scorer_.Prefetch(scratch_.rows[*count]);
  ++*count;
}

WalkEnd FilteredWalk::Collect(const Prepared& query, Candidate start, const CollectBounds& bounds,
                              CandidatePool* found) {
  CandidatePool& pool = scratch_.pool;
  VisitedSet& visited = scratch_.visited;
  visited.Reset(slot_limit_);
  pool.Reset(bounds.beam_max);
  visited.Insert(start.slot);
  pool.Insert(start.distance, start.slot);
  if (filter_.Passes(start.slot)) found->Insert(start.distance, start.slot);

  size_t offered = 0;
  size_t passed = 0;
  size_t next_proof = bounds.nodes_min;
  bool ends = false;  // nothing more is expected
  Slot node = kNoSlot;
  for (uint32_t expanded = 0; pool.ExpandNext(&node); ++expanded) {
    if (expanded % kNodesPerLook == 0 && limit_.Passed()) return WalkEnd::kGivenUp;
    const float distance_left = pool[pool.cursor()].distance;
    if (distance_left > found->bound()) break;
    if (ends && expanded >= found->capacity()) {
      return (*found)[bounds.enough - 1].distance < distance_left ? WalkEnd::kFinished
                                                                  : WalkEnd::kSparse;
    }
    if (expanded == next_proof) {
      ends = !found->full() && passed * kPassedPartMin < offered;
      if (ends && found->size() < bounds.enough) return WalkEnd::kSparse;
      offered = passed = 0;
      next_proof += kNodesOfMoreProof;
    }
    size_t count = 0;
    graph_.ForEachLink(node, 0, [&](Slot neighbour) {
      if (neighbour < slot_limit_ && visited.Insert(neighbour)) Gather(neighbour, &count);
    });
    PrefetchNextLinks(graph_, pool);
    Measure(query, count);
    for (size_t i = 0; i < count; ++i) {
      const float distance = scratch_.distances[i];
      if (!(distance < found->bound())) continue;
      const size_t place = pool.Insert(distance, scratch_.slots[i]);
      if (place <= pool.cursor() + 1) PrefetchLinks(graph_, scratch_.slots[i]);
      ++offered;
      if (!filter_.Passes(scratch_.slots[i])) continue;
      ++passed;
      found->Insert(distance, scratch_.slots[i]);
    }
  }
  return WalkEnd::kFinished;
}

void FilteredWalk::MeasureIntoPool(const Prepared& query, size_t count) {
  CandidatePool& pool = scratch_.pool;
  Measure(query, count);
  for (size_t i = 0; i < count; ++i) {
    const size_t place = pool.Insert(scratch_.distances[i], scratch_.slots[i]);
    if (place <= pool.cursor() + 1) PrefetchLinks(graph_, scratch_.slots[i]);
  }
}

WalkEnd FilteredWalk::TwoHop(const Prepared& query, Slot start, size_t ef, size_t ef_far) {
  CandidatePool& pool = scratch_.pool;
  VisitedSet& visited = scratch_.visited;
  visited.Reset(slot_limit_);
  size_t count = GatherTwoHops(start);
  const bool far = count < kAroundMin;
  pool.Reset(far ? ef_far : ef);
  MeasureIntoPool(query, count);

  count = 0;
  if (filter_.Passes(start) && visited.Insert(start)) Gather(start, &count);
  filter_.Sample(slot_limit_, far ? kSeedsFar : kSeeds, &seeds_);
  for (const Slot seed : seeds_) {
    if (graph_.State(seed) & Graph::kLinked && visited.Insert(seed)) Gather(seed, &count);
  }
  MeasureIntoPool(query, count);
  return ExpandTwoHops(query);
}

WalkEnd FilteredWalk::Flood(const Prepared& query, uint64_t matches, size_t ef,
                            const std::vector<Slot>& springs) {
  scratch_.visited.Reset(slot_limit_);
  scratch_.filter.Reset(std::min<size_t>(matches / kNodesPerBeam, kAskedBeamMax));
  flooded_.clear();
  const double expected = static_cast<double>(matches);
  const auto flooded_max = static_cast<size_t>(expected * kFloodedMax);
  const auto flooded = [&] { return static_cast<double>(flooded_.size()); };
  if (!FloodFrom(springs, flooded_max)) return WalkEnd::kGivenUp;
  if (flooded() < kFloodedMin * expected) {
    filter_.Sample(slot_limit_, kSprings, slot_limit_ / kSpringPart, &seeds_);
    if (!FloodFrom(seeds_, flooded_max)) return WalkEnd::kGivenUp;
  }
  if (flooded() >= kFloodedMost * expected && flooded() < kFloodedMin * expected) {
    const size_t first = flooded_.size();
    if (!AskBeyondBorder() || !FloodOn(first, flooded_max)) return WalkEnd::kGivenUp;
  }
  if (flooded() < kFloodedMin * expected || flooded_.size() > flooded_max) return WalkEnd::kSparse;

  scratch_.pool.Reset(ef);
  for (size_t first = 0; first < flooded_.size(); first += kBatch) {
    const size_t end = std::min(first + kBatch, flooded_.size());
    size_t gathered = 0;
    for (size_t i = first; i < end; ++i) Gather(flooded_[i], &gathered);
    MeasureIntoPool(query, gathered);
  }
  return ExpandTwoHops(query);
}

// Adds to flooded_ what passes among the links of `node`.
void FilteredWalk::FloodOver(Slot node) {
  graph_.ForEachLink(node, 0, [&](Slot neighbour) {
    // Most were asked about already, and do not pass.
    if (neighbour >= slot_limit_ || !scratch_.filter.Insert(neighbour)) return;
    if (scratch_.visited.Contains(neighbour) || !filter_.Passes(neighbour)) return;
    scratch_.visited.Insert(neighbour);
    flooded_.push_back(neighbour);
    PrefetchLinks(graph_, neighbour);
  });
}

bool FilteredWalk::FloodFrom(const std::vector<Slot>& springs, size_t flooded_max) {
  const size_t first = flooded_.size();
  for (const Slot slot : springs) {
    if (graph_.State(slot) & Graph::kLinked && scratch_.visited.Insert(slot)) {
      flooded_.push_back(slot);
    }
  }
  return FloodOn(first, flooded_max);
}

// From flooded_[first] on, until nothing new comes or there are more than `flooded_max`.
bool FilteredWalk::FloodOn(size_t first, size_t flooded_max) {
  for (size_t next = first; next < flooded_.size() && flooded_.size() <= flooded_max; ++next) {
    if (next % kNodesPerLook == 0 && limit_.Passed()) return false;
    FloodOver(flooded_[next]);
  }
  return true;
}

// Matches that no other match links to lie on the border of where they are: they are sought among
// the links of all that matches link to, if these are not too many.
bool FilteredWalk::AskBeyondBorder() {
  std::vector<Slot>& border = seeds_;
  border.clear();
  for (const Slot node : flooded_) {
    graph_.ForEachLink(node, 0, [&](Slot neighbour) {
      if (neighbour < slot_limit_ && scratch_.visited.Insert(neighbour)) {
        border.push_back(neighbour);
      }
    });
  }
  if (border.size() * graph_.degree_max(0) > slot_limit_ / kBorderPart) return true;
  scratch_.filter.Reset(std::min(border.size() / kNodesPerBeam, kAskedBeamMax));
  for (size_t i = 0; i < border.size(); ++i) {
    if (i % kNodesPerLook == 0 && limit_.Passed()) return false;
    if (i + kBatch < border.size()) PrefetchLinks(graph_, border[i + kBatch]);
    FloodOver(border[i]);
  }
  return true;
}

// What is yet to be expanded of the pool.
WalkEnd FilteredWalk::ExpandTwoHops(const Prepared& query) {
  Slot node = kNoSlot;
  for (uint32_t expanded = 1; scratch_.pool.ExpandNext(&node); ++expanded) {
    if (expanded % kNodesPerLook == 0 && limit_.Passed()) return WalkEnd::kGivenUp;
    const size_t count = GatherTwoHops(node);
    PrefetchNextLinks(graph_, scratch_.pool);
    MeasureIntoPool(query, count);
  }
  return WalkEnd::kFinished;
}

// A node that does not pass counts as met once its links were followed; one that is
// two hops away and does not pass is not remembered: it may yet be one hop from
// another node.
size_t FilteredWalk::GatherTwoHops(Slot node) {
  VisitedSet& visited = scratch_.visited;
  const uint32_t degree = graph_.degree_max(0);
  size_t count = 0;
  size_t between_count = 0;
  graph_.ForEachLink(node, 0, [&](Slot neighbour) {
    if (neighbour >= slot_limit_ || visited.Contains(neighbour)) return;
    if (filter_.Passes(neighbour)) {
      visited.Insert(neighbour);
      Gather(neighbour, &count);
    } else {
      scratch_.between[between_count++] = neighbour;
      PrefetchLinks(graph_, neighbour);
    }
  });
  for (size_t b = 0; b < between_count && count < degree; ++b) {
    visited.Insert(scratch_.between[b]);
    const std::atomic<Slot>* links = graph_.BaseLinks(scratch_.between[b]);
    for (uint32_t i = 0; i < degree && count < degree; ++i) {
      const Slot neighbour = links[i].load(std::memory_order_acquire);
      if (neighbour == kNoSlot) break;
      if (neighbour >= slot_limit_ || visited.Contains(neighbour)) continue;
      if (!filter_.Passes(neighbour)) continue;
      visited.Insert(neighbour);
      Gather(neighbour, &count);
    }
  }
  return count;
}

}  // namespace vectron::index
