#include "index/graph/walk.h"

namespace vectron::index {

Candidate Walker::Descend(const Prepared& query, Graph::Entry entry, int level,
                          WalkScratch* scratch) const {
  Candidate best{Distance(query, entry.slot), entry.slot};
  for (int l = entry.level; l > level; --l) {
    for (bool moved = true; moved;) {
      moved = false;
      const std::atomic<Slot>* links = graph_.Links(best.slot, l);
      size_t count = 0;
      for (uint32_t i = 0; i < graph_.degree_max(l); ++i) {
        const Slot neighbour = links[i].load(std::memory_order_acquire);
        if (neighbour == kNoSlot) break;
        if (neighbour >= slot_limit_) continue;
        scratch->slots[count] = neighbour;
        scratch->rows[count] = scorer_.Row(neighbour);
        scorer_.Prefetch(scratch->rows[count]);
        ++count;
      }
      scorer_.Distances(query, scratch->rows.data(), count, scratch->distances.data());
      for (size_t i = 0; i < count; ++i) {
        if (!(scratch->distances[i] < best.distance)) continue;
        best = {scratch->distances[i], scratch->slots[i]};
        moved = true;
      }
    }
  }
  return best;
}

bool Walker::Walk(const Prepared& query, Candidate start, int level, size_t ef,
                  const WalkLimit& limit, WalkScratch* scratch) const {
  if (level == 0) return Run<true>(query, start, level, ef, limit, scratch);
  return Run<false>(query, start, level, ef, limit, scratch);
}

template <bool kBase>
bool Walker::Run(const Prepared& query, Candidate start, int level, size_t ef,
                 const WalkLimit& limit, WalkScratch* scratch) const {
  constexpr uint32_t kNodesPerLook = 64;
  const uint32_t degree_max = graph_.degree_max(level);
  CandidatePool& pool = scratch->pool;
  VisitedSet& visited = scratch->visited;
  visited.Reset(slot_limit_);
  pool.Reset(ef);
  visited.Insert(start.slot);
  pool.Insert(start.distance, start.slot);

  Slot node = kNoSlot;
  for (uint32_t expanded = 1; pool.ExpandNext(&node); ++expanded) {
    if (expanded % kNodesPerLook == 0 && limit.Passed()) return false;
    const std::atomic<Slot>* links = kBase ? graph_.BaseLinks(node) : graph_.Links(node, level);
    size_t count = 0;
    for (uint32_t i = 0; i < degree_max; ++i) {
      const Slot neighbour = links[i].load(std::memory_order_acquire);
      if (neighbour == kNoSlot) break;
      if (neighbour >= slot_limit_ || !visited.Insert(neighbour)) continue;
      const std::byte* row = scorer_.Row(neighbour);
      scorer_.Prefetch(row);
      scratch->slots[count] = neighbour;
      scratch->rows[count] = row;
      ++count;
    }
    scorer_.Distances(query, scratch->rows.data(), count, scratch->distances.data());
    for (size_t i = 0; i < count; ++i) {
      const size_t place = pool.Insert(scratch->distances[i], scratch->slots[i]);
      if (kBase && place <= pool.cursor() + 1) PrefetchLinks(graph_, scratch->slots[i]);
    }
  }
  return true;
}

}  // namespace vectron::index
