#include <algorithm>
#include <cmath>

#include "index/vector_index.h"

namespace vectron::index {
namespace {

constexpr uint32_t kFirstDepth = 32;
constexpr uint32_t kDeeper = 4;
constexpr uint32_t kDepthMax = uint32_t{1} << 31;  // there are no more slots

}  // namespace

StatusOr<std::vector<Hit>> VectorIndex::SearchWithin(std::span<const float> query, float radius,
                                                     const SearchOptions& options) const {
  if (std::isnan(radius)) return InvalidArgument("the radius is not a number");
  SearchOptions deeper = options;
  for (uint64_t depth = kFirstDepth;; depth *= kDeeper) {
    deeper.k = static_cast<uint32_t>(std::min<uint64_t>({options.k, depth, kDepthMax}));
    // The border of what is within should be found as surely as its middle.
    deeper.ef = std::max(options.ef, deeper.k / 2 * 3);
    VECTRON_ASSIGN_OR_RETURN(std::vector<Hit> hits, Search(query, deeper));
    const bool all = hits.size() < deeper.k || hits.back().distance > radius;
    if (!all && deeper.k < std::min(options.k, kDepthMax)) continue;
    std::erase_if(hits, [&](const Hit& hit) { return hit.distance > radius; });
    return hits;
  }
}

}  // namespace vectron::index
