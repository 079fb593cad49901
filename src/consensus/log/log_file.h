#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"

// The little of a file system that the log needs, so that a test can cut its
// power and fill it up.

namespace vectron::consensus {

// Append and Truncate by one thread at a time; Read by any, of what was appended.
class LogFile {
 public:
  virtual ~LogFile() = default;

  // DISK_FULL or INTERNAL; a part may have been written.
  virtual Status Append(std::span<const std::string_view> parts) = 0;
  // What was appended survives a loss of power. After an error, of any kind, nothing is
  // known of what was appended since the last sync, nor does another sync tell.
  virtual Status Sync() = 0;
  virtual Status Truncate(uint64_t size) = 0;
  // Fewer than `size` bytes only at the end of the file.
  virtual StatusOr<std::string> Read(uint64_t offset, size_t size) const = 0;
  virtual uint64_t size() const = 0;
};

// Thread-safe.
class LogFileSystem {
 public:
  virtual ~LogFileSystem() = default;

  // With its parents, all of which last; nothing if it is there.
  virtual Status CreateDir(const std::string& dir) = 0;
  // Names, unsorted.
  virtual StatusOr<std::vector<std::string>> List(const std::string& dir) = 0;
  // Opens a file to append to; creates it if it is not there.
  virtual StatusOr<std::shared_ptr<LogFile>> Open(const std::string& path) = 0;
  virtual Status Remove(const std::string& path) = 0;
  // In one directory; replaces a file of that name. Lasts after SyncDir.
  virtual Status Rename(const std::string& from, const std::string& to) = 0;
  // Makes `content` all that a small file holds: after a loss of power it has the old
  // content or the new one, and the new one once this has returned OK.
  virtual Status Replace(const std::string& path, const std::string& content) = 0;
  // Creates a file for which so much room is taken, without writing it. DISK_FULL,
  // UNSUPPORTED; then there is none.
  virtual Status Allocate(const std::string& path, uint64_t bytes) = 0;
  // Files created and removed in `dir` stay so.
  virtual Status SyncDir(const std::string& dir) = 0;
  // Room for unprivileged writers on the file system of `dir`, and its size.
  struct Space {
    uint64_t free_bytes = 0;
    uint64_t total_bytes = 0;
  };
  virtual StatusOr<Space> GetSpace(const std::string& dir) = 0;
};

// The machine's; lives as long as the process.
LogFileSystem& SystemLogFileSystem();

}  // namespace vectron::consensus
