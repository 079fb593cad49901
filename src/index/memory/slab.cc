#include "index/memory/slab.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>

namespace vectron::index {

uint32_t SlabShift(size_t stride_bytes) {
  return static_cast<uint32_t>(std::bit_width(std::max<size_t>(kSlabBytes / stride_bytes, 1)) - 1);
}

uint64_t InWholePages(uint64_t bytes) {
  return RoundUp(bytes, bytes > kSmallBytesMax ? kHugePageBytes : kPageBytes) + kPageBytes;
}

Slab::Slab(size_t bytes) : bytes_(RoundUp(bytes, kPageBytes)) {
  const size_t padded = bytes_ + kHugePageBytes;
  void* raw = mmap(nullptr, padded, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) return;
  auto* first = static_cast<std::byte*>(raw);
  const auto address = reinterpret_cast<uintptr_t>(raw);
  const size_t before = RoundUp(address, kHugePageBytes) - address;
  if (before > 0) munmap(first, before);
  const size_t after = padded - before - bytes_;
  if (after > 0) munmap(first + before + bytes_, after);
  start_ = first + before;
}

Slab::~Slab() {
  if (start_ != nullptr) munmap(start_, bytes_);
}

void Slab::AskForHugePages() const { madvise(start_, bytes_, MADV_HUGEPAGE); }

}  // namespace vectron::index
