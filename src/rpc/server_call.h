#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <string>

#include "common/clock.h"
#include "common/mutex.h"

namespace vectron::rpc {

class ServerCall;

// How many calls were accepted and are not over. Thread-safe.
class LiveCalls {
 public:
  void Enter() {
    MutexLock lock(mutex_);
    ++count_;
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
  // The last: the call is over.
  virtual void OnDone() {}
};

// A call under way at an asynchronous gRPC server, in bytes. At most one Read and
// one Write at a time; Finish or WriteAndFinish once, after the last Write has ended.
// Any thread. Deletes itself when it was finished and nothing of it is under way.
class ServerCall {
 public:
  // A thing that the call's completion queue tells of.
  struct Event {
    enum class Kind { kAccepted, kRead, kWritten, kFinished, kEnded, kMark, kTick };
    Event(ServerCall* owner, Kind what) : call(owner), kind(what) {}
    ServerCall* const call;  // null: kMark and kTick, which are no call's
    const Kind kind;
  };

  // What the calls of a server share, and which outlives them.
  struct Shared {
    LiveCalls live;  // from when it was accepted until it is over
    UntakenAnswers untaken;
  };

  // Waits for one call of the service at `queue`.
  static void Await(grpc::AsyncGenericService* service, grpc::ServerCompletionQueue* queue,
                    Shared* shared);

  ServerCall(const ServerCall&) = delete;
  ServerCall& operator=(const ServerCall&) = delete;

  const std::string& method() const { return context_.method(); }
  const grpc::ServerContextBase& context() const { return context_; }

  void Read(grpc::ByteBuffer* message);
  void Write(const grpc::ByteBuffer& message);
  void Finish(const grpc::Status& status);
  // Breaks the call: what is under way ends, and the client is told CANCELLED.
  void Cancel() { context_.TryCancel(); }
  // With OK; with OVERLOADED if clients have left too much untaken.
  void WriteAndFinish(const grpc::ByteBuffer& message);

  // For the server's loop -------------------------------------------------

  // Accepted: hands the call to its handler.
  void Serve(std::shared_ptr<CallHandler> handler);
  // Of kAccepted, when no call came because the server shuts down.
  void Abandon() { delete this; }
  // Of kWritten, kFinished, kEnded. The call may be gone afterwards.
  void OnEvent(Event::Kind kind, bool ok);
  // Of the message that was read.
  size_t ReadBytes() const { return message_->Length(); }
  // Of kRead, which need not be told at once.
  void DeliverRead(bool ok, bool alone);

 private:
  explicit ServerCall(Shared* shared) : shared_(*shared), stream_(&context_) {}
  ~ServerCall() = default;

  void Begin() { under_way_.fetch_add(1, std::memory_order_relaxed); }
  void End();

  Shared& shared_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_;
  std::shared_ptr<CallHandler> handler_;
  // Operations, and one for the end of the call that gRPC tells of (kEnded), which
  // comes only after Finish or when the call broke, and one until it is finished.
  std::atomic<int> under_way_{2};
  std::atomic<bool> finished_{false};

  grpc::ByteBuffer* message_ = nullptr;  // of the last Read
  size_t answer_bytes_ = 0;              // among shared_.untaken until the call is finished

  Event accepted_{this, Event::Kind::kAccepted};
  Event read_{this, Event::Kind::kRead};
  Event written_{this, Event::Kind::kWritten};
  Event finish_{this, Event::Kind::kFinished};
  Event ended_{this, Event::Kind::kEnded};
};

}  // namespace vectron::rpc
