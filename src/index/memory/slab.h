#pragma once

#include <cstddef>
#include <cstdint>

namespace vectron::index {

// Arrays up to this size make do with small pages: they would waste a good part of the last
// huge one, and the processor's table of small pages covers about as much (2,048 of them).
inline constexpr size_t kSmallBytesMax = size_t{8} << 20;
inline constexpr size_t kHugePageBytes = size_t{2} << 20;
inline constexpr size_t kPageBytes = 4096;
// About so large are slabs, and there are at most so many of an array.
inline constexpr size_t kSlabBytes = size_t{16} << 20;
inline constexpr uint64_t kSlabsMax = uint64_t{1} << 20;

constexpr size_t RoundUp(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

// Elements of a slab, as a power of two.
uint32_t SlabShift(size_t stride_bytes);
// What an array of `bytes` occupies, with its directory.
uint64_t InWholePages(uint64_t bytes);

// Anonymous memory of its own, aligned to huge pages. It reads as zeros; pages are given on
// first touch, so what is not touched costs nothing.
class Slab {
 public:
  // `start()` is nullptr when the system gives no memory.
  explicit Slab(size_t bytes);
  ~Slab();
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  std::byte* start() const { return start_; }
  // Huge pages from here on, where the system has them; also for what was touched already, in time.
  void AskForHugePages() const;

 private:
  std::byte* start_ = nullptr;
  size_t bytes_;  // whole pages
};

}  // namespace vectron::index
