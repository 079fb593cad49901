#include "index/search/search_cursor.h"

#include <algorithm>

namespace vectron::index {
namespace {

constexpr size_t kDepthMin = 16;
constexpr size_t kCountMax = size_t{1} << 31;

}  // namespace

StatusOr<std::vector<Hit>> SearchCursor::Next(size_t count) {
  if (found_.size() - next_ < count && !exhausted_) {
    const size_t all = given_.size() + std::min(count, size_t{kCountMax});
    VECTRON_RETURN_IF_ERROR(Deepen(std::max({all, 2 * depth_, kDepthMin})));
  }
  std::vector<Hit> hits;
  for (; hits.size() < count && next_ < found_.size(); ++next_) {
    hits.push_back(found_[next_]);
    given_.emplace(found_[next_].slot, found_[next_].label);
  }
  return hits;
}

Status SearchCursor::Deepen(size_t k) {
  SearchOptions options = options_;
  options.k = static_cast<uint32_t>(std::min<size_t>(k, kCountMax));
  // What is given last should be found as surely as what is given first.
  options.ef = std::max(options.ef, options.k / 2 * 3);
  VECTRON_ASSIGN_OR_RETURN(std::vector<Hit> hits, index_.Search(query_, options));
  depth_ = k;
  exhausted_ = hits.size() < options.k;
  std::erase_if(hits, [&](const Hit& hit) { return given_.contains({hit.slot, hit.label}); });
  found_ = std::move(hits);
  next_ = 0;
  return OkStatus();
}

}  // namespace vectron::index
