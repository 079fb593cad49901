#pragma once

#include <rocksdb/env.h>

#include <functional>
#include <memory>
#include <string>

namespace vectron::testing {

// A disk that runs full and loses power, on top of the machine's: for tests of
// what lives in RocksDB. Thread-safe.
class FaultyDisk {
 public:
  FaultyDisk();
  ~FaultyDisk();

  // For SharedResources::Options; lives as long as this.
  rocksdb::Env* env();

  // While full, every write fails for want of space and no room is reported.
  void SetFull(bool full);

  // Called with a file's path before its size is told. Set while no database is open.
  void SetBeforeSize(std::function<void(const std::string& path)> before_size);

  // The power goes: from here on every change fails. What was written but not
  // synced is lost by RestorePower.
  void CutPower();
  // After the databases on it were closed: cuts every file back to what was
  // synced, and makes the disk work again.
  void RestorePower();

 private:
  class FileSystem;
  std::shared_ptr<FileSystem> file_system_;
  std::unique_ptr<rocksdb::Env> env_;
};

}  // namespace vectron::testing
