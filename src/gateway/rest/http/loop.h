#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/functional/any_invocable.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "common/mutex.h"
#include "common/thread.h"

namespace vectron::gateway::rest {

class HttpConnection;

// An event loop and its thread. It owns the connections that were given to it; they
// are touched and destroyed on its thread only. Others reach one by its number through
// Post, which is safe at any time, also after Stop: exchanges keep the loop alive.
class HttpLoop {
 public:
  explicit HttpLoop(const std::string& name);
  ~HttpLoop();

  boost::asio::io_context& io() { return *io_; }

  // Runs `task` on the thread, later. Dropped if the loop has stopped.
  void Post(absl::AnyInvocable<void()> task);
  // The same, but now if this is the thread.
  void Run(absl::AnyInvocable<void()> task);

  // On the thread only.
  uint64_t Add(std::shared_ptr<HttpConnection> connection);
  void Remove(uint64_t connection);
  HttpConnection* Find(uint64_t connection);
  // Tells all connections to finish what they have and close; to close at once.
  void DrainConnections();
  void CloseConnections();

  // Ends and joins the thread, then drops what is queued. Not from the thread.
  void Stop();

 private:
  void ThreadBody() noexcept;

  Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  // Destroyed by Stop with whatever is queued in it.
  std::unique_ptr<boost::asio::io_context> io_;
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> work_;
  absl::flat_hash_map<uint64_t, std::shared_ptr<HttpConnection>> connections_;
  uint64_t next_connection_ = 1;
  std::unique_ptr<Thread> thread_;
};

}  // namespace vectron::gateway::rest
