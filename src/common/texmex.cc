#include "common/texmex.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "common/check.h"

namespace vectron {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr size_t kHeaderBytes = sizeof(int32_t);
// Far above any real data set; keeps a garbage header from overflowing sizes.
constexpr int32_t kWidthMax = 1 << 20;

struct Shape {
  size_t count = 0;
  uint32_t width = 0;
};

Status FileError(const std::string& path, std::string_view what, int error) {
  const std::string message = fmt::format("{}: {}: {}", path, what, std::strerror(error));
  return error == ENOENT ? absl::NotFoundError(message) : InvalidArgument(message);
}

int32_t HeaderAt(const MappedFile& file, size_t offset) {
  int32_t header;
  std::memcpy(&header, file.data() + offset, sizeof(header));
  return header;
}

// Checks that the file is whole records of one width.
StatusOr<Shape> CheckRecords(const MappedFile& file, const std::string& path,
                             size_t component_bytes) {
  if (file.size() < kHeaderBytes) {
    return InvalidArgument(fmt::format("{}: no record in {} bytes", path, file.size()));
  }
  const int32_t width = HeaderAt(file, 0);
  if (width < 1 || width > kWidthMax) {
    return InvalidArgument(
        fmt::format("{}: record 0 says it has {} components; not a TEXMEX file?", path, width));
  }
  const size_t record_bytes = kHeaderBytes + static_cast<size_t>(width) * component_bytes;
  for (size_t offset = 0, row = 0; offset < file.size(); offset += record_bytes, ++row) {
    if (file.size() - offset < record_bytes) {
      return InvalidArgument(fmt::format("{}: record {} is torn: {} of {} bytes", path, row,
                                         file.size() - offset, record_bytes));
    }
    if (const int32_t header = HeaderAt(file, offset); header != width) {
      return InvalidArgument(fmt::format("{}: record {} has {} components, those before it {}",
                                         path, row, header, width));
    }
  }
  return Shape{file.size() / record_bytes, static_cast<uint32_t>(width)};
}

}  // namespace

StatusOr<std::unique_ptr<MappedFile>> MappedFile::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return FileError(path, "cannot open", errno);
  struct stat info {};
  const char* data = nullptr;
  int error = 0;
  if (fstat(fd, &info) != 0) {
    error = errno;
  } else if (!S_ISREG(info.st_mode)) {
    error = S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
  } else if (info.st_size > 0) {
    void* mapped = mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapped == MAP_FAILED) {
      error = errno;
    } else {
      data = static_cast<const char*>(mapped);
    }
  }
  close(fd);
  if (error != 0) return FileError(path, "cannot read", error);
  return std::unique_ptr<MappedFile>(new MappedFile(data, static_cast<size_t>(info.st_size)));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<char*>(data_), size_);
}

StatusOr<VectorFile> VectorFile::Open(const std::string& path) {
  const std::string_view extension =
      std::string_view(path).substr(path.size() < 6 ? path.size() : path.size() - 6);
  VectorFile result;
  result.bytes_ = extension == ".bvecs";
  if (!result.bytes_ && extension != ".fvecs") {
    return InvalidArgument(fmt::format("{}: vectors are read from .fvecs and .bvecs files", path));
  }
  VECTRON_ASSIGN_OR_RETURN(result.file_, MappedFile::Open(path));
  VECTRON_ASSIGN_OR_RETURN(
      const Shape shape,
      CheckRecords(*result.file_, path, result.bytes_ ? sizeof(uint8_t) : sizeof(float)));
  result.count_ = shape.count;
  result.dimension_ = shape.width;
  return result;
}

void VectorFile::CopyRow(size_t row, std::span<float> out) const {
  VECTRON_CHECK(row < count_);
  VECTRON_CHECK(out.size() == dimension_);
  const size_t component_bytes = bytes_ ? sizeof(uint8_t) : sizeof(float);
  const char* record = file_->data() + row * (kHeaderBytes + dimension_ * component_bytes);
  if (!bytes_) {
    std::memcpy(out.data(), record + kHeaderBytes, dimension_ * sizeof(float));
    return;
  }
  const auto* components = reinterpret_cast<const uint8_t*>(record + kHeaderBytes);
  for (uint32_t i = 0; i < dimension_; ++i) out[i] = components[i];
}

StatusOr<IdFile> IdFile::Open(const std::string& path) {
  IdFile result;
  VECTRON_ASSIGN_OR_RETURN(result.file_, MappedFile::Open(path));
  VECTRON_ASSIGN_OR_RETURN(const Shape shape, CheckRecords(*result.file_, path, sizeof(int32_t)));
  result.count_ = shape.count;
  result.width_ = shape.width;
  return result;
}

std::span<const int32_t> IdFile::Row(size_t row) const {
  VECTRON_CHECK(row < count_);
  const char* record = file_->data() + row * (kHeaderBytes + width_ * sizeof(int32_t));
  return {reinterpret_cast<const int32_t*>(record + kHeaderBytes), width_};
}

StatusOr<std::unique_ptr<IdFileWriter>> IdFileWriter::Create(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "wbe");
  if (file == nullptr) return FileError(path, "cannot create", errno);
  return std::unique_ptr<IdFileWriter>(new IdFileWriter(path, file));
}

IdFileWriter::~IdFileWriter() {
  if (file_ != nullptr) std::fclose(file_);
}

Status IdFileWriter::Append(std::span<const int32_t> row) {
  VECTRON_CHECK(file_ != nullptr);
  const auto width = static_cast<int32_t>(row.size());
  if (std::fwrite(&width, sizeof(width), 1, file_) != 1 ||
      std::fwrite(row.data(), sizeof(int32_t), row.size(), file_) != row.size()) {
    return FileError(path_, "cannot write", errno);
  }
  return OkStatus();
}

Status IdFileWriter::Close() {
  std::FILE* file = std::exchange(file_, nullptr);
  if (file != nullptr && std::fclose(file) != 0) return FileError(path_, "cannot write", errno);
  return OkStatus();
}

}  // namespace vectron
