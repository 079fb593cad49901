#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/random.h"
#include "fuzz_target.h"

// Usage: fuzz_<name> [ITERATIONS [SEED]], or a file to run once: FILE.

namespace {

// Changes `input` in one of the ways in which bytes go wrong: flipped, cut,
// repeated, overwritten by extreme numbers, spliced with another seed.
std::string Mutate(std::string input, const std::vector<std::string>& seeds,
                   vectron::Random* random) {
  const int change_count = 1 + static_cast<int>(random->Below(4));
  for (int i = 0; i < change_count; ++i) {
    const size_t at = random->Below(input.size() + 1);
    switch (random->Below(6)) {
      case 0:
        if (at < input.size()) input[at] ^= static_cast<char>(1 << random->Below(8));
        break;
      case 1:
        if (at < input.size()) input[at] = static_cast<char>(random->Next());
        break;
      case 2:
        input.erase(at, random->Below(16));
        break;
      case 3:
        input.insert(at, input.substr(random->Below(input.size() + 1), random->Below(64)));
        break;
      case 4:
        for (size_t j = at; j < input.size() && j < at + 8; ++j) {
          input[j] = static_cast<char>(random->Below(2) == 0 ? 0xff : 0);
        }
        break;
      default: {
        const std::string& other = seeds[random->Below(seeds.size())];
        input = input.substr(0, at) + other.substr(random->Below(other.size() + 1));
      }
    }
  }
  return input;
}

int RunFile(const char* path) {
  std::FILE* file = std::fopen(path, "rb");
  if (file == nullptr) {
    std::perror(path);
    return 2;
  }
  std::string input;
  char buffer[4096];
  while (const size_t n = std::fread(buffer, 1, sizeof(buffer), file)) input.append(buffer, n);
  std::fclose(file);
  FuzzOne(input);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  char* end = nullptr;
  const unsigned long iterations = argc > 1 ? std::strtoul(argv[1], &end, 10) : 20'000;
  if (argc > 1 && *end != '\0') return RunFile(argv[1]);
  const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  const std::vector<std::string> seeds = FuzzSeeds();
  VECTRON_CHECK(!seeds.empty());
  for (const std::string& input : seeds) FuzzOne(input);
  vectron::Random random(seed);
  for (unsigned long i = 0; i < iterations; ++i) {
    FuzzOne(Mutate(seeds[random.Below(seeds.size())], seeds, &random));
  }
  std::printf("%zu seeds, %lu mutations from seed %llu: no crash\n", seeds.size(), iterations,
              static_cast<unsigned long long>(seed));
  return 0;
}
