#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "common/clock.h"
#include "index/graph/candidate_pool.h"
#include "index/graph/graph.h"
#include "index/graph/visited_set.h"
#include "index/vector_space.h"

namespace vectron::index {

// Memory that a walk needs, kept by its thread from one to the next.
struct WalkScratch {
  // The most neighbours a node can have: m is at most 256.
  static constexpr size_t kDegreeMax = 512;

  VisitedSet visited;
  CandidatePool pool;
  std::array<Slot, kDegreeMax> slots;
  std::array<const std::byte*, kDegreeMax> rows;
  std::array<float, kDegreeMax> distances;
};

// When to give up. Looked at every 64 nodes.
struct WalkLimit {
  const Clock* clock = nullptr;
  Deadline deadline = kNoDeadline;
  const std::atomic<bool>* cancelled = nullptr;

  bool Cancelled() const {
    return cancelled != nullptr && cancelled->load(std::memory_order_relaxed);
  }
  bool Passed() const {
    return Cancelled() || (deadline != kNoDeadline && clock->Now() >= deadline);
  }
};

// Searches in the graph, as in algorithms 2 and 5 of the HNSW paper, arranged for
// the memory: all unvisited neighbours of a node are gathered and prefetched
// before the first distance is computed.
//
// A view for one operation under one epoch guard; slots from `slot_limit` on
// (put after the operation began) are not followed.
class Walker {
 public:
  Walker(const Graph& graph, const Scorer& scorer, uint64_t slot_limit)
      : graph_(graph), scorer_(scorer), slot_limit_(slot_limit) {}

  // Greedily from `entry` down to the best node found on `level`.
  Candidate Descend(const Prepared& query, Graph::Entry entry, int level,
                    WalkScratch* scratch) const;

  // Best-first search of `level` from `start` with a beam of `ef`; leaves the
  // result in scratch->pool. False if the limit passed.
  bool Walk(const Prepared& query, Candidate start, int level, size_t ef, const WalkLimit& limit,
            WalkScratch* scratch) const;

  // The same on layer 0, and calls meet(candidate) for every node that it
  // measured, `start` included.
  template <typename Meet>
  bool WalkMeeting(const Prepared& query, Candidate start, size_t ef, const WalkLimit& limit,
                   WalkScratch* scratch, Meet&& meet) const;

  float Distance(const Prepared& query, Slot slot) const {
    const std::byte* row = scorer_.Row(slot);
    float distance = 0;
    scorer_.Distances(query, &row, 1, &distance);
    return distance;
  }

 private:
  template <bool kBase, typename Meet>
  bool Run(const Prepared& query, Candidate start, int level, size_t ef, const WalkLimit& limit,
           WalkScratch* scratch, Meet&& meet) const;
  void PrefetchLinks(Slot slot) const {
    const auto* links = reinterpret_cast<const std::byte*>(graph_.BaseLinks(slot));
    __builtin_prefetch(links);
    __builtin_prefetch(links + 64);
  }

  const Graph& graph_;
  const Scorer& scorer_;
  const uint64_t slot_limit_;
};

template <typename Meet>
bool Walker::WalkMeeting(const Prepared& query, Candidate start, size_t ef, const WalkLimit& limit,
                         WalkScratch* scratch, Meet&& meet) const {
  return Run<true>(query, start, 0, ef, limit, scratch, meet);
}

template <bool kBase, typename Meet>
bool Walker::Run(const Prepared& query, Candidate start, int level, size_t ef,
                 const WalkLimit& limit, WalkScratch* scratch, Meet&& meet) const {
  constexpr uint32_t kNodesPerLook = 64;
  const uint32_t degree_max = graph_.degree_max(level);
  CandidatePool& pool = scratch->pool;
  VisitedSet& visited = scratch->visited;
  visited.Reset(slot_limit_);
  pool.Reset(ef);
  visited.Insert(start.slot);
  pool.Insert(start.distance, start.slot);
  meet(start);

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
      meet(Candidate{scratch->distances[i], scratch->slots[i]});
      const size_t place = pool.Insert(scratch->distances[i], scratch->slots[i]);
      // Likely to be expanded soon.
      if (kBase && place <= pool.cursor() + 1) PrefetchLinks(scratch->slots[i]);
    }
  }
  return true;
}

}  // namespace vectron::index
