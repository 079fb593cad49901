#include "index/graph/graph.h"

#include <sched.h>

#include <bit>

#include "common/check.h"
#include "common/random.h"

namespace vectron::index {
namespace {

uint64_t Pack(Graph::Entry entry) { return static_cast<uint64_t>(entry.level) << 32 | entry.slot; }

size_t RoundUpToLine(size_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

Graph::Graph(uint32_t m, uint64_t seed)
    : m_(m),
      seed_(seed),
      base_(RoundUpToLine(2 * m * sizeof(Slot))),
      upper_(m * sizeof(Slot)),
      entry_(Pack({})) {}

bool Graph::Reserve(uint64_t slots) {
  if (!base_.Reserve(slots) || !state_.Reserve(slots)) return false;
  while (group_count_ * kGroupSlots < slots) {
    if (!AddUpperGroup()) return false;
  }
  return true;
}

bool Graph::AddUpperGroup() {
  UpperGroup group{.first_block = block_count_};
  uint64_t end = block_count_;
  for (uint64_t i = 0; i < kGroupSlots; ++i) {
    const int level = LevelOf(static_cast<Slot>(group_count_ * kGroupSlots + i));
    if (level >= 1) group.upper |= uint64_t{1} << i;
    if (level >= 2) group.high |= uint64_t{1} << i;
    end += static_cast<uint64_t>(level);
  }
  if (!upper_.Reserve(end) || !upper_groups_.Reserve(group_count_ + 1)) return false;
  upper_groups_[group_count_] = group;
  ++group_count_;
  block_count_ = end;
  return true;
}

uint64_t Graph::UpperBlock(Slot slot, int level) const {
  const UpperGroup& group = upper_groups_[slot / kGroupSlots];
  const uint64_t before = (uint64_t{1} << (slot % kGroupSlots)) - 1;
  if (level == 1) {
    return group.first_block + static_cast<uint64_t>(std::popcount(group.upper & before));
  }
  const Slot start = slot - slot % kGroupSlots;
  uint64_t block = group.first_block + static_cast<uint64_t>(std::popcount(group.upper));
  for (uint64_t bits = group.high & before; bits != 0; bits &= bits - 1) {
    block += static_cast<uint64_t>(LevelOf(start + static_cast<Slot>(std::countr_zero(bits))) - 1);
  }
  return block + static_cast<uint64_t>(level - 2);
}

void Graph::Reset(Slot slot) {
  for (int level = 0; level <= LevelOf(slot); ++level) SetLinks(slot, level, {});
  state_[slot].store(0, std::memory_order_relaxed);
}

// Each layer keeps one in m of the one below (the paper's mL = 1/ln(m)).
int Graph::LevelOf(Slot slot) const {
  const uint64_t draw = Random(seed_ * 0x9e3779b97f4a7c15u + slot).Next();
  uint64_t threshold = ~uint64_t{0} / m_;
  int level = 0;
  while (draw < threshold && level < kLevelMax) {
    ++level;
    threshold /= m_;
  }
  return level;
}

void Graph::SetLinks(Slot slot, int level, const std::vector<Slot>& neighbours) {
  VECTRON_CHECK(neighbours.size() <= degree_max(level));
  std::atomic<Slot>* links = Links(slot, level);
  for (size_t i = 0; i < degree_max(level); ++i) {
    links[i].store(i < neighbours.size() ? neighbours[i] : kNoSlot, std::memory_order_release);
  }
}

void Graph::CopyLinks(Slot slot, int level, std::vector<Slot>* neighbours) const {
  neighbours->clear();
  ForEachLink(slot, level, [&](Slot neighbour) { neighbours->push_back(neighbour); });
}

Graph::Entry Graph::entry() const {
  const uint64_t packed = entry_.load(std::memory_order_acquire);
  return {static_cast<Slot>(packed), static_cast<int>(packed >> 32)};
}

void Graph::set_entry(Entry entry) { entry_.store(Pack(entry), std::memory_order_release); }

bool Graph::ReplaceEntry(Entry expected, Entry entry) {
  uint64_t packed = Pack(expected);
  return entry_.compare_exchange_strong(packed, Pack(entry));
}

Graph::NodeLock::NodeLock(Graph& graph, Slot slot) : state_(graph.state_[slot]) {
  constexpr int kSpinsMax = 64;
  int spins = 0;
  while (state_.fetch_or(kLocked, std::memory_order_acquire) & kLocked) {
    // The holder may have been preempted.
    if (++spins > kSpinsMax) sched_yield();
  }
}

Graph::NodeLock::~NodeLock() {
  state_.fetch_and(static_cast<uint8_t>(~kLocked), std::memory_order_release);
}

uint64_t Graph::memory_bytes() const {
  return base_.memory_bytes() + upper_.memory_bytes() + upper_groups_.memory_bytes() +
         state_.memory_bytes();
}

}  // namespace vectron::index
