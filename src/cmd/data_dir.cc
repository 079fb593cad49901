#include "cmd/data_dir.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <vector>

#include "common/atomic_file.h"

namespace vectron::cmd {
namespace {

namespace fs = std::filesystem;

constexpr int kFormatVersion = 1;
constexpr std::string_view kFormatPrefix = "vectron data, format ";

Status SystemError(const std::string& path, std::string_view what, int error) {
  const std::string message = fmt::format("{}: {}: {}", path, what, std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) return MakeError(Reason::kDiskFull, message);
  return MakeError(Reason::kUnavailable, message);
}

// Takes the lock or says who has it. The file stays when the process ends: its
// lock, not its presence, is what counts.
StatusOr<int> TakeLock(const std::string& dir) {
  const std::string path = dir + "/LOCK";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return SystemError(path, "cannot open", errno);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    close(fd);
    if (error != EWOULDBLOCK) return SystemError(path, "cannot lock", error);
    const auto holder = ReadWholeFile(path);
    std::string_view pid = holder.ok() && holder->has_value() ? **holder : std::string_view();
    while (!pid.empty() && pid.back() == '\n') pid.remove_suffix(1);
    return absl::AlreadyExistsError(
        fmt::format("{} is in use by another process, pid {}; stop that one first, or choose "
                    "another directory with --data-dir",
                    dir, pid.empty() ? "unknown" : pid));
  }
  // Written first and cut then, so that a full disk is asked for no new block. It only
  // informs: without room for it the lock counts all the same.
  const std::string pid = fmt::format("{}\n", getpid());
  const bool written = pwrite(fd, pid.data(), pid.size(), 0) >= 0;
  const bool is_full = !written && (errno == ENOSPC || errno == EDQUOT);
  if ((!written && !is_full) || ftruncate(fd, written ? static_cast<off_t>(pid.size()) : 0) != 0) {
    const int error = errno;
    close(fd);
    return SystemError(path, "cannot write", error);
  }
  return fd;
}

Status CheckFormat(const std::string& dir) {
  const std::string path = dir + "/FORMAT";
  VECTRON_ASSIGN_OR_RETURN(const auto text, ReadWholeFile(path));
  std::string_view rest = text.has_value() ? *text : std::string_view();
  int version = 0;
  if (rest.substr(0, kFormatPrefix.size()) != kFormatPrefix) {
    return Corruption(fmt::format("{}: does not begin with '{}'", path, kFormatPrefix));
  }
  rest.remove_prefix(kFormatPrefix.size());
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), version);
  if (error != std::errc() || version < 1 ||
      std::string_view(end, rest.data() + rest.size() - end) != "\n") {
    return Corruption(fmt::format("{}: the format's number is malformed", path));
  }
  if (version > kFormatVersion) {
    return MakeError(Reason::kIncompatibleFormat,
                     fmt::format("{}: the data have format {}, written by a newer version of "
                                 "vectron; this one reads formats up to {}",
                                 path, version, kFormatVersion));
  }
  return OkStatus();
}

// Whether the directory holds nothing yet, apart from our lock and what a fresh
// file system has. Somebody else's files are an error.
StatusOr<bool> IsFresh(const std::string& dir) {
  std::error_code error;
  bool has_format = false;
  std::vector<std::string> ours;
  std::string stranger;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    if (name == "FORMAT") has_format = true;
    if (name == "placement" || name == "raft" || name == "shards") ours.push_back(name);
    // A crash may have left FORMAT.* behind.
    if (name != "LOCK" && name != "lost+found" && name.rfind("FORMAT", 0) != 0) stranger = name;
  }
  if (error) return SystemError(dir, "cannot list", error.value());
  if (has_format) return false;
  // FORMAT is made before anything else; one such name may be anybody's.
  if (ours.size() > 1) {
    std::sort(ours.begin(), ours.end());
    return Corruption(
        fmt::format("{}/FORMAT is missing, but there is {}", dir, fmt::join(ours, " and ")));
  }
  if (!stranger.empty()) {
    return InvalidArgument(
        fmt::format("{}: holds '{}' but no FORMAT file, so it is not a data directory of vectron",
                    dir, stranger));
  }
  return true;
}

// The raft log's first file is made before anything that it is the log of, and there is
// always one from then on.
Status CheckLogExists(const DataDir& dir) {
  std::error_code error;
  for (fs::directory_iterator it(dir.raft_path(), error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() == ".log") return OkStatus();
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    return SystemError(dir.raft_path(), "cannot list", error.value());
  }
  for (const std::string& other : {dir.placement_path(), dir.shards_path()}) {
    if (!fs::exists(other, error)) continue;
    return Corruption(
        fmt::format("{} {}, but there is {}", dir.raft_path(),
                    fs::exists(dir.raft_path(), error) ? "has no log file" : "is missing", other));
  }
  return OkStatus();
}

}  // namespace

StatusOr<std::unique_ptr<DataDir>> DataDir::Open(const std::string& path) {
  VECTRON_RETURN_IF_ERROR(MakeDirectories(path));
  std::error_code error;
  const std::string absolute = fs::canonical(path, error);
  if (error) return SystemError(path, "cannot open the data directory", error.value());
  VECTRON_ASSIGN_OR_RETURN(const int lock_fd, TakeLock(absolute));
  std::unique_ptr<DataDir> dir(new DataDir(absolute, lock_fd));
  VECTRON_ASSIGN_OR_RETURN(const bool fresh, IsFresh(absolute));
  if (fresh) {
    VECTRON_RETURN_IF_ERROR(WriteFileAtomically(
        absolute + "/FORMAT", fmt::format("{}{}\n", kFormatPrefix, kFormatVersion)));
  }
  VECTRON_RETURN_IF_ERROR(CheckFormat(absolute));
  VECTRON_RETURN_IF_ERROR(CheckLogExists(*dir));
  return dir;
}

DataDir::~DataDir() { close(lock_fd_); }

Status DataDir::WritePorts(const std::string& json) {
  return WriteFileAtomically(path_ + "/ports.json", json);
}

bool IsDataDirInUse(const Status& status) {
  return status.code() == absl::StatusCode::kAlreadyExists && ReasonOf(status) == Reason::kNone;
}

}  // namespace vectron::cmd
