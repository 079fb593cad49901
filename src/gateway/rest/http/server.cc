#include "gateway/rest/http/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <charconv>
#include <utility>

#include "common/check.h"
#include "common/logging.h"
#include "common/mutex.h"
#include "gateway/rest/http/connection.h"
#include "gateway/rest/http/loop.h"

namespace vectron::gateway::rest {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCode = boost::system::error_code;

constexpr std::chrono::milliseconds kAcceptRetryDelay{100};
// Connections beyond the limit that are being told so; more are closed without a word.
constexpr size_t kRefusalsMax = 64;

int ThreadCount(int asked) {
  if (asked > 0) return asked;
  // Two at least: while one parses a large request, the other answers small ones.
  return std::clamp(UsableCores(), 2, 8);
}

struct ListenAddress {
  std::string host;
  std::string port;
};

StatusOr<ListenAddress> ParseListenAddress(std::string_view text) {
  const size_t colon = text.rfind(':');
  const auto wrong = [&] {
    return InvalidArgument(fmt::format("'{}' is not an address of the form HOST:PORT", text));
  };
  if (colon == std::string_view::npos || colon == 0) return wrong();
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  if (host.front() == '[') {
    if (host.back() != ']') return wrong();
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return wrong();
  }
  uint16_t number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size()) return wrong();
  return ListenAddress{std::string(host), std::string(port)};
}

}  // namespace

// Accepts connections on the first loop's thread and deals them out in turn.
class HttpAcceptor : public std::enable_shared_from_this<HttpAcceptor> {
 public:
  HttpAcceptor(std::shared_ptr<HttpConnectionContext> context,
               std::vector<std::shared_ptr<HttpLoop>> loops)
      : context_(std::move(context)),
        loops_(std::move(loops)),
        acceptor_(loops_[0]->io()),
        retry_(loops_[0]->io()) {}

  StatusOr<uint16_t> Listen(const std::string& listen) {
    VECTRON_ASSIGN_OR_RETURN(const ListenAddress address, ParseListenAddress(listen));
    ErrorCode error;
    tcp::resolver resolver(loops_[0]->io());
    const auto found = resolver.resolve(address.host, address.port, tcp::resolver::passive, error);
    if (!error && found.empty()) error = asio::error::host_not_found;
    if (!error) {
      const tcp::endpoint endpoint = found.begin()->endpoint();
      acceptor_.open(endpoint.protocol(), error);
      if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
      if (!error) acceptor_.bind(endpoint, error);
    }
    if (!error) acceptor_.listen(tcp::acceptor::max_listen_connections, error);
    if (error) {
      return MakeError(Reason::kUnavailable,
                       fmt::format("cannot listen on {}: {}", listen, error.message()));
    }
    return acceptor_.local_endpoint().port();
  }

  void Accept() {
    const std::shared_ptr<HttpLoop> loop = loops_[next_loop_++ % loops_.size()];
    acceptor_.async_accept(loop->io(),
                           [self = shared_from_this(), loop](ErrorCode error, tcp::socket socket) {
                             self->OnAccept(loop, error, std::move(socket));
                           });
  }

  // On the first loop's thread.
  void Close() {
    ErrorCode ignored;
    acceptor_.close(ignored);
    retry_.cancel();
  }

 private:
  void OnAccept(const std::shared_ptr<HttpLoop>& loop, ErrorCode error, tcp::socket socket) {
    if (!acceptor_.is_open()) return;
    if (error == asio::error::connection_aborted) return Accept();
    if (error) {
      // Out of file descriptors, most likely: trying again at once would spin.
      VECTRON_LOG_WARN("cannot accept an HTTP connection: {}", error.message());
      retry_.expires_after(kAcceptRetryDelay);
      retry_.async_wait([self = shared_from_this()](ErrorCode cancelled) {
        if (!cancelled && self->acceptor_.is_open()) self->Accept();
      });
      return;
    }
    const size_t others = context_->connection_count.fetch_add(1);
    if (others >= context_->options.connections_max + kRefusalsMax) {
      context_->connection_count.fetch_sub(1);
    } else {
      auto connection = std::make_shared<HttpConnection>(context_, loop.get(), std::move(socket));
      const bool too_many = others >= context_->options.connections_max;
      loop->Post([loop, connection, too_many] {
        too_many ? connection->Refuse(loop) : connection->Start(loop);
      });
    }
    Accept();
  }

  const std::shared_ptr<HttpConnectionContext> context_;
  const std::vector<std::shared_ptr<HttpLoop>> loops_;
  tcp::acceptor acceptor_;
  asio::steady_timer retry_;
  size_t next_loop_ = 0;
};

HttpServer::HttpServer(HttpServerOptions options, HttpHandler handler, const Clock* clock)
    : context_(
          std::make_shared<HttpConnectionContext>(std::move(options), std::move(handler), clock)) {}

HttpServer::~HttpServer() { Stop(); }

size_t HttpServer::connection_count() const { return context_->connection_count.load(); }

Status HttpServer::Start() {
  VECTRON_CHECK(loops_.empty());
  const int count = ThreadCount(context_->options.thread_count);
  for (int i = 0; i < count; ++i) {
    loops_.push_back(std::make_shared<HttpLoop>(fmt::format("http-{}", i)));
  }
  acceptor_ = std::make_shared<HttpAcceptor>(context_, loops_);
  VECTRON_ASSIGN_OR_RETURN(port_, acceptor_->Listen(context_->options.listen));
  loops_[0]->Post([acceptor = acceptor_] { acceptor->Accept(); });
  return OkStatus();
}

void HttpServer::Stop() {
  if (loops_.empty()) return;
  context_->draining.store(true);
  loops_[0]->Post([acceptor = std::move(acceptor_)] { acceptor->Close(); });
  for (const auto& loop : loops_) {
    loop->Post([raw = loop.get()] { raw->DrainConnections(); });
  }
  context_->WaitForConnections(context_->options.drain_timeout);
  for (const auto& loop : loops_) {
    loop->Post([raw = loop.get()] { raw->CloseConnections(); });
  }
  context_->WaitForConnections(std::chrono::seconds(1));
  for (const auto& loop : loops_) loop->Stop();
  loops_.clear();
}

}  // namespace vectron::gateway::rest
