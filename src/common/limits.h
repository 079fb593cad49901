#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace vectron {

// The most that payload_depth_max can be set to: readers of nested values recurse.
inline constexpr size_t kPayloadDepthMax = 256;

// What one request may ask for. Checked at the gateway and again at the worker;
// an error names the limit. (Limits of a collection's settings are in
// collection.h, of an id in point.h.)
struct Limits {
  size_t batch_points_max = 10'000;    // points or ids in one request
  size_t batch_queries_max = 1'024;    // queries in one request
  size_t payload_bytes_max = 1 << 20;  // of one point
  size_t payload_depth_max = 64;       // nested objects and arrays; up to kPayloadDepthMax
  // A whole request, any interface; and the payloads that one leaves on the points that it
  // changes.
  size_t request_bytes_max = 64 << 20;
  size_t response_bytes_max = 64 << 20;  // payloads and vectors of the points in one answer
  size_t batch_results_max = 1'000'000;  // k, added up over the queries of one request
  uint32_t k_max = 16'384;               // limit + offset of a search
  uint32_t ef_max = 65'536;
  uint32_t scroll_limit_max = 10'000;  // points in one page
  size_t connections_max = 4'096;      // of one interface

  // Ids in one request of a gateway to a worker: a client's, or all that a search or a page
  // found, which may be of one shard.
  size_t fetch_points_max() const {
    return std::max({batch_points_max, batch_results_max, size_t{scroll_limit_max}});
  }
};

}  // namespace vectron
