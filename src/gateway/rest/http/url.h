#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/error.h"

namespace vectron::gateway::rest {

struct Target {
  std::vector<std::string> segments;                       // of the path, decoded
  std::vector<std::pair<std::string, std::string>> query;  // decoded, in order
};

// Takes a request's target ("/a/b%20c?x=1", or "http://host/a...", of which the host does not
// count) apart. A trailing '/' does not count.
// INVALID_ARGUMENT for a bad escape, or a path that does not begin with '/'.
StatusOr<Target> ParseTarget(std::string_view target);

}  // namespace vectron::gateway::rest
