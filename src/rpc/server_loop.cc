#include "rpc/server_loop.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "common/logging.h"
#include "rpc/status.h"

namespace vectron::rpc {
namespace {

using std::chrono::milliseconds;

constexpr size_t kReceiveBytes = 256 << 10;
constexpr int kEventsPerTurn = 64;
// What calls are told before the sockets are looked at again.
constexpr int kToldPerTurn = 256;
// How often a tick may wait for a turn that has seen to all that clients sent.
constexpr int kTurnsWithoutTickMax = 16;
// Decoding goes at about a GB/s: longer messages would hold up the calls behind
// them for tens of microseconds.
constexpr size_t kLargeBytes = 64 << 10;
constexpr milliseconds kTickPeriodMax{250};
// How long a peer without calls has to close its connection when the server stops.
constexpr milliseconds kHangUpPatience{1'000};

thread_local const ServerLoop* this_loop = nullptr;

class UnknownMethod final : public CallHandler {
 public:
  void OnStart(ServerCall* call) override {
    call->Finish(
        ToGrpcStatus(MakeError(Reason::kUnknownRoute, fmt::format("there is no method {}",
                                                                  call->method().substr(0, 256)))));
  }
  void OnRead(bool /*ok*/, bool /*alone*/) override {}
};

// Often enough for every one of them.
milliseconds TickPeriod(const Http2ConnectionOptions& options) {
  const milliseconds shortest =
      std::min({options.keepalive_interval, options.keepalive_timeout, options.handshake_timeout,
                options.idle_timeout, options.request_patience});
  return std::clamp(shortest / 4, milliseconds(1), kTickPeriodMax);
}

}  // namespace

ServerLoop::ServerLoop(const std::string& name, const Environment& environment)
    : name_(name),
      environment_(environment),
      tick_period_(TickPeriod(environment.connections)),
      poll_(epoll_create1(EPOLL_CLOEXEC)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      timer_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {}

ServerLoop::~ServerLoop() { Stop(); }

Status ServerLoop::Start() {
  for (const OwnedFd* fd : {&wake_, &timer_}) {
    epoll_event event{.events = EPOLLIN, .data = {.ptr = const_cast<OwnedFd*>(fd)}};
    if (epoll_ctl(poll_.get(), EPOLL_CTL_ADD, fd->get(), &event) != 0) {
      return Internal(fmt::format("cannot wait for gRPC connections: {}", std::strerror(errno)));
    }
  }
  thread_ = std::make_unique<Thread>(name_, ThreadPriority::kNormal, [this] { Run(); });
  return OkStatus();
}

void ServerLoop::Add(AdmittedSocket socket) {
  Wish([&](Wishes& wishes) { wishes.sockets.push_back(std::move(socket)); });
}

void ServerLoop::Drain() {
  if (thread_ == nullptr) return;
  Wish([](Wishes& wishes) { wishes.drains = true; });
  MutexLock lock(mutex_);
  while (!is_drained_) drained_cond_.Wait(mutex_);
}

void ServerLoop::BreakCalls() {
  Wish([](Wishes& wishes) { wishes.breaks_calls = true; });
}

void ServerLoop::Stop() {
  if (thread_ == nullptr) return;
  Wish([](Wishes& wishes) { wishes.stops = true; });
  thread_->Join();
  thread_ = nullptr;
}

bool ServerLoop::IsThisThread() const { return this_loop == this; }

template <typename Change>
void ServerLoop::Wish(Change&& change) {
  bool is_first = false;
  {
    MutexLock lock(mutex_);
    is_first = wishes_.empty();
    change(wishes_);
  }
  if (is_first) VECTRON_CHECK(eventfd_write(wake_.get(), 1) == 0);
}

void ServerLoop::Tell(const CallEvents& events) {
  const bool is_here = IsThisThread();
  std::vector<CallEvent> elsewhere;
  for (const CallEvent& event : events) {
    if (event.kind == CallEvent::Kind::kClosed) {
      event.call->OnClosed();
    } else {
      is_here ? events_.push_back(event) : elsewhere.push_back(event);
    }
  }
  if (elsewhere.empty()) return;
  Wish([&](Wishes& wishes) {
    wishes.events.insert(wishes.events.end(), elsewhere.begin(), elsewhere.end());
  });
}

void ServerLoop::Watch(Http2Connection* connection, bool bytes, bool room) {
  epoll_event event{.events = 0, .data = {.ptr = connection}};
  if (bytes) event.events |= EPOLLIN;
  if (room) event.events |= EPOLLOUT;
  // Fails only for one that the loop does not watch yet, or not any more.
  epoll_ctl(poll_.get(), EPOLL_CTL_MOD, connection->fd(), &event);
}

void ServerLoop::Run() {
  this_loop = this;
  std::vector<char> buffer(kReceiveBytes);
  std::array<epoll_event, kEventsPerTurn> ready;
  while (!stops_ || !connections_.empty()) {
    const int timeout = events_.empty() ? -1 : 0;
    const int count = epoll_wait(poll_.get(), ready.data(), kEventsPerTurn, timeout);
    bool is_woken = false;
    bool ticks = false;
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = ready[static_cast<size_t>(i)];
      if (event.data.ptr == &wake_) {
        is_woken = true;
      } else if (event.data.ptr == &timer_) {
        ticks = true;
      } else {
        auto* connection = static_cast<Http2Connection*>(event.data.ptr);
        if (!connection->OnReady(event.events, buffer)) Close(connection);
      }
    }
    if (is_woken) GrantWishes();
    // Who is late is seen when what has come was received.
    if (ticks && (count < kEventsPerTurn || ++turns_without_tick_ > kTurnsWithoutTickMax)) OnTick();
    TellCalls();
    SettleAll();
  }
}

void ServerLoop::GrantWishes() {
  eventfd_t ignored = 0;
  eventfd_read(wake_.get(), &ignored);
  Wishes wishes;
  {
    MutexLock lock(mutex_);
    std::swap(wishes, wishes_);
  }
  for (const CallEvent& event : wishes.events) events_.push_back(event);
  for (AdmittedSocket& socket : wishes.sockets) Welcome(std::move(socket));
  if (wishes.drains) {
    drains_ = true;
    for (const auto& [connection, owner] : connections_) connection->Drain();
    MutexLock lock(mutex_);
    is_drained_ = true;
    drained_cond_.NotifyAll();
  }
  if (wishes.breaks_calls) {
    const grpc::Status why(grpc::StatusCode::UNAVAILABLE, "the server stops");
    for (const auto& [connection, owner] : connections_) connection->BreakCalls(why);
  }
  if (wishes.stops) {
    stops_ = true;
    stop_at_ = SystemClock().Now() + kHangUpPatience;
  }
}

void ServerLoop::Welcome(AdmittedSocket socket) {
  if (drains_ || stops_) return;
  auto connection = std::make_shared<Http2Connection>(
      environment_.connections, this, std::move(socket), &environment_.calls->received_bytes);
  epoll_event event{.events = EPOLLIN, .data = {.ptr = connection.get()}};
  if (epoll_ctl(poll_.get(), EPOLL_CTL_ADD, connection->fd(), &event) != 0) {
    VECTRON_LOG_WARN("cannot take a gRPC connection: {}", std::strerror(errno));
    return;
  }
  if (connections_.empty()) SetTicking(true);
  Http2Connection* const added = connection.get();
  connections_.emplace(added, std::move(connection));
}

void ServerLoop::SetTicking(bool ticks) {
  const auto period = std::chrono::nanoseconds(ticks ? tick_period_ : milliseconds(0)).count();
  constexpr int64_t kSecond = 1'000'000'000;
  const timespec span{.tv_sec = period / kSecond, .tv_nsec = period % kSecond};
  const itimerspec setting{.it_interval = span, .it_value = span};
  VECTRON_CHECK(timerfd_settime(timer_.get(), 0, &setting, nullptr) == 0);
}

void ServerLoop::OnTick() {
  uint64_t ignored = 0;
  if (read(timer_.get(), &ignored, sizeof(ignored)) < 0) return;
  turns_without_tick_ = 0;
  const TimePoint now = SystemClock().Now();
  const bool is_late = stops_ && now >= stop_at_;
  std::vector<Http2Connection*> over;
  for (const auto& [connection, owner] : connections_) {
    if (is_late || !connection->OnTick(now)) over.push_back(connection);
  }
  for (Http2Connection* connection : over) Close(connection);
}

void ServerLoop::Close(Http2Connection* connection) {
  epoll_ctl(poll_.get(), EPOLL_CTL_DEL, connection->fd(), nullptr);
  connection->Close();
  if (connection->is_unsettled) std::erase(unsettled_, connection);
  connections_.erase(connection);
  if (connections_.empty()) SetTicking(false);
}

void ServerLoop::SettleLater(Http2Connection* connection) {
  if (std::exchange(connection->is_unsettled, true)) return;
  unsettled_.push_back(connection);
}

void ServerLoop::SettleAll() {
  while (!unsettled_.empty()) {
    Http2Connection* const connection = unsettled_.back();
    unsettled_.pop_back();
    connection->is_unsettled = false;
    if (!connection->Settle()) Close(connection);
  }
}

void ServerLoop::TellCalls() {
  // What handlers do is told too, as far as it goes.
  for (int told = 0; told < kToldPerTurn && !events_.empty(); ++told) {
    const CallEvent event = events_.front();
    events_.pop_front();
    TellCall(event);
  }
  DeliverMessages();
}

void ServerLoop::TellCall(const CallEvent& event) {
  switch (event.kind) {
    case CallEvent::Kind::kAccepted:
      return Serve(event.call);
    case CallEvent::Kind::kRead:
      return messages_.push_back({event.call, true});
    case CallEvent::Kind::kReadFailed:
      return messages_.push_back({event.call, false});
    case CallEvent::Kind::kWritten:
      return event.call->OnWritten(true);
    case CallEvent::Kind::kWriteFailed:
      return event.call->OnWritten(false);
    case CallEvent::Kind::kClosed:
      return event.call->OnClosed();
    case CallEvent::Kind::kBroken:
      return event.call->OnBroken();
  }
}

void ServerLoop::Serve(ServerCall* call) {
  const auto method = environment_.methods->find(std::string_view(call->method()));
  if (method == environment_.methods->end()) return call->Serve(std::make_shared<UnknownMethod>());
  call->Serve((*method->second)());
}

void ServerLoop::DeliverMessages() {
  for (size_t i = 0; i < messages_.size(); ++i) {
    const Message message = messages_[i];
    const bool is_last = i + 1 == messages_.size();
    // It may take its time: nobody's answer waits for it.
    if (is_last && i > 0) SettleAll();
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
