#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "common/thread.h"
#include "index/vector_index.h"

namespace vectron::bench {

// A thread that searches without a pause while others change the index, from construction
// until Stop. Times each search; of some it looks at what they found.
//
// What should have been found while the vectors change: two exact searches, one before and one
// after, tell which vectors were among the nearest and alive all the time. Those that
// are nearer than the farthest hit must be hits.
class SearchBeside {
 public:
  // `index` and `queries` outlive it.
  SearchBeside(const index::VectorIndex& index, const std::vector<std::vector<float>>& queries,
               uint32_t ef);
  ~SearchBeside();
  SearchBeside(const SearchBeside&) = delete;
  SearchBeside& operator=(const SearchBeside&) = delete;

  void Stop();

  // After Stop.
  double recall() const;
  // A line of how many searches there were, how long they took and what they found.
  std::string Summary() const;

 private:
  std::vector<index::Hit> Search(size_t i, bool exact) const;
  void TimeOne(size_t i);
  void LookAtOne(size_t i);

  const index::VectorIndex& index_;
  const std::vector<std::vector<float>>& queries_;
  const uint32_t ef_;
  std::atomic<bool> stop_ = false;
  // Of the thread, until Stop.
  std::vector<double> wall_seconds_;
  std::vector<double> cpu_seconds_;
  size_t found_ = 0;
  size_t wanted_ = 0;
  Thread thread_;  // the last: it uses the others
};

}  // namespace vectron::bench
