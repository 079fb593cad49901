#include "storage/file_scrub.h"

#include <fmt/format.h>
#include <rocksdb/env.h>
#include <rocksdb/file_checksum.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "common/check.h"
#include "storage/file_damage.h"
#include "storage/rocks_status.h"

namespace vectron::storage {
namespace {

constexpr size_t kReadBytes = 1 << 20;
constexpr size_t kAlignment = 4096;

bool IsMissing(const rocksdb::Status& status) {
  return status.IsNotFound() || status.IsPathNotFound();
}

}  // namespace

void FileScrub::FreeBuffer::operator()(char* buffer) const { std::free(buffer); }

StatusOr<std::unique_ptr<FileScrub>> FileScrub::Begin(const Database& database) {
  VECTRON_ASSIGN_OR_RETURN(std::vector<StoredFile> files, database.ListFiles());
  return std::unique_ptr<FileScrub>(new FileScrub(database, std::move(files)));
}

FileScrub::FileScrub(const Database& database, std::vector<StoredFile> files)
    : database_(database), files_(std::move(files)) {
  for (const StoredFile& file : files_) total_bytes_ += file.size_bytes;
}

FileScrub::~FileScrub() = default;

StatusOr<FileScrub::Piece> FileScrub::Step(uint64_t bytes_max) {
  Piece piece;
  while (next_ < files_.size() && piece.read_bytes < bytes_max) {
    if (file_ == nullptr) {
      auto opened = OpenFile();
      if (!opened.ok() || *opened == nullptr) LeaveFile();
      if (!opened.ok()) return opened.status();
      if (*opened == nullptr) continue;
      file_ = *std::move(opened);
      checksum_ = rocksdb::GetFileChecksumGenCrc32cFactory()->CreateFileChecksumGenerator(
          rocksdb::FileChecksumGenContext());
    }
    const StatusOr<uint64_t> read_bytes = ReadOn();
    if (!read_bytes.ok()) {
      LeaveFile();
      return read_bytes.status();
    }
    piece.read_bytes += *read_bytes;
    if (offset_ < files_[next_].size_bytes) continue;
    const Status finished = FinishFile();
    LeaveFile();
    VECTRON_RETURN_IF_ERROR(finished);
  }
  piece.is_last = next_ == files_.size();
  if (piece.is_last) buffer_.reset();
  return piece;
}

StatusOr<std::unique_ptr<rocksdb::RandomAccessFile>> FileScrub::OpenFile() const {
  const StoredFile& stored = files_[next_];
  rocksdb::Env* const env = database_.resources().env_;
  std::unique_ptr<rocksdb::RandomAccessFile> file;
  rocksdb::EnvOptions options;
  options.use_mmap_reads = false;
  options.use_direct_reads = true;
  rocksdb::Status opened = env->NewRandomAccessFile(stored.path, &file, options);
  if (!opened.ok() && !IsMissing(opened)) {
    options.use_direct_reads = false;  // not every file system has them
    opened = env->NewRandomAccessFile(stored.path, &file, options);
  }
  if (opened.ok()) return file;
  if (!IsMissing(opened)) return database_.FromRocks(opened);
  VECTRON_ASSIGN_OR_RETURN(const std::vector<StoredFile> now, database_.ListFiles());
  const bool is_in_use = std::any_of(
      now.begin(), now.end(), [&](const StoredFile& f) { return f.number == stored.number; });
  if (!is_in_use) return std::unique_ptr<rocksdb::RandomAccessFile>();
  return Corruption(fmt::format("database {}: {} is missing", database_.dir(), stored.path));
}

StatusOr<uint64_t> FileScrub::ReadOn() {
  if (buffer_ == nullptr) {
    buffer_.reset(static_cast<char*>(std::aligned_alloc(kAlignment, kReadBytes)));
    VECTRON_CHECK(buffer_ != nullptr);
  }
  // Of a direct read both ends must be aligned: it asks for more than there is, and
  // gets what there is. So offset_ stays aligned until the file's end.
  const StoredFile& stored = files_[next_];
  rocksdb::Slice got;
  const rocksdb::Status read = file_->Read(offset_, kReadBytes, &got, buffer_.get());
  if (!read.ok()) return database_.FromRocks(read);
  const uint64_t wanted = std::min<uint64_t>(kReadBytes, stored.size_bytes - offset_);
  if (got.size() != wanted) {
    return Corruption(fmt::format("database {}: {} has {} bytes at offset {}, not {}",
                                  database_.dir(), stored.path, got.size(), offset_, wanted));
  }
  checksum_->Update(got.data(), got.size());
  offset_ += wanted;
  return wanted;
}

Status FileScrub::FinishFile() {
  const StoredFile& stored = files_[next_];
  checksum_->Finalize();
  if (checksum_->GetChecksum() == stored.checksum) return OkStatus();
  return Corruption(fmt::format("database {}: {} does not match its checksum: {}", database_.dir(),
                                stored.path, DescribeDamage(stored, database_.resources().env_)));
}

void FileScrub::LeaveFile() {
  file_.reset();
  checksum_.reset();
  offset_ = 0;
  ++next_;
}

Status VerifyFiles(const Database& database) {
  VECTRON_ASSIGN_OR_RETURN(const std::unique_ptr<FileScrub> scrub, FileScrub::Begin(database));
  while (true) {
    VECTRON_ASSIGN_OR_RETURN(const FileScrub::Piece piece, scrub->Step(~uint64_t{0}));
    if (piece.is_last) return OkStatus();
  }
}

}  // namespace vectron::storage
