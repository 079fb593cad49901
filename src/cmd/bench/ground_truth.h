#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/collection.h"
#include "common/error.h"
#include "common/texmex.h"

namespace vectron::cmd {

struct GroundTruthOptions {
  std::string base_path;   // .fvecs or .bvecs
  std::string query_path;  // the same
  std::string out_path;    // .ivecs
  Metric metric = Metric::kL2;
  uint32_t k = 100;
  int thread_count = 0;  // 0: one a core
  bool quiet = false;
};

// The exact k nearest rows of `base` to each row of `queries`, nearest first, ties
// by row. Distances that single precision cannot tell apart are compared in double.
StatusOr<std::vector<std::vector<int32_t>>> ExactNeighbours(const VectorFile& base,
                                                            const VectorFile& queries,
                                                            const GroundTruthOptions& options);

// Opens the files of `options`, checks them against each other, writes the result.
Status ComputeGroundTruth(const GroundTruthOptions& options);

}  // namespace vectron::cmd
