#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "contender.h"

namespace vectron::bench {

struct CheckpointTimes {
  uint64_t size_bytes = 0;
  double write_seconds = 0;
  double load_seconds = 0;  // median of the rounds
};

// What index_bench found out. Ours comes first; then, unless it was skipped, hnswlib.
struct IndexReport {
  size_t vectors = 0;
  size_t queries = 0;
  size_t dimension = 0;
  std::string metric;
  std::string isa;  // of our kernels
  BuildOptions build;
  int rounds = 0;
  int search_threads = 0;
  std::vector<Contender> contenders;
  std::optional<CheckpointTimes> checkpoint;
};

void PrintTables(const IndexReport& report);
// The same for programs: README.md describes the fields.
std::string Json(const IndexReport& report);

}  // namespace vectron::bench
