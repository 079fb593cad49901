#include "index/code_store.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "common/random.h"

namespace vectron::index {
namespace {

constexpr uint64_t kSampleMax = 16'384;
// Ranges of fewer vectors say little about the next ones: so few are walked on
// their floats.
constexpr uint64_t kLearnMin = 1024;
// Until ranges come from a full sample, they are learnt again when the index
// has grown by this factor.
constexpr uint64_t kGrowth = 4;
// Ranges are outdated when this part of the components does not fit.
constexpr uint64_t kMisfitPart = 100;
constexpr uint64_t kEncodedMin = 256;
// Only what was encoded lately tells about what comes: beyond this, counts are halved.
constexpr uint64_t kEncodedMax = 8192;
// Codes that mislead more than this part of the operations are learnt anew at every doubling, and
// whenever as many vectors have come as there are: these may be of a narrower range, and fit.
constexpr double kMisledMax = 0.5;
// Codes that hide a vector are learnt anew at once, but some data (sparse ones, say) could ask for
// it all the time: after so many times, only when the index has grown by this part.
constexpr uint32_t kHidingLearntMax = 64;
constexpr uint64_t kHidingGrowthPart = 16;
constexpr uint64_t kSlotsPerGuard = 1024;

}  // namespace

CodeStore::CodeStore(const VectorSpace& space, const Graph& graph, EpochManager& epochs,
                     const std::atomic<uint64_t>& slot_count)
    : space_(space), graph_(graph), epochs_(epochs), slot_count_(slot_count) {}

bool CodeStore::Reserve(uint64_t slots) {
  MutexLock lock(mutex_);
  for (Generation& generation : generations_) {
    if (!generation.set->codes.Reserve(slots)) return false;
  }
  reserved_ = std::max(reserved_, slots);
  return true;
}

bool CodeStore::Restore(Sq8Quantizer quantizer, uint64_t sample_count, uint64_t slots) {
  auto set = std::make_shared<CodeSet>(std::move(quantizer), sample_count, slots);
  if (!set->codes.Reserve(slots)) return false;
  MutexLock lock(mutex_);
  reserved_ = slots;
  generations_.push_back({set});
  current_.store(set.get(), std::memory_order_release);
  return true;
}

size_t CodeStore::RestoreCode(Slot slot, const float* vector) {
  CodeSet* set = current_.load(std::memory_order_acquire);
  return set != nullptr ? EncodeRow(*set, slot, vector) : 0;
}

bool CodeStore::RestoreExact(Slot slot, const uint8_t* values) {
  const CodeSet* set = current_.load(std::memory_order_acquire);
  if (set == nullptr || !set->quantizer.integral()) return false;
  uint8_t* code = set->Row(slot);
  std::memcpy(code, values, space_.dimension());
  std::memset(code + space_.dimension(), 0, set->quantizer.padded_bytes() - space_.dimension());
  return true;
}

void CodeStore::FinishRestore(uint64_t encoded_count, uint64_t misfit_count) {
  CodeSet* set = current_.load(std::memory_order_acquire);
  if (set == nullptr || encoded_count == 0) return;
  // As if they had come lately.
  const uint64_t counted = std::min(encoded_count, kEncodedMax);
  const double part = static_cast<double>(counted) / static_cast<double>(encoded_count);
  set->encoded_count.store(counted, std::memory_order_relaxed);
  if (misfit_count == 0) return;
  CountMisfits(*set, static_cast<size_t>(std::ceil(static_cast<double>(misfit_count) * part)));
}

void CodeStore::LearnIfDue(uint64_t live_count) {
  if (!IsDue(live_count)) return;
  if (current() == nullptr) {
    learning_.Lock();
  } else if (!learning_.TryLock()) {
    return;
  }
  // Another thread may just have done it.
  if (IsDue(live_count)) Learn();
  learning_.Unlock();
}

bool CodeStore::IsDue(uint64_t live_count) const {
  const EpochManager::Guard guard = epochs_.Enter();
  const CodeSet* set = current();
  if (set == nullptr) return live_count >= kLearnMin;
  const uint64_t encoded = set->encoded_count.load(std::memory_order_relaxed);
  const uint64_t misfits = set->misfit_count.load(std::memory_order_relaxed);
  if (encoded >= kEncodedMin && misfits * kMisfitPart > encoded * space_.dimension()) return true;
  if (set->hides.load(std::memory_order_relaxed)) {
    return live_count >= set->slot_count + set->slot_count / kHidingGrowthPart ||
           hiding_learnt_.load(std::memory_order_relaxed) < kHidingLearntMax;
  }
  // Codes that lose nothing cannot be bettered.
  if (set->quantizer.integral()) return false;
  if (set->trust.misled_part() > kMisledMax) {
    if (live_count >= set->slot_count * 2) return true;
    if (set->encoded_since.load(std::memory_order_relaxed) >= live_count) return true;
  }
  return set->sample_count < kSampleMax && live_count >= set->sample_count * kGrowth;
}

void CodeStore::Learn() {
  if (const CodeSet* old = current();
      old != nullptr && old->hides.load(std::memory_order_relaxed)) {
    hiding_learnt_.fetch_add(1, std::memory_order_relaxed);
  }
  std::shared_ptr<CodeSet> set;
  {
    // What the sample holds must not be overwritten meanwhile.
    const EpochManager::Guard guard = epochs_.Enter();
    const std::vector<Slot> sample = SampleSlots();
    std::vector<float> scratch;
    if (sample.empty()) return;
    set = std::make_shared<CodeSet>(Sq8Quantizer::Learn(
                                        space_.metric(), space_.dimension(), sample.size(),
                                        [&](size_t i, float* row) {
                                          space_.Normalize(
                                              space_.vectors().Vector(sample[i], &scratch), row);
                                        },
                                        space_.kernels()),
                                    sample.size(), slot_count_.load(std::memory_order_acquire));
  }
  uint64_t slots = 0;
  {
    MutexLock lock(mutex_);
    // Without memory for new codes the old ones go on.
    if (!set->codes.Reserve(reserved_)) return;
    generations_.push_back({set});
    slots = slot_count_.load(std::memory_order_acquire);
  }
  EncodeAll(*set, slots);
  // Counted from here: how what comes fits what was learnt.
  set->encoded_count.store(0, std::memory_order_relaxed);
  set->misfit_count.store(0, std::memory_order_relaxed);
  set->encoded_since.store(0, std::memory_order_relaxed);

  MutexLock lock(mutex_);
  current_.store(set.get(), std::memory_order_release);
  const uint64_t epoch = epochs_.Advance();
  for (Generation& generation : generations_) {
    if (generation.set != set && generation.unused_after == 0) generation.unused_after = epoch;
  }
  DropUnused();
}

// All for dot, where ranges must hold all. Else evenly spread over what is there; pseudo-random
// within each part, so that an order in the data does not matter.
std::vector<Slot> CodeStore::SampleSlots() const {
  const uint64_t slots = slot_count_.load(std::memory_order_acquire);
  const uint64_t tries = space_.metric() == Metric::kDot ? slots : std::min(slots, kSampleMax);
  std::vector<Slot> sample;
  Random random(slots);
  for (uint64_t i = 0; i < tries; ++i) {
    const uint64_t first = slots * i / tries;
    const uint64_t last = slots * (i + 1) / tries;
    const auto slot = static_cast<Slot>(first + random.Below(last - first));
    if (graph_.State(slot) & Graph::kUsed) sample.push_back(slot);
  }
  return sample;
}

size_t CodeStore::EncodeRow(CodeSet& set, Slot slot, const float* vector) const {
  if (space_.metric() != Metric::kCosine) return set.quantizer.Encode(vector, set.Row(slot));
  thread_local std::vector<float> normal;
  normal.resize(space_.dimension());
  space_.Normalize(vector, normal.data());
  return set.quantizer.Encode(normal.data(), set.Row(slot));
}

void CodeStore::EncodeInto(CodeSet& set, Slot slot, const float* vector) const {
  const size_t misfits = EncodeRow(set, slot, vector);
  set.encoded_since.fetch_add(1, std::memory_order_relaxed);
  if (set.encoded_count.fetch_add(1, std::memory_order_relaxed) >= kEncodedMax) {
    set.encoded_count.store(kEncodedMax / 2, std::memory_order_relaxed);
    set.misfit_count.store(set.misfit_count.load(std::memory_order_relaxed) / 2,
                           std::memory_order_relaxed);
  }
  if (misfits > 0) CountMisfits(set, misfits);
}

void CodeStore::CountMisfits(CodeSet& set, size_t misfits) const {
  set.misfit_count.fetch_add(misfits, std::memory_order_relaxed);
  set.lossless.store(false, std::memory_order_relaxed);
  if (space_.metric() == Metric::kDot) set.hides.store(true, std::memory_order_relaxed);
}

// Whatever was visible when the generation began. What came since was encoded
// when it was put; that a slot is encoded here again is harmless, as nobody
// reads this generation yet.
void CodeStore::EncodeAll(CodeSet& set, uint64_t slots) const {
  std::vector<float> scratch;
  for (uint64_t first = 0; first < slots; first += kSlotsPerGuard) {
    // A used slot is not given to another vector while the guard is held.
    const EpochManager::Guard guard = epochs_.Enter();
    for (uint64_t i = first; i < std::min(slots, first + kSlotsPerGuard); ++i) {
      const auto slot = static_cast<Slot>(i);
      if (!(graph_.State(slot) & Graph::kUsed)) continue;
      EncodeInto(set, slot, space_.vectors().Vector(slot, &scratch));
    }
  }
}

void CodeStore::DropOld() {
  MutexLock lock(mutex_);
  if (generations_.size() > 1) DropUnused();
}

void CodeStore::DropUnused() {
  std::erase_if(generations_, [&](const Generation& generation) {
    return generation.unused_after != 0 && epochs_.Passed(generation.unused_after);
  });
}

uint64_t CodeStore::memory_bytes() const {
  MutexLock lock(mutex_);
  uint64_t bytes = 0;
  for (const Generation& generation : generations_) bytes += generation.set->codes.memory_bytes();
  return bytes;
}

}  // namespace vectron::index
