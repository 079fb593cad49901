#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "common/clock.h"
#include "index/graph/candidate_pool.h"
#include "index/graph/graph.h"
#include "index/graph/visited_filter.h"
#include "index/graph/visited_set.h"
#include "index/vector_space.h"

namespace vectron::index {

// Memory that a walk needs, kept by its thread from one to the next.
struct WalkScratch {
  // The most neighbours a node can have: m is at most 256.
  static constexpr size_t kDegreeMax = 512;

  VisitedSet visited;
  VisitedFilter filter;
  CandidatePool pool;
  std::array<Slot, kDegreeMax> slots;
  std::array<Slot, kDegreeMax> between;  // those a filtered walk goes through
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

// The links of a node that is likely to be expanded soon.
inline void PrefetchLinks(const Graph& graph, Slot slot) {
  const auto* links = reinterpret_cast<const std::byte*>(graph.BaseLinks(slot));
  __builtin_prefetch(links);
  __builtin_prefetch(links + 64);
}

// Those of the nodes that are likely to be expanded next.
inline void PrefetchNextLinks(const Graph& graph, const CandidatePool& pool) {
  constexpr size_t kAhead = 2;
  pool.PeekNext(kAhead, [&](Slot slot) { PrefetchLinks(graph, slot); });
}

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

  float Distance(const Prepared& query, Slot slot) const {
    const std::byte* row = scorer_.Row(slot);
    float distance = 0;
    scorer_.Distances(query, &row, 1, &distance);
    return distance;
  }

 private:
  // The neighbours among `links` that were not met before, with their rows, into the scratch;
  // returns how many.
  size_t Gather(const std::atomic<Slot>* links, uint32_t degree_max, VisitedSet* visited,
                WalkScratch* scratch) const;
  size_t Gather(const std::atomic<Slot>* links, uint32_t degree_max, VisitedFilter* visited,
                WalkScratch* scratch) const;
  void PrefetchNextRows(const CandidatePool& pool) const;
  template <bool kBase, typename Visited>
  bool Run(const Prepared& query, Candidate start, int level, size_t ef, const WalkLimit& limit,
           Visited* visited, WalkScratch* scratch) const;

  const Graph& graph_;
  const Scorer& scorer_;
  const uint64_t slot_limit_;
};

}  // namespace vectron::index
