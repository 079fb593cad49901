#pragma once

#include <set>
#include <utility>
#include <vector>

#include "index/vector_index.h"

namespace vectron::index {

// A search that goes on past its k: for pages, and for callers that drop some hits
// (groups, filters of their own) and want others instead.
//
// It searches anew, twice as deep each time, and leaves out what it gave before. So
// going to any depth costs about twice one search of that depth, and between
// two calls it holds nothing that the index would have to keep. Deletions and
// vectors put meanwhile are seen from the next search on.
//
// Hits of one call are nearest first. A later call may give one that is nearer than
// those of earlier calls, if a narrower beam missed it or it is new. No
// (slot, label) comes twice. Not thread-safe.
class SearchCursor {
 public:
  // `index`, and what `options` point to, outlive the cursor; options.k is not used.
  SearchCursor(const VectorIndex& index, std::span<const float> query, SearchOptions options)
      : index_(index), query_(query.begin(), query.end()), options_(std::move(options)) {}

  // Up to `count` more; fewer when there are no more. Errors as Search.
  StatusOr<std::vector<Hit>> Next(size_t count);

 private:
  Status Deepen(size_t k);

  const VectorIndex& index_;
  const std::vector<float> query_;
  SearchOptions options_;
  std::vector<Hit> found_;  // by the last search, and not given
  size_t next_ = 0;         // of found_
  size_t depth_ = 0;        // of the last search
  bool exhausted_ = false;  // it found all there is
  std::set<std::pair<Slot, uint64_t>> given_;
};

}  // namespace vectron::index
