#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace vectron::consensus {

// Keys are big-endian, so that they sort as their numbers do; values are
// little-endian.

inline void PutBig64(uint64_t value, std::string* out) {
  value = __builtin_bswap64(value);
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

inline void PutFixed32(uint32_t value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

inline void PutFixed64(uint64_t value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

inline void PutBytes(std::string_view bytes, std::string* out) {
  PutFixed32(static_cast<uint32_t>(bytes.size()), out);
  out->append(bytes);
}

// Reads what the functions above wrote. Bytes come from a disk: reading past the
// end gives zeros and makes ok() false, from then on.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  uint8_t Fixed8() { return Fixed<uint8_t>(); }
  uint32_t Fixed32() { return Fixed<uint32_t>(); }
  uint64_t Fixed64() { return Fixed<uint64_t>(); }
  uint64_t Big64() { return __builtin_bswap64(Fixed<uint64_t>()); }
  // A view into what was passed to the constructor.
  std::string_view Bytes() { return Raw(Fixed32()); }
  std::string_view Raw(size_t size) {
    if (rest_.size() < size) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const std::string_view result = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return result;
  }

  bool ok() const { return ok_; }
  size_t remaining() const { return rest_.size(); }
  // Everything was there, and nothing else.
  bool Done() const { return ok_ && rest_.empty(); }

 private:
  template <typename T>
  T Fixed() {
    T value{};
    const std::string_view bytes = Raw(sizeof(T));
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }

  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace vectron::consensus
