#pragma once

#include <absl/container/flat_hash_map.h>
#include <grpcpp/alarm.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "common/string_map.h"
#include "common/thread.h"
#include "common/thread_pool.h"
#include "rpc/server_call.h"
#include "rpc/service.h"

namespace vectron::rpc {

// A thread that takes calls from a completion queue and runs their handlers.
//
// It is alone at its queue, on purpose: of several threads that wait at a gRPC server
// one polls, and hands that over to another before it sees to what it found, so that
// each call costs three or four switches between threads (docs/adr/0008).
class ServerLoop {
 public:
  struct Environment {
    // Not owned; outlive the loop.
    grpc::AsyncGenericService* service = nullptr;
    const StringMap<const Service::MakeHandler*>* methods = nullptr;
    // Takes requests that are long to decode.
    ThreadPool* large = nullptr;
    ServerCall::Shared* calls = nullptr;
    // How long a client may take to send its first message, about.
    std::chrono::milliseconds request_patience{120'000};
  };

  ServerLoop(const std::string& name, const Environment& environment,
             std::unique_ptr<grpc::ServerCompletionQueue> queue);
  // Stops, if that was not done.
  ~ServerLoop();

  // After the server was built: begins to take calls.
  void Start();
  // After the server was shut down: waits until its calls are over, joins the thread.
  void Stop();

 private:
  using Event = ServerCall::Event;
  struct Message {
    ServerCall* call = nullptr;
    bool ok = false;
  };

  void Run();
  // Adds to `messages_` what is to be delivered.
  void Handle(const Event& event, bool ok);
  void Serve(ServerCall* call);
  void DeliverMessages();
  void SetTick();
  // Breaks calls whose first message does not come.
  void OnTick(bool ok);
  void Await() { ServerCall::Await(environment_.service, queue_.get(), environment_.calls); }

  const std::string name_;
  const Environment environment_;
  const std::unique_ptr<grpc::ServerCompletionQueue> queue_;

  // Goes through the queue after all that was in it when the server had shut down.
  grpc::Alarm alarm_;
  Event mark_{nullptr, Event::Kind::kMark};
  Mutex mutex_;
  CondVar marked_cond_;
  bool marked_ ABSL_GUARDED_BY(mutex_) = false;

  // Of the thread:
  std::vector<Message> messages_;
  grpc::Alarm tick_alarm_;
  Event tick_{nullptr, Event::Kind::kTick};
  uint64_t ticks_ = 0;
  bool ending_ = false;
  // Calls whose first message is awaited, since which tick.
  absl::flat_hash_map<ServerCall*, uint64_t> unread_;
  std::unique_ptr<Thread> thread_;
};

}  // namespace vectron::rpc
