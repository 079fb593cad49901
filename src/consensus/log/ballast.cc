#include "consensus/log/ballast.h"

#include <algorithm>

#include "common/logging.h"

namespace vectron::consensus {
namespace {

constexpr uint64_t kBytesMax = 8 << 20;

}  // namespace

Ballast::Ballast(const std::string& path, uint64_t reserve_bytes, LogFileSystem* file_system)
    : path_(path),
      dir_(path.substr(0, path.rfind('/'))),
      bytes_(std::min(reserve_bytes / 32, kBytesMax)),
      file_system_(file_system) {
  const auto names = file_system->List(dir_);
  MutexLock lock(mutex_);
  // Of another size, if a crash came while it was made or the setting has changed: it is
  // room all the same.
  held_ = names.ok() &&
          std::find(names->begin(), names->end(), path.substr(dir_.size() + 1)) != names->end();
}

void Ballast::Release() {
  MutexLock lock(mutex_);
  if (!held_) return;
  const Status removed = file_system_->Remove(path_);
  if (!removed.ok()) {
    VECTRON_LOG_WARN("{}", std::string(removed.message()));
    return;
  }
  held_ = false;
  VECTRON_LOG_WARN("{}: the disk is full; the room kept for this was given up", path_);
}

void Ballast::ReleaseIfFull() {
  const auto space = file_system_->GetSpace(dir_);
  if (space.ok() && space->free_bytes < bytes_) Release();
}

void Ballast::Take() {
  MutexLock lock(mutex_);
  if (held_ || is_unsupported_ || bytes_ == 0) return;
  const Status taken = file_system_->Allocate(path_, bytes_);
  held_ = taken.ok();
  is_unsupported_ = ReasonOf(taken) == Reason::kUnsupported;
  if (!taken.ok()) VECTRON_LOG_WARN("{}", std::string(taken.message()));
}

}  // namespace vectron::consensus
