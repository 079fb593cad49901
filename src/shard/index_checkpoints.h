#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/error.h"
#include "common/ids.h"
#include "shard/point_index.h"

namespace vectron::shard {

// The checkpoints of a shard's index on disk: one directory for each, named by the
// log index that it contains, made beside and renamed when it is complete. Not
// thread-safe.
class IndexCheckpoints {
 public:
  explicit IndexCheckpoints(std::string dir) : dir_(std::move(dir)) {}

  struct Loaded {
    std::unique_ptr<PointIndex> index;
    LogIndex applied;
  };
  // The newest checkpoint, not newer than `applied_max`, that is intact; damaged
  // ones are reported to the log and passed over. Removes what a crash left half
  // done. Fails only if the directory cannot be read.
  StatusOr<std::optional<Loaded>> Load(const Schema& schema, ReaderGate* gate,
                                       LogIndex applied_max);

  // Writes `cut`, which contains the log up to `applied`, and removes all others.
  Status Write(const PointIndex& index, const PointIndex::Cut& cut, LogIndex applied,
               uint64_t bytes_per_second_max);

  // The newest checkpoint is that of `applied` too: nothing changed since.
  Status Advance(LogIndex from, LogIndex applied);

 private:
  std::string PathOf(LogIndex applied) const;
  // Complete ones, newest first; what is not complete is removed.
  StatusOr<std::vector<LogIndex>> List();
  Status Publish(const std::string& temporary, LogIndex applied, std::vector<std::string> files);
  Status RemoveAllBut(LogIndex applied);

  const std::string dir_;
};

}  // namespace vectron::shard
