#pragma once

#include <grpcpp/support/status.h>

#include <atomic>
#include <memory>
#include <string>

#include "common/clock.h"
#include "common/mutex.h"
#include "rpc/http2_session.h"

namespace vectron::rpc {

class Http2Connection;
class ServerCall;

// How many calls were accepted and are not over. Thread-safe.
class LiveCalls {
 public:
  // False if there are as many as there may be.
  bool TryEnter(size_t count_max) {
    MutexLock lock(mutex_);
    if (count_ >= count_max) return false;
    ++count_;
    return true;
  }
  void Leave() {
    MutexLock lock(mutex_);
    if (--count_ == 0) none_.NotifyAll();
  }
  void WaitNone() {
    MutexLock lock(mutex_);
    while (count_ > 0) none_.Wait(mutex_);
  }
  // False if some are left after `patience`.
  bool WaitNone(Duration patience) {
    const TimePoint until = SystemClock().Now() + patience;
    MutexLock lock(mutex_);
    while (count_ > 0) {
      const Duration left = until - SystemClock().Now();
      if (left <= Duration::zero()) return false;
      none_.WaitFor(mutex_, left);
    }
    return true;
  }

 private:
  Mutex mutex_;
  CondVar none_;
  size_t count_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Bytes of the answers of calls that their clients have not taken yet. Thread-safe.
class UntakenAnswers {
 public:
  explicit UntakenAnswers(size_t bytes_max) : bytes_max_(bytes_max) {}

  // False, and nothing counted, if there are others and with them it were too many: one alone may
  // be of any size. Small ones are always taken, streams bound their sum: a write that was done
  // must not be called OVERLOADED.
  bool TryAdd(size_t bytes) {
    const size_t others = bytes_.fetch_add(bytes, std::memory_order_relaxed);
    if (others == 0 || bytes <= kSmallBytes || others + bytes <= bytes_max_) return true;
    Remove(bytes);
    return false;
  }
  void Remove(size_t bytes) { bytes_.fetch_sub(bytes, std::memory_order_relaxed); }

  size_t bytes_max() const { return bytes_max_; }

 private:
  static constexpr size_t kSmallBytes = 64 << 10;

  const size_t bytes_max_;
  std::atomic<size_t> bytes_{0};
};

// Serves one call: what a method of a Service makes for it. Its methods are called
// by the server's threads: OnRead and OnWritten once for each Read and Write that was
// begun, OnCancelled at most once and at any moment.
class CallHandler {
 public:
  virtual ~CallHandler() = default;

  // Called first. Begins to read, at least; `call` lives as long as the handler is
  // called.
  virtual void OnStart(ServerCall* call) = 0;
  // The message that Read asked for is there; !ok: the client sends no more, or the
  // call is broken. `alone`: no other call waits for this thread, which may then do
  // some work of its own instead of handing it to another.
  virtual void OnRead(bool ok, bool alone) = 0;
  // !ok: the call is broken.
  virtual void OnWritten(bool /*ok*/) {}
  // The client gave up or went away, or the server did. The call is still to be
  // finished.
  virtual void OnCancelled() {}
};

// A call under way at a GrpcServer, in bytes. At most one Read and one Write at a time; Finish
// or WriteAndFinish once, after the last Write has ended. Any thread, also with locks held that
// the handler takes: what comes of it is told later, by others. Deletes itself, and lets the
// handler go, when it was finished and nothing of it is under way.
class ServerCall {
 public:
  // What the calls of a server share, and which outlives them.
  struct Shared {
    Shared(size_t calls_max, size_t answers_bytes_max)
        : calls_max(calls_max), untaken(answers_bytes_max) {}

    const size_t calls_max;
    LiveCalls live;  // from when it was accepted until it is over
    UntakenAnswers untaken;
    // Of requests that have come and were not handed to their calls.
    std::atomic<size_t> received_bytes{0};
  };

  // A call that came, to be served; its stream. Null if there are too many.
  static Http2Stream* Make(std::shared_ptr<Http2Connection> connection, int32_t id, CallHead head,
                           size_t message_bytes_max, Shared* shared);

  ServerCall(const ServerCall&) = delete;
  ServerCall& operator=(const ServerCall&) = delete;

  const std::string& method() const { return head_.method; }
  // When the caller stops waiting, by `clock`; kNoDeadline if it did not say. Asked when the call
  // comes.
  Deadline DeadlineBy(const Clock& clock) const {
    return head_.timeout.has_value() ? clock.Now() + *head_.timeout : kNoDeadline;
  }

  void Read(std::string* message);
  void Write(std::string message);
  void Finish(const grpc::Status& status);
  // With OK; with OVERLOADED if clients have left too much untaken.
  void WriteAndFinish(std::string message);

  // For the server's loop -------------------------------------------------

  // Hands the call to its handler.
  void Serve(std::shared_ptr<CallHandler> handler);
  // Of the message that was read.
  size_t ReadBytes() const { return message_->size(); }
  // Of kRead and kReadFailed, which need not be told at once.
  void DeliverRead(bool ok, bool alone);
  void OnWritten(bool ok);
  // Of kClosed and kBroken. As those above, the last: the call may be gone afterwards.
  void OnClosed() { End(); }
  void OnBroken();

 private:
  ServerCall(std::shared_ptr<Http2Connection> connection, int32_t id, CallHead head,
             size_t message_bytes_max, Shared* shared);
  ~ServerCall() = default;

  void Begin() { under_way_.fetch_add(1, std::memory_order_relaxed); }
  void End();

  Shared& shared_;
  const CallHead head_;
  const std::shared_ptr<Http2Connection> connection_;
  Http2Stream stream_;  // the connection's
  std::shared_ptr<CallHandler> handler_;
  // Operations, and one for the stream until it is closed, and one until it is finished.
  std::atomic<int> under_way_{2};
  std::atomic<bool> finished_{false};
  std::string* message_ = nullptr;  // of the last Read
  size_t answer_bytes_ = 0;         // among shared_.untaken until the call is over
};

}  // namespace vectron::rpc
