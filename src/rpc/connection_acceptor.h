#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/error.h"
#include "common/thread.h"
#include "rpc/http2_refusal.h"
#include "rpc/owned_fd.h"

namespace vectron::rpc {

struct ConnectionAcceptorOptions {
  std::string listen;  // HOST:PORT, [V6]:PORT; port 0 takes a free one
  size_t connections_max = 4'096;
  // How long sent bytes may stay unacknowledged before the connection is given up.
  std::chrono::milliseconds unacknowledged_max{10'000};
  // Told of every connection that was refused. Called on the acceptor's thread.
  std::function<void()> on_refused = [] {};
  const Clock* clock = &SystemClock();
};

// Listens for a gRPC server: takes connections in on a thread of its own and hands on those for
// which there is room. The others are told so and closed: their first calls fail with
// UNAVAILABLE, naming the limit.
//
// Listen, Start and Stop from one thread.
class ConnectionAcceptor {
 public:
  // Takes the socket over: connected, not blocking.
  using TakeSocket = std::function<void(AdmittedSocket socket)>;

  // Binds every address that the host's name stands for. INVALID_ARGUMENT for what
  // is no address; UNAVAILABLE, naming it and why, if it cannot be listened on.
  static StatusOr<std::unique_ptr<ConnectionAcceptor>> Listen(ConnectionAcceptorOptions options);
  ~ConnectionAcceptor();

  // HOST:PORT, with the port that was taken.
  const std::string& address() const { return address_; }

  // Begins to accept. Connections made since Listen have waited.
  void Start(TakeSocket take);
  // Closes the listening sockets and joins the thread; `take` is not called any
  // more. Idempotent.
  void Stop();

 private:
  // A connection that was refused and whose client is still to read why.
  struct Refused {
    OwnedFd socket;
    TimePoint close_at;
    Http2RequestFinder finder{};
    bool answered = false;
  };

  ConnectionAcceptor(ConnectionAcceptorOptions options, std::vector<OwnedFd> listeners,
                     OwnedFd wake, std::string address);

  void Run();
  // Until something happens or is due. False once it is to stop.
  bool Await();
  void AcceptFrom(int listener);
  void OnAcceptError(int error);
  void Admit(OwnedFd socket);
  void Refuse(OwnedFd socket);
  // Answers requests on refused connections; closes those that ended or are due.
  void ServeRefused();
  // False when the connection has ended.
  bool Read(Refused* refused);

  const ConnectionAcceptorOptions options_;
  const std::string address_;
  const Http2Refusal refusal_;
  std::vector<OwnedFd> listeners_;
  const OwnedFd wake_;  // an eventfd: written once, to stop
  // Of those handed on, which may outlive the acceptor.
  const std::shared_ptr<std::atomic<size_t>> open_count_ = std::make_shared<std::atomic<size_t>>(0);
  TakeSocket take_;

  // Of the thread.
  std::vector<Refused> refused_;
  TimePoint accept_again_at_;  // after an error
  TimePoint warn_again_at_;
  std::vector<int> ready_;  // listeners with connections

  std::unique_ptr<Thread> thread_;
};

}  // namespace vectron::rpc
