#include "rpc/http2_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "common/check.h"
#include "rpc/status.h"

namespace vectron::rpc {
namespace {

// How much a client may send before a call has asked for it.
constexpr int32_t kStreamWindowBytes = 1 << 20;
constexpr int32_t kConnectionWindowBytes = 16 << 20;
constexpr uint32_t kFrameBytesMax = 64 << 10;
constexpr uint32_t kHeadBytesMax = 16 << 10;
// Calls that a client gives up, at once and then each second: more end its connection.
constexpr uint64_t kResetBurst = 10'000;
constexpr uint64_t kResetRate = 1'000;
// What the server has to say to a client that takes nothing: more is not made.
constexpr size_t kQueueMax = 4'096;
// Requests that are received however many others are.
constexpr size_t kSmallBytes = 64 << 10;
// A header of 64 KiB cannot be sent, and clients take 8.
constexpr size_t kStatusMessageBytesMax = 1'536;
constexpr size_t kStatusDetailsBytesMax = 6'000;

std::string_view ToView(const uint8_t* bytes, size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

// Of strings that live as long as what they are handed to needs them.
nghttp2_nv Header(std::string_view name, std::string_view value) {
  // nghttp2 does not change them.
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
  };
  return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

void SetUp(nghttp2_option* option) {
  // The window is ours to open: as calls take what has come.
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_option_set_stream_reset_rate_limit(option, kResetBurst, kResetRate);
}

}  // namespace

// nghttp2 calls these from within Receive and Send.
struct Http2Session::Callbacks {
  static Http2Session& Of(void* session) { return *static_cast<Http2Session*>(session); }

  static int OnBeginHeaders(nghttp2_session*, const nghttp2_frame*, void* self) {
    Of(self).head_ = {};
    return 0;
  }
  static int OnHeader(nghttp2_session*, const nghttp2_frame*, const uint8_t* name,
                      size_t name_bytes, const uint8_t* value, size_t value_bytes, uint8_t,
                      void* self) {
    Of(self).OnHeader(ToView(name, name_bytes), ToView(value, value_bytes));
    return 0;
  }
  static int OnData(nghttp2_session*, uint8_t, int32_t id, const uint8_t* bytes, size_t size,
                    void* self) {
    Of(self).OnData(id, ToView(bytes, size));
    return 0;
  }
  static int OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* self) {
    const nghttp2_frame_hd& head = frame->hd;
    if (head.type == NGHTTP2_SETTINGS) Of(self).is_greeted_ = true;
    if (head.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
      Of(self).OnHead(head.stream_id);
    }
    const bool may_end = head.type == NGHTTP2_HEADERS || head.type == NGHTTP2_DATA;
    if (may_end && (head.flags & NGHTTP2_FLAG_END_STREAM)) Of(self).OnInputEnd(head.stream_id);
    return 0;
  }
  static int OnFrameSent(nghttp2_session*, const nghttp2_frame* frame, void* self) {
    const nghttp2_frame_hd& head = frame->hd;
    if (head.type == NGHTTP2_HEADERS && (head.flags & NGHTTP2_FLAG_END_STREAM)) {
      Of(self).OnEndSent(head.stream_id);
    }
    return 0;
  }
  static int OnFrameNotSent(nghttp2_session*, const nghttp2_frame* frame, int, void* self) {
    if (frame->hd.type == NGHTTP2_HEADERS) Of(self).OnHeaderLost(frame->hd.stream_id);
    return 0;
  }
  static int OnStreamClosed(nghttp2_session*, int32_t id, uint32_t, void* self) {
    Of(self).OnStreamClosed(id);
    return 0;
  }
  static ssize_t ReadAnswer(nghttp2_session*, int32_t id, uint8_t* out, size_t bytes_max,
                            uint32_t* flags, nghttp2_data_source*, void* self) {
    return Of(self).ReadAnswer(id, out, bytes_max, flags);
  }

