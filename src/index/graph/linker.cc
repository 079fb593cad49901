#include "index/graph/linker.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/random.h"

namespace vectron::index {
namespace {

// 1.1 on distances, of which l2 and cosine have the squares. For the dot product, which is no
// distance, the plain heuristic.
float AlphaOf(Metric metric) {
  if (metric == Metric::kDot) return 1.0f;
  return metric == Metric::kManhattan ? 1.1f : 1.21f;
}

// A node with fewer links after a repair is linked anew.
constexpr size_t kLinksMin = 4;
// So many of the nodes that a doomed neighbour led to are looked at to take its place, from both
// ends of its list in turn: first stand the nearest to it, so that a long link is followed by a
// long one; last those of its farther neighbours, and those that linked themselves to it since,
// without which clusters fall apart.
constexpr size_t kSuccessors = 12;
// A full list that one more would join is chosen anew, and this part of it is left empty: the next
// ones join without that. Of what it then has no room for, so many are looked at for whether they
// lead to where nothing else does.
constexpr size_t kRoomPart = 8;
constexpr size_t kApartMax = 8;

}  // namespace

Linker::Linker(Graph& graph, const SlotBitmap& live, const SlotBitmap& doomed,
               const std::atomic<uint64_t>& slot_count, Metric metric, uint32_t ef_construction)
    : graph_(graph),
      live_(live),
      doomed_(doomed),
      slot_count_(slot_count),
      metric_(metric),
      alpha_(AlphaOf(metric)),
      ef_construction_(ef_construction) {}

void Linker::Link(const Scorer& scorer, Slot slot, LinkScratch* scratch) {
  const int level = graph_.LevelOf(slot);
  scorer.PrepareSlot(slot, &scratch->node);
  for (;;) {
    const Graph::Entry entry = graph_.entry();
    if (entry.slot == kNoSlot) {
      if (graph_.ReplaceEntry(entry, {slot, level})) break;
    } else if (entry.slot != slot && !doomed_.Test(entry.slot)) {
      if (TryLink(scorer, slot, level, entry, scratch)) break;
    } else if (entry.slot == slot) {
      LinkAnywhere(scorer, slot, scratch);
      break;
    } else {
      // The consolidation that doomed it is about to name another.
      sched_yield();
    }
  }
}

bool Linker::TryLink(const Scorer& scorer, Slot slot, int level, Graph::Entry entry,
                     LinkScratch* scratch) {
  // Loaded after the entry, which is thus below.
  const Walker walker(graph_, scorer, slot_count_.load(std::memory_order_acquire));
  if (!FindNeighbours(walker, scorer, slot, level, entry, scratch)) {
    const Scorer floats = scorer.OnFloats();
    floats.PrepareSlot(slot, &scratch->node);
    const bool linked = TryLink(floats, slot, level, entry, scratch);
    if (!linked) scorer.PrepareSlot(slot, &scratch->node);  // for the next attempt
    return linked;
  }
  if (scratch->lists[0].empty()) return false;
  // All own lists before the first link to the node, and those from the bottom up:
  // whoever comes upon it on a layer finds a way on.
  const int top = std::min(level, entry.level);
  for (int l = 0; l <= top; ++l) {
    Graph::NodeLock lock(graph_, slot);
    graph_.SetLinks(slot, l, scratch->lists[static_cast<size_t>(l)]);
  }
  for (const Slot neighbour : scratch->lists[0]) PrefetchLinks(graph_, neighbour);
  for (int l = 0; l <= top; ++l) {
    for (const Slot neighbour : scratch->lists[static_cast<size_t>(l)]) {
      AddLink(scorer, neighbour, l, slot, scratch);
    }
  }
  for (Graph::Entry now = graph_.entry(); level > now.level || now.slot == kNoSlot;
       now = graph_.entry()) {
    if (graph_.ReplaceEntry(now, {slot, level})) break;
  }
  return true;
}

// Searches layer `level` from `start` for scratch->candidates. Where most of what is
// near is dead, the beam fills with nodes that are no lasting neighbours: it is
// widened until enough of it lives or all was seen.
void Linker::FindCandidates(const Walker& walker, Candidate start, Slot slot, int level,
                            LinkScratch* scratch) {
  constexpr size_t kWiden = 4;
  constexpr size_t kWidestFactor = kWiden * kWiden;
  const CandidatePool& pool = scratch->walk.pool;
  std::vector<Candidate>& candidates = scratch->candidates;
  for (size_t ef = ef_construction_;; ef *= kWiden) {
    walker.Walk(scratch->node, start, level, ef, WalkLimit{}, &scratch->walk);
    candidates.clear();
    size_t live_count = 0;
    for (size_t i = 0; i < pool.size(); ++i) {
      if (pool[i].slot == slot || doomed_.Test(pool[i].slot)) continue;
      candidates.push_back(pool[i]);
      live_count += live_.Test(pool[i].slot);
    }
    const bool is_all = !pool.full();
    if (is_all || live_count >= graph_.m() || ef >= ef_construction_ * kWidestFactor) return;
  }
}

// Fills scratch->lists for the layers that both the node and the entry are on.
bool Linker::FindNeighbours(const Walker& walker, const Scorer& scorer, Slot slot, int level,
                            Graph::Entry entry, LinkScratch* scratch) {
  Candidate start = walker.Descend(scratch->node, entry, level, &scratch->walk);
  std::vector<Candidate>& candidates = scratch->candidates;
  for (int l = std::min(level, entry.level); l >= 0; --l) {
    FindCandidates(walker, start, slot, l, scratch);
    if (l == 0 && Misleads(scorer, slot, scratch)) return false;
    PreferLive(&candidates);
    if (candidates.empty() && !doomed_.Test(entry.slot)) {
      candidates.push_back({walker.Distance(scratch->node, entry.slot), entry.slot});
    }
    if (scratch->walk.pool.size() > 0) start = scratch->walk.pool[0];
    Select(scorer, graph_.m(), scratch);
    scratch->lists[static_cast<size_t>(l)] = scratch->selected;
  }
  return true;
}

void Linker::AddLink(const Scorer& scorer, Slot from, int level, Slot to, LinkScratch* scratch) {
  Graph::NodeLock lock(graph_, from);
  if (doomed_.Test(from)) return;
  std::vector<Slot>& neighbours = scratch->neighbours;
  graph_.CopyLinks(from, level, &neighbours);
  if (std::find(neighbours.begin(), neighbours.end(), to) != neighbours.end()) return;
  if (neighbours.size() < graph_.degree_max(level)) {
    graph_.Links(from, level)[neighbours.size()].store(to, std::memory_order_release);
    return;
  }
  neighbours.push_back(to);
  std::erase_if(neighbours, [&](Slot slot) { return doomed_.Test(slot); });
  Measure(scorer, from, scratch);
  PreferLive(&scratch->candidates);
  const size_t degree_max = graph_.degree_max(level);
  Select(scorer, degree_max - degree_max / kRoomPart, scratch, kApartMax);
  graph_.SetLinks(from, level, scratch->selected);
}

bool Linker::Repair(const Scorer& scorer, Slot slot, LinkScratch* scratch) {
  bool repaired = false;
  for (int level = graph_.LevelOf(slot); level >= 0; --level) {
    if (!RepairLevel(scorer, slot, level, scratch)) continue;
    repaired = true;
    // Hardly anything but doomed nodes around it: they were probably also most of
    // what led to it.
    if (level == 0 && scratch->selected.size() < kLinksMin) Link(scorer, slot, scratch);
  }
  return repaired;
}

bool Linker::RepairLevel(const Scorer& scorer, Slot slot, int level, LinkScratch* scratch) {
  Graph::NodeLock lock(graph_, slot);
  std::vector<Slot>& list = scratch->selected;
  graph_.CopyLinks(slot, level, &list);
  const auto doomed = [&](Slot other) { return doomed_.Test(other); };
  if (std::none_of(list.begin(), list.end(), doomed)) return false;

  const uint64_t slot_count = slot_count_.load(std::memory_order_acquire);
  VisitedSet& seen = scratch->walk.visited;
  seen.Reset(slot_count);
  seen.Insert(slot);
  for (const Slot neighbour : list) {
    if (level == 0 && doomed(neighbour)) PrefetchLinks(graph_, neighbour);
    if (neighbour < slot_count) seen.Insert(neighbour);
  }
  std::vector<Slot>& neighbours = scratch->neighbours;
  std::vector<Slot>& around = scratch->lists[0];
  neighbours.clear();
  for (const Slot neighbour : list) {
    if (!doomed(neighbour)) continue;
    graph_.CopyLinks(neighbour, level, &around);
    size_t successors = 0;
    for (size_t i = 0; i < around.size() && successors < kSuccessors; ++i) {
      const Slot other = around[i % 2 == 0 ? i / 2 : around.size() - 1 - i / 2];
      if (other >= slot_count || doomed(other)) continue;
      ++successors;
      if (seen.Insert(other)) neighbours.push_back(other);
    }
  }
  std::erase_if(list, doomed);
  Measure(scorer, slot, scratch);
  std::vector<Candidate>& candidates = scratch->candidates;
  if (!candidates.empty() && candidates.front().distance <= TwinMax(scorer)) {
    // How many equals of the node it keeps is decided over all of its list.
    neighbours.insert(neighbours.end(), list.begin(), list.end());
    Measure(scorer, slot, scratch);
    PreferLive(&candidates);
    Select(scorer, graph_.degree_max(level), scratch);
  } else {
    PreferLive(&candidates);
    Extend(scorer, graph_.degree_max(level), scratch);
  }
  graph_.SetLinks(slot, level, list);
  return true;
}

// The entry point lost all its neighbours: from it, nothing could be found. Any
// linked nodes will do, the nearest of a few of them.
void Linker::LinkAnywhere(const Scorer& scorer, Slot slot, LinkScratch* scratch) {
  const uint64_t slot_count = slot_count_.load(std::memory_order_acquire);
  scratch->neighbours.clear();
  for (uint64_t i = 1; i < slot_count && scratch->neighbours.size() < 2 * graph_.m(); ++i) {
    const auto other = static_cast<Slot>((slot + i) % slot_count);
    if (!(graph_.State(other) & Graph::kLinked) || doomed_.Test(other)) continue;
    scratch->neighbours.push_back(other);
  }
  Measure(scorer, slot, scratch);
  PreferLive(&scratch->candidates);
  Select(scorer, graph_.m(), scratch);
  scratch->lists[0] = scratch->selected;
  {
    Graph::NodeLock lock(graph_, slot);
    graph_.SetLinks(slot, 0, scratch->lists[0]);
  }
  for (const Slot neighbour : scratch->lists[0]) AddLink(scorer, neighbour, 0, slot, scratch);
}

// scratch->neighbours with their distances to `origin`, nearest first, into
// scratch->candidates.
void Linker::Measure(const Scorer& scorer, Slot origin, LinkScratch* scratch) {
  const std::vector<Slot>& neighbours = scratch->neighbours;
  scratch->rows.clear();
  for (const Slot slot : neighbours) {
    scratch->rows.push_back(scorer.Row(slot));
    scorer.Prefetch(scratch->rows.back());
  }
  scratch->distances.resize(neighbours.size());
  scorer.PrepareSlot(origin, &scratch->origin);
  scorer.Distances(scratch->origin, scratch->rows.data(), neighbours.size(),
                   scratch->distances.data());
  scratch->candidates.clear();
  for (size_t i = 0; i < neighbours.size(); ++i) {
    scratch->candidates.push_back({scratch->distances[i], neighbours[i]});
  }
  std::sort(scratch->candidates.begin(), scratch->candidates.end(), Nearer);
}

// Leaves the dead out if there are enough living ones. Where there are not, the dead
// are the way to the rest of the graph, and consolidation will put what they
// lead to in their place: they come last, and take no living neighbour's place.
void Linker::PreferLive(std::vector<Candidate>* candidates) const {
  const auto first_dead =
      std::stable_partition(candidates->begin(), candidates->end(),
                            [&](const Candidate& candidate) { return live_.Test(candidate.slot); });
  const auto live_count = static_cast<size_t>(first_dead - candidates->begin());
  if (live_count >= graph_.m()) candidates->erase(first_dead, candidates->end());
}

// What noise is measured by when lists are chosen: for distances their size, as their ratios
// decide; for inner products, which have no zero, how they differ.
double Linker::Unit(const float* exact, size_t count) const {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += exact[i];
  const double mean = sum / static_cast<double>(count);
  if (metric_ != Metric::kDot) return mean;
  double differences = 0;
  for (size_t i = 0; i < count; ++i) differences += std::abs(exact[i] - mean);
  return differences / static_cast<double>(count);
}

// Compares the nearest of scratch->candidates, found for `slot`, with their exact distances.
bool Linker::Misleads(const Scorer& scorer, Slot slot, LinkScratch* scratch) const {
  constexpr size_t kCompared = 16;
  constexpr double kLossMax = 0.02;
  constexpr double kNoiseMax = 0.25;
  if (scorer.exact() || scorer.LosslessRows()) return false;
  const std::vector<Candidate>& candidates = scratch->candidates;
  const size_t count = std::min(candidates.size(), kCompared);
  if (count == 0) return false;
  const Scorer floats = scorer.OnFloats();
  std::array<const std::byte*, kCompared> rows;
  std::array<float, kCompared> coded;
  std::array<float, kCompared> exact;
  for (size_t i = 0; i < count; ++i) {
    rows[i] = floats.Row(candidates[i].slot);
    floats.Prefetch(rows[i]);
    coded[i] = candidates[i].distance;
  }
  floats.PrepareSlot(slot, &scratch->origin);
  floats.Distances(scratch->origin, rows.data(), count, exact.data());
  const CodeNoise noise(exact.data(), coded.data(), count, scorer.scale());
  bool misled = noise.Loss(exact.data(), count, scratch->walk.pool.bound()) > kLossMax;
  misled = misled || noise.deviation() > kNoiseMax * Unit(exact.data(), count);
  scorer.Report(misled);
  return misled;
}

// Up to this distance, a vector is equal to the node's; minus infinity where distances do not tell.
float Linker::TwinMax(const Scorer& scorer) const {
  if (metric_ == Metric::kDot) return -std::numeric_limits<float>::infinity();
  return metric_ == Metric::kCosine && scorer.exact() ? 1e-6f : 0.0f;
}

// Vectors equal to the node's come first, all at distance 0, and none of them is nearer to
// another than to the node: a node of a large clump would link to nothing else, and no walk
// left the clump or found into it. So some random ones are kept, the others dropped.
void Linker::ThinTwins(const Scorer& scorer, size_t twins_max,
                       std::vector<Candidate>* candidates) const {
  const float twin_max = TwinMax(scorer);
  size_t count = 0;
  while (count < candidates->size() && (*candidates)[count].distance <= twin_max) ++count;
  if (count <= twins_max) return;
  Random random(candidates->front().slot * uint64_t{0x9e3779b9} + candidates->back().slot);
  for (size_t i = 0; i < twins_max; ++i) {
    std::swap((*candidates)[i], (*candidates)[i + random.Below(count - i)]);
  }
  candidates->erase(candidates->begin() + static_cast<ptrdiff_t>(twins_max),
                    candidates->begin() + static_cast<ptrdiff_t>(count));
}

// Up to `count_max` of scratch->candidates into scratch->selected; earlier ones go first.
void Linker::Select(const Scorer& scorer, size_t count_max, LinkScratch* scratch,
                    size_t apart_max) const {
  scratch->selected.clear();
  ThinTwins(scorer, count_max / 2, &scratch->candidates);
  Extend(scorer, count_max, scratch, apart_max);
}

// The same, beside what scratch->selected has already. Of what is left over when that is full, the
// first `apart_max` are looked at: one that is nearer to the node than to any selected one leads to
// where none of these does, and takes the place of the farthest that does not.
void Linker::Extend(const Scorer& scorer, size_t count_max, LinkScratch* scratch,
                    size_t apart_max) const {
  constexpr size_t kBatch = 8;
  std::vector<Slot>& selected = scratch->selected;
  std::vector<const std::byte*>& rows = scratch->rows;
  std::vector<uint8_t>& crowded = scratch->crowded;
  rows.clear();
  for (const Slot slot : selected) {
    rows.push_back(scorer.Row(slot));
    scorer.Prefetch(rows.back());
  }
  crowded.assign(selected.size(), 0);
  float distances[kBatch];
  for (const Candidate& candidate : scratch->candidates) {
    const bool is_left_over = selected.size() == count_max;
    if (is_left_over && apart_max-- == 0) break;
    const float alpha = is_left_over ? 1.0f : alpha_;
    bool occluded = false;
    bool is_crowded = false;
    if (!selected.empty()) scorer.PrepareSlot(candidate.slot, &scratch->pivot);
    for (size_t first = 0; first < selected.size() && !occluded; first += kBatch) {
      const size_t count = std::min(kBatch, selected.size() - first);
      scorer.Distances(scratch->pivot, rows.data() + first, count, distances);
      for (size_t i = 0; i < count; ++i) {
        occluded = occluded || alpha * distances[i] < candidate.distance;
        is_crowded = is_crowded || distances[i] < candidate.distance;
      }
    }
    if (occluded) continue;
    if (is_left_over) {
      const auto last = std::find(crowded.rbegin(), crowded.rend(), 1);
      if (last == crowded.rend()) break;
      const auto place = crowded.rend() - last - 1;
      crowded.erase(crowded.begin() + place);
      selected.erase(selected.begin() + place);
      rows.erase(rows.begin() + place);
    }
    selected.push_back(candidate.slot);
    rows.push_back(scorer.Row(candidate.slot));
    crowded.push_back(is_crowded ? 1 : 0);
  }
}

}  // namespace vectron::index
