#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/thread.h"

namespace vectron::consensus {

// Runs tasks, in the order of submission. Thread-safe. Tasks must not throw.
class Executor {
 public:
  virtual ~Executor() = default;

  virtual void Submit(std::function<void()> task) = 0;
  // Runs what is queued, then joins. Later tasks are dropped. Idempotent.
  virtual void Stop() = 0;
  // Without threads of its own: runs one task; false if there is none. Executors
  // with threads return false.
  virtual bool RunOne() = 0;
  virtual size_t QueueLength() const = 0;
};

// With `thread_count` threads; with none, tasks run where RunOne is called. The
// queue is bounded by what its users submit: at most one task a group or round.
std::unique_ptr<Executor> MakeExecutor(const std::string& name, int thread_count,
                                       ThreadPriority priority);

}  // namespace vectron::consensus
