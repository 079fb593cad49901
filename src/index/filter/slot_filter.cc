#include "index/filter/slot_filter.h"

#include <algorithm>

namespace vectron::index {
namespace {

// Slots asked about to know what part passes.
constexpr size_t kEstimateSample = 32;

}  // namespace

SlotFilter::SlotFilter(const SearchOptions& options, const SlotBitmap& live)
    : live_(live),
      slots_(options.filter_slots),
      predicate_(options.filter ? &options.filter : nullptr),
      count_(options.filter_count) {
  if (slots_ == nullptr) return;
  const roaring_array_t& containers = slots_->high_low_container;
  if (containers.size > 0) blocks_.resize(containers.keys[containers.size - 1] + size_t{1});
  for (int32_t i = 0; i < containers.size; ++i) {
    Block& block = blocks_[containers.keys[i]];
    block.type = containers.typecodes[i];
    block.container = container_unwrap_shared(containers.containers[i], &block.type);
  }
}

void SlotFilter::SpreadOut(Block* block) {
  spread_out_.emplace_back(
      block->type == ARRAY_CONTAINER_TYPE_CODE
          ? bitset_container_from_array(static_cast<const array_container_t*>(block->container))
          : bitset_container_from_run(static_cast<const run_container_t*>(block->container)));
  if (spread_out_.back() == nullptr) return;  // no memory: it stays as it is
  block->container = spread_out_.back().get();
  block->type = BITSET_CONTAINER_TYPE_CODE;
}

uint64_t SlotFilter::EstimateCount(uint64_t slot_count, uint64_t live_count) {
  if (!count_.has_value()) {
    const uint64_t all = slots_ != nullptr ? roaring_bitmap_get_cardinality(slots_) : live_count;
    if (predicate_ == nullptr) {
      count_ = all;
    } else {
      std::vector<Slot> passed;
      constexpr uint64_t kTries = kEstimateSample * kTriesFactor;
      const size_t asked = slots_ != nullptr
                               ? SampleListed(slot_count, kEstimateSample, kTries, &passed)
                               : SampleLive(slot_count, kEstimateSample, kTries, &passed);
      count_ = asked > 0 ? all * passed.size() / asked : 0;
    }
  }
  return std::min(*count_, live_count);
}

void SlotFilter::Sample(uint64_t slot_count, size_t count, uint64_t tries,
                        std::vector<Slot>* slots) {
  slots->clear();
  if (slots_ != nullptr) {
    SampleListed(slot_count, count, tries, slots);
  } else {
    SampleLive(slot_count, count, tries, slots);
  }
}

// What follows a random place of a random container. The same places from one search
// to the next: a search repeated gives the same.
size_t SlotFilter::SampleListed(uint64_t slot_count, size_t count, uint64_t tries,
                                std::vector<Slot>* slots) {
  const roaring_array_t& containers = slots_->high_low_container;
  if (containers.size == 0) return 0;
  Random random(slot_count);
  roaring_uint32_iterator_t iterator;
  roaring_init_iterator(slots_, &iterator);
  size_t asked = 0;
  for (uint64_t i = 0; i < tries && slots->size() < count; ++i) {
    const uint64_t container = random.Below(static_cast<uint64_t>(containers.size));
    const auto from = static_cast<uint32_t>(uint32_t{containers.keys[container]} << 16 |
                                            (random.Next() & 0xffff));
    if (!roaring_move_uint32_iterator_equalorlarger(&iterator, from)) continue;
    const Slot slot = iterator.current_value;
    ++asked;
    if (slot < slot_count && Passes(slot)) slots->push_back(slot);
  }
  return asked;
}

// Each of the first at a place of its own; of more, some one after the other, of which asking costs
// a predicate less.
size_t SlotFilter::SampleLive(uint64_t slot_count, size_t count, uint64_t tries,
                              std::vector<Slot>* slots) {
  constexpr uint64_t kAlone = 1024;
  constexpr uint64_t kRun = 64;
  if (slot_count == 0) return 0;
  Random random(slot_count);
  size_t asked = 0;
  uint64_t place = 0;
  for (uint64_t i = 0; i < tries && slots->size() < count; ++i) {
    place = i < kAlone || i % kRun == 0 ? random.Below(slot_count) : (place + 1) % slot_count;
    const auto slot = static_cast<Slot>(place);
    if (!live_.Test(slot)) continue;
    ++asked;
    if (Passes(slot)) slots->push_back(slot);
  }
  return asked;
}

}  // namespace vectron::index
