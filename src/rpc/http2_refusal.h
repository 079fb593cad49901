#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"

namespace vectron::rpc {

// What an HTTP/2 server says that refuses a connection (RFC 9113). A bare GOAWAY would
// not do: gRPC clients then connect again at once, and again, until the deadline of
// the call that waits, which fails without a word about why. So each request that
// comes is answered with the error, and then the connection ends.
class Http2Refusal {
 public:
  explicit Http2Refusal(const Status& why);

  // What a server sends first.
  const std::string& greeting() const { return greeting_; }
  // The error, as a gRPC response to each of `streams` (ascending), and the end of the
  // connection.
  std::string Answer(std::span<const uint32_t> streams) const;

 private:
  std::string greeting_;
  std::string text_;
  std::string headers_;  // HPACK
};

// Finds the requests in what an HTTP/2 client sends; keeps none of it.
class Http2RequestFinder {
 public:
  // The next bytes. Appends the streams of the requests that begin in them.
  void Read(std::string_view bytes, std::vector<uint32_t>* streams);

 private:
  static constexpr size_t kPrefaceBytes = 24;
  static constexpr size_t kFrameHeaderBytes = 9;

  size_t skip_bytes_ = kPrefaceBytes;  // until the next frame's header
  std::string header_;                 // what has come of it
};

}  // namespace vectron::rpc
