#include "index/searcher.h"

#include <algorithm>
#include <array>

#include "common/random.h"

namespace vectron::index {
namespace {

constexpr size_t kScanBatch = 64;
// Batches of a scan between two looks at the clock.
constexpr size_t kBatchesPerLook = 64;
// Below this selectivity the filter's matches are scanned: the walk would
// measure about as many nodes to meet enough of them.
constexpr double kScanSelectivity = 0.02;
constexpr size_t kSelectivitySample = 512;

// How many of the best by approximate distance are measured exactly.
size_t RerankCount(size_t k) { return k + std::max<size_t>(k / 2, 5); }

}  // namespace

StatusOr<std::vector<Hit>> Searcher::Run(std::span<const float> query) {
  const EpochManager::Guard guard = core_.epochs.Enter();
  core_.space.Prepare(query.data(), &scratch_.exact_query);
  scratch_.found.Reset(FoundMax());
  if (limit_.Passed()) return GivenUp();
  if (options_.exact) {
    const Scorer scorer(core_.space, nullptr);
    // What is put while the slots are scanned stands in the tail from here on.
    const Tail::Cursor end = core_.tail.End();
    if (!ScanAll(scorer, scratch_.exact_query) || !ScanTail(scorer, scratch_.exact_query, end)) {
      return GivenUp();
    }
    return BestHits(scorer);
  }
  const Tail::Cursor head = core_.tail.Head();
  const Scorer scorer = core_.MakeScorer();
  scorer.Prepare(query.data(), &scratch_.query);
  if (!SearchGraph(scorer) || !ScanTail(scorer, scratch_.query, head)) return GivenUp();
  return BestHits(scorer);
}

Status Searcher::GivenUp() const {
  if (limit_.Cancelled()) return MakeError(Reason::kCancelled, "the search was cancelled");
  return MakeError(Reason::kDeadlineExceeded, "the search's deadline passed");
}

// A beam as wide as the index is the whole index; a request for more must not
// allocate more.
size_t Searcher::FoundMax() const {
  const size_t wanted = options_.exact
                            ? options_.k
                            : std::max<size_t>({options_.ef, options_.k, RerankCount(options_.k)});
  return std::min<size_t>(wanted, 2 * core_.SlotCount() + 1024);
}

bool Searcher::SearchGraph(const Scorer& scorer) {
  const Graph::Entry entry = core_.graph.entry();
  if (entry.slot == kNoSlot) return true;
  // Loaded after the entry, which is thus below.
  const Walker walker(core_.graph, scorer, core_.SlotCount());
  const Candidate start = walker.Descend(scratch_.query, entry, 0, &scratch_.walk);
  const size_t ef = std::max(options_.ef, options_.k);
  const bool finished =
      options_.filter ? WalkFiltered(walker, start, ef) : WalkUnfiltered(walker, start, ef);
  if (!finished) return false;
  if (scratch_.found.size() >= std::min<uint64_t>(options_.k, LiveInGraph())) return true;
  // Too few matches on the way, or a part of the graph that cannot be reached.
  scratch_.found.Reset(FoundMax());
  return ScanAll(scorer, scratch_.query);
}

// Deleted nodes take part in the walk and take up room in the beam: it is widened by
// their share, and once more should that not do where they are many.
bool Searcher::WalkUnfiltered(const Walker& walker, Candidate start, size_t ef) {
  const uint64_t linked = core_.linked_count.load(std::memory_order_relaxed);
  const uint64_t live = LiveInGraph();
  const uint64_t dead = linked > live ? linked - live : 0;
  const size_t beam_max = core_.SlotCount() + 1;
  size_t beam = std::min<size_t>(ef + (live > 0 ? ef * std::min(dead, live) / live : 0), beam_max);
  CandidatePool& pool = scratch_.walk.pool;
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (!walker.Walk(scratch_.query, start, 0, beam, limit_, &scratch_.walk)) return false;
    const bool exhausted = !pool.full();
    if (dead > 0) pool.Filter([&](Slot slot) { return core_.live.Test(slot); });
    if (exhausted || pool.size() >= options_.k) break;
    beam = std::min<size_t>(beam * 8, beam_max);
  }
  pool.Filter([&](Slot slot) { return core_.live.Test(slot); });
  for (size_t i = 0; i < pool.size(); ++i) {
    scratch_.found.InsertUnique(pool[i].distance, pool[i].slot);
  }
  return true;
}

uint64_t Searcher::LiveInGraph() const {
  const uint64_t live = core_.live_count.load(std::memory_order_relaxed);
  return live - std::min(live, core_.pending_count.load(std::memory_order_relaxed));
}

