#pragma once

#include <cstdint>

namespace vectron {

// A small, fast, seeded generator (splitmix64: Steele, Lea, Flood, "Fast
// splittable pseudorandom number generators", OOPSLA 2014). The same seed gives
// the same sequence on every machine. Not thread-safe, not for secrets.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  // Uniform in [0, bound); `bound` > 0. The bias is below bound / 2^64.
  uint64_t Below(uint64_t bound) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(Next()) * bound) >> 64);
  }

  // Uniform in [0, 1).
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }

 private:
  uint64_t state_;
};

// 64 bits of the operating system's randomness: for seeds and session ids at
// start-up, passed on through constructors.
uint64_t RandomSeed();

}  // namespace vectron
