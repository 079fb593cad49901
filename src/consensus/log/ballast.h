#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/mutex.h"
#include "consensus/log/log_file.h"

namespace vectron::consensus {

// A file that takes up room and is deleted when there is no other room left. A database
// on a disk that is really full must still write a little: the log a term and a vote when
// it starts, and the record of a collection that is dropped to make room; the stores
// their manifests when they are opened. There is one for a running process and one for
// the next start, since what is given up may be taken by somebody else. Thread-safe.
class Ballast {
 public:
  // Of a 32nd part of the reserve, at most 8 MiB; none without a reserve. Not owned.
  Ballast(const std::string& path, uint64_t reserve_bytes, LogFileSystem* file_system);

  // Gives up the room.
  void Release();
  // The same, if less than its size is free.
  void ReleaseIfFull();
  // Takes the room again, to be called when there is plenty.
  void Take();

  uint64_t size_bytes() const { return bytes_; }
  bool held() const {
    MutexLock lock(mutex_);
    return held_;
  }

 private:
  const std::string path_;
  const std::string dir_;
  const uint64_t bytes_;
  LogFileSystem* const file_system_;

  mutable Mutex mutex_;
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_unsupported_ ABSL_GUARDED_BY(mutex_) = false;  // by the file system
};

}  // namespace vectron::consensus
