#include "consensus/log/log_note.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <vector>

#include "common/atomic_file.h"
#include "consensus/coding.h"

namespace vectron::consensus {
namespace {

constexpr std::string_view kName = "SYNCED";
constexpr std::string_view kMagic = "VECTRSYN";
constexpr uint32_t kFormat = 1;
// More than such a file ever has.
constexpr size_t kBytesMax = 4096;

}  // namespace

std::string LogNotePath(const std::string& dir) { return fmt::format("{}/{}", dir, kName); }

StatusOr<std::optional<LogPosition>> ReadLogNote(const std::string& dir,
                                                 LogFileSystem* file_system) {
  // Opening a file makes it.
  VECTRON_ASSIGN_OR_RETURN(const std::vector<std::string> names, file_system->List(dir));
  if (std::find(names.begin(), names.end(), kName) == names.end()) {
    return std::optional<LogPosition>();
  }
  const std::string path = LogNotePath(dir);
  VECTRON_ASSIGN_OR_RETURN(const std::shared_ptr<LogFile> file, file_system->Open(path));
  VECTRON_ASSIGN_OR_RETURN(const std::string content, file->Read(0, kBytesMax));
  VECTRON_ASSIGN_OR_RETURN(const std::string_view payload,
                           UnwrapChecked(kMagic, kFormat, content, path));
  Reader reader(payload);
  LogPosition synced;
  synced.segment = reader.Fixed64();
  synced.offset = reader.Fixed64();
  if (!reader.ok() || reader.remaining() > 0 || synced.segment == 0) {
    return Corruption(fmt::format("{} is malformed", path));
  }
  return std::optional(synced);
}

Status WriteLogNote(const std::string& dir, LogPosition synced, LogFileSystem* file_system) {
  std::string payload;
  PutFixed64(synced.segment, &payload);
  PutFixed64(synced.offset, &payload);
  return file_system->Replace(LogNotePath(dir), WrapWithChecksum(kMagic, kFormat, payload));
}

}  // namespace vectron::consensus
