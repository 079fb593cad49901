#pragma once

#include <atomic>

#include "index/code_store.h"
#include "index/filter/plan_costs.h"
#include "index/graph/graph.h"
#include "index/memory/epoch.h"
#include "index/memory/slot_bitmap.h"
#include "index/tail.h"
#include "index/vector_index.h"
#include "index/vector_space.h"
#include "index/vector_store.h"

namespace vectron::index {

// What an index consists of, shared by those who search it, change it and write
// it to disk; each member says who may do what with it.
//
// How a vector becomes visible (Put): vector and code are written, then the live
// bit is set, then the slot is appended to the tail, each a release. How it goes
// (Delete): the live bit is cleared. A slot is written again only after its links
// are gone and every guard of before has been left.
struct IndexCore {
  IndexCore(const IndexOptions& index_options, const Kernels& kernels)
      : options(index_options),
        vectors(options.dimension, options.quantization == Quantization::kSq8, epochs),
        space(options.metric, vectors, kernels),
        graph(options.m, options.seed),
        codes(space, graph, epochs, slot_count),
        tail(epochs) {}

  // For a search, which measures how good the codes were and falls back to floats.
  Scorer MakeScorer() const {
    return MakeScorerIf([](const CodeTrust& trust) { return trust.TryCodes(0.5); });
  }
  // For linking, which does so too: what codes cannot tell apart must not be linked by them.
  Scorer MakeLinkScorer() const {
    return MakeScorerIf([](const CodeTrust& trust) { return trust.TryCodes(kMisledLinksMax); });
  }
  // For repairing links, which does not.
  Scorer MakeRepairScorer() const {
    return MakeScorerIf(
        [](const CodeTrust& trust) { return trust.misled_part() <= kMisledLinksMax; });
  }
  // On codes if there are any, none hides a vector, and `trusts` them.
  template <typename Trusts>
  Scorer MakeScorerIf(Trusts&& trusts) const {
    const CodeSet* set = options.quantization == Quantization::kSq8 ? codes.current() : nullptr;
    const bool use =
        set != nullptr && !set->hides.load(std::memory_order_relaxed) && trusts(set->trust);
    return Scorer(space, use ? set : nullptr);
  }
  uint64_t SlotCount() const { return slot_count.load(std::memory_order_acquire); }

  // The part of the operations that codes may mislead while the graph is changed by them.
  static constexpr double kMisledLinksMax = 0.02;

  const IndexOptions options;
  EpochManager epochs;
  std::atomic<uint64_t> slot_count{0};  // slots ever used; grows, by the apply thread
  SlotBitmap live;                      // written by the apply thread
  TypedSlabArray<uint64_t> labels;      // as the vectors
  VectorStore vectors;                  // written by the apply thread
  VectorSpace space;
  Graph graph;
  CodeStore codes;  // unused without quantisation
  Tail tail;
  KnownCosts plan_costs;  // of filtered searches

  std::atomic<uint64_t> live_count{0};
  std::atomic<uint64_t> pending_count{0};  // live and not linked
  std::atomic<uint64_t> linked_count{0};   // in the graph, live or dead
};

}  // namespace vectron::index
