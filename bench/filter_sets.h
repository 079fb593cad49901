#pragma once

#include <roaring/roaring.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "data_set.h"

namespace vectron::bench {

struct BitmapDeleter {
  void operator()(roaring_bitmap_t* bitmap) const { roaring_bitmap_free(bitmap); }
};
using Bitmap = std::unique_ptr<roaring_bitmap_t, BitmapDeleter>;

// Which slots match: for each query one of a few sets.
struct FilterSets {
  std::vector<Bitmap> sets;
  std::vector<size_t> set_of_query;

  const roaring_bitmap_t* OfQuery(size_t query) const { return sets[set_of_query[query]].get(); }
};

// Where the matches lie.
enum class Place {
  kScattered,  // anywhere; the same for all queries
  kVaried,     // anywhere; others from query to query, so that no cache helps
  kFar,        // together, around that of a few vectors that is farthest from the query
  kNear,       // together, around that which is nearest to the query
  kAmid,       // together, around the query itself
};
inline constexpr Place kPlaces[] = {Place::kScattered, Place::kVaried, Place::kFar, Place::kNear,
                                    Place::kAmid};

const char* PlaceName(Place place);

// Sets of `matches` of the data's rows.
FilterSets MakeFilterSets(Place place, const DataSet& data, size_t matches);

}  // namespace vectron::bench
