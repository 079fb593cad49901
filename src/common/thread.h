#pragma once

#include <functional>
#include <string>
#include <thread>

namespace vectron {

enum class ThreadPriority {
  kRealtime,  // SCHED_FIFO where permitted, else kNormal: log and heartbeat threads
  kNormal,
  kBackground,  // lowest nice value: linking, compaction, checkpoints
};

// A named thread that must be joined before it is destroyed. `body` must not
// throw: an exception that leaves it ends the process.
class Thread {
 public:
  // `name`: at most 15 characters are visible to the system.
  Thread(const std::string& name, ThreadPriority priority, std::function<void()> body);
  ~Thread();
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  void Join();

 private:
  std::thread thread_;
};

// Calls body(0) to body(count - 1), the first on this thread, each other on a thread of its
// own, and returns when all have returned. For work that is worth starting threads for.
void RunInParallel(const std::string& name, int count, const std::function<void(int)>& body);

// Processors this process may run on; at least 1.
int UsableCores();

}  // namespace vectron
