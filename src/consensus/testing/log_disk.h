#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/mutex.h"
#include "consensus/log/log_file.h"

namespace vectron::testing {

// A disk in memory that can run full, lose power and decay: for tests of the log.
// Thread-safe. Files that are open stay readable after they are removed.
class LogDisk : public consensus::LogFileSystem {
 public:
  LogDisk();
  ~LogDisk() override;

  Status CreateDir(const std::string& dir) override;
  StatusOr<std::vector<std::string>> List(const std::string& dir) override;
  StatusOr<std::shared_ptr<consensus::LogFile>> Open(const std::string& path) override;
  Status Remove(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Replace(const std::string& path, const std::string& content) override;
  Status Allocate(const std::string& path, uint64_t bytes) override;
  Status SyncDir(const std::string& dir) override;
  StatusOr<Space> GetSpace(const std::string& dir) override;

  // Bytes that may still be written.
  void SetRoom(uint64_t bytes);
  void FailSyncs(bool fail, Reason reason = Reason::kInternal);
  void FailTruncations(bool fail);
  // After so many more calls that change something every further one fails.
  void FailAfter(uint64_t changes);
  // The disk as it is found after the power went: of what was not synced, the first
  // `keep_percent` are there.
  std::unique_ptr<LogDisk> AfterPowerLoss(int keep_percent) const;
  // What else a file system may do to what was not synced.
  struct PowerLoss {
    int keep_percent = 0;
    // What is lost reads as zeros, in whole sectors, instead of being cut off.
    bool keep_sizes = false;
    // As that, but the last bytes are kept instead of the first.
    bool keep_last = false;
    // Files that were made and whose directory was not synced since are there.
    bool keep_names = true;
  };
  std::unique_ptr<LogDisk> AfterPowerLoss(const PowerLoss& loss) const;

  // Paths, sorted.
  std::vector<std::string> Files() const;
  uint64_t SizeOf(const std::string& path) const;
  void Cut(const std::string& path, uint64_t size);
  void Flip(const std::string& path, uint64_t offset);
  void Overwrite(const std::string& path, uint64_t offset, const std::string& bytes);

  using Image = std::map<std::string, std::string>;
  Image Copy() const;
  void Restore(const Image& image);

 private:
  struct Content {
    std::string bytes;
    size_t synced = 0;
    bool is_name_synced = false;
    uint64_t allocated_bytes = 0;  // room taken, not stored: of Allocate
  };
  struct State {
    mutable Mutex mutex;
    std::map<std::string, std::shared_ptr<Content>> files ABSL_GUARDED_BY(mutex);
    uint64_t room ABSL_GUARDED_BY(mutex) = UINT64_MAX;
    Status sync_error ABSL_GUARDED_BY(mutex);
    bool fail_truncations ABSL_GUARDED_BY(mutex) = false;
    uint64_t changes_left ABSL_GUARDED_BY(mutex) = UINT64_MAX;

    // Of every call that changes something.
    Status CountChange() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  };
  class File;

  const std::shared_ptr<State> state_;
};

}  // namespace vectron::testing
