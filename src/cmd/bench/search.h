#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "cmd/bench/load.h"
#include "common/error.h"

namespace vectron::cmd {

struct SearchOptions {
  std::string server;
  std::string collection;
  std::string query_path;         // .fvecs or .bvecs
  std::string ground_truth_path;  // .ivecs; empty: recall is not measured
  uint64_t query_count = 0;       // of the file's first rows; 0: all
  uint32_t k = 10;
  uint32_t ef = 0;  // 0: the collection's
  bool exact = false;
  bool with_payload = false;
  // Load: without count and duration, every query once.
  LoadOptions load;
  uint64_t warm_up_count = 0;  // searches before the measured ones
  std::chrono::milliseconds timeout{30'000};

  std::vector<uint32_t> ef_sweep;  // measure each of these instead of `ef`
  double target_recall = 0;        // first find the smallest ef that reaches it
  std::string dump_path;           // write ids and scores of each query here, JSON lines
  bool quiet = false;
};

// Searches and prints the result to stdout as JSON. An error, after printing, if a
// search failed or the target is out of reach.
Status RunSearch(const SearchOptions& options);

}  // namespace vectron::cmd
