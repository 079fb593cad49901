#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/collection.h"
#include "common/error.h"

struct roaring_bitmap_s;  // CRoaring's roaring_bitmap_t

namespace vectron::index {

// The number of a vector's place in the index. Stable while the vector lives;
// used again only after the vector was deleted, its links repaired, and every
// search that could have seen it has ended.
using Slot = uint32_t;
inline constexpr Slot kNoSlot = ~Slot{0};
// An index has no more slots: the candidate pools use the highest bit.
inline constexpr uint64_t kSlotsMax = uint64_t{1} << 31;

struct IndexOptions {
  uint32_t dimension = 0;
  Metric metric = Metric::kL2;
  Quantization quantization = Quantization::kSq8;
  uint32_t m = 16;  // links a node above layer 0; 2m at layer 0
  uint32_t ef_construction = 200;
  uint64_t seed = 1;                    // of the layer choice
  uint64_t slots_max = kSlotsMax;       // Put refuses what would need more
  const Clock* clock = &SystemClock();  // for deadlines; outlives the index
};

inline constexpr uint32_t kMMin = 2;
inline constexpr uint32_t kMMax = 256;
inline constexpr uint32_t kEfConstructionMax = 10'000;

// What users see of a Hit's distance. Never rises with it; distances that differ
// may give the same score.
float ScoreOf(Metric metric, float distance);

struct Hit {
  Slot slot = kNoSlot;
  // Smaller is nearer, whatever the metric: l2: squared distance; cosine:
  // 1 - similarity; dot: minus the inner product; manhattan: the distance. Exact (of the f32
  // vectors).
  float distance = 0;
  // What was put with the vector that `distance` was computed of. (A caller that
  // looked it up by slot afterwards could find the slot's next vector there.)
  uint64_t label = 0;

  bool operator==(const Hit&) const = default;
};

// How a filtered search goes about it.
enum class FilterPlan {
  kAuto,     // by what the others are estimated to cost
  kScan,     // measures every match
  kTwoHop,   // walks through the matches, in two hops where others lie between them
  kCollect,  // walks through everything, with a beam as wide as the matches are rare
};

struct SearchOptions {
  uint32_t k = 10;     // >= 1
  uint32_t ef = 64;    // beam width; raised to k when below
  bool exact = false;  // scan every vector instead of walking the graph
  Deadline deadline = kNoDeadline;
  // If not null: set by whoever asked and no longer wants the answer. Outlives the
  // search.
  const std::atomic<bool>* cancelled = nullptr;

  // Only slots that pass the filter are results: those in `filter_slots`, if not
  // null, for which `filter`, if not empty, returns true. The bitmap does not change
  // during the search, may hold slots that are dead or do not exist, and is
  // the better of the two: its matches can be counted, and gone through without
  // asking about all others. The predicate is called many times, from the searching
  // thread, and must be cheap. As slots are used again, a caller that remembers them
  // looks at the hits' labels.
  const roaring_bitmap_s* filter_slots = nullptr;
  std::function<bool(Slot)> filter;
  // How many live slots pass, about, where the caller knows. (Else it is sampled.) Few that lie
  // together are found without asking about all slots where this is right to a hundredth.
  std::optional<uint64_t> filter_count;
  FilterPlan filter_plan = FilterPlan::kAuto;  // others: to measure or test them
  // The order of labels among hits of one score, also of those at the cut: of more
  // than fit into k, the first by this order are the result. Where a large graph
  // is walked and holds thousands of equals, some may be missed as any neighbour
  // may. Empty: by slot, whichever were met.
  std::function<bool(uint64_t, uint64_t)> label_less;
};

struct IndexStats {
  uint64_t live_count = 0;     // put and not deleted
  uint64_t deleted_count = 0;  // deleted, slot not yet reusable
  uint64_t pending_count = 0;  // live, not yet linked: the tail that searches scan
  uint64_t slot_count = 0;     // high-water mark of slots
  uint64_t memory_bytes = 0;   // allocated by the index
  uint64_t cold_bytes = 0;     // of which a walk on codes touches nothing: the vectors themselves
  // Of the latest operations on 8-bit codes, the part that codes could not tell near from
  // far for, and that was done again on floats. Beyond one half, most begin on floats.
  double misled_part = 0;
};

// An HNSW graph (Malkov and Yashunin, "Efficient and robust approximate nearest
// neighbor search using Hierarchical Navigable Small World graphs", TPAMI 2020)
// over vectors of one dimension and metric, with an exactly searched tail.
//
// Put makes a vector visible to searches at once; LinkPending, called by
// background threads, connects it to the graph. What is not linked yet is
// scanned by every search, so a search sees all that was put before it began.
//
// Thread-safety: Put and Delete are called by one thread at a time (the apply
// thread). Search, GetVector, LinkPending, Consolidate, WriteCheckpoint and Stats
// may run on any number of threads, concurrently with each other and with
// Put/Delete. Readers take no lock.
//
// A search concurrent with a replacement (Put of the new vector, then Delete of
// the old one) sees the old slot or the new one or both, never neither.
class VectorIndex {
 public:
  // INVALID_ARGUMENT for options out of range.
  static StatusOr<std::unique_ptr<VectorIndex>> Create(const IndexOptions& options);

