#include "index/search/searcher.h"

#include <algorithm>
#include <array>

#include "index/filter/filtered_walk.h"

namespace vectron::index {
namespace {

constexpr size_t kScanBatch = 32;
// Bytes of rows, and slots at the most and at the least, of a scan between two looks at the clock.
constexpr size_t kBytesPerLook = size_t{2} << 20;
constexpr size_t kSlotsPerLookMax = 4096;
constexpr size_t kSlotsPerLookMin = 2 * kScanBatch;
// Of what is to be found: Collect gives up before it has come by more that does not pass.
constexpr size_t kCollectBeamFactor = 8;
// Where fewer than a quarter pass, matches that are all far from the query are sought
// with a wider beam.
constexpr uint64_t kFarRarity = 4;
// The beam on codes is wider than k by what is reranked, at the most by this.
constexpr size_t kRerankBeamMore = 16;

// Up to so many bytes of floats, a tie that goes on beyond what a walk found is resolved by a scan:
// it takes some milliseconds. With more of them, the walk is widened to kTieWidthMax.
constexpr uint64_t kTieScanBytesMax = uint64_t{32} << 20;
constexpr size_t kTieWidthMax = 4096;
constexpr size_t kTieWidening = 8;

// A pool is an array, in which what comes in moves what is behind it: beams beyond this that hold
// more than a part of the index, or whose square is more than so many times it (100,000 vectors:
// from 10,000 on; a million: from 31,600 on), cost less as a scan of all of it, and find all.
constexpr size_t kPoolMax = 4096;
constexpr uint64_t kPartOfTheIndex = 8;
constexpr uint64_t kSquareOfTheIndex = 1000;

struct ScanBatch {
  size_t count = 0;
  std::array<Slot, kScanBatch> slots;
  std::array<const std::byte*, kScanBatch> rows;
  std::array<float, kScanBatch> distances;
};

}  // namespace

// Two batches in turn: while one is measured, the rows of the other are on their way.
template <typename ForEachSlot, typename Take>
bool Searcher::Scan(const Scorer& scorer, const Prepared& query, ForEachSlot&& for_each_slot,
                    Take&& take) {
  std::array<ScanBatch, 2> batches;
  size_t filling = 0;
  const auto measure = [&](ScanBatch* batch) {
    scorer.Distances(query, batch->rows.data(), batch->count, batch->distances.data());
    for (size_t i = 0; i < batch->count; ++i) {
      take(batch->distances[i], batch->slots[i]);
    }
    batch->count = 0;
  };
  const size_t slots_per_look =
      std::clamp(kBytesPerLook / scorer.row_bytes(), kSlotsPerLookMin, kSlotsPerLookMax);
  size_t looked_at = 0;
  bool finished = true;
  const auto go_on = [&] {
    if (++looked_at % slots_per_look == 0 && limit_.Passed()) finished = false;
    return finished;
  };
  for_each_slot(go_on, [&](Slot slot) {
    ScanBatch& batch = batches[filling];
    batch.slots[batch.count] = slot;
    batch.rows[batch.count] = scorer.Row(slot);
    scorer.Prefetch(batch.rows[batch.count]);
    if (++batch.count < kScanBatch) return true;
    filling = 1 - filling;
    measure(&batches[filling]);
    return true;
  });
  measure(&batches[1 - filling]);
  measure(&batches[filling]);
  return finished;
}

template <typename Take>
bool Searcher::ScanAll(const Scorer& scorer, const Prepared& query, Take&& take) {
  return Scan(
      scorer, query,
      [&](const auto& go_on, const auto& visit) {
        filter_.ForEach(core_.SlotCount(), go_on, visit);
      },
      take);
}

template <typename Take>
bool Searcher::ScanTail(const Scorer& scorer, const Prepared& query, Tail::Cursor from,
                        Take&& take) {
  return Scan(
      scorer, query,
      [&](const auto& go_on, const auto& visit) {
        core_.tail.Scan(from, [&](Slot slot) {
          if (!go_on()) return false;
          return !filter_.Passes(slot) || visit(slot);
        });
      },
      take);
}

StatusOr<std::vector<Hit>> Searcher::Run(std::span<const float> query) {
  const EpochManager::Guard guard = core_.epochs.Enter();
  core_.space.Prepare(query.data(), &scratch_.exact_query);
  if (WantsMuchOfTheIndex()) return FindOrdered();
  while (true) {
    bool ties_go_on = false;
    VECTRON_ASSIGN_OR_RETURN(std::vector<Hit> hits, Find(query, &ties_go_on));
    if (hits.size() > options_.k) hits.resize(options_.k);
    if (!ties_go_on) return hits;
    const uint64_t live_bytes =
        core_.live_count.load(std::memory_order_relaxed) * core_.space.dimension() * sizeof(float);
    if (options_.exact || live_bytes <= kTieScanBytesMax) return FindOrdered();
    if (k_ >= kTieWidthMax) return hits;
    k_ = std::min(k_ * kTieWidening, kTieWidthMax);
  }
}

StatusOr<std::vector<Hit>> Searcher::Find(std::span<const float> query, bool* ties_go_on) {
  scratch_.found.Reset(FoundMax());
  if (limit_.Passed()) return GivenUp();
  if (options_.exact) {
    const Scorer scorer(core_.space, nullptr);
    // What is put while the slots are scanned stands in the tail from here on.
    const Tail::Cursor end = core_.tail.End();
    if (!ScanAll(scorer, scratch_.exact_query, Found()) ||
        !ScanTail(scorer, scratch_.exact_query, end, Found())) {
      return GivenUp();
    }
    std::vector<Hit> hits;
    BestHits(scorer, &hits, ties_go_on);
    return hits;
  }
  const Tail::Cursor head = core_.tail.Head();
  Scorer scorer = core_.MakeScorer();
  for (;;) {
    scorer.Prepare(query.data(), &scratch_.query);
    query_holds_bytes_ =
        scorer.LosslessFor(true) &&
        HoldsBytes(scratch_.exact_query.values.As<float>(), core_.space.dimension());
    // One more than asked for shows whether there is a tie at the cut.
    const size_t wanted = options_.label_less ? k_ + 1 : k_;
    ef_min_ = scorer.exact() || query_holds_bytes_
                  ? wanted
                  : std::min<size_t>(RerankCount(), k_ + kRerankBeamMore);
    refused_from_ = std::numeric_limits<float>::infinity();
    if (!SearchGraph(scorer) || !ScanTail(scorer, scratch_.query, head, Found())) return GivenUp();
    std::vector<Hit> hits;
    if (BestHits(scorer, &hits, ties_go_on)) return hits;
    scorer = scorer.OnFloats();
    scratch_.found.Reset(FoundMax());
  }
}

StatusOr<std::vector<Hit>> Searcher::FindOrdered() {
  const auto better = [this](const Hit& a, const Hit& b) { return Better(a, b); };
  std::vector<Hit> best;  // a heap, the worst in front
  const auto take = [&](float distance, Slot slot) {
    const Hit hit{slot, distance, core_.labels[slot]};
    if (best.size() < options_.k) {
      best.push_back(hit);
      std::push_heap(best.begin(), best.end(), better);
    } else if (Better(hit, best.front())) {
      std::pop_heap(best.begin(), best.end(), better);
      best.back() = hit;
      std::push_heap(best.begin(), best.end(), better);
    }
  };
  const Scorer scorer(core_.space, nullptr);
  const Tail::Cursor end = core_.tail.End();
  const auto take_new = [&](float distance, Slot slot) {
    const auto is_same = [slot](const Hit& hit) { return hit.slot == slot; };
    if (std::none_of(best.begin(), best.end(), is_same)) take(distance, slot);
  };
  if (!ScanAll(scorer, scratch_.exact_query, take) ||
      !ScanTail(scorer, scratch_.exact_query, end, take_new)) {
    return GivenUp();
  }
  std::sort(best.begin(), best.end(), better);
  return best;
}

bool Searcher::WantsMuchOfTheIndex() const {
  const size_t wanted = options_.exact ? options_.k : std::max(options_.k, options_.ef);
  if (wanted <= kPoolMax) return false;
  const uint64_t live = core_.live_count.load(std::memory_order_relaxed);
  if (options_.exact || wanted >= live / kPartOfTheIndex) return true;
  return uint64_t{wanted} * wanted >= live * kSquareOfTheIndex;
}

bool Searcher::Better(const Hit& a, const Hit& b) const {
  const float a_score = Score(a);
  const float b_score = Score(b);
  if (a_score != b_score) return IsBetterScore(core_.options.metric, a_score, b_score);
  if (options_.label_less && a.label != b.label) return options_.label_less(a.label, b.label);
  return a.distance != b.distance ? a.distance < b.distance : a.slot < b.slot;
}

Status Searcher::GivenUp() const {
  if (limit_.Cancelled()) return MakeError(Reason::kCancelled, "the search was cancelled");
  return MakeError(Reason::kDeadlineExceeded, "the search's deadline passed");
}

// How many of the best by approximate distance are measured exactly. What a filter
// passes may all be far from the query, and the error of codes grows with the
// distance.
size_t Searcher::RerankCount() const {
  const size_t k = k_;
  return filter_.passes_all() ? k + std::max<size_t>(k / 2, 5) : 4 * k + 20;
}

// A beam as wide as the index is the whole index; a request for more must not
// allocate more.
size_t Searcher::FoundMax() const {
  const size_t wanted =
      options_.exact ? k_ + 1 : std::max<size_t>({options_.ef, k_ + 1, RerankCount()});
  return std::min<size_t>(wanted, 2 * core_.SlotCount() + 1024);
}

bool Searcher::SearchGraph(const Scorer& scorer) {
  const Graph::Entry entry = core_.graph.entry();
  // Nothing is linked, or for a moment nothing that lasts.
  if (entry.slot == kNoSlot) return LiveInGraph() == 0 || ScanAll(scorer, scratch_.query, Found());
  // Loaded after the entry, which is thus below.
  const Walker walker(core_.graph, scorer, core_.SlotCount());
  if (!filter_.passes_all()) return SearchFiltered(walker, scorer, entry);
  const Candidate start = walker.Descend(scratch_.query, entry, 0, &scratch_.walk);
  if (!WalkUnfiltered(walker, start)) return false;
  if (FoundEnough()) return true;
  // A part of the graph that cannot be reached.
  ForgetFound(FoundMax());
  return ScanAll(scorer, scratch_.query, Found());
}

bool Searcher::SearchFiltered(const Walker& walker, const Scorer& scorer, Graph::Entry entry) {
  const uint64_t slot_count = core_.SlotCount();
  const uint64_t live_count = core_.live_count.load(std::memory_order_relaxed);
  FilterTask task{.matches = filter_.EstimateCount(slot_count, live_count),
                  .linked = core_.linked_count.load(std::memory_order_relaxed),
                  .ef = ef(),
                  .degree = core_.graph.degree_max(0),
                  .row_bytes = scorer.row_bytes(),
                  .listed = filter_.is_listed()};
  FilterPlan plan = options_.filter_plan;
  PlanCosts costs;
  const bool chooses = plan == FilterPlan::kAuto;
  if (chooses) {
    if (IsSmall(task)) return ScanFiltered(scorer, task.matches);
    const CostSample sample{core_.graph, scorer, core_.live, slot_count, entry, *limit_.clock};
    costs = core_.plan_costs.For(sample, task.linked, &scratch_.walk);
    plan = ChoosePlan(task, costs);
  }
  const size_t nodes =
      chooses || plan == FilterPlan::kCollect ? NodesToLookAt(plan, task, costs) : 0;
  if (plan == FilterPlan::kScan && nodes == 0) return ScanFiltered(scorer, task.matches);

  const Candidate start = walker.Descend(scratch_.query, entry, 0, &scratch_.walk);
  if (nodes > 0) {
    if (!Collect(scorer, start, nodes)) return false;
    if (FoundEnough()) return true;
    // Whatever passes lies elsewhere.
    if (plan == FilterPlan::kCollect) plan = FilterPlan::kTwoHop;
  }
  if (plan == FilterPlan::kScan && !task.listed && IsWalkableTogether(task)) {
    // Asking about everything is so dear that it pays to see whether matches lie together: then
    // a walk finds them, few as they are.
    task.around = PartAround(core_.graph, filter_, slot_count);
    plan = ChoosePlan(task, costs);
  }
  if (plan == FilterPlan::kTwoHop) {
    if (!WalkTwoHops(scorer, start, task.matches)) return false;
    if (FoundEnough()) return true;
    // Fewer matches than it seemed, or not reached.
  }
  return ScanFiltered(scorer, task.matches);
}

// Into scratch_.found, if enough of what lies around the query passes; else into springs_.
bool Searcher::Collect(const Scorer& scorer, Candidate start, size_t nodes_min) {
  const uint64_t slot_count = core_.SlotCount();
  ForgetFound(std::min(FoundMax(), ef()));
  const FilteredWalk::CollectBounds bounds{
      .nodes_min = nodes_min,
      .beam_max = std::min<size_t>(scratch_.found.capacity() * kCollectBeamFactor, slot_count + 1),
      .enough = filter_.is_listed() ? std::numeric_limits<size_t>::max() : ef_min_};
  FilteredWalk walk(core_.graph, scorer, filter_, slot_count, limit_, &scratch_.walk);
  const WalkEnd end = walk.Collect(scratch_.query, start, bounds, &scratch_.found);
  const CandidatePool& pool = scratch_.walk.pool;
  refused_from_ = pool.bound();
  if (pool.cursor() < pool.size()) {
    refused_from_ = std::min(refused_from_, pool[pool.cursor()].distance);
  }
  if (end == WalkEnd::kGivenUp) return false;
  if (end == WalkEnd::kFinished && FoundEnough()) return true;
  springs_.clear();
  for (size_t i = 0; i < scratch_.found.size(); ++i) springs_.push_back(scratch_.found[i].slot);
  ForgetFound(FoundMax());
  return true;
}

void Searcher::ForgetFound(size_t found_max) {
  scratch_.found.Reset(found_max);
  refused_from_ = std::numeric_limits<float>::infinity();
}

// All that pass, by asking about everything, unless it turns out that they lie together.
bool Searcher::ScanFiltered(const Scorer& scorer, uint64_t matches) {
  const size_t found_max = std::min(FoundMax(), RerankCount());
  ForgetFound(found_max);
  if (MayFlood(matches)) {
    FilteredWalk walk(core_.graph, scorer, filter_, core_.SlotCount(), limit_, &scratch_.walk);
    const WalkEnd end = walk.Flood(scratch_.query, matches, found_max, springs_);
    if (end == WalkEnd::kGivenUp) return false;
    if (end == WalkEnd::kFinished) {
      TakeWalked();
      if (FoundEnough()) return true;
      // More than the caller knew of may match.
      ForgetFound(found_max);
    }
  }
  return ScanAll(scorer, scratch_.query, Found());
}

// Whether the matches can be had without asking about all slots, should they lie together: the
// caller knows how many they are, and they are few.
bool Searcher::MayFlood(uint64_t matches) const {
  constexpr uint64_t kPart = 6;  // of the slots that a scan asks about
  return options_.filter_plan == FilterPlan::kAuto && !filter_.is_listed() &&
         options_.filter_count.has_value() &&
         matches * core_.graph.degree_max(0) * kPart <= core_.SlotCount();
}

bool Searcher::WalkTwoHops(const Scorer& scorer, Candidate start, uint64_t matches) {
  const uint64_t slot_count = core_.SlotCount();
  FilteredWalk walk(core_.graph, scorer, filter_, slot_count, limit_, &scratch_.walk);
  const size_t beam = std::min<size_t>(ef(), slot_count + 1);
  const size_t beam_far = matches * kFarRarity < slot_count ? 2 * beam : beam;
  const WalkEnd end = walk.TwoHop(scratch_.query, start.slot, beam, beam_far);
  if (end == WalkEnd::kGivenUp) return false;
  TakeWalked();
  return true;
}

// From a walk through what passes to what was found.
void Searcher::TakeWalked() {
  CandidatePool& pool = scratch_.walk.pool;
  refused_from_ = pool.bound();
  pool.Filter([&](Slot slot) { return core_.live.Test(slot); });
  for (size_t i = 0; i < pool.size(); ++i) scratch_.found.Insert(pool[i].distance, pool[i].slot);
}

// Deleted nodes take part in the walk and take up room in the beam: it is widened by
// their share, and once more should that not do where they are many.
bool Searcher::WalkUnfiltered(const Walker& walker, Candidate start) {
  const uint64_t linked = core_.linked_count.load(std::memory_order_relaxed);
  const uint64_t live = LiveInGraph();
  const uint64_t dead = linked > live ? linked - live : 0;
  const size_t beam_max = core_.SlotCount() + 1;
  size_t beam =
      std::min<size_t>(ef() + (live > 0 ? ef() * std::min(dead, live) / live : 0), beam_max);
  CandidatePool& pool = scratch_.walk.pool;
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (!walker.Walk(scratch_.query, start, 0, beam, limit_, &scratch_.walk)) return false;
    const bool exhausted = !pool.full();
    refused_from_ = pool.bound();
    if (dead > 0) pool.Filter([&](Slot slot) { return core_.live.Test(slot); });
    if (exhausted || pool.size() >= k_) break;
    beam = std::min<size_t>(beam * 8, beam_max);
  }
  pool.Filter([&](Slot slot) { return core_.live.Test(slot); });
  for (size_t i = 0; i < pool.size(); ++i) {
    scratch_.found.InsertUnique(pool[i].distance, pool[i].slot);
  }
  return true;
}