  static const nghttp2_session_callbacks* All() {
    static const nghttp2_session_callbacks* const all = [] {
      nghttp2_session_callbacks* made = nullptr;
      VECTRON_CHECK(nghttp2_session_callbacks_new(&made) == 0);
      nghttp2_session_callbacks_set_on_begin_headers_callback(made, OnBeginHeaders);
      nghttp2_session_callbacks_set_on_header_callback(made, OnHeader);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, OnData);
      nghttp2_session_callbacks_set_on_frame_recv_callback(made, OnFrame);
      nghttp2_session_callbacks_set_on_frame_send_callback(made, OnFrameSent);
      nghttp2_session_callbacks_set_on_frame_not_send_callback(made, OnFrameNotSent);
      nghttp2_session_callbacks_set_on_stream_close_callback(made, OnStreamClosed);
      return made;
    }();
    return all;
  }
  static const nghttp2_option* Options() {
    static const nghttp2_option* const options = [] {
      nghttp2_option* made = nullptr;
      VECTRON_CHECK(nghttp2_option_new(&made) == 0);
      SetUp(made);
      return made;
    }();
    return options;
  }
};

Http2Session::Http2Session(const Options& options, std::atomic<size_t>* received_bytes,
                           Accept accept)
    : options_(options), received_bytes_(*received_bytes), accept_(std::move(accept)) {
  nghttp2_session* made = nullptr;
  VECTRON_CHECK(nghttp2_session_server_new2(&made, Callbacks::All(), this, Callbacks::Options()) ==
                0);
  http_.reset(made);
  const std::array<nghttp2_settings_entry, 5> settings = {{
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, static_cast<uint32_t>(options.streams_max)},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindowBytes},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, kFrameBytesMax},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kHeadBytesMax},
      // A tree of priorities costs time, and calls have none.
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  }};
  VECTRON_CHECK(
      nghttp2_submit_settings(made, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) == 0);
  VECTRON_CHECK(nghttp2_session_set_local_window_size(made, NGHTTP2_FLAG_NONE, 0,
                                                      kConnectionWindowBytes) == 0);
}

Http2Session::~Http2Session() { VECTRON_CHECK(streams_.empty()); }

