#pragma once

#include <google/protobuf/arena.h>
#include <grpcpp/support/status.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "common/check.h"
#include "common/clock.h"
#include "common/string_map.h"
#include "rpc/server_call.h"
#include "rpc/status.h"

namespace vectron::rpc {

// INTERNAL for a message of 2 GiB and more.
template <typename Message>
grpc::Status Encode(const Message& message, std::string* bytes) {
  if (message.SerializeToString(bytes)) return grpc::Status::OK;
  return {grpc::StatusCode::INTERNAL, "the answer is too large to be encoded"};
}

// A call with one request and one response. Both are in one arena, whose first block
// is part of the object: a small call allocates once, and a batch of a thousand points
// is freed in a few steps instead of thousands.
//
// The function that serves it may keep the pointer until it has called Finish, from any
// thread.
template <typename Request, typename Response>
class UnaryCall final : public CallHandler {
 public:
  using Serve = std::function<void(UnaryCall*)>;

  // `serve` outlives the call.
  explicit UnaryCall(const Serve* serve)
      : serve_(*serve), arena_(OptionsWith(first_block_, sizeof(first_block_))) {}

  const Request& request() const { return *request_; }
  // Made when it is first asked for.
  Response* response() {
    if (response_ == nullptr) {
      response_ = google::protobuf::Arena::CreateMessage<Response>(&arena_);
    }
    return response_;
  }
  // No other call waits for this thread (see CallHandler).
  bool alone() const { return alone_; }
  Deadline DeadlineBy(const Clock& clock) const { return call_->DeadlineBy(clock); }
  // Set when the caller gave up.
  const std::atomic<bool>& cancelled() const { return cancelled_; }

  // Answers with the response or, unless `status` is OK, with that. Once.
  void Finish(const grpc::Status& status) {
    if (!status.ok()) return call_->Finish(status);
    std::string bytes;
    const grpc::Status encoded = Encode(*response(), &bytes);
    if (!encoded.ok()) return call_->Finish(encoded);
    FinishWith(std::move(bytes));
  }
  // Answers with the bytes of a Response, instead.
  void FinishWith(std::string response) { call_->WriteAndFinish(std::move(response)); }

  void OnStart(ServerCall* call) override {
    call_ = call;
    call_->Read(&bytes_);
  }

  void OnRead(bool ok, bool alone) override {
    alone_ = alone;
    if (!ok) {
      return call_->Finish(ToGrpcStatus(InvalidArgument("the call came without a request")));
    }
    request_ = google::protobuf::Arena::CreateMessage<Request>(&arena_);
    const bool is_message = request_->ParseFromString(bytes_);
    bytes_ = std::string();
    if (!is_message) {
      return call_->Finish(ToGrpcStatus(
          InvalidArgument("the request is not a message of the type that this method takes")));
    }
    serve_(this);
  }

  void OnCancelled() override { cancelled_.store(true, std::memory_order_relaxed); }

 private:
  static google::protobuf::ArenaOptions OptionsWith(char* block, size_t bytes) {
    google::protobuf::ArenaOptions options;
    options.initial_block = block;
    options.initial_block_size = bytes;
    options.start_block_size = 16 << 10;
    options.max_block_size = 256 << 10;
    return options;
  }

  const Serve& serve_;
  ServerCall* call_ = nullptr;
  bool alone_ = false;
  std::atomic<bool> cancelled_{false};
  std::string bytes_;
  alignas(16) char first_block_[4096];
  google::protobuf::Arena arena_;
  Request* request_ = nullptr;
  Response* response_ = nullptr;
};

// A call with any number of messages both ways. At most one StartRead and one
// StartWrite at a time, Finish once when no write is under way; any thread.
template <typename Request, typename Response>
class StreamCall : public CallHandler {
 public:
  void OnStart(ServerCall* call) final {
    call_ = call;
    OnBegin();
  }
  void OnRead(bool ok, bool /*alone*/) final {
    garbled_ = ok && !reading_->ParseFromString(bytes_);
    bytes_ = std::string();
    OnReadDone(ok && !garbled_);
  }

 protected:
  // The first: begins to read.
  virtual void OnBegin() = 0;
  // !ok: the client sends no more, or something that is no message.
  virtual void OnReadDone(bool ok) = 0;

  void StartRead(Request* request) {
    reading_ = request;
    call_->Read(&bytes_);
  }
  void StartWrite(const Response& response) {
    std::string bytes;
    // Responses of streams are bounded far below what cannot be encoded.
    const grpc::Status encoded = Encode(response, &bytes);
    VECTRON_CHECK(encoded.ok());
    call_->Write(std::move(bytes));
  }
  void Finish(const grpc::Status& status) { call_->Finish(status); }
  Deadline DeadlineBy(const Clock& clock) const { return call_->DeadlineBy(clock); }
  // In OnReadDone and after the last: it was something that is no message.
  bool garbled() const { return garbled_; }

 private:
  ServerCall* call_ = nullptr;
  std::string bytes_;
  Request* reading_ = nullptr;
  bool garbled_ = false;
};

// A gRPC service: its methods by their paths ("/package.Service/Method"). Derived
// classes add theirs when they are made. To be served by a GrpcServer.
class Service {
 public:
  using MakeHandler = std::function<std::shared_ptr<CallHandler>()>;

  virtual ~Service() = default;

  // "package.Service", as clients know it.
  const std::string& name() const { return name_; }
  const StringMap<MakeHandler>& methods() const { return methods_; }

 protected:
  explicit Service(std::string name) : name_(std::move(name)) {}

  void AddMethod(std::string_view method, MakeHandler make) {
    AddMethodOf(name_, method, std::move(make));
  }
  // Under another name of the service.
  void AddMethodOf(std::string_view service, std::string_view method, MakeHandler make) {
    methods_.emplace(std::string("/").append(service).append("/").append(method), std::move(make));
  }
  template <typename Request, typename Response>
  void AddUnary(std::string_view method, std::function<void(UnaryCall<Request, Response>*)> serve) {
    AddMethod(method, [serve = std::move(serve)] {
      return std::make_shared<UnaryCall<Request, Response>>(&serve);
    });
  }

 private:
  const std::string name_;
  StringMap<MakeHandler> methods_;
};

}  // namespace vectron::rpc
