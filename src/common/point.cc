#include "common/point.h"

#include <fmt/format.h>
#include <simdjson.h>
#include <xxhash.h>

#include <bit>
#include <cstring>

namespace vectron {
namespace {

constexpr char kNumberTag = 0;
constexpr char kTextTag = 1;

void AppendBigEndian(uint64_t value, std::string* out) {
  for (int shift = 56; shift >= 0; shift -= 8) out->push_back(static_cast<char>(value >> shift));
}

}  // namespace

Status PointId::ValidateText(std::string_view text) {
  if (text.empty()) return InvalidArgument("a point id must not be empty");
  if (text.size() > kPointIdBytesMax) {
    return MakeError(Reason::kLimitExceeded, fmt::format("a point id has {} bytes, the limit is {}",
                                                         text.size(), kPointIdBytesMax));
  }
  if (!simdjson::validate_utf8(text.data(), text.size())) {
    return InvalidArgument("a point id is not valid UTF-8");
  }
  return OkStatus();
}

StatusOr<PointId> PointId::FromString(std::string_view text) {
  VECTRON_RETURN_IF_ERROR(ValidateText(text));
  return PointId(std::string(text));
}

uint64_t PointId::RingHash() const {
  if (is_number()) {
    char key[9] = {kNumberTag};
    const uint64_t big_endian = __builtin_bswap64(number());
    static_assert(std::endian::native == std::endian::little);
    std::memcpy(key + 1, &big_endian, sizeof(big_endian));
    return XXH3_64bits(key, sizeof(key));
  }
  const std::string key = Key();
  return XXH3_64bits(key.data(), key.size());
}

void PointId::AppendKey(std::string* key) const {
  if (is_number()) {
    key->push_back(kNumberTag);
    AppendBigEndian(number(), key);
  } else {
    key->push_back(kTextTag);
    key->append(text());
  }
}

std::string PointId::Key() const {
  std::string key;
  AppendKey(&key);
  return key;
}

StatusOr<PointId> PointId::FromKey(std::string_view key) {
  if (key.size() == 9 && key[0] == kNumberTag) {
    uint64_t value = 0;
    for (size_t i = 1; i < 9; ++i) value = (value << 8) | static_cast<unsigned char>(key[i]);
    return PointId(value);
  }
  if (key.size() >= 2 && key.size() <= kPointIdBytesMax + 1 && key[0] == kTextTag) {
    return PointId(std::string(key.substr(1)));
  }
  return Corruption("a stored point id is malformed");
}

std::string PointId::ToString() const {
  return is_number() ? std::to_string(number()) : fmt::format("\"{}\"", text());
}

std::strong_ordering PointId::operator<=>(const PointId& other) const {
  if (is_number() != other.is_number()) {
    return is_number() ? std::strong_ordering::less : std::strong_ordering::greater;
  }
  if (is_number()) return number() <=> other.number();
  return text().compare(other.text()) <=> 0;
}

}  // namespace vectron
