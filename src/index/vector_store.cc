#include "index/vector_store.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "common/check.h"

namespace vectron::index {
namespace {

// Components that are looked at together, without a branch: the compiler makes a few packed
// instructions of them. (A loop of 16 gcc 12 unrolls, and does not.)
constexpr size_t kAtOnce = 32;

// Of a whole number up to 2^23, the sum has it in its lowest bits. Any byte for what is none.
int32_t ToByte(float x) {
  constexpr float k2To23 = 8'388'608.0f;
  return std::bit_cast<int32_t>(x + k2To23) & 255;
}

// 0 if a byte gives back the same bits, which it does not of minus zero.
uint32_t LostBits(float x) {
  return std::bit_cast<uint32_t>(static_cast<float>(ToByte(x))) ^ std::bit_cast<uint32_t>(x);
}

}  // namespace

bool HoldsBytes(const float* vector, size_t dimension) {
  size_t d = 0;
  for (; d + kAtOnce <= dimension; d += kAtOnce) {
    uint32_t lost = 0;
    for (size_t i = 0; i < kAtOnce; ++i) lost |= LostBits(vector[d + i]);
    if (lost != 0) return false;
  }
  for (; d < dimension; ++d) {
    if (LostBits(vector[d]) != 0) return false;
  }
  return true;
}

void Narrow(const float* vector, size_t dimension, uint8_t* bytes) {
  for (size_t d = 0; d < dimension; ++d) bytes[d] = static_cast<uint8_t>(ToByte(vector[d]));
}

void Widen(const uint8_t* bytes, size_t dimension, float* vector) {
  size_t d = 0;
  for (; d + kAtOnce <= dimension; d += kAtOnce) {
    for (size_t i = 0; i < kAtOnce; ++i) vector[d + i] = static_cast<float>(bytes[d + i]);
  }
  for (; d < dimension; ++d) vector[d] = static_cast<float>(bytes[d]);
}

VectorStore::VectorStore(size_t dimension, bool begins_with_bytes, EpochManager& epochs)
    : dimension_(dimension),
      float_stride_(dimension * sizeof(float)),
      byte_stride_(RoundUp(dimension, 2)),
      shift_(SlabShift(float_stride_)),
      mask_((uint64_t{1} << shift_) - 1),
      begins_with_bytes_(begins_with_bytes),
      slabs_max_(std::min(kSlabsMax, (kSlotsMax >> shift_) + 1)),
      epochs_(epochs),
      directory_memory_(slabs_max_ * sizeof(*directory_)),
      directory_(reinterpret_cast<std::atomic<std::byte*>*>(directory_memory_.start())) {
  VECTRON_CHECK(directory_ != nullptr);
}

bool VectorStore::Reserve(uint64_t count) {
  const uint64_t reserved = reserved_.load(std::memory_order_relaxed);
  if (count <= reserved) return true;
  while (slabs_.size() << shift_ < count) {
    if (!AddSlab()) return false;
  }
  reserved_.store(count, std::memory_order_release);
  AskForHugePagesIfLarge();
  return true;
}

// Slabs that were mapped when the store might have stayed small are asked for when it has not.
void VectorStore::AskForHugePagesIfLarge() {
  if (huge_ || memory_bytes() <= kSmallBytesMax) return;
  huge_ = true;
  for (const auto& slab : slabs_) slab->AskForHugePages();
}

bool VectorStore::AddSlab() {
  if (slabs_.size() == slabs_max_) return false;
  auto slab = std::make_shared<Slab>(SlabBytes(begins_with_bytes_ ? byte_stride_ : float_stride_));
  if (slab->start() == nullptr) return false;
  if (huge_) slab->AskForHugePages();
  directory_[slabs_.size()].store(slab->start() + (begins_with_bytes_ ? kBytesMark : 0),
                                  std::memory_order_release);
  slabs_.push_back(std::move(slab));
  return true;
}

bool VectorStore::GoOnWithFloats(uint64_t number) {
  auto slab = std::make_shared<Slab>(SlabBytes(float_stride_));
  if (slab->start() == nullptr) return false;
  const uint64_t first = number << shift_;
  if (huge_) slab->AskForHugePages();
  auto* to = reinterpret_cast<float*>(slab->start());
  for (uint64_t slot = first; slot < std::min(written_, first + mask_ + 1); ++slot) {
    Vector(Row(static_cast<Slot>(slot)), to + (slot - first) * dimension_);
  }
  directory_[number].store(slab->start(), std::memory_order_release);
  epochs_.Retire(std::exchange(slabs_[number], std::move(slab)));
  AskForHugePagesIfLarge();
  return true;
}

bool VectorStore::Write(Slot slot, const float* vector) {
  const bool stays = !IsBytes(Row(slot)) || HoldsBytes(vector, dimension_);
  if (!stays && !GoOnWithFloats(slot >> shift_)) return false;
  Restore(slot, vector);
  written_ = std::max(written_, uint64_t{slot} + 1);
  return true;
}

bool VectorStore::KeepAsFloats(uint64_t first, uint64_t count) {
  for (uint64_t slab = first >> shift_; slab << shift_ < first + count; ++slab) {
    if (!IsBytes(Row(static_cast<Slot>(slab << shift_)))) continue;
    if (!GoOnWithFloats(slab)) return false;
    epochs_.Collect();  // or all byte slabs would be mapped beside those of floats
  }
  return true;
}

void VectorStore::Restore(Slot slot, const float* vector) {
  std::byte* row = At(slot);
  if (IsBytes(row)) {
    Narrow(vector, dimension_, reinterpret_cast<uint8_t*>(row - kBytesMark));
  } else {
    std::memcpy(row, vector, float_stride_);
  }
}

void VectorStore::RestoreBytes(Slot slot, const uint8_t* bytes) {
  std::byte* row = At(slot);
  if (IsBytes(row)) {
    std::memcpy(row - kBytesMark, bytes, dimension_);
  } else {
    Widen(bytes, dimension_, reinterpret_cast<float*>(row));
  }
}

uint64_t VectorStore::memory_bytes() const {
  const uint64_t count = reserved_.load(std::memory_order_acquire);
  uint64_t used = 0;
  for (uint64_t first = 0; first < count; first += mask_ + 1) {
    const std::byte* slab = directory_[first >> shift_].load(std::memory_order_relaxed);
    const size_t stride = IsBytes(slab) ? byte_stride_ : float_stride_;
    used += RoundUp(std::min(count - first, mask_ + 1) * stride, kPageBytes);
  }
  return InWholePages(used);
}

}  // namespace vectron::index
