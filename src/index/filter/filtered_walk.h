#pragma once

#include <cstddef>
#include <vector>

#include "index/filter/slot_filter.h"
#include "index/graph/walk.h"

namespace vectron::index {

enum class WalkEnd {
  kFinished,
  kGivenUp,  // the limit passed
  kSparse,   // Collect: too little here passes; Flood: most are elsewhere
};

// The ways through the graph to what a filter passes. A view for one operation
// under one epoch guard, as Walker.
class FilteredWalk {
 public:
  FilteredWalk(const Graph& graph, const Scorer& scorer, SlotFilter& filter, uint64_t slot_limit,
               const WalkLimit& limit, WalkScratch* scratch)
      : graph_(graph),
        scorer_(scorer),
        filter_(filter),
        slot_limit_(slot_limit),
        limit_(limit),
        scratch_(*scratch) {}

  struct CollectBounds {
    size_t nodes_min;  // to expand, before it can tell that too little passes
    size_t beam_max;   // nodes to look at
    size_t enough;     // to find, so that it may go on where too little passes
  };
  // Through all nodes, from `start`, until the `found` that pass (its capacity: the ef) are all
  // nearer than what is left to look at. Where hardly anything passes of what it comes by, it is
  // kSparse, unless enough were found before: these are the nearest if they are nearer than what is
  // left after as many nodes as a walk without a filter takes.
  WalkEnd Collect(const Prepared& query, Candidate start, const CollectBounds& bounds,
                  CandidatePool* found);

  // Through the nodes that pass, `ef` of them: the neighbours of a node are those that
  // pass among its links, and among the links of those that do not
  // (ACORN-1: Patel et al., "ACORN: Performant and Predicate-Agnostic Search Over
  // Vector Embeddings and Structured Data", SIGMOD 2024, section 5). Begins around
  // `start`, which need not pass, and at some that do. Where hardly anything around
  // `start` passes, all matches are elsewhere, the nearest on the border of where they
  // are, and a beam gets caught in its folds: `ef_far` is its width then. Leaves the
  // result in the scratch's pool.
  WalkEnd TwoHop(const Prepared& query, Slot start, size_t ef, size_t ef_far);

  // From some that pass to all that pass among their links, and so on: of few matches that lie
  // together nearly all, without asking about the rest of the index. Begins at `springs`, which
  // pass, and at some from everywhere should these not lead to all; should some still be missing,
  // they are sought among the links of what those found link to. Then in two hops from the `ef`
  // best, as those on the border of where they are, which may be the nearest, have fewest links
  // from others. kSparse unless it came by nearly `matches`, which is their number. Leaves the
  // result in the scratch's pool.
  WalkEnd Flood(const Prepared& query, uint64_t matches, size_t ef,
                const std::vector<Slot>& springs);

 private:
  void Measure(const Prepared& query, size_t count);
  // Neighbours of `node` that pass and were not met, into the scratch; how many.
  size_t GatherTwoHops(Slot node);
  void Gather(Slot slot, size_t* count);
  void MeasureIntoPool(const Prepared& query, size_t count);
  WalkEnd ExpandTwoHops(const Prepared& query);
  void FloodOver(Slot node);
  // These return false when the limit passed.
  bool FloodFrom(const std::vector<Slot>& springs, size_t flooded_max);
  bool FloodOn(size_t first, size_t flooded_max);
  bool AskBeyondBorder();

  const Graph& graph_;
  const Scorer& scorer_;
  SlotFilter& filter_;
  const uint64_t slot_limit_;
  const WalkLimit& limit_;
  WalkScratch& scratch_;
  std::vector<Slot> seeds_;
  std::vector<Slot> flooded_;
};

}  // namespace vectron::index