// What a walk did not find need not be looked for by a scan.
bool Searcher::FoundEnough() const {
  return scratch_.found.size() >= std::min<uint64_t>(k_, LiveInGraph());
}

uint64_t Searcher::LiveInGraph() const {
  const uint64_t live = core_.live_count.load(std::memory_order_relaxed);
  return live - std::min(live, core_.pending_count.load(std::memory_order_relaxed));
}

// The best of scratch_.found with their exact distances.
bool Searcher::BestHits(const Scorer& scorer, std::vector<Hit>* hits, bool* ties_go_on) {
  const CandidatePool& found = scratch_.found;
  hits->resize(std::min<size_t>(found.size(), RerankCount()));
  for (size_t i = 0; i < hits->size(); ++i) {
    (*hits)[i] = {found[i].slot, found[i].distance, core_.labels[found[i].slot]};
  }
  const bool exact =
      scorer.exact() || (!hits->empty() && hits->back().distance < Scorer::kLosslessMax &&
                         scorer.LosslessFor(query_holds_bytes_));
  if (!exact && !MeasureBest(scorer, hits)) return false;
  const Hit last_found = hits->empty() ? Hit() : hits->back();
  const bool found_more = found.size() > hits->size() || found.full() ||
                          refused_from_ < std::numeric_limits<float>::infinity();
  std::sort(hits->begin(), hits->end(), [](const Hit& a, const Hit& b) {
    return a.distance != b.distance ? a.distance < b.distance : a.slot < b.slot;
  });
  hits->erase(std::unique(hits->begin(), hits->end()), hits->end());
  if (options_.label_less) *ties_go_on = OrderTies(last_found, found_more, hits);
  if (hits->size() > k_) hits->resize(k_);
  return true;
}

