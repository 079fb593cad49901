#include "gateway/write_sessions.h"

#include "common/check.h"

namespace vectron::gateway {

WriteSessions::Ticket WriteSessions::Begin() {
  MutexLock lock(mutex_);
  if (current_ == nullptr || current_->known.size() >= kWindow) {
    current_ = std::make_shared<Window>();
    while (current_->session == 0) current_->session = random_.Next();
  }
  Window& window = *current_;
  const uint64_t sequence = window.acked_below + window.known.size();
  window.known.push_back(false);
  return {{.session = window.session, .sequence = sequence, .acked_below = window.acked_below},
          current_};
}

void WriteSessions::End(const Ticket& ticket) {
  MutexLock lock(mutex_);
  Window& window = *ticket.window;
  VECTRON_CHECK(ticket.identity.sequence >= window.acked_below);
  window.known[ticket.identity.sequence - window.acked_below] = true;
  while (!window.known.empty() && window.known.front()) {
    window.known.pop_front();
    ++window.acked_below;
  }
}

}  // namespace vectron::gateway
