#include "consensus/log/log_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "common/atomic_file.h"

namespace vectron::consensus {
namespace {

Status FromErrno(std::string_view what, const std::string& path) {
  const int error = errno;
  const Reason reason = error == ENOSPC || error == EDQUOT ? Reason::kDiskFull : Reason::kInternal;
  return MakeError(reason, fmt::format("{} {}: {}", what, path, std::strerror(error)));
}

class PosixFile : public LogFile {
 public:
  PosixFile(int fd, std::string path, uint64_t size)
      : fd_(fd), path_(std::move(path)), size_(size) {}
  ~PosixFile() override { close(fd_); }

  Status Append(std::span<const std::string_view> parts) override {
    std::vector<iovec> left;
    left.reserve(parts.size());
    for (const std::string_view part : parts) {
      if (!part.empty()) left.push_back({const_cast<char*>(part.data()), part.size()});
    }
    size_t next = 0;
    while (next < left.size()) {
      const int count = static_cast<int>(std::min<size_t>(left.size() - next, IOV_MAX));
      ssize_t written = pwritev(fd_, &left[next], count, static_cast<off_t>(size_));
      if (written < 0) {
        if (errno == EINTR) continue;
        return FromErrno("writing", path_);
      }
      size_ += static_cast<uint64_t>(written);
      for (; next < left.size() && static_cast<size_t>(written) >= left[next].iov_len; ++next) {
        written -= static_cast<ssize_t>(left[next].iov_len);
      }
      if (written > 0) {
        left[next].iov_base = static_cast<char*>(left[next].iov_base) + written;
        left[next].iov_len -= static_cast<size_t>(written);
      }
    }
    return OkStatus();
  }

  Status Sync() override { return fdatasync(fd_) == 0 ? OkStatus() : FromErrno("syncing", path_); }

  Status Truncate(uint64_t size) override {
    if (ftruncate(fd_, static_cast<off_t>(size)) != 0) return FromErrno("truncating", path_);
    size_ = size;
    return OkStatus();
  }

  StatusOr<std::string> Read(uint64_t offset, size_t size) const override {
    std::string bytes(size, '\0');
    size_t done = 0;
    while (done < size) {
      const ssize_t got =
          pread(fd_, bytes.data() + done, size - done, static_cast<off_t>(offset + done));
      if (got < 0) {
        if (errno == EINTR) continue;
        return FromErrno("reading", path_);
      }
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    bytes.resize(done);
    return bytes;
  }

  uint64_t size() const override { return size_; }

 private:
  const int fd_;
  const std::string path_;
  uint64_t size_;
};

class PosixFileSystem : public LogFileSystem {
 public:
  Status CreateDir(const std::string& dir) override { return MakeDirectories(dir); }

  StatusOr<std::vector<std::string>> List(const std::string& dir) override {
    std::error_code error;
    std::vector<std::string> names;
    std::filesystem::directory_iterator it(dir, error);
    for (; !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
      names.push_back(it->path().filename().string());
    }
    if (!error) return names;
    errno = error.value();
    return FromErrno("listing", dir);
  }

  StatusOr<std::shared_ptr<LogFile>> Open(const std::string& path) override {
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return FromErrno("opening", path);
    struct stat info {};
    if (fstat(fd, &info) != 0) {
      const Status status = FromErrno("opening", path);
      close(fd);
      return status;
    }
    return std::make_shared<PosixFile>(fd, path, static_cast<uint64_t>(info.st_size));
  }

  Status Remove(const std::string& path) override {
    return unlink(path.c_str()) == 0 ? OkStatus() : FromErrno("removing", path);
  }

  Status Rename(const std::string& from, const std::string& to) override {
    return rename(from.c_str(), to.c_str()) == 0 ? OkStatus() : FromErrno("renaming", from);
  }

  Status Replace(const std::string& path, const std::string& content) override {
    return WriteFileAtomically(path, content);
  }

  Status Allocate(const std::string& path, uint64_t bytes) override {
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return FromErrno("opening", path);
    Status status;
    if (fallocate(fd, 0, 0, static_cast<off_t>(bytes)) != 0) {
      status = errno == EOPNOTSUPP
                   ? MakeError(Reason::kUnsupported,
                               fmt::format("room cannot be taken for {} ahead", path))
                   : FromErrno("taking room for", path);
      unlink(path.c_str());
    }
    close(fd);
    return status;
  }

  Status SyncDir(const std::string& dir) override {
    const int fd = open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return FromErrno("opening", dir);
    const Status status = fsync(fd) == 0 ? OkStatus() : FromErrno("syncing", dir);
    close(fd);
    return status;
  }

  StatusOr<Space> GetSpace(const std::string& dir) override {
    struct statvfs info {};
    if (statvfs(dir.c_str(), &info) != 0) return FromErrno("asking for the room in", dir);
    return Space{info.f_bavail * info.f_frsize, info.f_blocks * info.f_frsize};
  }
};

}  // namespace

LogFileSystem& SystemLogFileSystem() {
  static PosixFileSystem* const file_system = new PosixFileSystem;
  return *file_system;
}

}  // namespace vectron::consensus
