#pragma once

#include <string>

#include "common/error.h"

namespace vectron::shard {

// Which of the directories below a shard's holds its state: restoring a snapshot
// makes a new one beside the present one and then changes over, by one rename. Not
// thread-safe.
class StateDirectory {
 public:
  // Made if it is missing, unless there must be a state in it. INCOMPATIBLE_FORMAT if a
  // newer version wrote it; CORRUPTION, naming what is damaged or missing.
  static StatusOr<StateDirectory> Open(const std::string& dir, bool must_exist);

  // There is no state yet: the next one is the first.
  bool is_new() const { return number_ == 0; }
  // The directory of the present state, unless is_new().
  std::string current() const { return PathOf(number_); }
  // Where the next state is to be made; there is nothing yet.
  StatusOr<std::string> PrepareNext() const;
  // Makes the next one the present one.
  Status SwitchToNext();
  // Removes what interrupted restores left. Only while the present one is open: that
  // it is, and locked, says that no other process is at work here.
  Status RemoveOthers() const;

 private:
  static StatusOr<StateDirectory> OpenWithoutCurrent(const std::string& dir,
                                                     const std::string& path, bool must_exist);
  StateDirectory(std::string dir, uint64_t number) : dir_(std::move(dir)), number_(number) {}
  std::string PathOf(uint64_t number) const;

  std::string dir_;
  uint64_t number_;
};

}  // namespace vectron::shard
