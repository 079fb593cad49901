#include "common/random.h"

#include <sys/random.h>

#include "common/check.h"

namespace vectron {

uint64_t RandomSeed() {
  uint64_t seed = 0;
  VECTRON_CHECK(getrandom(&seed, sizeof(seed), 0) == sizeof(seed));
  return seed;
}

}  // namespace vectron
