#pragma once

#include <string>
#include <string_view>

#include "common/collection.h"
#include "common/error.h"
#include "gateway/gateway.h"

namespace vectron::gateway::rest {

// The settings in the body of PUT /collections/{name}. What the dialect has and we do
// not offer is refused where it would change what the collection does, and accepted
// where it only hints at how (docs/API.md lists both).
StatusOr<CollectionConfig> ParseCreateCollection(std::string name, std::string_view body);

// The result of GET /collections/{name}.
std::string WriteCollectionInfo(const CollectionReport& report);

}  // namespace vectron::gateway::rest
