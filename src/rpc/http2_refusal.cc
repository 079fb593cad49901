#include "rpc/http2_refusal.h"

#include <absl/strings/escaping.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>

#include "rpc/status.h"

namespace vectron::rpc {
namespace {

enum FrameType : uint8_t { kHeaders = 1, kSettings = 4, kGoAway = 7 };

constexpr uint8_t kEndStream = 0x1;
constexpr uint8_t kEndHeaders = 0x4;
constexpr uint32_t kEnhanceYourCalm = 0xb;

void AppendBigEndian(uint32_t value, int bytes, std::string* out) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    *out += static_cast<char>((value >> shift) & 0xff);
  }
}

uint32_t ReadBigEndian(std::string_view bytes) {
  uint32_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<uint8_t>(byte);
  return value;
}

void AppendFrame(FrameType type, uint8_t flags, uint32_t stream, std::string_view payload,
                 std::string* out) {
  AppendBigEndian(static_cast<uint32_t>(payload.size()), 3, out);
  AppendBigEndian(type, 1, out);
  AppendBigEndian(flags, 1, out);
  AppendBigEndian(stream, 4, out);
  *out += payload;
}

// RFC 7541, 5.1 and 5.2, with a prefix of seven bits and no Huffman code.
void AppendHpackString(std::string_view text, std::string* out) {
  constexpr size_t kPrefixMax = 127;
  size_t length = text.size();
  if (length < kPrefixMax) {
    *out += static_cast<char>(length);
  } else {
    *out += static_cast<char>(kPrefixMax);
    length -= kPrefixMax;
    for (; length >= 128; length /= 128) *out += static_cast<char>(length % 128 + 128);
    *out += static_cast<char>(length);
  }
  *out += text;
}

void AppendField(std::string_view name, std::string_view value, std::string* out) {
  *out += '\0';  // literal, not to be indexed, with a new name (RFC 7541, 6.2.2)
  AppendHpackString(name, out);
  AppendHpackString(value, out);
}

}  // namespace

Http2Refusal::Http2Refusal(const Status& why) {
  AppendFrame(kSettings, 0, 0, {}, &greeting_);
  const grpc::Status status = ToGrpcStatus(why);
  text_ = status.error_message();
  headers_ += static_cast<char>(0x88);  // :status 200 (RFC 7541, appendix A)
  AppendField("content-type", "application/grpc", &headers_);
  AppendField("grpc-status", std::to_string(status.error_code()), &headers_);
  AppendField("grpc-message", text_, &headers_);
  AppendField("grpc-status-details-bin", absl::Base64Escape(status.error_details()), &headers_);
}

std::string Http2Refusal::Answer(std::span<const uint32_t> streams) const {
  std::string out;
  for (const uint32_t stream : streams) {
    AppendFrame(kHeaders, kEndStream | kEndHeaders, stream, headers_, &out);
  }
  std::string end;
  AppendBigEndian(streams.empty() ? 0 : streams.back(), 4, &end);
  AppendBigEndian(kEnhanceYourCalm, 4, &end);
  end += text_;
  AppendFrame(kGoAway, 0, 0, end, &out);
  return out;
}

void Http2RequestFinder::Read(std::string_view bytes, std::vector<uint32_t>* streams) {
  while (!bytes.empty()) {
    const size_t skipped = std::min(skip_bytes_, bytes.size());
    skip_bytes_ -= skipped;
    bytes.remove_prefix(skipped);
    const size_t taken = std::min(kFrameHeaderBytes - header_.size(), bytes.size());
    header_ += bytes.substr(0, taken);
    bytes.remove_prefix(taken);
    if (header_.size() < kFrameHeaderBytes) continue;
    const std::string_view header = header_;
    skip_bytes_ = ReadBigEndian(header.substr(0, 3));
    constexpr uint32_t kReservedBit = 1u << 31;
    if (header[3] == kHeaders) streams->push_back(ReadBigEndian(header.substr(5)) & ~kReservedBit);
    header_.clear();
  }
}

}  // namespace vectron::rpc
