#include "storage/testing/faulty_disk.h"

#include <rocksdb/file_system.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <string>
#include <system_error>
#include <utility>

#include "common/mutex.h"

namespace vectron::testing {
namespace {

using rocksdb::FSWritableFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

// What all files of one disk share.
struct DiskState {
  std::atomic<bool> full{false};
  std::atomic<bool> powerless{false};
  Mutex mutex;
  std::map<std::string, uint64_t> synced_bytes ABSL_GUARDED_BY(mutex);

  IOStatus Check() const {
    if (powerless.load()) return IOStatus::IOError("the power is off");
    if (full.load()) return IOStatus::NoSpace("the disk is full");
    return IOStatus::OK();
  }
};

class File : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  File(std::unique_ptr<FSWritableFile>&& file, std::string name, DiskState* disk)
      : FSWritableFileOwnerWrapper(std::move(file)), name_(std::move(name)), disk_(disk) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    const IOStatus status = disk_->Check();
    if (!status.ok()) return status;
    written_bytes_ += data.size();
    return FSWritableFileOwnerWrapper::Append(data, options, debug);
  }

  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* debug) override {
    return Append(data, options, debug);
  }

  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    const IOStatus status = disk_->Check();
    if (!status.ok()) return status;
    NoteSynced();
    return FSWritableFileOwnerWrapper::Sync(options, debug);
  }

  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return Sync(options, debug);
  }

  IOStatus Allocate(uint64_t offset, uint64_t length, const IOOptions& options,
                    IODebugContext* debug) override {
    const IOStatus status = disk_->Check();
    if (!status.ok()) return status;
    return FSWritableFileOwnerWrapper::Allocate(offset, length, options, debug);
  }

 private:
  void NoteSynced() {
    MutexLock lock(disk_->mutex);
    disk_->synced_bytes[name_] = written_bytes_;
  }

  const std::string name_;
  DiskState* const disk_;
  uint64_t written_bytes_ = 0;
};

}  // namespace

class FaultyDisk::FileSystem : public rocksdb::FileSystemWrapper {
 public:
  FileSystem() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}

  const char* Name() const override { return "FaultyDisk"; }

  IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                           std::unique_ptr<FSWritableFile>* result,
                           IODebugContext* debug) override {
    IOStatus status = disk_.Check();
    if (!status.ok()) return status;
    std::unique_ptr<FSWritableFile> file;
    status = FileSystemWrapper::NewWritableFile(name, options, &file, debug);
    if (!status.ok()) return status;
    {
      MutexLock lock(disk_.mutex);
      disk_.synced_bytes[name] = 0;
    }
    *result = std::make_unique<File>(std::move(file), name, &disk_);
    return status;
  }

  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                      IODebugContext* debug) override {
    if (disk_.powerless.load()) return disk_.Check();
    const IOStatus status = FileSystemWrapper::RenameFile(from, to, options, debug);
    MutexLock lock(disk_.mutex);
    const auto it = disk_.synced_bytes.find(from);
    if (status.ok() && it != disk_.synced_bytes.end()) {
      disk_.synced_bytes[to] = it->second;
      disk_.synced_bytes.erase(it);
    }
    return status;
  }

  IOStatus DeleteFile(const std::string& name, const IOOptions& options,
                      IODebugContext* debug) override {
    if (disk_.powerless.load()) return disk_.Check();
    {
      MutexLock lock(disk_.mutex);
      disk_.synced_bytes.erase(name);
    }
    return FileSystemWrapper::DeleteFile(name, options, debug);
  }

  IOStatus GetFreeSpace(const std::string& path, const IOOptions& options, uint64_t* free_bytes,
                        IODebugContext* debug) override {
    if (disk_.full.load()) {
      *free_bytes = 0;
      return IOStatus::OK();
    }
    return FileSystemWrapper::GetFreeSpace(path, options, free_bytes, debug);
  }

  IOStatus GetFileSize(const std::string& path, const IOOptions& options, uint64_t* size_bytes,
                       IODebugContext* debug) override {
    if (before_size_) before_size_(path);
    return FileSystemWrapper::GetFileSize(path, options, size_bytes, debug);
  }

  void SetBeforeSize(std::function<void(const std::string&)> before_size) {
    before_size_ = std::move(before_size);
  }

  void LoseUnsynced() {
    MutexLock lock(disk_.mutex);
    for (const auto& [name, bytes] : disk_.synced_bytes) {
      std::error_code error;
      const uint64_t size = std::filesystem::file_size(name, error);
      if (!error && size > bytes) std::filesystem::resize_file(name, bytes, error);
    }
    disk_.synced_bytes.clear();
  }

  DiskState& disk() { return disk_; }

 private:
  DiskState disk_;
  std::function<void(const std::string&)> before_size_;
};

FaultyDisk::FaultyDisk()
    : file_system_(std::make_shared<FileSystem>()), env_(rocksdb::NewCompositeEnv(file_system_)) {}
FaultyDisk::~FaultyDisk() = default;

rocksdb::Env* FaultyDisk::env() { return env_.get(); }
void FaultyDisk::SetFull(bool full) { file_system_->disk().full.store(full); }
void FaultyDisk::SetBeforeSize(std::function<void(const std::string& path)> before_size) {
  file_system_->SetBeforeSize(std::move(before_size));
}
void FaultyDisk::CutPower() { file_system_->disk().powerless.store(true); }

void FaultyDisk::RestorePower() {
  file_system_->LoseUnsynced();
  file_system_->disk().powerless.store(false);
}

}  // namespace vectron::testing
