#include "gateway/rest/dialect/json_reader.h"

#include <absl/strings/charconv.h>
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "common/limits.h"

namespace vectron::gateway::rest {
namespace {

// Of a request with its payloads: what a payload may have, and room around it.
constexpr size_t kDepthMax = kPayloadDepthMax + 16;
// Members that one object may have. No object that is visited knows as many.
constexpr size_t kMembersMax = 64;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// from_chars takes a little more than JSON's grammar ("01", "1.", "inf"); this is the
// difference, for text that from_chars took.
bool IsJsonNumber(std::string_view text) {
  const char* p = text.data();
  const char* const end = p + text.size();
  if (p != end && *p == '-') ++p;
  if (p == end || !IsDigit(*p)) return false;
  if (*p == '0' && p + 1 != end && IsDigit(p[1])) return false;
  while (p != end && IsDigit(*p)) ++p;
  return p == end || *p != '.' || (p + 1 != end && IsDigit(p[1]));
}

// Appends `key` as a step of a path: as it is where that is unambiguous and short.
void AppendKey(std::string_view key, std::string* path) {
  constexpr size_t kShownMax = 64;
  if (!path->empty()) path->push_back('.');
  path->append(key.substr(0, kShownMax));
  if (key.size() > kShownMax) path->append("...");
}

}  // namespace

JsonReader::JsonReader(std::string_view text) : text_(text), scanner_(text, kDepthMax) {
  path_.reserve(16);
}

Status JsonReader::CheckUtf8(std::string_view text) {
  if (simdjson::validate_utf8(text.data(), text.size())) return OkStatus();
  return InvalidArgument("the body is not valid UTF-8");
}

std::string JsonReader::Where() const {
  std::string path;
  for (const Step& step : path_) {
    if (step.is_index) {
      path.append(fmt::format("[{}]", step.index));
    } else if (step.key.data() != nullptr) {
      AppendKey(step.key, &path);
    }
  }
  return path;
}

Status JsonReader::Wrap(const Status& status) const {
  if (status.ok() || path_.empty()) return status;
  const std::string where = Where();
  return where.empty() ? status : Annotate(status, where);
}

Status JsonReader::Error(std::string_view message) const { return Wrap(scanner_.Error(message)); }

Status JsonReader::UnknownField(std::string_view key) const {
  std::string shown;
  AppendKey(key, &shown);
  return Wrap(InvalidArgument(fmt::format("unknown field '{}'", shown)));
}

Status JsonReader::Unsupported(std::string_view message) const {
  return Wrap(MakeError(Reason::kUnsupported, message));
}

Status JsonReader::Enter() {
  if (path_.size() >= kDepthMax) {
    return Wrap(MakeError(Reason::kLimitExceeded, fmt::format("nested deeper than {} at byte {}",
                                                              kDepthMax, scanner_.offset())));
  }
  path_.emplace_back();
  return OkStatus();
}

Status JsonReader::TakeKey(std::string_view* raw, std::vector<std::string_view>* seen) {
  VECTRON_RETURN_IF_ERROR(Wrap(scanner_.TakeString(raw)));
  const bool twice = std::find(seen->begin(), seen->end(), *raw) != seen->end();
  if (twice) {
    std::string shown;
    AppendKey(*raw, &shown);
    return Error(fmt::format("'{}' appears twice", shown));
  }
  if (seen->size() >= kMembersMax) {
    return Error(fmt::format("an object with more than {} members", kMembersMax));
  }
  seen->push_back(*raw);
  scanner_.SkipSpace();
  return Wrap(scanner_.Take(':', "':'"));
}

JsonReader::Kind JsonReader::Peek() {
  scanner_.SkipSpace();
  const char c = scanner_.Peek();
  switch (c) {
    case '{':
      return Kind::kObject;
    case '[':
      return Kind::kArray;
    case '"':
      return Kind::kString;
    case 't':
    case 'f':
      return Kind::kBool;
    case 'n':
      return Kind::kNull;
    default:
      return c == '-' || IsDigit(c) ? Kind::kNumber : Kind::kNone;
  }
}

bool JsonReader::TryNull() {
  if (Peek() != Kind::kNull || text_.substr(scanner_.offset(), 4) != "null") return false;
  scanner_.Advance(4);
  return true;
}

Status JsonReader::ReadBool(bool* value) {
  if (Peek() != Kind::kBool) return Error("expected true or false");
  *value = scanner_.Peek() == 't';
  return Wrap(scanner_.SkipValue(path_.size()));
}

Status JsonReader::ReadUint(uint64_t* value) {
  if (Peek() != Kind::kNumber) return Error("expected an unsigned integer");
  const char* const begin = text_.data() + scanner_.offset();
  const char* const limit = text_.data() + text_.size();
  const auto [end, error] = std::from_chars(begin, limit, *value);
  const bool whole = end == limit || (*end != '.' && *end != 'e' && *end != 'E');
  if (error == std::errc::result_out_of_range) {
    return Error("expected an integer of at most 64 bits");
  }
  if (error != std::errc() || !whole || !IsJsonNumber({begin, static_cast<size_t>(end - begin)})) {
    return Error("expected an unsigned integer");
  }
  scanner_.Advance(static_cast<size_t>(end - begin));
  return OkStatus();
}

Status JsonReader::ReadDouble(double* value) {
  if (Peek() != Kind::kNumber) return Error("expected a number");
  std::string_view raw;
  VECTRON_RETURN_IF_ERROR(ReadRaw(&raw));  // checks the grammar and the range
  absl::from_chars(raw.data(), raw.data() + raw.size(), *value);
  return OkStatus();
}

Status JsonReader::ReadFloat(float* value) {
  scanner_.SkipSpace();
  const char* const begin = text_.data() + scanner_.offset();
  const char* const limit = text_.data() + text_.size();
  const auto [end, error] = std::from_chars(begin, limit, *value);
  if (error == std::errc() && std::isfinite(*value) &&
      IsJsonNumber({begin, static_cast<size_t>(end - begin)})) {
    scanner_.Advance(static_cast<size_t>(end - begin));
    return OkStatus();
  }
  // Not a number, too large, or so small that it is zero: slowly, to tell which.
  double wide = 0;
  VECTRON_RETURN_IF_ERROR(ReadDouble(&wide));
  *value = static_cast<float>(wide);
  return std::isfinite(*value) ? OkStatus() : Error("a number too large for a 32-bit float");
}

Status JsonReader::ReadFloats(std::vector<float>* values) {
  return ReadArray([&] {
    float value = 0;
    VECTRON_RETURN_IF_ERROR(ReadFloat(&value));
    values->push_back(value);
    return OkStatus();
  });
}

Status JsonReader::ReadString(std::string* value) {
  if (Peek() != Kind::kString) return Error("expected a string");
  std::string_view raw;
  VECTRON_RETURN_IF_ERROR(Wrap(scanner_.TakeString(&raw)));
  *value = UnescapeJsonString(raw);
  return OkStatus();
}

Status JsonReader::ReadRaw(std::string_view* value) {
  scanner_.SkipSpace();
  const size_t begin = scanner_.offset();
  const Status status = scanner_.SkipValue(path_.size());
  if (!status.ok()) {
    const std::string outer = Where();
    const std::string inner = JsonPathTo(text_.substr(begin), scanner_.offset() - begin);
    const bool dot = !outer.empty() && !inner.empty() && inner[0] != '[';
    const std::string where = outer + (dot ? "." : "") + inner;
    return where.empty() ? status : Annotate(status, where);
  }
  *value = text_.substr(begin, scanner_.offset() - begin);
  return OkStatus();
}

Status JsonReader::Finish() {
  scanner_.SkipSpace();
  return scanner_.AtEnd() ? OkStatus() : Error("more text after the request");
}

}  // namespace vectron::gateway::rest