bool Http2Session::Receive(std::string_view bytes) {
  if (http_ == nullptr) return true;
  const ssize_t taken = nghttp2_session_mem_recv(
      http_.get(), reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (taken >= 0) {
    opening_bytes_ = std::min<size_t>(opening_bytes_ + bytes.size(), NGHTTP2_CLIENT_MAGIC_LEN);
    return true;
  }
  if (taken == NGHTTP2_ERR_BAD_CLIENT_MAGIC) return false;
  // What breaks the rules is answered by nghttp2 itself; this is worse (a flood, no memory).
  nghttp2_session_terminate_session(http_.get(), NGHTTP2_ENHANCE_YOUR_CALM);
  return true;
}

void Http2Session::Send(size_t bytes_max, std::string* out) {
  // Whoever speaks something else should read our answer to that only.
  if (http_ == nullptr || (opening_bytes_ < NGHTTP2_CLIENT_MAGIC_LEN && !may_begin_)) return;
  while (out->size() < bytes_max) {
    const uint8_t* frame = nullptr;
    const ssize_t bytes = nghttp2_session_mem_send(http_.get(), &frame);
    if (bytes < 0) is_failed_ = true;  // no memory
    if (bytes <= 0) return;
    out->append(ToView(frame, static_cast<size_t>(bytes)));
  }
}

bool Http2Session::IsOver() const {
  return http_ == nullptr || is_failed_ ||
         (nghttp2_session_want_read(http_.get()) == 0 &&
          nghttp2_session_want_write(http_.get()) == 0);
}

bool Http2Session::IsCongested() const {
  return http_ != nullptr && nghttp2_session_get_outbound_queue_size(http_.get()) > kQueueMax;
}

// Requests -------------------------------------------------------------------

void Http2Session::OnHeader(std::string_view name, std::string_view value) {
  // As RFC 9113 counts them.
  head_.bytes += name.size() + value.size() + 32;
  if (head_.bytes > kHeadBytesMax) return;
  if (name == ":path") {
    head_.path = value;
  } else if (name == ":method") {
    head_.verb = value;
  } else if (name == "content-type") {
    head_.content_type = value;
  } else if (name == "grpc-timeout") {
    head_.timeout = value;
  }
}

void Http2Session::OnHead(int32_t id) {
  constexpr std::string_view kContentType = "application/grpc";
  if (goes_away_) return RefuseStream(id);
  if (head_.bytes > kHeadBytesMax) return RefuseHead(id, "431");
  if (head_.verb != "POST") return RefuseHead(id, "405");
  const std::string_view type = head_.content_type;
  const bool is_grpc = type.starts_with(kContentType) &&
                       (type.size() == kContentType.size() || type[kContentType.size()] == '+' ||
                        type[kContentType.size()] == ';');
  if (!is_grpc) return RefuseHead(id, "415");
  if (nghttp2_session_find_stream(http_.get(), id) == nullptr) return;
  std::optional<Duration> timeout;
  if (head_.timeout.has_value()) {
    timeout = ParseGrpcTimeout(*head_.timeout);
    if (!timeout.has_value() && !IsGrpcTimeout(*head_.timeout)) {
      return SubmitStatus(id, ToGrpcStatus(InvalidArgument("grpc-timeout is no timeout")), false);
    }
  }
  if (timeout == Duration::zero()) {
    return SubmitStatus(id, {grpc::StatusCode::DEADLINE_EXCEEDED, "the call came without time"},
                        false);
  }
  Http2Stream* const stream = accept_(id, {std::move(head_.path), timeout});
  if (stream == nullptr) return RefuseStream(id);
  if (timeout.has_value()) stream->deadline_ = stream->opened_at_ + *timeout;
  streams_.insert(stream);
  VECTRON_CHECK(nghttp2_session_set_stream_user_data(http_.get(), id, stream) == 0);
  Tell(CallEvent::Kind::kAccepted, stream);
}

// The client may make the call elsewhere: nothing of it was looked at.
void Http2Session::RefuseStream(int32_t id) {
  nghttp2_submit_rst_stream(http_.get(), NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
}

// Nobody who speaks gRPC sends such a request.
void Http2Session::RefuseHead(int32_t id, const char* http_status) {
  const nghttp2_nv header = Header(":status", http_status);
  nghttp2_submit_response(http_.get(), id, &header, 1, nullptr);
}

Http2Stream* Http2Session::Find(int32_t id) const {
  return static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(http_.get(), id));
}

void Http2Session::OnData(int32_t id, std::string_view bytes) {
  nghttp2_session_consume_connection(http_.get(), bytes.size());
  Http2Stream* const stream = Find(id);
  if (stream == nullptr || stream->discards_input_) {
    nghttp2_session_consume_stream(http_.get(), id, bytes.size());
    return;
  }
  const size_t fed = WantsInput(*stream) && stream->pending().empty() ? Feed(stream, bytes) : 0;
  stream->pending_.append(bytes.substr(fed));
  Count(stream);
  if (received_bytes_.load(std::memory_order_relaxed) > options_.received_bytes_max &&
      stream->counted_bytes_ > kSmallBytes) {
    return Fail(stream, MakeError(Reason::kOverloaded,
                                  fmt::format("the requests being received have more than {} bytes",
                                              options_.received_bytes_max)));
  }
  Advance(stream);
}

void Http2Session::OnInputEnd(int32_t id) {
  Http2Stream* const stream = Find(id);
  if (stream == nullptr || stream->input_ended_) return;
  stream->input_ended_ = true;
  Advance(stream);
}

size_t Http2Session::Feed(Http2Stream* stream, std::string_view bytes) {
  const size_t fed = stream->assembler_.Feed(bytes);
  nghttp2_session_consume_stream(http_.get(), stream->id_, fed);
  return fed;
}

void Http2Session::FeedPending(Http2Stream* stream) {
  if (stream->pending().empty()) return;
  stream->pending_begin_ += Feed(stream, stream->pending());
  // Not for each of many small messages, as what is left moves.
  if (stream->pending_begin_ < stream->pending_.size() / 2) return;
  stream->pending_.erase(0, std::exchange(stream->pending_begin_, 0));
}

void Http2Session::Count(Http2Stream* stream) {
  const size_t bytes = stream->assembler_.bytes() + stream->pending().size();
  received_bytes_.fetch_add(bytes - stream->counted_bytes_, std::memory_order_relaxed);
  stream->counted_bytes_ = bytes;
}

void Http2Session::Advance(Http2Stream* stream) {
  using State = MessageAssembler::State;
  MessageAssembler& assembler = stream->assembler_;
  if (WantsInput(*stream) && assembler.state() == State::kIncomplete) FeedPending(stream);
  switch (assembler.state()) {
    case State::kTooLarge:
      return Fail(stream,
                  MakeError(Reason::kRequestTooLarge,
                            fmt::format("the message has {} bytes, the limit is {}",
                                        assembler.message_bytes(), options_.message_bytes_max)));
    case State::kCompressed:
      return Fail(stream, MakeError(Reason::kUnsupported,
                                    "compressed messages are not taken: send them as they are"));
    case State::kComplete:
      stream->had_message_ = true;
      stream->in_parts_since_ = Http2Stream::kNever;
      if (stream->wanted_ != nullptr) {
        *std::exchange(stream->wanted_, nullptr) = assembler.Take();
        Tell(CallEvent::Kind::kRead, stream);
      }
      return Count(stream);
    case State::kIncomplete:
      Count(stream);
      if (!stream->input_ended_ || !stream->pending().empty()) return;
      if (!assembler.is_empty()) {
        return Fail(stream, InvalidArgument("the request ends within a message"));
      }
      if (std::exchange(stream->wanted_, nullptr) == nullptr) return;
      return Tell(CallEvent::Kind::kReadFailed, stream);
  }
}

// What a call does not ask for stays where it is, but for its first message: all ask for that.
bool Http2Session::WantsInput(const Http2Stream& stream) {
  return stream.wanted_ != nullptr || !stream.had_message_;
}

// To the call it is as if nothing more came; whatever it answers, this is its status.
void Http2Session::Fail(Http2Stream* stream, const Status& fault) {
  if (!stream->fault_.has_value()) stream->fault_ = ToGrpcStatus(fault);
  StopInput(stream);
}

void Http2Session::StopInput(Http2Stream* stream) {
  stream->discards_input_ = true;
  stream->input_ended_ = true;
  if (stream->is_open_) {
    nghttp2_session_consume_stream(http_.get(), stream->id_, stream->pending().size());
  }
  stream->pending_ = std::string();
  stream->pending_begin_ = 0;
  stream->assembler_.Drop();
  Count(stream);
  if (std::exchange(stream->wanted_, nullptr) == nullptr) return;
  Tell(CallEvent::Kind::kReadFailed, stream);
}

void Http2Session::Read(Http2Stream* stream, std::string* message) {
  if (!stream->is_open_ || stream->discards_input_) {
    return Tell(CallEvent::Kind::kReadFailed, stream);
  }
  stream->wanted_ = message;
  Advance(stream);
}

// Answers --------------------------------------------------------------------

void Http2Session::Write(Http2Stream* stream, std::string message) {
  if (!stream->is_open_) return Tell(CallEvent::Kind::kWriteFailed, stream);
  stream->writes_ = true;
  Answer(stream, std::move(message));
}

void Http2Session::WriteAndFinish(Http2Stream* stream, std::string message) {
  if (stream->fault_.has_value()) return Finish(stream, grpc::Status::OK);
  if (!stream->is_open_) return;
  StopInput(stream);
  stream->finishes_ = true;
  Answer(stream, std::move(message));
}

void Http2Session::Answer(Http2Stream* stream, std::string message) {
  WriteMessagePrefix(message.size(), stream->prefix_);
  stream->message_ = std::move(message);
  stream->unsent_bytes_ = kMessagePrefixBytes + stream->message_.size();
  if (stream->answers_) {
    nghttp2_session_resume_data(http_.get(), stream->id_);
    return;
  }
  stream->answers_ = true;
  const std::array<nghttp2_nv, 2> headers = {
      Header(":status", "200"),
      Header("content-type", "application/grpc"),
  };
  nghttp2_data_provider provider{.source = {.ptr = nullptr},
                                 .read_callback = Callbacks::ReadAnswer};
  nghttp2_submit_response(http_.get(), stream->id_, headers.data(), headers.size(), &provider);
}

void Http2Session::Finish(Http2Stream* stream, grpc::Status status) {
  if (!stream->is_open_) return;
  StopInput(stream);
  stream->finishes_ = true;
  stream->status_ = stream->fault_.has_value() ? *stream->fault_ : std::move(status);
  if (stream->answers_) {
    nghttp2_session_resume_data(http_.get(), stream->id_);
  } else {
    SubmitStatus(stream->id_, stream->status_, /*is_trailer=*/false);
  }
}

void Http2Session::SubmitStatus(int32_t id, const grpc::Status& status, bool is_trailer) {
  const std::string code = std::to_string(static_cast<int>(status.error_code()));
  const std::string message =
      EncodeGrpcMessage(std::string_view(status.error_message()).substr(0, kStatusMessageBytesMax));
  std::string details;
  if (status.error_details().size() <= kStatusDetailsBytesMax) {
    details = EncodeBinaryHeader(status.error_details());
  }
  absl::InlinedVector<nghttp2_nv, 6> headers;
  if (!is_trailer) {
    headers.push_back(Header(":status", "200"));
    headers.push_back(Header("content-type", "application/grpc"));
  }
  // What would have been understood instead is said where something was not.
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
    headers.push_back(Header("grpc-accept-encoding", "identity"));
  }
  headers.push_back(Header("grpc-status", code));
  if (!message.empty()) headers.push_back(Header("grpc-message", message));
  if (!details.empty()) headers.push_back(Header("grpc-status-details-bin", details));
  if (is_trailer) {
    nghttp2_submit_trailer(http_.get(), id, headers.data(), headers.size());
  } else {
    nghttp2_submit_response(http_.get(), id, headers.data(), headers.size(), nullptr);
  }
}

