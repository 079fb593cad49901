#include "index/memory/slab_array.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>

#include "common/check.h"

namespace vectron::index {
namespace {

constexpr size_t kSlabBytes = size_t{16} << 20;
constexpr size_t kHugePageBytes = size_t{2} << 20;
constexpr size_t kPageBytes = 4096;
// Up to this size an array makes do with small pages: it would waste a good part of its last
// huge one, and the processor's table of small pages covers about as much (2,048 of them).
constexpr size_t kSmallBytesMax = size_t{8} << 20;
constexpr uint64_t kElementsMax = uint64_t{1} << 32;
constexpr uint64_t kSlabsMax = uint64_t{1} << 20;

uint32_t ShiftOf(size_t stride) {
  return static_cast<uint32_t>(std::bit_width(std::max<size_t>(kSlabBytes / stride, 1)) - 1);
}

size_t RoundUp(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

// Zeroed address space, aligned to huge pages; pages are given on first touch.
// nullptr when there is none.
std::byte* Map(size_t bytes) {
  const size_t padded = bytes + kHugePageBytes;
  void* raw = mmap(nullptr, padded, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  auto* start = static_cast<std::byte*>(raw);
  const auto address = reinterpret_cast<uintptr_t>(raw);
  const size_t before = RoundUp(address, kHugePageBytes) - address;
  if (before > 0) munmap(start, before);
  const size_t after = padded - before - bytes;
  if (after > 0) munmap(start + before + bytes, after);
  return start + before;
}

}  // namespace

SlabArray::SlabArray(size_t stride_bytes)
    : stride_(stride_bytes),
      shift_(ShiftOf(stride_bytes)),
      mask_((uint64_t{1} << shift_) - 1),
      slabs_max_(std::min(kSlabsMax, std::max<uint64_t>(kElementsMax >> shift_, 1))),
      slab_bytes_(RoundUp(stride_bytes << shift_, kPageBytes)) {
  VECTRON_CHECK(stride_bytes > 0);
  std::byte* memory = Map(RoundUp(slabs_max_ * sizeof(*directory_), kPageBytes));
  VECTRON_CHECK(memory != nullptr);
  directory_ = reinterpret_cast<std::atomic<std::byte*>*>(memory);
}

SlabArray::~SlabArray() {
  for (uint64_t i = 0; i < slabs_; ++i) {
    munmap(directory_[i].load(std::memory_order_relaxed), slab_bytes_);
  }
  munmap(directory_, RoundUp(slabs_max_ * sizeof(*directory_), kPageBytes));
}

bool SlabArray::Reserve(uint64_t count) {
  if (count <= reserved_.load(std::memory_order_relaxed)) return true;
  while (slabs_ << shift_ < count) {
    if (!AddSlab()) return false;
  }
  if (!huge_ && count * stride_ > kSmallBytesMax) {
    huge_ = true;
    // The first slab was mapped when the array might have stayed small.
    madvise(directory_[0].load(std::memory_order_relaxed), slab_bytes_, MADV_HUGEPAGE);
  }
  reserved_.store(count, std::memory_order_relaxed);
  return true;
}

bool SlabArray::AddSlab() {
  if (slabs_ == slabs_max_) return false;
  std::byte* slab = Map(slab_bytes_);
  if (slab == nullptr) return false;
  if (slabs_ > 0) madvise(slab, slab_bytes_, MADV_HUGEPAGE);
  directory_[slabs_].store(slab, std::memory_order_relaxed);
  ++slabs_;
  return true;
}

uint64_t SlabArray::memory_bytes() const {
  const uint64_t count = reserved_.load(std::memory_order_relaxed);
  const uint64_t used = (count >> shift_) * slab_bytes_ + (count & mask_) * stride_;
  return RoundUp(used, used > kSmallBytesMax ? kHugePageBytes : kPageBytes) + kPageBytes;
}

}  // namespace vectron::index
