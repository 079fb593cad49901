#include "rpc/grpc_wire.h"

#include <absl/strings/escaping.h>

#include <algorithm>
#include <utility>

namespace vectron::rpc {
namespace {

// More is promised room only as it comes: the length is the sender's word.
constexpr size_t kReservedBytesMax = 64 << 10;
constexpr size_t kTimeoutDigitsMax = 8;
constexpr Duration kTimeoutMax = std::chrono::hours(24 * 365);

// Nanoseconds of a grpc-timeout's unit; 0 if it is none.
int64_t UnitNanos(char unit) {
  switch (unit) {
    case 'H':
      return Duration(std::chrono::hours(1)).count();
    case 'M':
      return Duration(std::chrono::minutes(1)).count();
    case 'S':
      return Duration(std::chrono::seconds(1)).count();
    case 'm':
      return Duration(std::chrono::milliseconds(1)).count();
    case 'u':
      return Duration(std::chrono::microseconds(1)).count();
    case 'n':
      return 1;
    default:
      return 0;
  }
}

}  // namespace

void WriteMessagePrefix(size_t bytes, char* prefix) {
  prefix[0] = 0;
  for (int i = 0; i < 4; ++i) prefix[1 + i] = static_cast<char>(bytes >> (8 * (3 - i)));
}

bool IsGrpcTimeout(std::string_view text) {
  if (text.size() < 2 || text.size() > kTimeoutDigitsMax + 1) return false;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  return UnitNanos(text.back()) != 0 && std::all_of(text.begin(), text.end() - 1, is_digit);
}

std::optional<Duration> ParseGrpcTimeout(std::string_view text) {
  if (!IsGrpcTimeout(text)) return std::nullopt;
  const int64_t unit = UnitNanos(text.back());
  text.remove_suffix(1);
  int64_t value = 0;
  for (char c : text) value = 10 * value + (c - '0');
  if (value > kTimeoutMax.count() / unit) return std::nullopt;
  return Duration(value * unit);
}

std::string EncodeGrpcMessage(std::string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte <= 0x7e && byte != '%') {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  return out;
}

std::string EncodeBinaryHeader(std::string_view bytes) {
  std::string out = absl::Base64Escape({bytes.data(), bytes.size()});
  while (!out.empty() && out.back() == '=') out.pop_back();
  return out;
}

size_t MessageAssembler::Feed(std::string_view bytes) {
  size_t taken = 0;
  while (state_ == State::kIncomplete && prefix_bytes_ < kMessagePrefixBytes) {
    if (taken == bytes.size()) return taken;
    prefix_[prefix_bytes_++] = static_cast<uint8_t>(bytes[taken++]);
    if (prefix_bytes_ == kMessagePrefixBytes) OnPrefix();
  }
  if (state_ != State::kIncomplete) return taken;
  const size_t wanted = std::min(message_bytes_ - message_.size(), bytes.size() - taken);
  message_.append(bytes.substr(taken, wanted));
  if (message_.size() == message_bytes_) state_ = State::kComplete;
  return taken + wanted;
}

void MessageAssembler::OnPrefix() {
  message_bytes_ = 0;
  for (size_t i = 1; i < kMessagePrefixBytes; ++i)
    message_bytes_ = message_bytes_ << 8 | prefix_[i];
  if (prefix_[0] != 0) {
    state_ = State::kCompressed;
  } else if (message_bytes_ > bytes_max_) {
    state_ = State::kTooLarge;
  } else {
    message_.reserve(std::min(message_bytes_, kReservedBytesMax));
    if (message_bytes_ == 0) state_ = State::kComplete;
  }
}

std::string MessageAssembler::Take() {
  state_ = State::kIncomplete;
  prefix_bytes_ = 0;
  message_bytes_ = 0;
  return std::exchange(message_, {});
}

}  // namespace vectron::rpc
