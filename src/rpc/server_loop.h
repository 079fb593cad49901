#pragma once

#include <absl/container/flat_hash_map.h>

#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "common/mutex.h"
#include "common/string_map.h"
#include "common/thread.h"
#include "common/thread_pool.h"
#include "rpc/http2_connection.h"
#include "rpc/owned_fd.h"
#include "rpc/server_call.h"
#include "rpc/service.h"

namespace vectron::rpc {

// A thread that receives what clients send over its connections and runs the handlers of their
// calls. A connection stays with it for life.
class ServerLoop {
 public:
  struct Environment {
    // Not owned; outlive the loop.
    const StringMap<const Service::MakeHandler*>* methods = nullptr;
    // Takes requests that are long to decode.
    ThreadPool* large = nullptr;
    ServerCall::Shared* calls = nullptr;
    Http2ConnectionOptions connections;
  };

  ServerLoop(const std::string& name, const Environment& environment);
  // Stops, if that was not done.
  ~ServerLoop();
  ServerLoop(const ServerLoop&) = delete;
  ServerLoop& operator=(const ServerLoop&) = delete;

  // INTERNAL if the system does not give what a loop needs.
  Status Start();
  // Takes a connected socket, which does not block. Any thread.
  void Add(AdmittedSocket socket);
  // Takes no more calls from when it returns: connections end when they have none.
  void Drain();
  // Breaks all calls. They are still to be finished.
  void BreakCalls();
  // After Drain, when no call is left: joins the thread. Clients that do not close their
  // connections are given a second.
  void Stop();

  // For its connections ----------------------------------------------------

  // Calls are told on the loop's thread, but for those that only end. Any thread; not with a
  // lock held.
  void Tell(const CallEvents& events);
  // What the connection is to be told of: bytes to receive, room to send. Any thread.
  void Watch(Http2Connection* connection, bool bytes, bool room);
  // Settles the connection when those calls were told that can be. On the loop's thread.
  void SettleLater(Http2Connection* connection);
  bool IsThisThread() const;
  ServerCall::Shared* shared_calls() const { return environment_.calls; }

 private:
  struct Message {
    ServerCall* call = nullptr;
    bool ok = false;
  };
  // What other threads ask of the loop.
  struct Wishes {
    std::vector<AdmittedSocket> sockets;
    std::vector<CallEvent> events;
    bool drains = false;
    bool breaks_calls = false;
    bool stops = false;

    bool empty() const {
      return sockets.empty() && events.empty() && !drains && !breaks_calls && !stops;
    }
  };

  void Run();
  template <typename Change>
  void Wish(Change&& change);
  void GrantWishes();
  void Welcome(AdmittedSocket socket);
  void OnTick();
  void SetTicking(bool ticks);
  void Close(Http2Connection* connection);
  void SettleAll();

  // Tells calls a part of what there is to be told, so that one of many small messages does not
  // hold up the others.
  void TellCalls();
  void TellCall(const CallEvent& event);
  void Serve(ServerCall* call);
  void DeliverMessages();

  const std::string name_;
  const Environment environment_;
  const std::chrono::milliseconds tick_period_;
  OwnedFd poll_;
  OwnedFd wake_;   // an eventfd
  OwnedFd timer_;  // ticks while there are connections

  Mutex mutex_;
  CondVar drained_cond_;
  bool is_drained_ ABSL_GUARDED_BY(mutex_) = false;
  Wishes wishes_ ABSL_GUARDED_BY(mutex_);

  // Of the thread:
  absl::flat_hash_map<Http2Connection*, std::shared_ptr<Http2Connection>> connections_;
  std::vector<Http2Connection*> unsettled_;
  std::deque<CallEvent> events_;
  std::vector<Message> messages_;
  int turns_without_tick_ = 0;
  bool drains_ = false;
  bool stops_ = false;
  TimePoint stop_at_;
  std::unique_ptr<Thread> thread_;
};

}  // namespace vectron::rpc
