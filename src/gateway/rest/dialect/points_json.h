#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "common/data_ops.h"
#include "common/error.h"
#include "common/limits.h"
#include "gateway/rest/dialect/fields.h"

// Bodies of the requests on points other than searches. What the settings of the
// collection decide (dimensions, names, limits of a payload) is checked by the gateway.

namespace vectron::gateway::rest {

// {"points":[{"id","vector","payload"} ...]} or {"batch":{"ids","vectors","payloads"}}.
StatusOr<UpsertPoints> ParseUpsert(std::string_view body, const Limits& limits);

// {"points":[ids]}: for deletion and for clearing payloads.
StatusOr<std::vector<PointId>> ParsePointSelection(std::string_view body, const Limits& limits);

// {"payload":{...},"points":[ids]}.
struct PayloadChange {
  std::vector<PointId> ids;
  std::string payload;
};
StatusOr<PayloadChange> ParsePayloadChange(std::string_view body, const Limits& limits);
// {"keys":[...],"points":[ids]}.
StatusOr<DeletePayloadKeys> ParseDeletePayload(std::string_view body, const Limits& limits);

struct RetrieveRequest {
  std::vector<PointId> ids;
  PayloadSelector payload = PayloadSelector::All();
  VectorSelector vectors;
};
StatusOr<RetrieveRequest> ParseRetrieve(std::string_view body, const Limits& limits);

struct ScrollBody {
  ScrollQuery query;
  PayloadSelector payload = PayloadSelector::All();
  VectorSelector vectors;
};
StatusOr<ScrollBody> ParseScroll(std::string_view body);

// Counts are exact whatever is asked for: there is nothing to return.
Status ParseCount(std::string_view body);

}  // namespace vectron::gateway::rest
