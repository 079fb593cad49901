#include "gateway/rest/http/url.h"

#include <absl/strings/match.h>
#include <fmt/format.h>

#include <algorithm>

namespace vectron::gateway::rest {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// '+' means a space in a query, and itself in a path.
enum class Plus { kLiteral, kSpace };

StatusOr<std::string> Decode(std::string_view text, Plus plus) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus == Plus::kSpace) {
      out.push_back(' ');
      continue;
    }
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    const int high = i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
    const int low = high >= 0 ? HexDigit(text[i + 2]) : -1;
    if (low < 0) return InvalidArgument("the URL has a '%' without two hexadecimal digits");
    out.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return out;
}

// Calls `visit` with each piece of `text` between `separator`s.
template <typename Visit>
Status ForEachPiece(std::string_view text, char separator, Visit visit) {
  for (;;) {
    const size_t end = text.find(separator);
    VECTRON_RETURN_IF_ERROR(visit(text.substr(0, end)));
    if (end == std::string_view::npos) return OkStatus();
    text.remove_prefix(end + 1);
  }
}

// Leaves "/a?b" of "http://host:1/a?b", which proxies send and every server must take (RFC 9112,
// 3.2.2). False if `target` is of another form.
bool RemoveAuthority(std::string_view* target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!absl::StartsWithIgnoreCase({target->data(), target->size()},
                                    {scheme.data(), scheme.size()})) {
      continue;
    }
    target->remove_prefix(scheme.size());
    target->remove_prefix(std::min(target->find_first_of("/?#"), target->size()));
    return true;
  }
  return false;
}

}  // namespace

StatusOr<Target> ParseTarget(std::string_view target) {
  const bool is_absolute = RemoveAuthority(&target);
  const size_t fragment = target.find('#');
  if (fragment != std::string_view::npos) target = target.substr(0, fragment);
  const size_t question = target.find('?');
  std::string_view path = target.substr(0, question);
  if (path.empty() && is_absolute) path = "/";  // RFC 9110, 4.2.3
  if (path.empty() || path.front() != '/') {
    return InvalidArgument("the URL's path must begin with '/'");
  }
  path.remove_prefix(1);
  if (!path.empty() && path.back() == '/') path.remove_suffix(1);

  Target parsed;
  if (!path.empty()) {
    VECTRON_RETURN_IF_ERROR(ForEachPiece(path, '/', [&](std::string_view piece) -> Status {
      VECTRON_ASSIGN_OR_RETURN(std::string segment, Decode(piece, Plus::kLiteral));
      parsed.segments.push_back(std::move(segment));
      return OkStatus();
    }));
  }
  if (question == std::string_view::npos) return parsed;
  VECTRON_RETURN_IF_ERROR(
      ForEachPiece(target.substr(question + 1), '&', [&](std::string_view piece) -> Status {
        if (piece.empty()) return OkStatus();
        const size_t equals = piece.find('=');
        VECTRON_ASSIGN_OR_RETURN(std::string key, Decode(piece.substr(0, equals), Plus::kSpace));
        std::string value;
        if (equals != std::string_view::npos) {
          VECTRON_ASSIGN_OR_RETURN(value, Decode(piece.substr(equals + 1), Plus::kSpace));
        }
        parsed.query.emplace_back(std::move(key), std::move(value));
        return OkStatus();
      }));
  return parsed;
}

}  // namespace vectron::gateway::rest
