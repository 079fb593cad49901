#include "shard/state_directory.h"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>
#include <optional>
#include <string_view>

#include "common/atomic_file.h"
#include "storage/files.h"

namespace vectron::shard {
namespace {

constexpr std::string_view kCurrentFile = "CURRENT";
constexpr std::string_view kMagic = "VTRNSHRD";
constexpr uint32_t kFormat = 1;
constexpr std::string_view kStatePrefix = "state-";

Status WriteCurrent(const std::string& dir, uint64_t number) {
  return WriteFileAtomically(fmt::format("{}/{}", dir, kCurrentFile),
                             WrapWithChecksum(kMagic, kFormat, std::to_string(number)));
}

bool Exists(const std::string& path) {
  std::error_code error;
  // What cannot be looked at is met again, with a better error.
  return std::filesystem::exists(path, error) || error;
}

}  // namespace

std::string StateDirectory::PathOf(uint64_t number) const {
  return fmt::format("{}/{}{}", dir_, kStatePrefix, number);
}

StatusOr<StateDirectory> StateDirectory::Open(const std::string& dir, bool must_exist) {
  if (must_exist && !Exists(dir)) {
    return Corruption(fmt::format("{} is missing, but the raft log is of a shard in it", dir));
  }
  VECTRON_RETURN_IF_ERROR(MakeDirectories(dir));
  const std::string path = fmt::format("{}/{}", dir, kCurrentFile);
  VECTRON_ASSIGN_OR_RETURN(const std::optional<std::string> file, ReadWholeFile(path));
  if (!file.has_value()) return OpenWithoutCurrent(dir, path, must_exist);
  VECTRON_ASSIGN_OR_RETURN(const std::string_view text,
                           UnwrapChecked(kMagic, kFormat, *file, path));
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Corruption(fmt::format("{} is malformed", path));
  }
  StateDirectory directory(dir, number);
  if (directory.is_new() && must_exist) {
    return Corruption(fmt::format("{} names no state, but the raft log is of one", path));
  }
  if (!directory.is_new() && !Exists(directory.current())) {
    return Corruption(fmt::format("{} is missing, but {} names it", directory.current(), path));
  }
  return directory;
}

StatusOr<StateDirectory> StateDirectory::OpenWithoutCurrent(const std::string& dir,
                                                            const std::string& path,
                                                            bool must_exist) {
  VECTRON_ASSIGN_OR_RETURN(const auto names, storage::ListDirectory(dir));
  for (const std::string& name : names) {
    if (name.starts_with(kStatePrefix)) {
      return Corruption(fmt::format("{} is missing, but there is {}/{}", path, dir, name));
    }
  }
  if (must_exist) {
    return Corruption(fmt::format("{} is missing, but the raft log is of a shard there", path));
  }
  // Said in so many words, so that a state which is missing later is seen to be.
  VECTRON_RETURN_IF_ERROR(WriteCurrent(dir, 0));
  return StateDirectory(dir, 0);
}

StatusOr<std::string> StateDirectory::PrepareNext() const {
  const std::string next = PathOf(number_ + 1);
  VECTRON_RETURN_IF_ERROR(storage::RemoveTree(next));
  return next;
}

Status StateDirectory::SwitchToNext() {
  VECTRON_RETURN_IF_ERROR(storage::SyncDirectory(dir_));
  VECTRON_RETURN_IF_ERROR(WriteCurrent(dir_, number_ + 1));
  ++number_;
  return OkStatus();
}

Status StateDirectory::RemoveOthers() const {
  VECTRON_ASSIGN_OR_RETURN(const auto names, storage::ListDirectory(dir_));
  for (const std::string& name : names) {
    const std::string path = dir_ + "/" + name;
    if (name.starts_with(kStatePrefix) && path != current()) {
      VECTRON_RETURN_IF_ERROR(storage::RemoveTree(path));
    }
  }
  return OkStatus();
}

}  // namespace vectron::shard
