#include "common/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <vector>

#include "common/check.h"

namespace vectron {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr size_t kMagicBytes = 8;
// Magic, u32 format, u32 zero, u64 length, u64 XXH3 of format, length and payload.
constexpr size_t kHeaderBytes = kMagicBytes + 24;

Status ErrnoStatus(std::string_view what, const std::string& path, int error) {
  const std::string message =
      fmt::format("{} {}: {}", what, path, std::generic_category().message(error));
  if (error == ENOSPC || error == EDQUOT) return MakeError(Reason::kDiskFull, message);
  return Internal(message);
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;

  int get() const { return fd_; }

 private:
  const int fd_;
};

Status SyncDirectory(const std::string& dir) {
  const FileDescriptor file(open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (file.get() < 0) return ErrnoStatus("cannot open directory", dir, errno);
  if (fsync(file.get()) != 0) return ErrnoStatus("cannot sync directory", dir, errno);
  return OkStatus();
}

Status WriteAndSync(const std::string& path, std::string_view content) {
  const FileDescriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (file.get() < 0) return ErrnoStatus("cannot create", path, errno);
  while (!content.empty()) {
    const ssize_t written = write(file.get(), content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoStatus("cannot write", path, errno);
    content.remove_prefix(static_cast<size_t>(written));
  }
  if (fsync(file.get()) != 0) return ErrnoStatus("cannot sync", path, errno);
  return OkStatus();
}

std::string ParentOf(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

uint64_t Checksum(uint32_t format, std::string_view payload) {
  // The length is part of the hash; the format seeds it.
  return XXH3_64bits_withSeed(payload.data(), payload.size(), format);
}

template <typename T>
void Append(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

template <typename T>
T ReadAt(std::string_view bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

}  // namespace

Status WriteFileAtomically(const std::string& path, std::string_view content) {
  const std::string temporary = path + ".tmp";
  Status status = WriteAndSync(temporary, content);
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0) {
    status = ErrnoStatus("cannot rename to", path, errno);
  }
  if (!status.ok()) {
    unlink(temporary.c_str());
    return status;
  }
  return SyncDirectory(ParentOf(path));
}

StatusOr<std::optional<std::string>> ReadWholeFile(const std::string& path) {
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) {
    if (errno == ENOENT) return std::optional<std::string>();
    return ErrnoStatus("cannot open", path, errno);
  }
  std::string content;
  char buffer[64 << 10];
  for (;;) {
    const ssize_t count = read(file.get(), buffer, sizeof(buffer));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoStatus("cannot read", path, errno);
    if (count == 0) return std::optional<std::string>(std::move(content));
    content.append(buffer, static_cast<size_t>(count));
  }
}

std::string WrapWithChecksum(std::string_view magic, uint32_t format, std::string_view payload) {
  VECTRON_CHECK(magic.size() == kMagicBytes);
  std::string file;
  file.reserve(kHeaderBytes + payload.size());
  file.append(magic);
  Append(format, &file);
  Append(uint32_t{0}, &file);
  Append(uint64_t{payload.size()}, &file);
  Append(Checksum(format, payload), &file);
  file.append(payload);
  return file;
}

StatusOr<std::string_view> UnwrapChecked(std::string_view magic, uint32_t format,
                                         std::string_view file, const std::string& path) {
  VECTRON_CHECK(magic.size() == kMagicBytes);
  if (file.size() < kHeaderBytes) {
    return Corruption(fmt::format("{} has {} bytes, too few for its header", path, file.size()));
  }
  if (file.substr(0, kMagicBytes) != magic) {
    return Corruption(fmt::format("{} does not begin as such a file does", path));
  }
  const auto stored_format = ReadAt<uint32_t>(file, kMagicBytes);
  if (stored_format != format) {
    return MakeError(
        Reason::kIncompatibleFormat,
        fmt::format("{} has format {}, this program reads format {}", path, stored_format, format));
  }
  const std::string_view payload = file.substr(kHeaderBytes);
  const auto length = ReadAt<uint64_t>(file, kMagicBytes + 8);
  if (length != payload.size() || ReadAt<uint32_t>(file, kMagicBytes + 4) != 0) {
    return Corruption(
        fmt::format("{} holds {} bytes where its header says {}", path, payload.size(), length));
  }
  if (ReadAt<uint64_t>(file, kMagicBytes + 16) != Checksum(format, payload)) {
    return Corruption(fmt::format("{} does not match its checksum", path));
  }
  return payload;
}

Status MakeDirectories(const std::string& path) {
  std::filesystem::path dir(path);
  if (!dir.has_filename()) dir = dir.parent_path();  // a slash at the end names no entry
  // From the last upwards, as far as they are missing, and the parent that is there.
  std::vector<std::string> parents = {ParentOf(dir.string())};
  std::error_code error;
  while (!std::filesystem::exists(parents.back(), error)) {
    parents.push_back(ParentOf(parents.back()));
  }
  if (!std::filesystem::create_directories(dir, error) && error) {
    return ErrnoStatus("cannot make directory", path, error.value());
  }
  // An entry lasts once the directory that holds it was synced.
  for (const std::string& parent : parents) VECTRON_RETURN_IF_ERROR(SyncDirectory(parent));
  return OkStatus();
}

}  // namespace vectron
