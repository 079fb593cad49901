#include "common/json_scanner.h"

#include <absl/strings/charconv.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace vectron {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Bytes of a string literal that need no look: neither '"' nor '\' nor a control
// character. Eight at a time (the classic "has a byte less than n" trick; see
// Hacker's Delight, section 6-1).
bool AllPlain(uint64_t word) {
  constexpr uint64_t kOnes = 0x0101010101010101u;
  constexpr uint64_t kHighs = 0x8080808080808080u;
  const auto has_zero = [](uint64_t v) { return (v - kOnes) & ~v & kHighs; };
  const uint64_t quote = has_zero(word ^ (kOnes * '"'));
  const uint64_t backslash = has_zero(word ^ (kOnes * '\\'));
  const uint64_t control = (word - kOnes * 0x20) & ~word & kHighs;
  return (quote | backslash | control) == 0;
}

bool IsHighSurrogate(unsigned unit) { return unit >= 0xd800 && unit < 0xdc00; }
bool IsLowSurrogate(unsigned unit) { return unit >= 0xdc00 && unit < 0xe000; }

int HexDigit(char c) {
  if (IsDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

unsigned Hex4(const char* digits) {
  unsigned value = 0;
  for (int i = 0; i < 4; ++i) value = value * 16 + static_cast<unsigned>(HexDigit(digits[i]));
  return value;
}

void AppendUtf8(unsigned point, std::string* out) {
  if (point < 0x80) {
    out->push_back(static_cast<char>(point));
  } else if (point < 0x800) {
    out->push_back(static_cast<char>(0xc0 | (point >> 6)));
    out->push_back(static_cast<char>(0x80 | (point & 0x3f)));
  } else if (point < 0x10000) {
    out->push_back(static_cast<char>(0xe0 | (point >> 12)));
    out->push_back(static_cast<char>(0x80 | ((point >> 6) & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (point & 0x3f)));
  } else {
    out->push_back(static_cast<char>(0xf0 | (point >> 18)));
    out->push_back(static_cast<char>(0x80 | ((point >> 12) & 0x3f)));
    out->push_back(static_cast<char>(0x80 | ((point >> 6) & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (point & 0x3f)));
  }
}

}  // namespace

JsonScanner::JsonScanner(std::string_view text, size_t depth_max)
    : begin_(text.data()), end_(begin_ + text.size()), position_(begin_), depth_max_(depth_max) {}

Status JsonScanner::Error(std::string_view message) const {
  return InvalidArgument(fmt::format("{} at byte {}", message, offset()));
}

Status JsonScanner::Take(char c, std::string_view what) {
  if (TryTake(c)) return OkStatus();
  return Error(fmt::format("expected {}", what));
}

Status JsonScanner::TakeString(std::string_view* raw) {
  VECTRON_RETURN_IF_ERROR(Take('"', "a string"));
  const char* const start = position_;
  for (;;) {
    while (end_ - position_ >= 8) {
      uint64_t word = 0;
      std::memcpy(&word, position_, sizeof(word));
      if (!AllPlain(word)) break;
      position_ += 8;
    }
    // At most eight plain bytes come before what stopped the loop above.
    while (position_ != end_ && *position_ != '"' && *position_ != '\\' &&
           static_cast<unsigned char>(*position_) >= 0x20) {
      ++position_;
    }
    if (position_ == end_) return Error("unterminated string");
    if (*position_ == '"') break;
    if (*position_ != '\\') return Error("control character in a string");
    ++position_;
    VECTRON_RETURN_IF_ERROR(SkipEscape());
  }
  *raw = {start, static_cast<size_t>(position_ - start)};
  ++position_;
  return OkStatus();
}

Status JsonScanner::SkipEscape() {
  if (position_ == end_) return Error("unterminated string");
  const char c = *position_;
  if (c != 'u') {
    if (c == '\0' || std::strchr("\"\\/bfnrt", c) == nullptr) return Error("unknown escape");
    ++position_;
    return OkStatus();
  }
  ++position_;
  unsigned unit = 0;
  VECTRON_RETURN_IF_ERROR(TakeHex4(&unit));
  if (IsLowSurrogate(unit)) return Error("unpaired surrogate");
  if (!IsHighSurrogate(unit)) return OkStatus();
  if (!TryTake('\\') || !TryTake('u')) return Error("unpaired surrogate");
  VECTRON_RETURN_IF_ERROR(TakeHex4(&unit));
  return IsLowSurrogate(unit) ? OkStatus() : Error("unpaired surrogate");
}

Status JsonScanner::TakeHex4(unsigned* value) {
  if (end_ - position_ < 4) return Error("\\u needs four hexadecimal digits");
  for (int i = 0; i < 4; ++i) {
    if (HexDigit(position_[i]) < 0) return Error("\\u needs four hexadecimal digits");
  }
  *value = Hex4(position_);
  position_ += 4;
  return OkStatus();
}

Status JsonScanner::SkipNumber() {
  const char* const start = position_;
  bool may_overflow = false;
  TryTake('-');
  if (position_ == end_ || !IsDigit(*position_)) return Error("expected a value");
  if (*position_ == '0') {
    ++position_;
    if (position_ != end_ && IsDigit(*position_)) return Error("a number with a leading zero");
  } else {
    while (position_ != end_ && IsDigit(*position_)) ++position_;
    may_overflow = position_ - start > 300;
  }
  if (TryTake('.')) {
    if (position_ == end_ || !IsDigit(*position_)) return Error("expected a digit");
    while (position_ != end_ && IsDigit(*position_)) ++position_;
  }
  if (position_ != end_ && (*position_ == 'e' || *position_ == 'E')) {
    ++position_;
    if (!TryTake('+')) TryTake('-');
    if (position_ == end_ || !IsDigit(*position_)) return Error("expected a digit");
    while (position_ != end_ && IsDigit(*position_)) ++position_;
    may_overflow = true;
  }
  if (may_overflow) {
    double value = 0;
    const auto result = absl::from_chars(start, position_, value);
    // Underflow gives (nearly) zero with the same error code, and is fine.
    if (result.ec == std::errc::result_out_of_range && std::abs(value) > 1) {
      position_ = start;
      return Error("a number too large for a double");
    }
  }
  return OkStatus();
}

Status JsonScanner::SkipLiteral(std::string_view word) {
  if (static_cast<size_t>(end_ - position_) < word.size() ||
      std::memcmp(position_, word.data(), word.size()) != 0) {
    return Error("expected a value");
  }
  position_ += word.size();
  return OkStatus();
}

Status JsonScanner::SkipValue(size_t depth) {
  SkipSpace();
  if (position_ == end_) return Error("the text ends too early");
  std::string_view ignored;
  switch (*position_) {
    case '{':
      return SkipObject(depth + 1);
    case '[':
      return SkipArray(depth + 1);
    case '"':
      return TakeString(&ignored);
    case 't':
      return SkipLiteral("true");
    case 'f':
      return SkipLiteral("false");
    case 'n':
      return SkipLiteral("null");
    default:
      return SkipNumber();
  }
}

Status JsonScanner::SkipObject(size_t depth) {
  if (depth > depth_max_) {
    return MakeError(Reason::kLimitExceeded,
                     fmt::format("nested deeper than {} at byte {}", depth_max_, offset()));
  }
  ++position_;
  SkipSpace();
  if (TryTake('}')) return OkStatus();
  for (;;) {
    std::string_view key;
    VECTRON_RETURN_IF_ERROR(TakeString(&key));
    SkipSpace();
    VECTRON_RETURN_IF_ERROR(Take(':', "':'"));
    VECTRON_RETURN_IF_ERROR(SkipValue(depth));
    SkipSpace();
    if (TryTake('}')) return OkStatus();
    VECTRON_RETURN_IF_ERROR(Take(',', "',' or '}'"));
    SkipSpace();
  }
}

Status JsonScanner::SkipArray(size_t depth) {
  if (depth > depth_max_) {
    return MakeError(Reason::kLimitExceeded,
                     fmt::format("nested deeper than {} at byte {}", depth_max_, offset()));
  }
  ++position_;
  SkipSpace();
  if (TryTake(']')) return OkStatus();
  for (;;) {
    VECTRON_RETURN_IF_ERROR(SkipValue(depth));
    SkipSpace();
    if (TryTake(']')) return OkStatus();
    VECTRON_RETURN_IF_ERROR(Take(',', "',' or ']'"));
  }
}

std::string JsonPathTo(std::string_view text, size_t offset) {
  struct Level {
    bool is_array = false;
    bool wants_key = false;
    size_t index = 0;
    std::string_view key;
  };
  std::vector<Level> levels;
  const size_t end = std::min(offset, text.size());
  for (size_t i = 0; i < end; ++i) {
    switch (text[i]) {
      case '{':
        levels.push_back({.wants_key = true});
        break;
      case '[':
        levels.push_back({.is_array = true});
        break;
      case '}':
      case ']':
        if (!levels.empty()) levels.pop_back();
        break;
      case ',':
        if (levels.empty()) break;
        ++levels.back().index;
        levels.back().wants_key = !levels.back().is_array;
        levels.back().key = {};
        break;
      case '"': {
        const size_t start = i + 1;
        for (++i; i < end && text[i] != '"'; ++i) i += text[i] == '\\' ? 1 : 0;
        if (i >= end || levels.empty() || !levels.back().wants_key) break;
        levels.back().key = text.substr(start, i - start);
        levels.back().wants_key = false;
        break;
      }
      default:
        break;
    }
  }
  // Deep enough to find the place.
  constexpr size_t kShownMax = 64;
  std::string path;
  for (const Level& level : levels) {
    if (path.size() > kShownMax) return path + "...";
    if (level.is_array) {
      path += fmt::format("[{}]", level.index);
    } else if (level.key.data() != nullptr) {
      path += fmt::format("{}{}", path.empty() ? "" : ".", level.key.substr(0, 64));
    }
  }
  return path;
}

std::string UnescapeJsonString(std::string_view raw) {
  std::string text;
  text.reserve(raw.size());
  for (size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '\\') {
      text.push_back(raw[i]);
      continue;
    }
    const char c = raw[++i];
    if (c != 'u') {
      constexpr std::string_view kNames = "bfnrt";
      constexpr std::string_view kValues = "\b\f\n\r\t";
      const size_t named = kNames.find(c);
      text.push_back(named == std::string_view::npos ? c : kValues[named]);
      continue;
    }
    unsigned point = Hex4(raw.data() + i + 1);
    i += 4;
    if (IsHighSurrogate(point)) {
      point = 0x10000 + ((point - 0xd800) << 10) + (Hex4(raw.data() + i + 3) - 0xdc00);
      i += 6;
    }
    AppendUtf8(point, &text);
  }
  return text;
}

}  // namespace vectron
