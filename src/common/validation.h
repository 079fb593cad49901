#pragma once

#include "common/collection.h"
#include "common/data_ops.h"
#include "common/limits.h"

namespace vectron {

// What the gateway checks before it sends a request and the worker checks again
// before it proposes or searches. Errors: INVALID_ARGUMENT or LIMIT_EXCEEDED, naming
// the point ("point 17 (id 42): ...") and the field or limit.

Status ValidateWrite(const CollectionConfig& config, const WriteOp& op, const Limits& limits);
Status ValidateSearch(const CollectionConfig& config, const SearchQuery& query,
                      const Limits& limits);
Status ValidateSelect(const CollectionConfig& config, const Select& select);
Status ValidateScroll(const ScrollQuery& query, const Limits& limits);
Status ValidateIds(const std::vector<PointId>& ids, const Limits& limits);
// The worker's check of ids whose records a gateway fetches.
Status ValidateFetch(const std::vector<PointId>& ids, const Limits& limits);

// The vector of `config` with this name; INVALID_ARGUMENT naming those there are.
StatusOr<const VectorConfig*> FindVectorConfig(const CollectionConfig& config,
                                               std::string_view name);

}  // namespace vectron
