#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace vectron::index {

// Which slots a walk has met: one bit each, and a log of the words that were
// touched, so that clearing costs what was set. Not thread-safe.
class VisitedSet {
 public:
  // Empty, for slots below `slots`.
  void Reset(size_t slots) {
    if (touched_.size() > words_.size() / 8) {
      words_.assign(words_.size(), 0);
    } else {
      for (const uint32_t word : touched_) words_[word] = 0;
    }
    touched_.clear();
    if (words_.size() < (slots + 63) / 64) words_.resize((slots + 63) / 64);
  }

  bool Contains(uint32_t slot) const { return (words_[slot >> 6] >> (slot & 63)) & 1; }

  // True the first time. `slot` is below the size of Reset.
  bool Insert(uint32_t slot) {
    uint64_t& word = words_[slot >> 6];
    const uint64_t bit = uint64_t{1} << (slot & 63);
    if (word & bit) return false;
    if (word == 0) touched_.push_back(slot >> 6);
    word |= bit;
    return true;
  }

 private:
  std::vector<uint64_t> words_;
  std::vector<uint32_t> touched_;
};

}  // namespace vectron::index
