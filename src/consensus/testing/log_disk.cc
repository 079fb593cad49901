#include "consensus/testing/log_disk.h"

#include <algorithm>

namespace vectron::testing {

class LogDisk::File : public consensus::LogFile {
 public:
  File(std::shared_ptr<State> state, std::shared_ptr<Content> content)
      : state_(std::move(state)), content_(std::move(content)) {}

  Status Append(std::span<const std::string_view> parts) override {
    MutexLock lock(state_->mutex);
    for (const std::string_view part : parts) {
      const size_t size = std::min<uint64_t>(part.size(), state_->room);
      content_->bytes += part.substr(0, size);
      if (state_->room != UINT64_MAX) state_->room -= size;
      if (size < part.size()) return MakeError(Reason::kDiskFull, "the disk is full");
    }
    return OkStatus();
  }

  Status Sync() override {
    MutexLock lock(state_->mutex);
    if (state_->fail_syncs) return Internal("the disk failed");
    content_->synced = content_->bytes.size();
    return OkStatus();
  }

  Status Truncate(uint64_t size) override {
    MutexLock lock(state_->mutex);
    if (state_->room != UINT64_MAX) state_->room += content_->bytes.size() - size;
    content_->bytes.resize(size);
    content_->synced = std::min<size_t>(content_->synced, size);
    return OkStatus();
  }

  StatusOr<std::string> Read(uint64_t offset, size_t size) const override {
    MutexLock lock(state_->mutex);
    if (offset >= content_->bytes.size()) return std::string();
    return content_->bytes.substr(offset, size);
  }

  uint64_t size() const override {
    MutexLock lock(state_->mutex);
    return content_->bytes.size();
  }

 private:
  const std::shared_ptr<State> state_;
  const std::shared_ptr<Content> content_;
};

LogDisk::LogDisk() : state_(std::make_shared<State>()) {}
LogDisk::~LogDisk() = default;

Status LogDisk::CreateDir(const std::string&) { return OkStatus(); }

StatusOr<std::vector<std::string>> LogDisk::List(const std::string& dir) {
  std::vector<std::string> names;
  MutexLock lock(state_->mutex);
  for (const auto& [path, content] : state_->files) {
    if (path.starts_with(dir + "/")) names.push_back(path.substr(dir.size() + 1));
  }
  return names;
}

StatusOr<std::shared_ptr<consensus::LogFile>> LogDisk::Open(const std::string& path) {
  MutexLock lock(state_->mutex);
  auto& content = state_->files[path];
  if (content == nullptr) content = std::make_shared<Content>();
  return std::make_shared<File>(state_, content);
}

Status LogDisk::Remove(const std::string& path) {
  MutexLock lock(state_->mutex);
  const auto it = state_->files.find(path);
  if (it == state_->files.end()) return Internal("no such file");
  if (state_->room != UINT64_MAX) {
    state_->room += it->second->bytes.size() + it->second->allocated_bytes;
  }
  state_->files.erase(it);
  return OkStatus();
}

Status LogDisk::Allocate(const std::string& path, uint64_t bytes) {
  MutexLock lock(state_->mutex);
  if (bytes > state_->room) return MakeError(Reason::kDiskFull, "the disk is full");
  if (state_->room != UINT64_MAX) state_->room -= bytes;
  auto content = std::make_shared<Content>();
  content->allocated_bytes = bytes;
  state_->files[path] = std::move(content);
  return OkStatus();
}

Status LogDisk::SyncDir(const std::string&) { return OkStatus(); }

StatusOr<consensus::LogFileSystem::Space> LogDisk::GetSpace(const std::string&) {
  MutexLock lock(state_->mutex);
  constexpr uint64_t kTotal = 1ull << 40;
  return Space{std::min(state_->room, kTotal), kTotal};
}

void LogDisk::SetRoom(uint64_t bytes) {
  MutexLock lock(state_->mutex);
  state_->room = bytes;
}

void LogDisk::FailSyncs(bool fail) {
  MutexLock lock(state_->mutex);
  state_->fail_syncs = fail;
}

std::unique_ptr<LogDisk> LogDisk::AfterPowerLoss(int keep_percent) const {
  Image image;
  {
    MutexLock lock(state_->mutex);
    for (const auto& [path, content] : state_->files) {
      const size_t unsynced = content->bytes.size() - content->synced;
      image[path] = content->bytes.substr(0, content->synced + unsynced * keep_percent / 100);
    }
  }
  auto disk = std::make_unique<LogDisk>();
  disk->Restore(image);
  MutexLock lock(state_->mutex);
  MutexLock copy_lock(disk->state_->mutex);
  for (const auto& [path, content] : state_->files) {
    disk->state_->files.at(path)->allocated_bytes = content->allocated_bytes;
  }
  return disk;
}

std::vector<std::string> LogDisk::Files() const {
  std::vector<std::string> paths;
  MutexLock lock(state_->mutex);
  for (const auto& [path, content] : state_->files) paths.push_back(path);
  return paths;
}

uint64_t LogDisk::SizeOf(const std::string& path) const {
  MutexLock lock(state_->mutex);
  return state_->files.at(path)->bytes.size();
}

void LogDisk::Cut(const std::string& path, uint64_t size) {
  MutexLock lock(state_->mutex);
  state_->files.at(path)->bytes.resize(size);
}

void LogDisk::Flip(const std::string& path, uint64_t offset) {
  MutexLock lock(state_->mutex);
  state_->files.at(path)->bytes.at(offset) ^= 0x20;
}

void LogDisk::Overwrite(const std::string& path, uint64_t offset, const std::string& bytes) {
  MutexLock lock(state_->mutex);
  state_->files.at(path)->bytes.replace(offset, bytes.size(), bytes);
}

LogDisk::Image LogDisk::Copy() const {
  Image image;
  MutexLock lock(state_->mutex);
  for (const auto& [path, content] : state_->files) image[path] = content->bytes;
  return image;
}

void LogDisk::Restore(const Image& image) {
  MutexLock lock(state_->mutex);
  state_->files.clear();
  for (const auto& [path, bytes] : image) {
    state_->files[path] = std::make_shared<Content>(Content{bytes, bytes.size()});
  }
}

}  // namespace vectron::testing