ssize_t Http2Session::ReadAnswer(int32_t id, uint8_t* out, size_t bytes_max, uint32_t* flags) {
  Http2Stream* const stream = Find(id);
  if (stream == nullptr) {
    const auto end = ends_.find(id);
    // Without one it was broken within a message; its reset is about to be sent.
    if (end == ends_.end()) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    SubmitEnd(id, end->second, flags);
    ends_.erase(end);
    return 0;
  }
  size_t bytes = 0;
  // A client may take as little as a byte.
  while (bytes < bytes_max && stream->unsent_bytes_ > 0) {
    std::string_view left = stream->message_;
    if (stream->unsent_bytes_ > left.size()) {
      left = {stream->prefix_ + kMessagePrefixBytes - (stream->unsent_bytes_ - left.size()),
              stream->unsent_bytes_ - left.size()};
    } else {
      left.remove_prefix(left.size() - stream->unsent_bytes_);
    }
    const size_t part = left.copy(reinterpret_cast<char*>(out) + bytes, bytes_max - bytes);
    stream->unsent_bytes_ -= part;
    bytes += part;
  }
  if (stream->unsent_bytes_ > 0) return static_cast<ssize_t>(bytes);
  stream->message_ = std::string();
  if (stream->writes_) {
    stream->writes_ = false;
    Tell(CallEvent::Kind::kWritten, stream);
  }
  if (stream->finishes_) {
    SubmitEnd(id, stream->status_, flags);
    return static_cast<ssize_t>(bytes);
  }
  if (bytes == 0) return NGHTTP2_ERR_DEFERRED;
  return static_cast<ssize_t>(bytes);
}

