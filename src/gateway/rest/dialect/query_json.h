#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/data_ops.h"
#include "common/error.h"
#include "common/limits.h"
#include "gateway/rest/dialect/fields.h"

namespace vectron::gateway::rest {

// One nearest-neighbour query as the dialect has it.
struct ParsedQuery {
  SearchQuery search;         // k is limit + offset
  std::optional<PointId> id;  // search by this point's vector, leaving the point out
  uint32_t limit = 10;
  uint32_t offset = 0;
  PayloadSelector payload;
  VectorSelector vectors;
};

// …/points/query and …/points/query/batch.
StatusOr<ParsedQuery> ParseQuery(std::string_view body, const Limits& limits);
StatusOr<std::vector<ParsedQuery>> ParseQueryBatch(std::string_view body, const Limits& limits);
// …/points/search and …/points/search/batch, which they replaced.
StatusOr<ParsedQuery> ParseSearch(std::string_view body, const Limits& limits);
StatusOr<std::vector<ParsedQuery>> ParseSearchBatch(std::string_view body, const Limits& limits);

}  // namespace vectron::gateway::rest
