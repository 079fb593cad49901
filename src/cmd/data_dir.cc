#include "cmd/data_dir.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string_view>

namespace vectron::cmd {
namespace {

namespace fs = std::filesystem;

constexpr int kFormatVersion = 1;
constexpr std::string_view kFormatPrefix = "vectron data, format ";
// Nothing we write there comes near it.
constexpr size_t kSmallFileBytesMax = 4096;

Status SystemError(const std::string& path, std::string_view what, int error) {
  const std::string message = fmt::format("{}: {}: {}", path, what, std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) return MakeError(Reason::kDiskFull, message);
  return MakeError(Reason::kUnavailable, message);
}

StatusOr<std::string> ReadSmallFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return SystemError(path, "cannot open", errno);
  std::string text(kSmallFileBytesMax, '\0');
  const ssize_t count = read(fd, text.data(), text.size());
  const int error = errno;
  close(fd);
  if (count < 0) return SystemError(path, "cannot read", error);
  text.resize(static_cast<size_t>(count));
  return text;
}

Status SyncDirectory(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return SystemError(path, "cannot open", errno);
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  return result == 0 ? OkStatus() : SystemError(path, "cannot sync", error);
}

// Replaces `dir`/`name`, so that a crash leaves the old file or the new one.
Status ReplaceFile(const std::string& dir, const std::string& name, std::string_view text) {
  const std::string path = fmt::format("{}/{}", dir, name);
  const std::string temporary = path + ".new";
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return SystemError(temporary, "cannot create", errno);
  errno = ENOSPC;  // what a short write means
  bool ok = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ok = ok && fsync(fd) == 0;
  int error = errno;
  close(fd);
  if (ok && rename(temporary.c_str(), path.c_str()) != 0) {
    ok = false;
    error = errno;
  }
  if (!ok) {
    unlink(temporary.c_str());
    return SystemError(path, "cannot write", error);
  }
  return SyncDirectory(dir);
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
    const auto holder = ReadSmallFile(path);
    std::string_view pid = holder.ok() ? *holder : std::string_view();
    while (!pid.empty() && pid.back() == '\n') pid.remove_suffix(1);
    return absl::AlreadyExistsError(
        fmt::format("{} is in use by another process, pid {}; stop that one first, or choose "
                    "another directory with --data-dir",
                    dir, pid.empty() ? "unknown" : pid));
  }
  const std::string pid = fmt::format("{}\n", getpid());
  if (ftruncate(fd, 0) != 0 || pwrite(fd, pid.data(), pid.size(), 0) < 0) {
    const int error = errno;
    close(fd);
    return SystemError(path, "cannot write", error);
  }
  return fd;
}

Status CheckFormat(const std::string& dir) {
  const std::string path = dir + "/FORMAT";
  VECTRON_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path));
  std::string_view rest = text;
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
  std::string stranger;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    if (name == "FORMAT") has_format = true;
    if (name != "LOCK" && name != "lost+found" && name != "FORMAT.new") stranger = name;
  }
  if (error) return SystemError(dir, "cannot list", error.value());
  if (has_format) return false;
  if (!stranger.empty()) {
    return InvalidArgument(
        fmt::format("{}: holds '{}' but no FORMAT file, so it is not a data directory of vectron",
                    dir, stranger));
  }
  return true;
}

}  // namespace

StatusOr<std::unique_ptr<DataDir>> DataDir::Open(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return SystemError(path, "cannot make the data directory", error.value());
  const std::string absolute = fs::canonical(path, error);
  if (error) return SystemError(path, "cannot open the data directory", error.value());
  VECTRON_ASSIGN_OR_RETURN(const int lock_fd, TakeLock(absolute));
  std::unique_ptr<DataDir> dir(new DataDir(absolute, lock_fd));
  VECTRON_ASSIGN_OR_RETURN(const bool fresh, IsFresh(absolute));
  if (fresh) {
    VECTRON_RETURN_IF_ERROR(
        ReplaceFile(absolute, "FORMAT", fmt::format("{}{}\n", kFormatPrefix, kFormatVersion)));
  }
  VECTRON_RETURN_IF_ERROR(CheckFormat(absolute));
  return dir;
}

DataDir::~DataDir() { close(lock_fd_); }

Status DataDir::WritePorts(const std::string& json) {
  return ReplaceFile(path_, "ports.json", json);
}

bool IsDataDirInUse(const Status& status) {
  return status.code() == absl::StatusCode::kAlreadyExists && ReasonOf(status) == Reason::kNone;
}

}  // namespace vectron::cmd
