#include "index/memory/slab_array.h"

#include <algorithm>

#include "common/check.h"

namespace vectron::index {
namespace {

constexpr uint64_t kElementsMax = uint64_t{1} << 32;

}  // namespace

SlabArray::SlabArray(size_t stride_bytes)
    : stride_(stride_bytes),
      shift_(SlabShift(stride_bytes)),
      mask_((uint64_t{1} << shift_) - 1),
      slabs_max_(std::min(kSlabsMax, std::max<uint64_t>(kElementsMax >> shift_, 1))),
      slab_bytes_(RoundUp(stride_bytes << shift_, kPageBytes)),
      directory_memory_(slabs_max_ * sizeof(*directory_)),
      directory_(reinterpret_cast<std::atomic<std::byte*>*>(directory_memory_.start())) {
  VECTRON_CHECK(stride_bytes > 0);
  VECTRON_CHECK(directory_ != nullptr);
}

bool SlabArray::Reserve(uint64_t count) {
  if (count <= reserved_.load(std::memory_order_relaxed)) return true;
  while (slabs_.size() << shift_ < count) {
    if (!AddSlab()) return false;
  }
  if (!huge_ && count * stride_ > kSmallBytesMax) {
    huge_ = true;
    // The first slab was mapped when the array might have stayed small.
    slabs_.front()->AskForHugePages();
  }
  reserved_.store(count, std::memory_order_relaxed);
  return true;
}

bool SlabArray::AddSlab() {
  if (slabs_.size() == slabs_max_) return false;
  auto slab = std::make_unique<Slab>(slab_bytes_);
  if (slab->start() == nullptr) return false;
  if (!slabs_.empty()) slab->AskForHugePages();
  directory_[slabs_.size()].store(slab->start(), std::memory_order_relaxed);
  slabs_.push_back(std::move(slab));
  return true;
}

uint64_t SlabArray::memory_bytes() const {
  const uint64_t count = reserved_.load(std::memory_order_relaxed);
  return InWholePages((count >> shift_) * slab_bytes_ + (count & mask_) * stride_);
}

}  // namespace vectron::index
