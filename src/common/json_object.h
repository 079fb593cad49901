#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"

// Payloads are kept as the JSON text of an object. Values keep the text that the
// client gave (numbers keep their digits); only the white space around top-level
// members may change when members are merged or removed.
//
// Where an object has a key twice, its text is kept, and the last one counts: that is
// what merging keeps, and what readers of JSON see. Keys are compared with their
// escapes resolved.

namespace vectron {

struct JsonLimits {
  size_t bytes_max = 1 << 20;
  size_t depth_max = 64;  // at most 1,000
};

// OK if `text` is one valid JSON object (RFC 8259, UTF-8) within the limits.
// INVALID_ARGUMENT or LIMIT_EXCEEDED, with the byte offset where known. Numbers may have
// any digits, but must be finite as a double; surrogates must be paired.
Status ValidateJsonObject(std::string_view text, const JsonLimits& limits);

// The object `base` ("" counts as {}) with the top-level members of `patch` set.
// Both must be valid objects.
StatusOr<std::string> MergeJsonObjects(std::string_view base, std::string_view patch);

// The object `base` without the top-level members named `keys`.
StatusOr<std::string> RemoveJsonKeys(std::string_view base, const std::vector<std::string>& keys);

// Its counterpart: `base` without the members that are not named in `keys`.
StatusOr<std::string> KeepJsonKeys(std::string_view base, const std::vector<std::string>& keys);

// Appends `text` (UTF-8) as a JSON string literal, quotes included.
void AppendJsonString(std::string_view text, std::string* out);

// Appends the shortest decimal that reads back as `value`; `value` is finite.
void AppendJsonNumber(float value, std::string* out);
void AppendJsonNumber(double value, std::string* out);

}  // namespace vectron
