#include "filter_sets.h"

#include <algorithm>
#include <utility>

#include "common/random.h"

namespace vectron::bench {
namespace {

constexpr size_t kVariedSets = 16;
constexpr size_t kPivots = 4;

Bitmap Scattered(size_t count, size_t matches, uint64_t seed) {
  Random random(seed);
  Bitmap bitmap(roaring_bitmap_create());
  while (roaring_bitmap_get_cardinality(bitmap.get()) < matches) {
    roaring_bitmap_add(bitmap.get(), static_cast<uint32_t>(random.Below(count)));
  }
  return bitmap;
}

double SquaredDistance(const float* a, const float* b, size_t dimension) {
  double sum = 0;
  for (size_t d = 0; d < dimension; ++d) sum += (a[d] - b[d]) * (a[d] - b[d]);
  return sum;
}

// What is nearest to `pivot`.
Bitmap Around(const DataSet& data, const float* pivot, size_t matches) {
  std::vector<std::pair<double, uint32_t>> order(data.count());
  for (size_t i = 0; i < data.count(); ++i) {
    order[i] = {SquaredDistance(data.Row(i), pivot, data.dimension), static_cast<uint32_t>(i)};
  }
  std::nth_element(order.begin(), order.begin() + static_cast<ptrdiff_t>(matches - 1), order.end());
  Bitmap bitmap(roaring_bitmap_create());
  for (size_t i = 0; i < matches; ++i) roaring_bitmap_add(bitmap.get(), order[i].second);
  return bitmap;
}

FilterSets Together(const DataSet& data, size_t matches, bool near) {
  Random random(7);
  FilterSets filters;
  std::vector<size_t> pivots;
  for (size_t p = 0; p < kPivots; ++p) {
    pivots.push_back(random.Below(data.count()));
    filters.sets.push_back(Around(data, data.Row(pivots[p]), matches));
  }
  for (size_t query = 0; query < data.query_count(); ++query) {
    const auto distance = [&](size_t p) {
      const double squared =
          SquaredDistance(data.Query(query), data.Row(pivots[p]), data.dimension);
      return near ? squared : -squared;
    };
    size_t best = 0;
    for (size_t p = 1; p < kPivots; ++p) {
      if (distance(p) < distance(best)) best = p;
    }
    filters.set_of_query.push_back(best);
  }
  return filters;
}

FilterSets AroundEachQuery(const DataSet& data, size_t matches) {
  FilterSets filters;
  for (size_t query = 0; query < data.query_count(); ++query) {
    filters.sets.push_back(Around(data, data.Query(query), matches));
    filters.set_of_query.push_back(query);
  }
  return filters;
}

}  // namespace

const char* PlaceName(Place place) {
  switch (place) {
    case Place::kScattered:
      return "scattered";
    case Place::kVaried:
      return "varied";
    case Place::kFar:
      return "far";
    case Place::kNear:
      return "near";
    case Place::kAmid:
      return "amid";
  }
  return "";
}

FilterSets MakeFilterSets(Place place, const DataSet& data, size_t matches) {
  if (place == Place::kFar || place == Place::kNear) {
    return Together(data, matches, place == Place::kNear);
  }
  if (place == Place::kAmid) return AroundEachQuery(data, matches);
  FilterSets filters;
  const size_t sets = place == Place::kVaried ? kVariedSets : 1;
  for (size_t set = 0; set < sets; ++set) {
    filters.sets.push_back(Scattered(data.count(), matches, matches + set));
  }
  for (size_t query = 0; query < data.query_count(); ++query) {
    filters.set_of_query.push_back(query % sets);
  }
  return filters;
}

}  // namespace vectron::bench
