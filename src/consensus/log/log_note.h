#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>

#include "common/error.h"
#include "consensus/log/log_file.h"

namespace vectron::consensus {

// A place in the log, between two records.
struct LogPosition {
  uint64_t segment = 0;
  uint64_t offset = 0;

  auto operator<=>(const LogPosition&) const = default;
};

// What lies beside the log's segments and says up to where at least they were synced, so
// that it is noticed when the end of the log, which nothing follows, is not there any more.
// It lags behind: it is written when a segment begins, when a log was opened and when it
// is closed, never for a record.
std::string LogNotePath(const std::string& dir);

// nullopt if there is none. CORRUPTION and INCOMPATIBLE_FORMAT name the file.
StatusOr<std::optional<LogPosition>> ReadLogNote(const std::string& dir,
                                                 LogFileSystem* file_system);

// Replaces it; it lasts when this returns OK.
Status WriteLogNote(const std::string& dir, LogPosition synced, LogFileSystem* file_system);

}  // namespace vectron::consensus
