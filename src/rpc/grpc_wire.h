#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/clock.h"

// How gRPC's calls look in HTTP/2: gRPC's own "gRPC over HTTP2" (PROTOCOL-HTTP2.md). Pure
// functions of bytes, all of which come from outside.

namespace vectron::rpc {

// A message's length and whether it is compressed stand before it.
inline constexpr size_t kMessagePrefixBytes = 5;

// Writes the prefix of an uncompressed message of `bytes`, which is below 4 GiB.
void WriteMessagePrefix(size_t bytes, char* prefix);

// Whether this is what the header grpc-timeout may be ("1500m").
bool IsGrpcTimeout(std::string_view text);
// Empty if that is none, or is too far away to matter.
std::optional<Duration> ParseGrpcTimeout(std::string_view text);

// What is not printable ASCII, and '%', as %XX: the header grpc-message.
std::string EncodeGrpcMessage(std::string_view text);

// For headers whose names end in "-bin": base64 without padding.
std::string EncodeBinaryHeader(std::string_view bytes);

// Puts the messages of a call together from its bytes, one after the other.
class MessageAssembler {
 public:
  enum class State {
    kIncomplete,
    kComplete,
    // What comes after these cannot be understood:
    kTooLarge,
    kCompressed,
  };

  // A message may have at most `bytes_max`.
  explicit MessageAssembler(size_t bytes_max) : bytes_max_(bytes_max) {}

  // Takes bytes up to the end of the message; how many. None unless kIncomplete.
  size_t Feed(std::string_view bytes);

  State state() const { return state_; }
  // Nothing of the next message has come.
  bool is_empty() const { return state_ == State::kIncomplete && prefix_bytes_ == 0; }
  // Of the message, as far as it is there.
  size_t bytes() const { return message_.size(); }
  // As its prefix says.
  size_t message_bytes() const { return message_bytes_; }
  // The message, of kComplete; begins the next.
  std::string Take();
  // Gives back what has come of the message, which is not wanted any more.
  void Drop() { message_ = std::string(); }

 private:
  void OnPrefix();

  const size_t bytes_max_;
  State state_ = State::kIncomplete;
  uint8_t prefix_[kMessagePrefixBytes] = {};
  size_t prefix_bytes_ = 0;  // that have come
  size_t message_bytes_ = 0;
  std::string message_;
};

}  // namespace vectron::rpc
