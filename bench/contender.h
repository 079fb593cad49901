#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/collection.h"
#include "data_set.h"
#include "index/vector_index.h"
#include "stopwatch.h"

namespace vectron::bench {

struct Point {
  uint32_t ef = 0;
  double recall = 0;
  double qps = 0;  // on one thread; median of the rounds
};

// What more threads bring.
struct ThreadGain {
  uint32_t ef = 0;
  double one_qps = 0;
  double many_qps = 0;  // of all together
  double ratio = 0;     // median of the rounds'
};

struct BuildOptions {
  Metric metric = Metric::kL2;
  Quantization quantization = Quantization::kSq8;  // of ours
  uint32_t m = 16;
  uint32_t ef_construction = 200;
  int threads = 2;
  Watch watch = Watch::kWall;
};

// One of those that are compared: an index that was built, and what was measured of it.
struct Contender {
  std::string name;
  double build_seconds = 0;
  double put_seconds = 0;  // of which
  double bytes_per_vector = 0;
  // Without the floats where searches look at them to rank the best only.
  double hot_bytes_per_vector = 0;
  // Sets the beam of the searches that follow; while none runs.
  std::function<void(uint32_t ef)> set_ef;
  // The labels of the kK nearest, in any order. Thread-safe.
  std::function<void(const float* query, std::vector<uint32_t>* labels)> search;
  std::vector<Point> points;
  ThreadGain threads;
};

// Ours; `index` is given a share in what was built.
Contender BuildOurs(const BuildOptions& options, const DataSet& data,
                    std::shared_ptr<index::VectorIndex>* index);
// The distribution's hnswlib.
Contender BuildTheirs(const BuildOptions& options, const DataSet& data);

// QPS at this recall, between the beams on both sides of it, on a logarithmic scale; NaN
// outside of what was measured.
double QpsAt(const Contender& contender, double recall);

}  // namespace vectron::bench
