#include "common/json_object.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <charconv>
#include <cmath>
#include <utility>

#include "common/check.h"
#include "common/json_scanner.h"
#include "common/string_map.h"

namespace vectron {
namespace {

// Bounds the scanner's recursion whatever the caller's limit is.
constexpr size_t kDepthMax = 1'000;

// A member of an object: its text from the key's quote to the value's last byte.
struct Member {
  std::string key;  // unescaped
  std::string_view text;
};

Status CheckUtf8(std::string_view text) {
  if (simdjson::validate_utf8(text.data(), text.size())) return OkStatus();
  return InvalidArgument("not valid UTF-8");
}

// Walks the object `text`, which must be all there is, and hands every member to
// `visit`(raw key, member's text).
template <typename Visit>
Status WalkMembers(std::string_view text, JsonScanner* walker, Visit visit) {
  JsonScanner& scanner = *walker;
  scanner.SkipSpace();
  VECTRON_RETURN_IF_ERROR(scanner.Take('{', "an object"));
  scanner.SkipSpace();
  if (!scanner.TryTake('}')) {
    for (;;) {
      scanner.SkipSpace();
      const size_t start = scanner.offset();
      std::string_view key;
      VECTRON_RETURN_IF_ERROR(scanner.TakeString(&key));
      scanner.SkipSpace();
      VECTRON_RETURN_IF_ERROR(scanner.Take(':', "':'"));
      VECTRON_RETURN_IF_ERROR(scanner.SkipValue(1));
      visit(key, text.substr(start, scanner.offset() - start));
      scanner.SkipSpace();
      if (scanner.TryTake('}')) break;
      VECTRON_RETURN_IF_ERROR(scanner.Take(',', "',' or '}'"));
    }
  }
  scanner.SkipSpace();
  return scanner.AtEnd() ? OkStatus() : scanner.Error("more text after the object");
}

// The same; an error names the path to its place.
template <typename Visit>
Status ForEachMember(std::string_view text, size_t depth_max, Visit visit) {
  JsonScanner scanner(text, depth_max);
  const Status status = WalkMembers(text, &scanner, visit);
  if (status.ok()) return status;
  const std::string path = JsonPathTo(text, scanner.offset());
  return path.empty() ? status : Annotate(status, path);
}

StatusOr<std::vector<Member>> Members(std::string_view text) {
  std::vector<Member> members;
  if (text.empty()) return members;
  VECTRON_RETURN_IF_ERROR(CheckUtf8(text));
  VECTRON_RETURN_IF_ERROR(
      ForEachMember(text, kDepthMax, [&](std::string_view key, std::string_view member) {
        members.push_back({UnescapeJsonString(key), member});
      }));
  return members;
}

std::string Join(const std::vector<Member>& members) {
  std::string out = "{";
  for (const Member& member : members) {
    if (out.size() > 1) out.push_back(',');
    out.append(member.text);
  }
  out.push_back('}');
  return out;
}

// The members of `base` whose key is in `keys`, or those whose key is not.
StatusOr<std::string> Filter(std::string_view base, const std::vector<std::string>& keys,
                             bool keep) {
  VECTRON_ASSIGN_OR_RETURN(std::vector<Member> members, Members(base));
  const StringSet set(keys.begin(), keys.end());
  std::erase_if(members, [&](const Member& member) { return set.contains(member.key) != keep; });
  return Join(members);
}

template <typename Float>
void AppendNumber(Float value, std::string* out) {
  VECTRON_CHECK(std::isfinite(value));
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), value);
  VECTRON_CHECK(error == std::errc());
  out->append(buffer, end);
}

}  // namespace

Status ValidateJsonObject(std::string_view text, const JsonLimits& limits) {
  VECTRON_CHECK(limits.depth_max >= 1 && limits.depth_max <= kDepthMax);
  if (text.size() > limits.bytes_max) {
    return MakeError(Reason::kLimitExceeded, fmt::format("the object has {} bytes, the limit is {}",
                                                         text.size(), limits.bytes_max));
  }
  VECTRON_RETURN_IF_ERROR(CheckUtf8(text));
  return ForEachMember(text, limits.depth_max, [](std::string_view, std::string_view) {});
}

StatusOr<std::string> MergeJsonObjects(std::string_view base, std::string_view patch) {
  VECTRON_ASSIGN_OR_RETURN(std::vector<Member> members, Members(base));
  VECTRON_ASSIGN_OR_RETURN(std::vector<Member> changes, Members(patch));
  // The last of members with the same key is the one that counts, in `base` too: a
  // change must not leave another one of its key behind.
  StringMap<size_t> places;
  std::vector<Member> merged;
  merged.reserve(members.size() + changes.size());
  for (std::vector<Member>* source : {&members, &changes}) {
    for (Member& member : *source) {
      const auto [it, inserted] = places.try_emplace(member.key, merged.size());
      if (inserted) {
        merged.push_back(std::move(member));
      } else {
        merged[it->second].text = member.text;
      }
    }
  }
  return Join(merged);
}

StatusOr<std::string> RemoveJsonKeys(std::string_view base, const std::vector<std::string>& keys) {
  return Filter(base, keys, /*keep=*/false);
}

StatusOr<std::string> KeepJsonKeys(std::string_view base, const std::vector<std::string>& keys) {
  return Filter(base, keys, /*keep=*/true);
}

void AppendJsonString(std::string_view text, std::string* out) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out->push_back('"');
  size_t plain = 0;  // where the bytes begin that go out as they are
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out->append(text, plain, i - plain);
    plain = i + 1;
    out->push_back('\\');
    switch (c) {
      case '"':
      case '\\':
        out->push_back(static_cast<char>(c));
        break;
      case '\n':
        out->push_back('n');
        break;
      case '\r':
        out->push_back('r');
        break;
      case '\t':
        out->push_back('t');
        break;
      default:
        out->append("u00");
        out->push_back(kHex[c >> 4]);
        out->push_back(kHex[c & 15]);
    }
  }
  out->append(text, plain);
  out->push_back('"');
}

void AppendJsonNumber(float value, std::string* out) { AppendNumber(value, out); }
void AppendJsonNumber(double value, std::string* out) { AppendNumber(value, out); }

}  // namespace vectron