// Orders equals by label. True if they go on beyond the cut and beyond what was found:
// equals have equal codes, so what is not among the hits is as far as the last of them.
bool Searcher::OrderTies(const Hit& last_found, bool found_more, std::vector<Hit>* hits) const {
  const auto tied = [this](const Hit& a, const Hit& b) { return Tied(a, b); };
  if (std::adjacent_find(hits->begin(), hits->end(), tied) == hits->end()) return false;
  bool go_on = false;
  if (found_more && hits->size() > options_.k) {
    const Hit& cut = (*hits)[options_.k - 1];
    go_on = Tied(cut, (*hits)[options_.k]) && (Tied(cut, last_found) || Tied(cut, hits->back()));
  }
  std::sort(hits->begin(), hits->end(),
            [this](const Hit& a, const Hit& b) { return Better(a, b); });
  return go_on;
}

// Measures `hits`, the first of scratch_.found, exactly, and as many more as the noise asks for.
// False if that is more than there are.
bool Searcher::MeasureBest(const Scorer& scorer, std::vector<Hit>* hits) {
  // The part of the k nearest that may be missing because of codes.
  constexpr double kLossMax = 0.01;
  // So many deviations behind the k-th, noise has moved hardly anything.
  constexpr double kDeviations = 3;
  const CandidatePool& found = scratch_.found;
  std::vector<float>& nearest = scratch_.distances;
  std::vector<float>& coded = scratch_.coded;
  coded.clear();
  for (;;) {
    const size_t first = coded.size();
    for (size_t i = first; i < hits->size(); ++i) coded.push_back((*hits)[i].distance);
    MeasureExactly(first, hits);
    nearest.clear();
    for (const Hit& hit : *hits) nearest.push_back(hit.distance);
    const CodeNoise noise(nearest.data(), coded.data(), coded.size(), scorer.scale());
    const size_t count = std::min<size_t>(k_, nearest.size());
    if (count == 0) return true;
    std::nth_element(nearest.begin(), nearest.begin() + static_cast<ptrdiff_t>(count - 1),
                     nearest.end());
    if (hits->size() == found.size()) {
      const float bound = std::min(found.bound(), refused_from_);
      const bool misled = noise.Loss(nearest.data(), count, bound) > kLossMax;
      scorer.Report(misled);
      return !misled;
    }
    const double next = noise.Exact(found[hits->size()].distance);
    if (next - kDeviations * noise.deviation() > nearest[count - 1]) {
      scorer.Report(false);
      return true;
    }
    for (size_t more = hits->size() / 2 + 1; more > 0 && hits->size() < found.size(); --more) {
      const Candidate& candidate = found[hits->size()];
      hits->push_back({candidate.slot, candidate.distance, core_.labels[candidate.slot]});
    }
  }
}

void Searcher::MeasureExactly(size_t first, std::vector<Hit>* hits) {
  const size_t count = hits->size() - first;
  scratch_.rows.resize(count);
  scratch_.distances.resize(count);
  for (size_t i = 0; i < count; ++i) {
    scratch_.rows[i] = core_.vectors.Row((*hits)[first + i].slot);
    core_.vectors.Prefetch(scratch_.rows[i]);
  }
  core_.space.Distances(scratch_.exact_query, scratch_.rows.data(), count,
                        scratch_.distances.data());
  for (size_t i = 0; i < count; ++i) (*hits)[first + i].distance = scratch_.distances[i];
}

}  // namespace vectron::index
