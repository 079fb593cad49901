#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/error.h"
#include "storage/database.h"

namespace rocksdb {
class FileChecksumGenerator;
class RandomAccessFile;
}  // namespace rocksdb

namespace vectron::storage {

// One reading of all table and blob files of a database, piece by piece, that holds
// what is on the disk to the checksums that were taken as it was written. Finds
// damage in what nobody has read for long, before its copies elsewhere are damaged
// too. Past the page cache, where the file system allows it: what is in memory says
// nothing of the disk, and a scrub should not push out what is in use.
//
// Goes over the files that were in use when it began; later ones are the next
// scrub's. Not thread-safe.
class FileScrub {
 public:
  // `database` must outlive it.
  static StatusOr<std::unique_ptr<FileScrub>> Begin(const Database& database);
  ~FileScrub();

  struct Piece {
    uint64_t read_bytes = 0;
    bool is_last = false;
  };
  // Reads on, for about `bytes_max` bytes. CORRUPTION names the file and the place in
  // it. After any other error (a file that cannot be read now) the next call goes on
  // with the next file.
  StatusOr<Piece> Step(uint64_t bytes_max);

  // Of all files, as it began.
  uint64_t total_bytes() const { return total_bytes_; }

 private:
  FileScrub(const Database& database, std::vector<StoredFile> files);

  // The file at next_; null if it has gone meanwhile, as files do.
  StatusOr<std::unique_ptr<rocksdb::RandomAccessFile>> OpenFile() const;
  // The next piece of file_.
  StatusOr<uint64_t> ReadOn();
  Status FinishFile();
  void LeaveFile();

  const Database& database_;
  const std::vector<StoredFile> files_;
  uint64_t total_bytes_ = 0;
  size_t next_ = 0;  // in files_
  // While a file is being read.
  std::unique_ptr<rocksdb::RandomAccessFile> file_;
  std::unique_ptr<rocksdb::FileChecksumGenerator> checksum_;
  uint64_t offset_ = 0;
  // Aligned as direct reads want it.
  struct FreeBuffer {
    void operator()(char* buffer) const;
  };
  std::unique_ptr<char, FreeBuffer> buffer_;
};

// All of it at once, at the disk's speed. CORRUPTION as FileScrub::Step, or the first
// other error.
Status VerifyFiles(const Database& database);

}  // namespace vectron::storage