void Http2Session::SubmitEnd(int32_t id, const grpc::Status& status, uint32_t* flags) {
  *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
  SubmitStatus(id, status, /*is_trailer=*/true);
}

void Http2Session::OnHeaderLost(int32_t id) {
  nghttp2_submit_rst_stream(http_.get(), NGHTTP2_FLAG_NONE, id, NGHTTP2_INTERNAL_ERROR);
}

void Http2Session::OnEndSent(int32_t id) {
  Http2Stream* const stream = Find(id);
  if (stream != nullptr) stream->is_over_ = true;
  // Whatever the client would still send is not wanted (RFC 9113, 8.1). It may have ended.
  if (nghttp2_session_get_stream_remote_close(http_.get(), id) == 0) {
    nghttp2_submit_rst_stream(http_.get(), NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
  }
}

// Ends -----------------------------------------------------------------------

void Http2Session::OnStreamClosed(int32_t id) {
  ends_.erase(id);
  if (Http2Stream* const stream = Find(id)) Detach(stream);
}

void Http2Session::Detach(Http2Stream* stream) {
  stream->is_open_ = false;
  streams_.erase(stream);
  StopInput(stream);
  if (std::exchange(stream->writes_, false)) Tell(CallEvent::Kind::kWriteFailed, stream);
  Tell(stream->is_over_ ? CallEvent::Kind::kClosed : CallEvent::Kind::kBroken, stream);
}

void Http2Session::Break(Http2Stream* stream, const grpc::Status& status) {
  if (!stream->is_open_) return;
  const int32_t id = stream->id_;
  nghttp2_session_set_stream_user_data(http_.get(), id, nullptr);
  if (!stream->answers_ && !stream->finishes_) {
    SubmitStatus(id, status, /*is_trailer=*/false);
  } else if (stream->answers_ && stream->unsent_bytes_ == 0) {
    ends_.emplace(id, status);
    nghttp2_session_resume_data(http_.get(), id);
  } else {
    nghttp2_submit_rst_stream(http_.get(), NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
  }
  Detach(stream);
}

bool Http2Session::IsMute(Http2Stream* stream, TimePoint now, Duration patience) {
  if (stream->input_ended_) return false;
  if (!stream->had_message_) return now - stream->opened_at_ >= patience;
  if (stream->assembler_.is_empty()) return false;
  if (stream->in_parts_since_ == Http2Stream::kNever) stream->in_parts_since_ = now;
  return now - stream->in_parts_since_ >= patience;
}

void Http2Session::BreakLate(TimePoint now, Duration patience) {
  const auto is_due = [&](const Http2Stream* stream) { return stream->deadline_ <= now; };
  std::vector<Http2Stream*> late;
  for (Http2Stream* stream : streams_) {
    if (is_due(stream) || IsMute(stream, now, patience)) late.push_back(stream);
  }
  if (late.empty()) return;
  const grpc::Status due(grpc::StatusCode::DEADLINE_EXCEEDED, "the call's time is over");
  const grpc::Status mute(grpc::StatusCode::CANCELLED, "the request took too long to arrive");
  for (Http2Stream* stream : late) Break(stream, is_due(stream) ? due : mute);
}

void Http2Session::BreakAll(const grpc::Status& status) {
  const std::vector<Http2Stream*> all(streams_.begin(), streams_.end());
  for (Http2Stream* stream : all) Break(stream, status);
}

void Http2Session::Ping() {
  if (http_ != nullptr) nghttp2_submit_ping(http_.get(), NGHTTP2_FLAG_NONE, nullptr);
}

void Http2Session::GoAway() {
  if (http_ == nullptr || std::exchange(goes_away_, true)) return;
  nghttp2_submit_goaway(http_.get(), NGHTTP2_FLAG_NONE,
                        nghttp2_session_get_last_proc_stream_id(http_.get()), NGHTTP2_NO_ERROR,
                        nullptr, 0);
}

void Http2Session::Close() {
  const std::vector<Http2Stream*> all(streams_.begin(), streams_.end());
  for (Http2Stream* stream : all) Detach(stream);
  http_.reset();
}

}  // namespace vectron::rpc
