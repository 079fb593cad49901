#include "gateway/uuid.h"

namespace vectron::gateway {

std::optional<std::string> CanonicalUuid(std::string_view text) {
  constexpr std::string_view kUrn = "urn:uuid:";
  if (text.starts_with(kUrn)) {
    text.remove_prefix(kUrn.size());
    if (text.size() != 36) return std::nullopt;
  } else if (text.size() == 38 && text.front() == '{' && text.back() == '}') {
    text = text.substr(1, 36);
  }
  const bool hyphenated = text.size() == 36;
  if (!hyphenated && text.size() != 32) return std::nullopt;
  std::string canonical;
  canonical.reserve(36);
  for (size_t i = 0; i < text.size(); ++i) {
    if (hyphenated && (i == 8 || i == 13 || i == 18 || i == 23)) {
      if (text[i] != '-') return std::nullopt;
      continue;
    }
    char c = text[i];
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return std::nullopt;
    const size_t size = canonical.size();
    if (size == 8 || size == 13 || size == 18 || size == 23) canonical.push_back('-');
    canonical.push_back(c);
  }
  return canonical;
}

}  // namespace vectron::gateway
