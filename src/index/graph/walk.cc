#include "index/graph/walk.h"

#include <type_traits>

namespace vectron::index {
namespace {

// Prefetching the rows of a node that may not be expanded after all was measured to pay for
// short rows only.
constexpr size_t kAheadRowBytesMax = 256;

}  // namespace

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

// What a walk has met is kept in the smaller of two: one bit a slot of the index, or a table
// as large as the beam asks for.
bool Walker::Walk(const Prepared& query, Candidate start, int level, size_t ef,
                  const WalkLimit& limit, WalkScratch* scratch) const {
  if (level > 0) return Run<false>(query, start, level, ef, limit, &scratch->visited, scratch);
  if (VisitedFilter::BytesOf(ef) < slot_limit_ / 8) {
    return Run<true>(query, start, level, ef, limit, &scratch->filter, scratch);
  }
  return Run<true>(query, start, level, ef, limit, &scratch->visited, scratch);
}

size_t Walker::Gather(const std::atomic<Slot>* links, uint32_t degree_max, VisitedSet* visited,
                      WalkScratch* scratch) const {
  size_t count = 0;
  for (uint32_t i = 0; i < degree_max; ++i) {
    const Slot neighbour = links[i].load(std::memory_order_acquire);
    if (neighbour == kNoSlot) break;
    if (neighbour >= slot_limit_ || !visited->Insert(neighbour)) continue;
    const std::byte* row = scorer_.Row(neighbour);
    scorer_.Prefetch(row);
    scratch->slots[count] = neighbour;
    scratch->rows[count] = row;
    ++count;
  }
  return count;
}

// Whether a neighbour is new nobody can predict: no branch depends on it.
size_t Walker::Gather(const std::atomic<Slot>* links, uint32_t degree_max, VisitedFilter* visited,
                      WalkScratch* scratch) const {
  size_t count = 0;
  for (uint32_t i = 0; i < degree_max; ++i) {
    const Slot neighbour = links[i].load(std::memory_order_acquire);
    if (neighbour == kNoSlot) break;
    scratch->slots[count] = neighbour;
    const bool in_view = neighbour < slot_limit_;
    count += static_cast<size_t>(in_view & visited->Insert(neighbour));
  }
  for (size_t i = 0; i < count; ++i) {
    const std::byte* row = scorer_.Row(scratch->slots[i]);
    scorer_.Prefetch(row);
    scratch->rows[i] = row;
  }
  return count;
}

// The neighbours' rows of the node that is likely to be expanded next, most of which are yet to
// be measured: they come while those at hand are.
void Walker::PrefetchNextRows(const CandidatePool& pool) const {
  Slot next = kNoSlot;
  pool.PeekNext(1, [&](Slot slot) { next = slot; });
  if (next == kNoSlot) return;
  graph_.ForEachLink(next, 0, [&](Slot neighbour) {
    if (neighbour < slot_limit_) scorer_.Prefetch(scorer_.Row(neighbour));
  });
}

template <bool kBase, typename Visited>
bool Walker::Run(const Prepared& query, Candidate start, int level, size_t ef,
                 const WalkLimit& limit, Visited* visited, WalkScratch* scratch) const {
  constexpr uint32_t kNodesPerLook = 64;
  // A table is chosen where the index is far larger than the caches.
  constexpr bool kIsLarge = std::is_same_v<Visited, VisitedFilter>;
  const bool rows_ahead = kIsLarge && scorer_.row_bytes() <= kAheadRowBytesMax;
  const uint32_t degree_max = graph_.degree_max(level);
  CandidatePool& pool = scratch->pool;
  visited->Reset(kIsLarge ? ef : slot_limit_);
  pool.Reset(ef);
  visited->Insert(start.slot);
  pool.Insert(start.distance, start.slot);

  Slot node = kNoSlot;
  for (uint32_t expanded = 1; pool.ExpandNext(&node); ++expanded) {
    if (expanded % kNodesPerLook == 0 && limit.Passed()) return false;
    const std::atomic<Slot>* links = kBase ? graph_.BaseLinks(node) : graph_.Links(node, level);
    const size_t count = Gather(links, degree_max, visited, scratch);
    if (kBase) PrefetchNextLinks(graph_, pool);
    if (rows_ahead) PrefetchNextRows(pool);
    scorer_.Distances(query, scratch->rows.data(), count, scratch->distances.data());
    for (size_t i = 0; i < count; ++i) {
      const Candidate met{scratch->distances[i], scratch->slots[i]};
      // A filter forgets: what is there may be met again.
      const size_t place = kIsLarge ? pool.InsertUnique(met.distance, met.slot)
                                    : pool.Insert(met.distance, met.slot);
      if (kBase && place <= pool.cursor() + 1) PrefetchLinks(graph_, met.slot);
    }
  }
  return true;
}

}  // namespace vectron::index
