#include "consensus/testing/log_disk.h"

#include <algorithm>

namespace vectron::testing {

class LogDisk::File : public consensus::LogFile {
 public:
  File(std::shared_ptr<State> state, std::shared_ptr<Content> content)
      : state_(std::move(state)), content_(std::move(content)) {}

  Status Append(std::span<const std::string_view> parts) override {
    MutexLock lock(state_->mutex);
    VECTRON_RETURN_IF_ERROR(state_->CountChange());
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
    VECTRON_RETURN_IF_ERROR(state_->CountChange());
    VECTRON_RETURN_IF_ERROR(state_->sync_error);
    content_->synced = content_->bytes.size();
    return OkStatus();
  }

  Status Truncate(uint64_t size) override {
    MutexLock lock(state_->mutex);
    VECTRON_RETURN_IF_ERROR(state_->CountChange());
    if (state_->fail_truncations) return Internal("the disk failed");
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
  if (!state_->files.contains(path)) VECTRON_RETURN_IF_ERROR(state_->CountChange());
  auto& content = state_->files[path];
  if (content == nullptr) content = std::make_shared<Content>();
  return std::make_shared<File>(state_, content);
}

Status LogDisk::Remove(const std::string& path) {
  MutexLock lock(state_->mutex);
  VECTRON_RETURN_IF_ERROR(state_->CountChange());
  const auto it = state_->files.find(path);
  if (it == state_->files.end()) return Internal("no such file");
  if (state_->room != UINT64_MAX) {
    state_->room += it->second->bytes.size() + it->second->allocated_bytes;
  }
  state_->files.erase(it);
  return OkStatus();
}

Status LogDisk::Rename(const std::string& from, const std::string& to) {
  MutexLock lock(state_->mutex);
  VECTRON_RETURN_IF_ERROR(state_->CountChange());
  const auto it = state_->files.find(from);
  if (it == state_->files.end()) return Internal("no such file");
  state_->files[to] = it->second;
  state_->files.erase(it);
  return OkStatus();
}

Status LogDisk::Replace(const std::string& path, const std::string& content) {
  MutexLock lock(state_->mutex);
  VECTRON_RETURN_IF_ERROR(state_->CountChange());
  VECTRON_RETURN_IF_ERROR(state_->sync_error);
  // The new content takes room before the old one gives its up.
  if (content.size() > state_->room) return MakeError(Reason::kDiskFull, "the disk is full");
  const auto it = state_->files.find(path);
  if (state_->room != UINT64_MAX) {
    state_->room -= content.size();
    if (it != state_->files.end()) state_->room += it->second->bytes.size();
  }
  state_->files[path] = std::make_shared<Content>(Content{content, content.size(), true});
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

Status LogDisk::SyncDir(const std::string& dir) {
  MutexLock lock(state_->mutex);
  VECTRON_RETURN_IF_ERROR(state_->CountChange());
  VECTRON_RETURN_IF_ERROR(state_->sync_error);
  for (const auto& [path, content] : state_->files) {
    if (path.starts_with(dir + "/")) content->is_name_synced = true;
  }
  return OkStatus();
}

StatusOr<consensus::LogFileSystem::Space> LogDisk::GetSpace(const std::string&) {
  MutexLock lock(state_->mutex);
  constexpr uint64_t kTotal = 1ull << 40;
  return Space{std::min(state_->room, kTotal), kTotal};
}

void LogDisk::SetRoom(uint64_t bytes) {
  MutexLock lock(state_->mutex);
  state_->room = bytes;
}

void LogDisk::FailSyncs(bool fail, Reason reason) {
  MutexLock lock(state_->mutex);
  state_->sync_error = fail ? MakeError(reason, "the disk failed") : OkStatus();
}

void LogDisk::FailTruncations(bool fail) {
  MutexLock lock(state_->mutex);
  state_->fail_truncations = fail;
}

void LogDisk::FailAfter(uint64_t changes) {
  MutexLock lock(state_->mutex);
  state_->changes_left = changes;
}

Status LogDisk::State::CountChange() {
  if (changes_left == 0) return Internal("there is no power");
  if (changes_left != UINT64_MAX) --changes_left;
  return OkStatus();
}

std::unique_ptr<LogDisk> LogDisk::AfterPowerLoss(int keep_percent) const {
  PowerLoss loss;
  loss.keep_percent = keep_percent;
  return AfterPowerLoss(loss);
}

std::unique_ptr<LogDisk> LogDisk::AfterPowerLoss(const PowerLoss& loss) const {
  constexpr size_t kSectorBytes = 512;
  Image image;
  {
    MutexLock lock(state_->mutex);
    for (const auto& [path, content] : state_->files) {
      if (!loss.keep_names && !content->is_name_synced) continue;
      const size_t size = content->bytes.size();
      const size_t unsynced = size - content->synced;
      const size_t kept = unsynced * static_cast<size_t>(loss.keep_percent) / 100;
      std::string& bytes = image[path];
      bytes = content->bytes;
      if (loss.keep_last) {
        const size_t end = (size - kept) / kSectorBytes * kSectorBytes;
        for (size_t at = content->synced; at < end; ++at) bytes[at] = '\0';
      } else if (loss.keep_sizes && kept < unsynced) {
        const size_t end = (content->synced + kept) / kSectorBytes * kSectorBytes;
        bytes.resize(std::max(content->synced, end));
        bytes.resize(size, '\0');
      } else {
        bytes.resize(content->synced + kept);
      }
    }
  }
  auto disk = std::make_unique<LogDisk>();
  disk->Restore(image);
  MutexLock lock(state_->mutex);
  MutexLock copy_lock(disk->state_->mutex);
  for (const auto& [path, content] : state_->files) {
    const auto it = disk->state_->files.find(path);
    if (it != disk->state_->files.end()) it->second->allocated_bytes = content->allocated_bytes;
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
    state_->files[path] = std::make_shared<Content>(Content{bytes, bytes.size(), true});
  }
}

}  // namespace vectron::testing