// Goes through nodes that do not match, with a beam wide enough that about `ef` of
// what it meets do.
bool Searcher::WalkFiltered(const Walker& walker, Candidate start, size_t ef) {
  const uint64_t slot_count = core_.SlotCount();
  const double selectivity = EstimateSelectivity(slot_count);
  if (selectivity < kScanSelectivity) return true;  // nothing found: SearchGraph scans
  const auto wide = static_cast<size_t>(static_cast<double>(ef) / selectivity);
  CandidatePool& found = scratch_.found;
  return walker.WalkMeeting(scratch_.query, start, std::min<size_t>(wide, slot_count + 1), limit_,
                            &scratch_.walk, [&](const Candidate& candidate) {
                              if (found.full() && candidate.distance >= found.bound()) return;
                              if (!Wanted(candidate.slot)) return;
                              found.Insert(candidate.distance, candidate.slot);
                            });
}

double Searcher::EstimateSelectivity(uint64_t slot_count) const {
  Random random(slot_count);
  size_t wanted = 0;
  for (size_t i = 0; i < kSelectivitySample; ++i) {
    wanted += Wanted(static_cast<Slot>(random.Below(slot_count)));
  }
  return static_cast<double>(wanted) / kSelectivitySample;
}

bool Searcher::ScanAll(const Scorer& scorer, const Prepared& query) {
  const uint64_t slot_count = core_.SlotCount();
  return Scan(scorer, query, [&](const auto& visit) { core_.live.ForEachSet(slot_count, visit); });
}

bool Searcher::ScanTail(const Scorer& scorer, const Prepared& query, Tail::Cursor from) {
  return Scan(scorer, query, [&](const auto& visit) { core_.tail.Scan(from, visit); });
}

template <typename ForEachSlot>
bool Searcher::Scan(const Scorer& scorer, const Prepared& query, ForEachSlot&& for_each_slot) {
  std::array<Slot, kScanBatch> slots;
  std::array<const std::byte*, kScanBatch> rows;
  std::array<float, kScanBatch> distances;
  size_t count = 0;
  const auto flush = [&] {
    scorer.Distances(query, rows.data(), count, distances.data());
    for (size_t i = 0; i < count; ++i) scratch_.found.InsertUnique(distances[i], slots[i]);
    count = 0;
  };
  size_t visits = 0;
  bool finished = true;
  for_each_slot([&](Slot slot) {
    if (++visits % (kScanBatch * kBatchesPerLook) == 0 && limit_.Passed()) {
      finished = false;
      return false;
    }
    if (!Wanted(slot)) return true;
    slots[count] = slot;
    rows[count] = scorer.Row(slot);
    scorer.Prefetch(rows[count]);
    if (++count == kScanBatch) flush();
    return true;
  });
  flush();
  return finished;
}

// The best of scratch_.found with their exact distances.
std::vector<Hit> Searcher::BestHits(const Scorer& scorer) {
  const CandidatePool& found = scratch_.found;
  std::vector<Hit> hits(std::min<size_t>(found.size(), RerankCount(options_.k)));
  for (size_t i = 0; i < hits.size(); ++i) {
    hits[i] = {found[i].slot, found[i].distance, core_.labels[found[i].slot]};
  }
  const bool exact =
      scorer.exact() || (!hits.empty() && hits.back().distance < Scorer::kLosslessMax &&
                         scorer.Lossless(scratch_.exact_query.values.As<float>()));
  if (!exact) MeasureExactly(&hits);
  std::sort(hits.begin(), hits.end(), [](const Hit& a, const Hit& b) {
    return a.distance != b.distance ? a.distance < b.distance : a.slot < b.slot;
  });
  hits.erase(std::unique(hits.begin(), hits.end()), hits.end());
  if (hits.size() > options_.k) hits.resize(options_.k);
  return hits;
}

void Searcher::MeasureExactly(std::vector<Hit>* hits) {
  scratch_.rows.resize(hits->size());
  scratch_.distances.resize(hits->size());
  const size_t row_bytes = core_.space.dimension() * sizeof(float);
  for (size_t i = 0; i < hits->size(); ++i) {
    scratch_.rows[i] = reinterpret_cast<const std::byte*>(core_.space.Row((*hits)[i].slot));
    for (size_t b = 0; b < row_bytes; b += 64) __builtin_prefetch(scratch_.rows[i] + b);
  }
  core_.space.Distances(scratch_.exact_query, scratch_.rows.data(), hits->size(),
                        scratch_.distances.data());
  for (size_t i = 0; i < hits->size(); ++i) (*hits)[i].distance = scratch_.distances[i];
}

}  // namespace vectron::index
