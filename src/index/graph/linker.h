#pragma once

#include <array>
#include <vector>

#include "index/graph/walk.h"
#include "index/memory/slot_bitmap.h"

namespace vectron::index {

// Memory that linking needs, kept by its thread from one node to the next.
struct LinkScratch {
  WalkScratch walk;
  Prepared node;    // whose neighbours are sought
  Prepared origin;  // whose list is pruned
  Prepared pivot;   // a candidate, compared with those selected
  std::vector<Candidate> candidates;
  std::vector<Slot> neighbours;
  std::vector<Slot> selected;
  std::vector<uint8_t> crowded;  // whether a nearer one that was selected is nearer to it
  std::vector<const std::byte*> rows;
  std::vector<float> distances;
  std::array<std::vector<Slot>, kLevelMax + 1> lists;
};

// Connects nodes to the graph (algorithm 1 of the HNSW paper) and rebuilds lists
// around deleted nodes (as FreshDiskANN does: Singh et al., 2021, section 4.2).
//
// Lists are chosen by the paper's heuristic (algorithm 4) relaxed by alpha as in
// Vamana (Subramanya et al., "DiskANN", NeurIPS 2019): a candidate is dropped when
// a selected neighbour is nearer to it by the factor alpha than the node is.
// alpha > 1 keeps enough long links for the graph to survive replacement.
//
// Thread-safe: any number of threads, each with its own scratch, under an epoch
// guard, with locks on single nodes.
//
// `doomed` slots are about to be freed: no link to one is ever added.
class Linker {
 public:
  // `slot_count`: slots that were ever used.
  Linker(Graph& graph, const SlotBitmap& live, const SlotBitmap& doomed,
         const std::atomic<uint64_t>& slot_count, Metric metric, uint32_t ef_construction);

  // Gives `slot` its neighbours and makes it reachable. The caller then marks it
  // as linked.
  void Link(const Scorer& scorer, Slot slot, LinkScratch* scratch);

  // Replaces doomed neighbours of `slot` by the best of what these led to; the others stay. True
  // if there were any.
  bool Repair(const Scorer& scorer, Slot slot, LinkScratch* scratch);

 private:
  bool TryLink(const Scorer& scorer, Slot slot, int level, Graph::Entry entry,
               LinkScratch* scratch);
  void FindCandidates(const Walker& walker, Candidate start, Slot slot, int level,
                      LinkScratch* scratch);
  // False: the scorer cannot tell what is near from what is not.
  bool FindNeighbours(const Walker& walker, const Scorer& scorer, Slot slot, int level,
                      Graph::Entry entry, LinkScratch* scratch);
  void AddLink(const Scorer& scorer, Slot from, int level, Slot to, LinkScratch* scratch);
  bool RepairLevel(const Scorer& scorer, Slot slot, int level, LinkScratch* scratch);
  void LinkAnywhere(const Scorer& scorer, Slot slot, LinkScratch* scratch);
  void Measure(const Scorer& scorer, Slot origin, LinkScratch* scratch);
  void PreferLive(std::vector<Candidate>* candidates) const;
  bool Misleads(const Scorer& scorer, Slot slot, LinkScratch* scratch) const;
  double Unit(const float* exact, size_t count) const;
  float TwinMax(const Scorer& scorer) const;
  void ThinTwins(const Scorer& scorer, size_t twins_max, std::vector<Candidate>* candidates) const;
  void Select(const Scorer& scorer, size_t count_max, LinkScratch* scratch,
              size_t apart_max = 0) const;
  void Extend(const Scorer& scorer, size_t count_max, LinkScratch* scratch,
              size_t apart_max = 0) const;

  Graph& graph_;
  const SlotBitmap& live_;
  const SlotBitmap& doomed_;
  const std::atomic<uint64_t>& slot_count_;
  const Metric metric_;
  const float alpha_;  // on the distances as they are: squared for l2
  const uint32_t ef_construction_;
};

}  // namespace vectron::index
