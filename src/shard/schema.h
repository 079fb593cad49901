#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/collection.h"
#include "common/data_ops.h"
#include "common/error.h"

namespace vectron::shard {

// The named vectors of a shard. A vector's number is its position here; it is
// part of stored keys and never changes. Immutable.
class Schema {
 public:
  // Named vectors that a shard had, as EncodeStored gave them ("" for a new shard),
  // followed by those of `configs` that are new. INCOMPATIBLE_FORMAT if one is gone
  // or has another dimension or metric, CORRUPTION.
  static StatusOr<Schema> Make(std::string_view stored, std::span<const VectorConfig> configs);

  std::string EncodeStored() const;

  size_t size() const { return vectors_.size(); }
  const VectorConfig& vector(size_t number) const { return vectors_[number]; }
  // The vector's number.
  std::optional<size_t> Find(std::string_view name) const;
  // The same; INVALID_ARGUMENT naming those there are.
  StatusOr<size_t> Require(std::string_view name) const;

  // OK if the point's vectors are of this schema: names, dimensions, finite
  // values, not all zero for cosine. The same was checked before the point was
  // proposed; here it keeps a wrong proposer from stopping the replicas.
  Status Check(const Point& point) const;

 private:
  std::vector<VectorConfig> vectors_;
};

}  // namespace vectron::shard
