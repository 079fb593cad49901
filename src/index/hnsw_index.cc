#include "index/hnsw_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "index/checkpoint/checkpoint.h"
#include "index/search/searcher.h"

namespace vectron::index {
namespace {

// Slots are reserved some at a time, to take the locks of the parts seldom.
constexpr uint64_t kSlotsAtOnce = 64;
// From this part of dead nodes on (a ninth), linking waits for repairing: one step
// for so many links.
constexpr uint64_t kDeadPartMax = 9;
constexpr size_t kLinksPerStep = 16;

// Scratch memory of the calling thread, kept for its next call. A call within a
// call (a filter that searches another index) gets its own.
template <typename Scratch>
class ThreadScratch {
 public:
  ThreadScratch() {
    thread_local Kept kept;
    if (!kept.taken) {
      kept.taken = true;
      kept_ = &kept;
      scratch_ = &kept.scratch;
    } else {
      own_ = std::make_unique<Scratch>();
      scratch_ = own_.get();
    }
  }
  ~ThreadScratch() {
    if (kept_ != nullptr) kept_->taken = false;
  }
  ThreadScratch(const ThreadScratch&) = delete;
  ThreadScratch& operator=(const ThreadScratch&) = delete;

  Scratch* get() { return scratch_; }

 private:
  struct Kept {
    Scratch scratch;
    bool taken = false;
  };
  Kept* kept_ = nullptr;
  std::unique_ptr<Scratch> own_;
  Scratch* scratch_ = nullptr;
};

Status ValidateOptions(const IndexOptions& options) {
  if (options.dimension < 1 || options.dimension > kDimensionMax) {
    return InvalidArgument(
        fmt::format("dimension is {}, not within 1 to {}", options.dimension, kDimensionMax));
  }
  if (options.m < kMMin || options.m > kMMax) {
    return InvalidArgument(fmt::format("m is {}, not within {} to {}", options.m, kMMin, kMMax));
  }
  if (options.ef_construction < 1 || options.ef_construction > kEfConstructionMax) {
    return InvalidArgument(fmt::format("ef_construction is {}, not within 1 to {}",
                                       options.ef_construction, kEfConstructionMax));
  }
  if (options.slots_max < 1 || options.slots_max > kSlotsMax) {
    return InvalidArgument(
        fmt::format("slots_max is {}, not within 1 to {}", options.slots_max, kSlotsMax));
  }
  if (std::find(std::begin(kMetrics), std::end(kMetrics), options.metric) == std::end(kMetrics)) {
    return InvalidArgument("unknown metric");
  }
  if (options.quantization != Quantization::kNone && options.quantization != Quantization::kSq8) {
    return InvalidArgument("unknown quantization");
  }
  return OkStatus();
}

}  // namespace

// The watermark of HnswIndex; while it lives, slots of its cut stay in the graph.
class HnswIndex::Cutting final : public VectorIndex::Watermark {
 public:
  Cutting(std::shared_ptr<Cuts> cuts, uint64_t sequence, CheckpointCut cut)
      : cuts_(std::move(cuts)), cut_(std::make_shared<const CheckpointCut>(std::move(cut))) {
    MutexLock lock(cuts_->mutex);
    place_ = cuts_->alive.emplace(sequence, cut_);
  }
  ~Cutting() override {
    MutexLock lock(cuts_->mutex);
    cuts_->alive.erase(place_);
  }

  const CheckpointCut& cut() const { return *cut_; }

