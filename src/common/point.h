#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/error.h"

namespace vectron {

inline constexpr size_t kPointIdBytesMax = 512;

// A point's id: an unsigned 64-bit number or a string of 1 to kPointIdBytesMax
// bytes of UTF-8. Ordered as scroll returns them: numbers first, then strings by
// their bytes. A UUID is a string in its lower-case hyphenated form.
class PointId {
 public:
  PointId() : value_(uint64_t{0}) {}
  explicit PointId(uint64_t number) : value_(number) {}
  // Own code only: `text` is valid. From outside, use FromString.
  explicit PointId(std::string text) : value_(std::move(text)) {}

  // What a string must be to be an id: INVALID_ARGUMENT when empty or not UTF-8,
  // LIMIT_EXCEEDED when too long.
  static Status ValidateText(std::string_view text);
  // The id `text`, if it is valid.
  static StatusOr<PointId> FromString(std::string_view text);

  bool is_number() const { return std::holds_alternative<uint64_t>(value_); }
  // Only if is_number().
  uint64_t number() const { return std::get<uint64_t>(value_); }
  // Only if !is_number().
  const std::string& text() const { return std::get<std::string>(value_); }

  // The place on the hash ring: XXH3 (64 bits, seed 0) of the encoded key. Part
  // of the storage format: never changes.
  uint64_t RingHash() const;

  // A key whose byte order is the ids' order: tag 0 and the number in big
  // endian, or tag 1 and the text.
  void AppendKey(std::string* key) const;
  std::string Key() const;
  static StatusOr<PointId> FromKey(std::string_view key);

  // For messages: the number, or the text in double quotes.
  std::string ToString() const;

  bool operator==(const PointId&) const = default;
  std::strong_ordering operator<=>(const PointId& other) const;

  template <typename H>
  friend H AbslHashValue(H h, const PointId& id) {
    return H::combine(std::move(h), id.RingHash());
  }

 private:
  std::variant<uint64_t, std::string> value_;
};

// One vector of a point. The unnamed default vector has the name "".
struct NamedVector {
  std::string name;
  std::vector<float> values;

  bool operator==(const NamedVector&) const = default;
};

struct Point {
  PointId id;
  std::vector<NamedVector> vectors;
  // A JSON object as the client gave it, or empty for none.
  std::string payload;

  bool operator==(const Point&) const = default;
};

}  // namespace vectron
