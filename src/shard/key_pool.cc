#include "shard/key_pool.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/check.h"

namespace vectron::shard {

KeyPool::KeyPool() = default;

KeyPool::~KeyPool() {
  for (size_t i = 0; i < chunk_count_; ++i) delete[](*directory_)[i].load();
}

char* KeyPool::At(uint64_t unit) const {
  char* chunk = (*directory_)[unit / kChunkUnits].load(std::memory_order_acquire);
  return chunk + unit % kChunkUnits * kUnitBytes;
}

void KeyPool::AddChunk() {
  if (directory_ == nullptr) directory_ = std::make_unique<Directory>();
  // Zeroed: a length of 0 says that the rest of a chunk is not used.
  (*directory_)[chunk_count_].store(new char[kChunkBytes](), std::memory_order_release);
  ++chunk_count_;
}

uint64_t KeyPool::Allocate(size_t units) {
  if (freeze_count_.load(std::memory_order_acquire) == 0 && !free_[units].empty()) {
    const uint64_t unit = free_[units].back();
    free_[units].pop_back();
    return unit;
  }
  const size_t left = kChunkUnits - next_unit_ % kChunkUnits;
  uint64_t unit = left < units ? next_unit_ + left : next_unit_;
  if (unit / kChunkUnits >= chunk_count_) {
    if (chunk_count_ == kChunkCountMax) return kPooled;
    AddChunk();
  }
  next_unit_ = unit + units;
  return unit;
}

StatusOr<uint64_t> KeyPool::Add(const PointId& id) {
  VECTRON_CHECK(IsPooled(id));
  const std::string key = id.Key();
  const uint64_t unit = Allocate(UnitsOf(key.size()));
  if (unit == kPooled) {
    return MakeError(Reason::kLimitExceeded, "the shard holds as many bytes of ids as it can");
  }
  char* entry = At(unit);
  const auto length = static_cast<uint16_t>(key.size());
  std::memcpy(entry, &length, sizeof(length));
  std::memcpy(entry + kHeaderBytes, key.data(), key.size());
  return kPooled | unit;
}

std::string_view KeyPool::Key(uint64_t label) const {
  const char* entry = At(label & ~kPooled);
  uint16_t length = 0;
  std::memcpy(&length, entry, sizeof(length));
  return {entry + kHeaderBytes, length};
}

PointId KeyPool::Resolve(uint64_t label) const {
  if (!IsPooledLabel(label)) return PointId(label);
  auto id = PointId::FromKey(Key(label));
  VECTRON_CHECK_OK(id);
  return *std::move(id);
}

void KeyPool::Retire(uint64_t label, uint64_t epoch) {
  VECTRON_CHECK(IsPooledLabel(label));
  retired_.push_back({label & ~kPooled, epoch});
}

void KeyPool::Reclaim(uint64_t epoch) {
  while (!retired_.empty() && retired_.front().epoch + 2 <= epoch) {
    const uint64_t unit = retired_.front().unit;
    free_[UnitsOf(Key(kPooled | unit).size())].push_back(unit);
    retired_.pop_front();
  }
}

uint64_t KeyPool::Freeze() {
  freeze_count_.fetch_add(1, std::memory_order_relaxed);
  return next_unit_;
}

std::string KeyPool::Serialize(uint64_t frozen) const {
  std::string out;
  out.reserve(frozen * kUnitBytes);
  for (uint64_t unit = 0; unit < frozen; unit += kChunkUnits) {
    const uint64_t count = std::min<uint64_t>(kChunkUnits, frozen - unit);
    out.append(At(unit), count * kUnitBytes);
  }
  return out;
}

Status KeyPool::Load(std::string_view serialized, std::vector<uint64_t> used_labels) {
  VECTRON_CHECK(chunk_count_ == 0);
  const uint64_t unit_count = serialized.size() / kUnitBytes;
  if (serialized.size() % kUnitBytes != 0 || unit_count > kChunkCountMax * kChunkUnits) {
    return Corruption("the ids of an index checkpoint have a wrong size");
  }
  for (uint64_t unit = 0; unit < unit_count; unit += kChunkUnits) {
    AddChunk();
    const std::string_view part = serialized.substr(unit * kUnitBytes, kChunkBytes);
    std::memcpy(At(unit), part.data(), part.size());
  }
  next_unit_ = unit_count;

  // Every entry is in use or free. A label that is no entry's was damaged.
  std::sort(used_labels.begin(), used_labels.end());
  used_labels.erase(std::unique(used_labels.begin(), used_labels.end()), used_labels.end());
  auto used = used_labels.begin();
  for (uint64_t unit = 0; unit < unit_count;) {
    const size_t length = Key(kPooled | unit).size();
    const size_t units = length == 0 ? kChunkUnits - unit % kChunkUnits : UnitsOf(length);
    if (units > kChunkUnits - unit % kChunkUnits || length > kPointIdBytesMax + 1 ||
        (length > 0 && unit + units > unit_count)) {
      return Corruption("the ids of an index checkpoint are malformed");
    }
    if (length > 0 && used != used_labels.end() && *used == (kPooled | unit)) {
      VECTRON_RETURN_IF_ERROR(PointId::FromKey(Key(*used)).status());
      ++used;
    } else if (length > 0) {
      free_[units].push_back(unit);
    }
    unit += units;
  }
  if (used != used_labels.end()) return Corruption("an index checkpoint lacks an id");
  return OkStatus();
}

}  // namespace vectron::shard
