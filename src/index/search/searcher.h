#pragma once

#include <limits>
#include <span>
#include <vector>

#include "common/clock.h"
#include "index/filter/filter_planner.h"
#include "index/filter/slot_filter.h"
#include "index/graph/walk.h"
#include "index/index_core.h"

namespace vectron::index {

// Memory of one search, kept by its thread from one to the next.
struct SearchScratch {
  WalkScratch walk;
  CandidatePool found;
  Prepared query;        // for the graph's distances
  Prepared exact_query;  // for exact ones
  std::vector<const std::byte*> rows;
  std::vector<float> distances;
  std::vector<float> coded;
};

// One search. A view of the index; thread-safe as a whole, one object a search.
//
// On codes it measures, as it reranks, how far they are from the exact distances.
// It reranks until noise cannot have put one of the k nearest behind what was measured,
// and where it may have put them outside of the beam, it starts again on floats.
//
// Why a search that runs beside a replacement (Put of the new vector, then Delete
// of the old one) never misses both: the place of the tail's head is taken
// before the graph is walked; after the walk, what was deleted is dropped; then the
// tail is scanned from that head to its end as it is by then, in order,
// each entry's live bit looked at as it is passed. If the old vector is found dead
// anywhere, its Delete has happened, hence the Put before it, and the new vector
// stands in the tail behind the head that was taken (then the scan, whose
// end is read later than the old vector's live bit, comes to it) or was linked before
// the walk began (then the walk could find it like any other).
class Searcher {
 public:
  Searcher(const IndexCore& core, const Clock& clock, const SearchOptions& options,
           SlotFilter& filter, SearchScratch* scratch)
      : core_(core),
        limit_{&clock, options.deadline, options.cancelled},
        options_(options),
        filter_(filter),
        k_(options.k),
        scratch_(*scratch) {}

  // `query` is valid, k at least 1.
  StatusOr<std::vector<Hit>> Run(std::span<const float> query);

 private:
  // One search as if k were k_. `ties_go_on` is set where the hits end within a tie of
  // which there may be more than was found.
  StatusOr<std::vector<Hit>> Find(std::span<const float> query, bool* ties_go_on);
  // Whether so much is asked for that a scan is cheaper than the pool of what was found.
  bool WantsMuchOfTheIndex() const;
  // Scans for the k best by score, then label.
  StatusOr<std::vector<Hit>> FindOrdered();
  bool OrderTies(const Hit& last_found, bool found_more, std::vector<Hit>* hits) const;
  bool Better(const Hit& a, const Hit& b) const;
  bool Tied(const Hit& a, const Hit& b) const { return Score(a) == Score(b); }
  float Score(const Hit& hit) const { return ScoreOf(core_.options.metric, hit.distance); }
  // What a scan gives its slots to, unless told otherwise.
  auto Found() {
    return [this](float distance, Slot slot) { scratch_.found.InsertUnique(distance, slot); };
  }
  // These return false when the limit passed.
  bool SearchGraph(const Scorer& scorer);
  bool WalkUnfiltered(const Walker& walker, Candidate start);
  bool SearchFiltered(const Walker& walker, const Scorer& scorer, Graph::Entry entry);
  bool Collect(const Scorer& scorer, Candidate start, size_t nodes_min);
  bool ScanFiltered(const Scorer& scorer, uint64_t matches);
  bool MayFlood(uint64_t matches) const;
  void ForgetFound(size_t found_max);
  void TakeWalked();
  bool WalkTwoHops(const Scorer& scorer, Candidate start, uint64_t matches);
  // Every live slot that passes the filter.
  template <typename Take>
  bool ScanAll(const Scorer& scorer, const Prepared& query, Take&& take);
  template <typename Take>
  bool ScanTail(const Scorer& scorer, const Prepared& query, Tail::Cursor from, Take&& take);
  // To take(distance, slot).
  template <typename ForEachSlot, typename Take>
  bool Scan(const Scorer& scorer, const Prepared& query, ForEachSlot&& for_each_slot, Take&& take);

  // Why limit_ passed.
  Status GivenUp() const;
  size_t ef() const { return std::max<size_t>(options_.ef, ef_min_); }
  size_t FoundMax() const;
  size_t RerankCount() const;
  bool FoundEnough() const;
  uint64_t LiveInGraph() const;
  // False: the codes could not tell the best from others, `hits` are not to be used.
  bool BestHits(const Scorer& scorer, std::vector<Hit>* hits, bool* ties_go_on);
  bool MeasureBest(const Scorer& scorer, std::vector<Hit>* hits);
  void MeasureExactly(size_t first, std::vector<Hit>* hits);

  const IndexCore& core_;
  const WalkLimit limit_;
  const SearchOptions& options_;
  SlotFilter& filter_;
  size_t k_;  // options_.k, or more to come to the end of a tie
  SearchScratch& scratch_;
  bool query_holds_bytes_ = false;  // looked at where it matters
  size_t ef_min_ = 0;               // what must be told apart exactly must be in the beam
  std::vector<Slot> springs_;       // some that pass, where a walk found too few of them
  // Approximate distance from which on the walk refused what it met.
  float refused_from_ = std::numeric_limits<float>::infinity();
};

}  // namespace vectron::index