 private:
  const std::shared_ptr<Cuts> cuts_;
  const std::shared_ptr<const CheckpointCut> cut_;
  Cuts::Alive::iterator place_;
};

float ScoreOf(Metric metric, float distance) {
  switch (metric) {
    case Metric::kL2:
      return std::sqrt(std::max(distance, 0.0f));
    case Metric::kCosine:
      return 1.0f - distance;
    case Metric::kDot:
      return -distance;
    case Metric::kManhattan:
      return distance;
  }
  return distance;
}

StatusOr<std::unique_ptr<VectorIndex>> VectorIndex::Create(const IndexOptions& options) {
  VECTRON_RETURN_IF_ERROR(ValidateOptions(options));
  return std::make_unique<HnswIndex>(options);
}

StatusOr<std::unique_ptr<VectorIndex>> VectorIndex::Load(const IndexOptions& options,
                                                         const std::string& path) {
  VECTRON_RETURN_IF_ERROR(ValidateOptions(options));
  auto index = std::make_unique<HnswIndex>(options);
  VECTRON_RETURN_IF_ERROR(index->Restore(path));
  return index;
}

HnswIndex::HnswIndex(const IndexOptions& options)
    : core_(options, BestKernels()),
      linker_(core_.graph, core_.live, doomed_, core_.slot_count, options.metric,
              options.ef_construction),
      consolidator_({core_.epochs, core_.graph, linker_, core_.live, doomed_,
                     [this] { return core_.MakeRepairScorer(); }, [this] { return OldestCut(); },
                     [this] { return InCuts(); }, core_.slot_count, core_.linked_count}) {}

HnswIndex::~HnswIndex() = default;

bool HnswIndex::Reserve(uint64_t slots) {
  return core_.live.Reserve(slots) && core_.labels.Reserve(slots) && doomed_.Reserve(slots) &&
         core_.vectors.Reserve(slots) && core_.graph.Reserve(slots) && core_.codes.Reserve(slots);
}

StatusOr<Slot> HnswIndex::TakeSlot() {
  {
    MutexLock lock(free_mutex_);
    if (!free_.empty()) {
      const Slot slot = free_.back();
      free_.pop_back();
      return slot;
    }
  }
  const uint64_t slot = core_.slot_count.load(std::memory_order_relaxed);
  if (slot >= core_.options.slots_max) {
    return MakeError(Reason::kOverloaded, fmt::format("the index has used all of its {} slots",
                                                      core_.options.slots_max));
  }
  if (slot % kSlotsAtOnce == 0 && !Reserve(slot + kSlotsAtOnce)) {
    return NoMemory();
  }
  return static_cast<Slot>(slot);
}

Status HnswIndex::NoMemory() const {
  return MakeError(Reason::kOverloaded,
                   fmt::format("no memory for another vector of {} dimensions beside {}",
                               core_.options.dimension, core_.live_count.load()));
}

StatusOr<Slot> HnswIndex::Put(std::span<const float> vector, uint64_t label) {
  VECTRON_RETURN_IF_ERROR(core_.space.Validate(vector, "vector"));
  VECTRON_ASSIGN_OR_RETURN(const Slot slot, TakeSlot());
  const bool is_new = slot == core_.slot_count.load(std::memory_order_relaxed);
  if (!core_.vectors.Write(slot, vector.data())) {
    if (!is_new) GiveBack({&slot, 1});
    return NoMemory();
  }
  core_.labels[slot] = label;
  core_.graph.Reset(slot);
  core_.live_count.fetch_add(1, std::memory_order_relaxed);
  core_.pending_count.fetch_add(1, std::memory_order_relaxed);
  core_.codes.Encode(slot, vector.data(), [&] {
    if (is_new) core_.slot_count.store(slot + uint64_t{1}, std::memory_order_release);
    core_.graph.AddState(slot, Graph::kUsed);
    core_.live.Set(slot);
  });
  core_.tail.Append(slot);
  return slot;
}

uint64_t HnswIndex::Label(Slot slot) const {
  VECTRON_CHECK(slot < core_.SlotCount() && core_.live.Test(slot));
  return core_.labels[slot];
}

void HnswIndex::Delete(Slot slot) {
  VECTRON_CHECK(slot < core_.SlotCount() && core_.live.Test(slot));
  core_.live.Clear(slot);
  core_.live_count.fetch_sub(1, std::memory_order_relaxed);
  // Whoever of this and LinkOne comes second sees the other's bit.
  if (!(core_.graph.AddState(slot, Graph::kDead) & Graph::kLinked)) {
    core_.pending_count.fetch_sub(1, std::memory_order_relaxed);
  }
  consolidator_.AddDead(slot, sequence_);
}

size_t HnswIndex::LinkPending(size_t count_max) {
  if (core_.options.quantization == Quantization::kSq8 && core_.tail.length() > 0) {
    core_.codes.LearnIfDue(core_.live_count.load(std::memory_order_relaxed));
  }
  ThreadScratch<LinkScratch> scratch;
  size_t count = 0;
  Tail::Claimed claimed;
  while (count < count_max && core_.tail.Claim(&claimed)) {
    LinkOne(claimed, scratch.get());
    ++count;
  }
  core_.epochs.Collect();
  core_.codes.DropOld();
  // While vectors come faster than they are linked, nobody would come to repair: the
  // dead would pile up, and with them the memory.
  const uint64_t linked_count = core_.linked_count.load(std::memory_order_relaxed);
  if (consolidator_.dead_count() * kDeadPartMax > linked_count) {
    const size_t steps = count / kLinksPerStep + 1;
    for (size_t i = 0; i < steps && Consolidate(); ++i) {
    }
  }
  return count;
}

void HnswIndex::LinkOne(const Tail::Claimed& claimed, LinkScratch* scratch) {
  const EpochManager::Guard guard = core_.epochs.Enter();
  const uint8_t state = core_.graph.State(claimed.slot);
  if (state & Graph::kDead) {
    // Nobody will ask for it.
  } else if (state & Graph::kLinked) {
    linker_.Link(core_.MakeLinkScorer(), claimed.slot, scratch);  // again: it is weak
  } else {
    linker_.Link(core_.MakeLinkScorer(), claimed.slot, scratch);
    core_.linked_count.fetch_add(1, std::memory_order_relaxed);
    if (!(core_.graph.AddState(claimed.slot, Graph::kLinked) & Graph::kDead)) {
      core_.pending_count.fetch_sub(1, std::memory_order_relaxed);
    }
  }
  core_.graph.AddState(claimed.slot, Graph::kSettled);
  core_.tail.Settle(claimed);
}

bool HnswIndex::Consolidate() {
  std::vector<Slot> freed;
  const bool worked = consolidator_.Step(&freed);
  core_.epochs.Collect();
  if (freed.empty()) return worked;
  // The lowest first: a shrunken index stays in few pages.
  std::sort(freed.begin(), freed.end(), std::greater<>());
  GiveBack(freed);
  return worked;
}

void HnswIndex::GiveBack(std::span<const Slot> slots) {
  MutexLock lock(free_mutex_);
  free_.insert(free_.end(), slots.begin(), slots.end());
}

uint64_t HnswIndex::OldestCut() const {
  MutexLock lock(cuts_->mutex);
  return cuts_->alive.empty() ? Consolidator::kNoCut : cuts_->alive.begin()->first;
}

std::function<bool(Slot slot, uint64_t sequence)> HnswIndex::InCuts() const {
  MutexLock lock(cuts_->mutex);
  return [alive = cuts_->alive](Slot slot, uint64_t sequence) {
    return std::any_of(alive.begin(), alive.upper_bound(sequence),
                       [slot](const auto& cut) { return cut.second->Live(slot); });
  };
}

StatusOr<std::vector<Hit>> HnswIndex::Search(std::span<const float> query,
                                             const SearchOptions& options) const {
  VECTRON_RETURN_IF_ERROR(core_.space.Validate(query, "query"));
  if (options.k == 0) return InvalidArgument("k is 0, not at least 1");
  ThreadScratch<SearchScratch> scratch;
  SlotFilter filter(options, core_.live);
  return Searcher(core_, *core_.options.clock, options, filter, scratch.get()).Run(query);
}

StatusOr<std::vector<std::vector<Hit>>> HnswIndex::SearchBatch(std::span<const float> queries,
                                                               const SearchOptions& options) const {
  const size_t dimension = core_.options.dimension;
  if (queries.empty() || queries.size() % dimension != 0) {
    return InvalidArgument(
        fmt::format("{} components are no queries of {} dimensions", queries.size(), dimension));
  }
  if (options.k == 0) return InvalidArgument("k is 0, not at least 1");
  for (size_t first = 0; first < queries.size(); first += dimension) {
    const std::string name = fmt::format("query {}", first / dimension);
    VECTRON_RETURN_IF_ERROR(core_.space.Validate(queries.subspan(first, dimension), name.c_str()));
  }
  ThreadScratch<SearchScratch> scratch;
  SlotFilter filter(options, core_.live);
  std::vector<std::vector<Hit>> results;
  results.reserve(queries.size() / dimension);
  for (size_t first = 0; first < queries.size(); first += dimension) {
    VECTRON_ASSIGN_OR_RETURN(auto hits,
                             Searcher(core_, *core_.options.clock, options, filter, scratch.get())
                                 .Run(queries.subspan(first, dimension)));
    results.push_back(std::move(hits));
  }
  return results;
}

StatusOr<float> HnswIndex::Distance(std::span<const float> query, Slot slot) const {
  VECTRON_RETURN_IF_ERROR(core_.space.Validate(query, "query"));
  const EpochManager::Guard guard = core_.epochs.Enter();
  if (slot >= core_.SlotCount() || !core_.live.Test(slot)) {
    return MakeError(Reason::kPointNotFound, fmt::format("slot {} holds no vector", slot));
  }
  ThreadScratch<SearchScratch> scratch;
  core_.space.Prepare(query.data(), &scratch.get()->exact_query);
  const std::byte* row = core_.vectors.Row(slot);
  float distance = 0;
  core_.space.Distances(scratch.get()->exact_query, &row, 1, &distance);
  return distance;
}

StatusOr<float> HnswIndex::Distance(std::span<const float> query,
                                    std::span<const float> vector) const {
  VECTRON_RETURN_IF_ERROR(core_.space.Validate(query, "query"));
  VECTRON_RETURN_IF_ERROR(core_.space.Validate(vector, "vector"));
  ThreadScratch<SearchScratch> scratch;
  core_.space.Prepare(query.data(), &scratch.get()->exact_query);
  const auto* row = reinterpret_cast<const std::byte*>(vector.data());
  float distance = 0;
  core_.space.Distances(scratch.get()->exact_query, &row, 1, &distance);
  return distance;
}

StatusOr<std::vector<float>> HnswIndex::GetVector(Slot slot) const {
  const EpochManager::Guard guard = core_.epochs.Enter();
  if (slot >= core_.SlotCount() || !core_.live.Test(slot)) {
    return MakeError(Reason::kPointNotFound, fmt::format("slot {} holds no vector", slot));
  }
  std::vector<float> vector;
  const float* stored = core_.vectors.Vector(slot, &vector);
  if (stored != vector.data()) vector.assign(stored, stored + vector.size());
  return vector;
}

std::unique_ptr<VectorIndex::Watermark> HnswIndex::Cut() {
  const uint64_t slot_count = core_.SlotCount();
  CheckpointCut cut{slot_count, core_.live_count.load(std::memory_order_relaxed),
                    core_.live.Copy(slot_count)};
  // Deletions of before carry a smaller number, later ones this or a greater one.
  ++sequence_;
  return std::make_unique<Cutting>(cuts_, sequence_, std::move(cut));
}

Status HnswIndex::WriteCheckpoint(const Watermark& watermark, const std::string& path,
                                  uint64_t bytes_per_second_max) const {
  const auto& cutting = static_cast<const Cutting&>(watermark);
  return CheckpointWriter(core_, cutting.cut()).Write(path, bytes_per_second_max);
}

Status HnswIndex::Restore(const std::string& path) {
  CheckpointReader reader(core_, [this](uint64_t slots) {
    return Reserve((slots + kSlotsAtOnce - 1) / kSlotsAtOnce * kSlotsAtOnce);
  });
  VECTRON_RETURN_IF_ERROR(reader.Read(path));
  for (const Slot slot : reader.dead()) consolidator_.AddDead(slot, 0);
  MutexLock lock(free_mutex_);
  free_ = reader.free();
  std::reverse(free_.begin(), free_.end());
  return OkStatus();
}

IndexStats HnswIndex::Stats() const {
  IndexStats stats;
  stats.live_count = core_.live_count.load(std::memory_order_relaxed);
  stats.deleted_count = consolidator_.dead_count();
  stats.pending_count = core_.pending_count.load(std::memory_order_relaxed);
  stats.slot_count = core_.SlotCount();
  {
    const EpochManager::Guard guard = core_.epochs.Enter();
    const CodeSet* codes = core_.codes.current();
    if (codes != nullptr) {
      stats.misled_part = codes->trust.misled_part();
      stats.cold_bytes = core_.vectors.memory_bytes();
    }
  }
  stats.memory_bytes = core_.vectors.memory_bytes() + core_.graph.memory_bytes() +
                       core_.codes.memory_bytes() + core_.live.memory_bytes() +
                       core_.labels.memory_bytes() + doomed_.memory_bytes() +
                       core_.tail.memory_bytes();
  return stats;
}

void HnswIndex::ForEachLive(const std::function<void(Slot slot, uint64_t label)>& visit) const {
  // What is deleted meanwhile keeps its label until the guard is left.
  const EpochManager::Guard guard = core_.epochs.Enter();
  core_.live.ForEachSet(core_.SlotCount(), [&](Slot slot) {
    visit(slot, core_.labels[slot]);
    return true;
  });
}

}  // namespace vectron::index
