#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/check.h"

namespace vectron::testing {

// A gRPC message behind its prefix.
inline std::string Framed(std::string_view message) {
  std::string out(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) {
    out += static_cast<char>(message.size() >> shift);
  }
  return out.append(message);
}

// A client's end of an HTTP/2 connection, without a socket: what it has to send is taken, what
// it receives is given. Opens streams as it is told, also such as gRPC's own clients never would.
class Http2Peer {
 public:
  using Headers = std::vector<std::pair<std::string, std::string>>;

  struct Answer {
    std::map<std::string, std::string> headers;  // and trailers
    std::string body;
    bool ended = false;
    bool closed = false;
    uint32_t error = 0;  // with which it was closed
  };

  // `window_bytes`: how much of an answer a stream takes before it says so.
  explicit Http2Peer(uint32_t window_bytes = 65'535) {
    nghttp2_session_callbacks* callbacks = nullptr;
    VECTRON_CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnData);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, OnFrame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, OnClose);
    nghttp2_option* option = nullptr;
    VECTRON_CHECK(nghttp2_option_new(&option) == 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    VECTRON_CHECK(nghttp2_session_client_new2(&session_, callbacks, this, option) == 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry window{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window_bytes};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, &window, 1);
  }
  ~Http2Peer() { nghttp2_session_del(session_); }
  Http2Peer(const Http2Peer&) = delete;
  Http2Peer& operator=(const Http2Peer&) = delete;

  static Headers GrpcHeaders(const std::string& path) {
    return {{":method", "POST"},    {":scheme", "http"}, {":path", path},
            {":authority", "test"}, {"te", "trailers"},  {"content-type", "application/grpc"}};
  }

  // A request with such a body, of which the end is sent too unless it `goes_on`; its stream.
  int32_t Request(const Headers& headers, std::string body, bool goes_on = false) {
    std::vector<nghttp2_nv> fields;
    for (const auto& [name, value] : headers) {
      fields.push_back({Bytes(name), Bytes(value), name.size(), value.size(), 0});
    }
    nghttp2_data_provider provider{.source = {.ptr = nullptr}, .read_callback = ReadBody};
    const int32_t id =
        nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(), &provider, nullptr);
    VECTRON_CHECK(id > 0);
    bodies_[id] = {std::move(body), goes_on};
    return id;
  }
  // More of the body of a request that goes on.
  void Send(int32_t id, std::string_view more, bool goes_on = false) {
    bodies_[id].bytes.append(more);
    bodies_[id].goes_on = goes_on;
    nghttp2_session_resume_data(session_, id);
  }
  void Reset(int32_t id) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
  }
  // Takes more of the answer.
  void OpenWindow(int32_t id, int bytes) {
    nghttp2_submit_window_update(session_, NGHTTP2_FLAG_NONE, id, bytes);
    nghttp2_submit_window_update(session_, NGHTTP2_FLAG_NONE, 0, bytes);
  }

  // What it has to send.
  std::string Take() {
    std::string out;
    const uint8_t* bytes = nullptr;
    ssize_t size = 0;
    while ((size = nghttp2_session_mem_send(session_, &bytes)) > 0) {
      out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
    }
    return out;
  }
  void Receive(std::string_view bytes) {
    VECTRON_CHECK(nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()),
                                           bytes.size()) == static_cast<ssize_t>(bytes.size()));
  }

  const Answer& answer(int32_t id) { return answers_[id]; }
  bool told_to_go() const { return told_to_go_; }
  // Of the body of a request, not sent yet: the server's window is closed.
  size_t unsent_bytes(int32_t id) { return bodies_[id].bytes.size(); }

 private:
  struct Body {
    std::string bytes;
    bool goes_on = false;
  };

  static Http2Peer& Of(void* self) { return *static_cast<Http2Peer*>(self); }
  static uint8_t* Bytes(const std::string& text) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
  }
  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                      void* self) {
    Of(self)
        .answers_[frame->hd.stream_id]
        .headers[{reinterpret_cast<const char*>(name), name_size}] = {
        reinterpret_cast<const char*>(value), value_size};
    return 0;
  }
  static int OnData(nghttp2_session*, uint8_t, int32_t id, const uint8_t* bytes, size_t size,
                    void* self) {
    Of(self).answers_[id].body.append(reinterpret_cast<const char*>(bytes), size);
    return 0;
  }
  static int OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* self) {
    if (frame->hd.type == NGHTTP2_GOAWAY) Of(self).told_to_go_ = true;
    const bool may_end = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    if (may_end && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
      Of(self).answers_[frame->hd.stream_id].ended = true;
    }
    return 0;
  }
  static int OnClose(nghttp2_session*, int32_t id, uint32_t error, void* self) {
    Of(self).answers_[id].closed = true;
    Of(self).answers_[id].error = error;
    return 0;
  }
  static ssize_t ReadBody(nghttp2_session*, int32_t id, uint8_t* out, size_t bytes_max,
                          uint32_t* flags, nghttp2_data_source*, void* self) {
    Body& body = Of(self).bodies_[id];
    const size_t bytes = body.bytes.copy(reinterpret_cast<char*>(out), bytes_max);
    body.bytes.erase(0, bytes);
    if (body.bytes.empty() && !body.goes_on) *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (bytes == 0 && body.goes_on) return NGHTTP2_ERR_DEFERRED;
    return static_cast<ssize_t>(bytes);
  }

  nghttp2_session* session_ = nullptr;
  std::map<int32_t, Body> bodies_;
  std::map<int32_t, Answer> answers_;
  bool told_to_go_ = false;
};

}  // namespace vectron::testing
