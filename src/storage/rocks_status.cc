#include "storage/rocks_status.h"

#include <fmt/format.h>
#include <rocksdb/status.h>

namespace vectron::storage {
namespace {

// RocksDB has no code of its own for a lock that another process holds.
bool IsLockHeld(const rocksdb::Status& status) {
  const std::string text = status.ToString();
  return status.IsIOError() && (text.find("While lock file") != std::string::npos ||
                                text.find("lock hold by current process") != std::string::npos);
}

Reason ReasonOfRocks(const rocksdb::Status& status) {
  if (status.IsNoSpace() || status.subcode() == rocksdb::Status::kSpaceLimit)
    return Reason::kDiskFull;
  if (IsLockHeld(status)) return Reason::kUnavailable;
  switch (status.code()) {
    case rocksdb::Status::kCorruption:
      return Reason::kCorruption;
    case rocksdb::Status::kNotSupported:
      return Reason::kIncompatibleFormat;
    case rocksdb::Status::kShutdownInProgress:
      return Reason::kShuttingDown;
    case rocksdb::Status::kBusy:
    case rocksdb::Status::kTryAgain:
    case rocksdb::Status::kIncomplete:
    case rocksdb::Status::kTimedOut:
      return Reason::kUnavailable;
    default:
      return Reason::kInternal;
  }
}

}  // namespace

Status FromRocksStatus(const rocksdb::Status& status, std::string_view dir) {
  if (status.ok()) return OkStatus();
  const Reason reason = ReasonOfRocks(status);
  if (reason == Reason::kUnavailable && IsLockHeld(status)) {
    return MakeError(reason, fmt::format("the database {} is in use by another process", dir));
  }
  return MakeError(reason, fmt::format("database {}: {}", dir, status.ToString()));
}

}  // namespace vectron::storage
