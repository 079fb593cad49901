#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace vectron::gateway {

// The lower-case hyphenated form of a UUID in any of its usual ones (hyphens or not,
// either case, braces, urn:uuid:), or nullopt if `text` is none. Idempotent. Both
// interfaces take ids through it, so that a point has one name on both.
std::optional<std::string> CanonicalUuid(std::string_view text);

}  // namespace vectron::gateway
