#pragma once

#include <memory>
#include <string>

#include "common/error.h"

namespace vectron::cmd {

// The directory that holds everything a process keeps:
//
//   LOCK        locked while a process uses the directory; holds its pid
//   FORMAT      the version of all that is below
//   ports.json  pid and addresses of the process that runs (made anew each time)
//   raft/       the log of all Raft groups
//   placement/  the placement driver's state
//   shards/     one directory a shard: its store and its index's checkpoints
//
// Not thread-safe.
class DataDir {
 public:
  // Makes the directory if it is missing, and takes its lock, which lasts as long
  // as the object. Errors: DataDirInUse (below), INCOMPATIBLE_FORMAT, CORRUPTION,
  // INVALID_ARGUMENT when it holds something else than Vectron's data.
  static StatusOr<std::unique_ptr<DataDir>> Open(const std::string& path);
  ~DataDir();
  DataDir(const DataDir&) = delete;
  DataDir& operator=(const DataDir&) = delete;

  const std::string& path() const { return path_; }
  std::string raft_path() const { return path_ + "/raft"; }
  std::string placement_path() const { return path_ + "/placement"; }
  std::string shards_path() const { return path_ + "/shards"; }

  // Writes `json` to ports.json, atomically.
  Status WritePorts(const std::string& json);

 private:
  DataDir(std::string path, int lock_fd) : path_(std::move(path)), lock_fd_(lock_fd) {}

  const std::string path_;  // absolute
  const int lock_fd_;
};

// Whether `status` says that another process has the data directory.
bool IsDataDirInUse(const Status& status);

}  // namespace vectron::cmd
