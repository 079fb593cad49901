#pragma once

#include <string>

#include "gateway/gateway.h"

namespace vectron::gateway {

// The bytes of a vectron.v1.SearchResponse that says what `report` says.
//
// Written field by field: most searches ask for ids and scores, and to make a message of
// each, with another for its id, and to measure and write them all afterwards was a third
// of the instructions that a search took around the index and gRPC.
std::string EncodeSearchResponse(const SearchReport& report);

}  // namespace vectron::gateway