  // Reads what WriteCheckpoint wrote. CORRUPTION for a torn or altered file,
  // INCOMPATIBLE_FORMAT for another version, INVALID_ARGUMENT when dimension,
  // metric, quantization, m or seed differ from `options`.
  static StatusOr<std::unique_ptr<VectorIndex>> Load(const IndexOptions& options,
                                                     const std::string& path);

  virtual ~VectorIndex() = default;

  virtual const IndexOptions& options() const = 0;

  // Stores `vector` (`dimension` finite floats; not all zero for cosine) in a free
  // slot, together with `label`: any number, meaningless to the index, that hits
  // and checkpoints carry. INVALID_ARGUMENT for a vector that does not fit,
  // RESOURCE_EXHAUSTED when out of slots.
  virtual StatusOr<Slot> Put(std::span<const float> vector, uint64_t label) = 0;

  // What was put with the vector in `slot`, which must be live. Apply thread.
  virtual uint64_t Label(Slot slot) const = 0;

  // Searches that begin afterwards do not return `slot`. It must be live.
  virtual void Delete(Slot slot) = 0;

  // Links up to `count_max` pending vectors and returns how many it did; 0 when
  // nothing is pending (or all of it is being linked by other threads).
  virtual size_t LinkPending(size_t count_max) = 0;

  // Repairs links around deleted slots, a bounded piece of work at a time, and
  // frees slots whose links are repaired. True if there was something to do.
  virtual bool Consolidate() = 0;

  // The up to k nearest live vectors, nearest first, ties by slot or `label_less`; fewer when the
  // index holds (or the filter passes) fewer. INVALID_ARGUMENT for a query that
  // does not fit, DEADLINE_EXCEEDED, CANCELLED.
  virtual StatusOr<std::vector<Hit>> Search(std::span<const float> query,
                                            const SearchOptions& options) const = 0;

  // What Search would return for each of `queries`: one or more, side by side. What they
  // share is set up once. An error names the query.
  virtual StatusOr<std::vector<std::vector<Hit>>> SearchBatch(
      std::span<const float> queries, const SearchOptions& options) const = 0;

  // The nearest live vectors within `radius` (not farther, as Hit's distance goes), at
  // most options.k of them. As exact as Search is: it searches ever deeper until
  // it comes to vectors that are farther. INVALID_ARGUMENT also for a radius
  // that is no number.
  StatusOr<std::vector<Hit>> SearchWithin(std::span<const float> query, float radius,
                                          const SearchOptions& options) const;

  // The exact distance between `query` and a live slot, as in Hit.
  virtual StatusOr<float> Distance(std::span<const float> query, Slot slot) const = 0;
  // The same for a vector that the index may have or not.
  virtual StatusOr<float> Distance(std::span<const float> query,
                                   std::span<const float> vector) const = 0;

  // The floats that were put, bit for bit. NOT_FOUND unless live.
  virtual StatusOr<std::vector<float>> GetVector(Slot slot) const = 0;

  // A point-in-time cut of which slots hold what, to be written while work goes
  // on. Obtained on the apply thread between two Put/Delete calls.
  class Watermark {
   public:
    virtual ~Watermark() = default;
  };
  virtual std::unique_ptr<Watermark> Cut() = 0;

  // Writes to `path` (created, synced, not renamed) the vectors and labels exactly
  // as at `watermark` and a fuzzy dump of the links; Load drops links to what came after
  // and treats vectors whose links were not dumped as pending. Any thread, at
  // disk speed. Bytes per second are limited to `bytes_per_second_max` unless 0.
  virtual Status WriteCheckpoint(const Watermark& watermark, const std::string& path,
                                 uint64_t bytes_per_second_max) const = 0;

  virtual IndexStats Stats() const = 0;

  // Calls `visit` for each live slot in ascending order.
  virtual void ForEachLive(const std::function<void(Slot slot, uint64_t label)>& visit) const = 0;
};

}  // namespace vectron::index
