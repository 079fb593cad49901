#include "rpc/connection_acceptor.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

#include "common/check.h"
#include "common/logging.h"

namespace vectron::rpc {
namespace {

using std::chrono::milliseconds;

// Out of descriptors or memory: trying again at once would spin.
constexpr milliseconds kAcceptRetryDelay{100};
constexpr std::chrono::seconds kWarnPeriod{10};
// Refused connections that are kept so that their clients can read why, and how long;
// more are closed without a word.
constexpr size_t kRefusedMax = 256;
constexpr milliseconds kRefusedTimeMax{2'000};
// Connections taken in from one listener before looking at the rest.
constexpr int kAcceptsPerTurn = 64;
// Another process may have the port that was free for a host's first address.
constexpr int kPortAttempts = 10;

std::string ErrorText(int error) { return std::generic_category().message(error); }

struct HostPort {
  std::string host;
  uint16_t port = 0;
  std::string shown_host;  // with brackets, as it was given
};

StatusOr<HostPort> ParseHostPort(std::string_view text) {
  const auto wrong = [&] { return InvalidArgument(fmt::format("'{}' is not HOST:PORT", text)); };
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return wrong();
  const std::string_view shown = text.substr(0, colon);
  std::string_view host = shown;
  if (host.front() == '[') {
    if (host.back() != ']') return wrong();
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return wrong();
  }
  uint16_t port = 0;
  const std::string_view digits = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size() || host.empty()) return wrong();
  return HostPort{std::string(host), port, std::string(shown)};
}

struct AddressList {
  addrinfo* first = nullptr;
  ~AddressList() {
    if (first != nullptr) freeaddrinfo(first);
  }
};

void SetPort(uint16_t port, sockaddr_storage* address) {
  if (address->ss_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6*>(address)->sin6_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in*>(address)->sin_port = htons(port);
  }
}

uint16_t PortOf(const sockaddr_storage& address) {
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                   : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

// A listening socket, or none and errno in `error`. `port`: 0 becomes the one taken.
OwnedFd ListenOn(const addrinfo& info, uint16_t* port, int* error) {
  sockaddr_storage address{};
  std::memcpy(&address, info.ai_addr, info.ai_addrlen);
  SetPort(*port, &address);
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  OwnedFd fd(socket(info.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  constexpr int kOn = 1;
  constexpr int kOff = 0;
  bool ok = fd && setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &kOn, sizeof(kOn)) == 0;
  // [::] stands for all addresses, of both kinds.
  if (ok && info.ai_family == AF_INET6) {
    ok = setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &kOff, sizeof(kOff)) == 0;
  }
  ok = ok && bind(fd.get(), raw, info.ai_addrlen) == 0 && listen(fd.get(), SOMAXCONN) == 0;
  socklen_t length = sizeof(address);
  ok = ok && getsockname(fd.get(), raw, &length) == 0;
  if (!ok) {
    *error = errno;
    return {};
  }
  *port = PortOf(address);
  return fd;
}

// On every address of the list, with one port. Addresses of a kind that this machine
// does not have are left out.
std::vector<OwnedFd> ListenOnAll(const addrinfo* first, uint16_t* port, int* error) {
  std::vector<OwnedFd> listeners;
  for (const addrinfo* info = first; info != nullptr; info = info->ai_next) {
    int why = 0;
    OwnedFd fd = ListenOn(*info, port, &why);
    if (fd) {
      listeners.push_back(std::move(fd));
      continue;
    }
    *error = why;
    if (why != EADDRNOTAVAIL && why != EAFNOSUPPORT) return {};
  }
  return listeners;
}

// A new connection's buffer has room for all that is said to one that is refused.
bool SendAll(int fd, std::string_view bytes) {
  return send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
}

bool IsOutOfResources(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace

StatusOr<std::unique_ptr<ConnectionAcceptor>> ConnectionAcceptor::Listen(
    ConnectionAcceptorOptions options) {
  VECTRON_ASSIGN_OR_RETURN(const HostPort where, ParseHostPort(options.listen));
  const auto cannot = [&](std::string_view why) {
    return MakeError(Reason::kUnavailable,
                     fmt::format("cannot listen on {}: {}", options.listen, why));
  };
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  AddressList list;
  const int failed = getaddrinfo(where.host.c_str(), nullptr, &hints, &list.first);
  if (failed != 0) return cannot(gai_strerror(failed));

  uint16_t port = 0;
  int error = 0;
  std::vector<OwnedFd> listeners;
  for (int attempt = 0; attempt < kPortAttempts && listeners.empty(); ++attempt) {
    port = where.port;
    listeners = ListenOnAll(list.first, &port, &error);
    if (where.port != 0 || error != EADDRINUSE) break;
  }
  if (listeners.empty()) return cannot(ErrorText(error));
  OwnedFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return cannot(ErrorText(errno));
  return std::unique_ptr<ConnectionAcceptor>(
      new ConnectionAcceptor(std::move(options), std::move(listeners), std::move(wake),
                             fmt::format("{}:{}", where.shown_host, port)));
}

ConnectionAcceptor::ConnectionAcceptor(ConnectionAcceptorOptions options,
                                       std::vector<OwnedFd> listeners, OwnedFd wake,
                                       std::string address)
    : options_(std::move(options)),
      address_(std::move(address)),
      refusal_(MakeError(
          Reason::kTooManyConnections,
          fmt::format("too many connections, the limit is {}", options_.connections_max))),
      listeners_(std::move(listeners)),
      wake_(std::move(wake)) {}

ConnectionAcceptor::~ConnectionAcceptor() { Stop(); }

void ConnectionAcceptor::Start(TakeSocket take) {
  VECTRON_CHECK(thread_ == nullptr && !listeners_.empty());
  take_ = std::move(take);
  thread_ = std::make_unique<Thread>("grpc-accept", ThreadPriority::kNormal, [this] { Run(); });
}

void ConnectionAcceptor::Stop() {
  if (thread_ != nullptr) {
    VECTRON_CHECK(eventfd_write(wake_.get(), 1) == 0);
    thread_->Join();
    thread_.reset();
  }
  listeners_.clear();
  refused_.clear();
}

void ConnectionAcceptor::Run() {
  while (Await()) {
    for (int listener : ready_) AcceptFrom(listener);
    ServeRefused();
  }
}

bool ConnectionAcceptor::Await() {
  const TimePoint now = options_.clock->Now();
  TimePoint until = TimePoint::max();
  std::vector<pollfd> polled = {{.fd = wake_.get(), .events = POLLIN, .revents = 0}};
  for (const Refused& refused : refused_) {
    polled.push_back({.fd = refused.socket.get(), .events = POLLIN, .revents = 0});
    until = std::min(until, refused.close_at);
  }
  const size_t first_listener = polled.size();
  if (now < accept_again_at_) {
    until = std::min(until, accept_again_at_);
  } else {
    for (const OwnedFd& listener : listeners_) {
      polled.push_back({.fd = listener.get(), .events = POLLIN, .revents = 0});
    }
  }
  int timeout_ms = -1;
  if (until != TimePoint::max()) {
    // Rounded up: waking before the moment would find nothing to do.
    timeout_ms = static_cast<int>(std::chrono::ceil<milliseconds>(until - now).count());
    timeout_ms = std::max(timeout_ms, 0);
  }
  poll(polled.data(), polled.size(), timeout_ms);
  ready_.clear();
  for (size_t i = first_listener; i < polled.size(); ++i) {
    if (polled[i].revents != 0) ready_.push_back(polled[i].fd);
  }
  return polled[0].revents == 0;
}

void ConnectionAcceptor::AcceptFrom(int listener) {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    OwnedFd socket(accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket) {
      Admit(std::move(socket));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return;
    } else if (IsOutOfResources(errno)) {
      return OnAcceptError(errno);
    }
    // The rest are errors of that connection (accept(2)): on to the next one.
  }
}

void ConnectionAcceptor::OnAcceptError(int error) {
  const TimePoint now = options_.clock->Now();
  accept_again_at_ = now + kAcceptRetryDelay;
  if (now < warn_again_at_) return;
  warn_again_at_ = now + kWarnPeriod;
  VECTRON_LOG_WARN("cannot accept a gRPC connection: {}", ErrorText(error));
}

void ConnectionAcceptor::Admit(OwnedFd socket) {
  if (open_count_->load(std::memory_order_relaxed) >= options_.connections_max) {
    options_.on_refused();
    return Refuse(std::move(socket));
  }
  constexpr int kOn = 1;
  setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &kOn, sizeof(kOn));
  const auto timeout_ms = static_cast<unsigned>(options_.unacknowledged_max.count());
  setsockopt(socket.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
  open_count_->fetch_add(1, std::memory_order_relaxed);
  const auto give_back = [count = open_count_](void*) {
    count->fetch_sub(1, std::memory_order_relaxed);
  };
  take_({.place = std::shared_ptr<void>(nullptr, give_back), .fd = std::move(socket)});
}

void ConnectionAcceptor::Refuse(OwnedFd socket) {
  if (refused_.size() >= kRefusedMax || !SendAll(socket.get(), refusal_.greeting())) return;
  refused_.push_back({std::move(socket), options_.clock->Now() + kRefusedTimeMax});
}

void ConnectionAcceptor::ServeRefused() {
  const TimePoint now = options_.clock->Now();
  const auto ended = std::remove_if(refused_.begin(), refused_.end(), [&](Refused& refused) {
    if (!Read(&refused)) return true;
    if (now < refused.close_at) return false;
    if (!refused.answered) SendAll(refused.socket.get(), refusal_.Answer({}));
    return true;
  });
  refused_.erase(ended, refused_.end());
}

// Goes on after the answer until the client ends it: closing a socket with unread bytes
// resets it, and the client then may not get to read what was sent.
bool ConnectionAcceptor::Read(Refused* refused) {
  std::array<char, 4096> bytes;
  const int fd = refused->socket.get();
  const ssize_t got = recv(fd, bytes.data(), bytes.size(), 0);
  if (got == 0) return false;
  if (got < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
  std::vector<uint32_t> streams;
  refused->finder.Read({bytes.data(), static_cast<size_t>(got)}, &streams);
  if (streams.empty() || refused->answered) return true;
  refused->answered = true;
  return SendAll(fd, refusal_.Answer(streams)) && shutdown(fd, SHUT_WR) == 0;
}

}  // namespace vectron::rpc
