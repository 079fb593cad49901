#include "gateway/rest/http/loop.h"

#include <boost/asio/post.hpp>
#include <exception>
#include <utility>
#include <vector>

#include "common/logging.h"
#include "gateway/rest/http/connection.h"

namespace vectron::gateway::rest {

namespace asio = boost::asio;

HttpLoop::HttpLoop(const std::string& name)
    // One thread runs the loop, others only post to it.
    : io_(std::make_unique<asio::io_context>(1)), work_(asio::make_work_guard(*io_)) {
  thread_ = std::make_unique<Thread>(name, ThreadPriority::kNormal, [this] { ThreadBody(); });
}

HttpLoop::~HttpLoop() { Stop(); }

void HttpLoop::ThreadBody() noexcept {
  for (;;) {
    try {
      io_->run();
      return;
    } catch (const std::exception& error) {
      // Handlers catch what is theirs; what is left (no memory, most likely) costs one
      // event, not the process.
      VECTRON_LOG_ERROR("an event of the HTTP server failed: {}", error.what());
    }
  }
}

void HttpLoop::Post(absl::AnyInvocable<void()> task) {
  MutexLock lock(mutex_);
  if (stopped_) return;
  asio::post(*io_, [task = std::move(task)]() mutable { task(); });
}

void HttpLoop::Run(absl::AnyInvocable<void()> task) {
  {
    MutexLock lock(mutex_);
    if (stopped_) return;
    if (!io_->get_executor().running_in_this_thread()) {
      asio::post(*io_, [task = std::move(task)]() mutable { task(); });
      return;
    }
  }
  // On its own thread the loop cannot stop meanwhile: Stop joins the thread first.
  task();
}

uint64_t HttpLoop::Add(std::shared_ptr<HttpConnection> connection) {
  const uint64_t number = next_connection_++;
  connections_.emplace(number, std::move(connection));
  return number;
}

void HttpLoop::Remove(uint64_t connection) { connections_.erase(connection); }

HttpConnection* HttpLoop::Find(uint64_t connection) {
  const auto it = connections_.find(connection);
  return it == connections_.end() ? nullptr : it->second.get();
}

void HttpLoop::DrainConnections() {
  // Closing removes from the map: walk a copy.
  std::vector<std::shared_ptr<HttpConnection>> all;
  for (const auto& [number, connection] : connections_) all.push_back(connection);
  for (const auto& connection : all) connection->Drain();
}

void HttpLoop::CloseConnections() {
  std::vector<std::shared_ptr<HttpConnection>> all;
  for (const auto& [number, connection] : connections_) all.push_back(connection);
  for (const auto& connection : all) connection->Close();
}

void HttpLoop::Stop() {
  if (thread_ == nullptr) return;
  work_.reset();
  io_->stop();
  thread_->Join();
  thread_.reset();
  std::unique_ptr<asio::io_context> io;
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    io = std::move(io_);
  }
  // Connections close their sockets before the context that serves these goes.
  connections_.clear();
  io.reset();
}

}  // namespace vectron::gateway::rest
