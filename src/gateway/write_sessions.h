#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "common/data_ops.h"
#include "common/mutex.h"
#include "common/random.h"

namespace vectron::gateway {

// Gives each write its exactly-once identity (see WriteSession): a session of this
// process and the next sequence, and keeps account of which outcomes are known.
//
// A write that goes to several shards has the same session and sequence on all of
// them. That is unique where it must be: every shard has a session table of its
// own and is sent one part of a write. When a shard is split in the middle, its
// halves both inherit its table, so a half knows whether the part that it now gets
// again was applied before; if it was not, each half gets its own points once. The
// same holds for sessions of clients.
//
// A shard keeps a bounded number of outcomes of a session. One write that is retried
// for long would hold up acked_below while others go on, so a session takes at most
// kWindow sequences past it and then makes way for a new one. Thread-safe.
class WriteSessions {
 public:
  // Below the results a shard keeps of one session (consensus::SessionTable, 1,024).
  static constexpr uint64_t kWindow = 512;

  explicit WriteSessions(uint64_t seed) : random_(seed) {}

 private:
  struct Window {
    uint64_t session = 0;
    uint64_t acked_below = 1;
    // Of the sequences from acked_below on: is the outcome known?
    std::deque<bool> known;
  };

 public:
  // One write. Move-only by use: End it once.
  struct Ticket {
    WriteSession identity;  // session 0: the ticket is empty
    std::shared_ptr<Window> window;
  };

  Ticket Begin();
  // The outcome is known, or the write will not be retried any more.
  void End(const Ticket& ticket);

 private:
  Mutex mutex_;
  Random random_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<Window> current_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace vectron::gateway
