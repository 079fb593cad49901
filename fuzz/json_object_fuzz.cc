#include "common/check.h"
#include "common/json_object.h"
#include "fuzz_target.h"

// What ValidateJsonObject accepts, merging and removing must take and must give
// valid objects back.

namespace {
constexpr vectron::JsonLimits kLimits{.bytes_max = 1 << 16, .depth_max = 32};
}

void FuzzOne(std::string_view input) {
  if (!vectron::ValidateJsonObject(input, kLimits).ok()) return;
  constexpr vectron::JsonLimits kLarger{.bytes_max = 1 << 20, .depth_max = 32};
  for (const std::string_view patch : {"{}", R"({"a":1,"b":{"c":[2]}})"}) {
    const auto merged = vectron::MergeJsonObjects(input, patch);
    VECTRON_CHECK(merged.ok());
    VECTRON_CHECK(vectron::ValidateJsonObject(*merged, kLarger).ok());
    const auto removed = vectron::RemoveJsonKeys(*merged, {"a", "b", ""});
    VECTRON_CHECK(removed.ok());
    VECTRON_CHECK(vectron::ValidateJsonObject(*removed, kLarger).ok());
  }
  const auto self = vectron::MergeJsonObjects(input, input);
  VECTRON_CHECK(self.ok() && vectron::ValidateJsonObject(*self, kLarger).ok());
}

std::vector<std::string> FuzzSeeds() {
  return {
      "{}",
      R"({"a":1})",
      R"({"a": [1, 2.5e-3, -0, true, false, null], "b" : {"c":"d"}})",
      R"({"\u00e9\ud83d\ude00":"\"\\\/\b\f\n\r\t", "a":123456789012345678901234567890})",
      "{\"\xc3\xa9\":\"\xf0\x9f\x98\x80\"}",
      R"({"a":{"a":{"a":{"a":{"a":[[[[[[]]]]]]}}}},"a":2})",
  };
}
