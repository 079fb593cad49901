#include "rpc/server_loop.h"

#include <fmt/format.h>
#include <grpc/support/time.h>

#include <utility>

#include "rpc/status.h"

namespace vectron::rpc {
namespace {

// Calls that are waited for at the same time.
constexpr int kAwaitedCount = 16;
// Messages that are taken from the queue before they are delivered.
constexpr size_t kMessageCountMax = 64;
// Decoding goes at about a GB/s: longer messages would hold up the calls behind
// them for tens of microseconds.
constexpr size_t kLargeBytes = 64 << 10;
// Ticks within the patience with clients that send half a request.
constexpr int kTicksOfPatience = 4;

class UnknownMethod final : public CallHandler {
 public:
  void OnStart(ServerCall* call) override {
    call->Finish(
        ToGrpcStatus(MakeError(Reason::kUnknownRoute, fmt::format("there is no method {}",
                                                                  call->method().substr(0, 256)))));
  }
  void OnRead(bool /*ok*/, bool /*alone*/) override {}
};

}  // namespace

ServerLoop::ServerLoop(const std::string& name, const Environment& environment,
                       std::unique_ptr<grpc::ServerCompletionQueue> queue)
    : name_(name), environment_(environment), queue_(std::move(queue)) {}

ServerLoop::~ServerLoop() { Stop(); }

void ServerLoop::Start() {
  for (int i = 0; i < kAwaitedCount; ++i) Await();
  SetTick();
  thread_ = std::make_unique<Thread>(name_, ThreadPriority::kNormal, [this] { Run(); });
}

void ServerLoop::Stop() {
  if (thread_ == nullptr) return;
  // Calls that the server accepted at last may still be in the queue, and need it
  // until they are over.
  alarm_.Set(queue_.get(), gpr_now(GPR_CLOCK_MONOTONIC), &mark_);
  {
    MutexLock lock(mutex_);
    while (!marked_) marked_cond_.Wait(mutex_);
  }
  environment_.calls->live.WaitNone();
  queue_->Shutdown();
  thread_->Join();
  thread_ = nullptr;
}

void ServerLoop::Run() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) {
    Handle(*static_cast<Event*>(tag), ok);
    if (messages_.empty()) continue;
    // What else is there decides whether this thread may work on it itself.
    while (messages_.size() < kMessageCountMax &&
           queue_->AsyncNext(&tag, &ok, gpr_time_0(GPR_CLOCK_MONOTONIC)) ==
               grpc::CompletionQueue::GOT_EVENT) {
      Handle(*static_cast<Event*>(tag), ok);
    }
    DeliverMessages();
  }
}

void ServerLoop::Handle(const Event& event, bool ok) {
  switch (event.kind) {
    case Event::Kind::kAccepted:
      if (!ok) return event.call->Abandon();
      Await();
      return Serve(event.call);
    case Event::Kind::kRead:
      unread_.erase(event.call);
      messages_.push_back({event.call, ok});
      return;
    case Event::Kind::kWritten:
    case Event::Kind::kFinished:
    case Event::Kind::kEnded:
      return event.call->OnEvent(event.kind, ok);
    case Event::Kind::kTick:
      return OnTick(ok);
    case Event::Kind::kMark: {
      ending_ = true;
      tick_alarm_.Cancel();
      MutexLock lock(mutex_);
      marked_ = true;
      marked_cond_.NotifyAll();
      return;
    }
  }
}

void ServerLoop::Serve(ServerCall* call) {
  const auto method = environment_.methods->find(std::string_view(call->method()));
  if (method == environment_.methods->end()) return call->Serve(std::make_shared<UnknownMethod>());
  unread_.emplace(call, ticks_);
  call->Serve((*method->second)());
}

void ServerLoop::SetTick() {
  const auto period = environment_.request_patience / kTicksOfPatience;
  tick_alarm_.Set(queue_.get(),
                  gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                               gpr_time_from_millis(period.count(), GPR_TIMESPAN)),
                  &tick_);
}

// A call that is awaited has a Read under way, and thus is there.
void ServerLoop::OnTick(bool ok) {
  if (!ok || ending_) return;
  ++ticks_;
  for (const auto& [call, since] : unread_) {
    if (ticks_ - since > kTicksOfPatience) call->Cancel();
  }
  SetTick();
}

void ServerLoop::DeliverMessages() {
  for (size_t i = 0; i < messages_.size(); ++i) {
    const Message message = messages_[i];
    const bool is_last = i + 1 == messages_.size();
    if (message.ok && message.call->ReadBytes() > kLargeBytes &&
        environment_.large->TrySubmit(
            [call = message.call] { call->DeliverRead(true, /*alone=*/false); })) {
      continue;
    }
    message.call->DeliverRead(message.ok, is_last);
  }
  messages_.clear();
}

}  // namespace vectron::rpc
