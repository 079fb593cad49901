#include "common/thread.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "common/check.h"

namespace vectron {
namespace {

// Failure is fine: an unprivileged process runs at normal priority.
void ApplyPriority(ThreadPriority priority) {
  if (priority == ThreadPriority::kRealtime) {
    sched_param param{};
    param.sched_priority = 1;
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &param);
  } else if (priority == ThreadPriority::kBackground) {
    setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), 19);
  }
}

}  // namespace

Thread::Thread(const std::string& name, ThreadPriority priority, std::function<void()> body)
    : thread_([name = name.substr(0, 15), priority, body = std::move(body)]() noexcept {
        pthread_setname_np(pthread_self(), name.c_str());
        ApplyPriority(priority);
        body();
      }) {}

Thread::~Thread() { VECTRON_CHECK(!thread_.joinable()); }

void Thread::Join() {
  if (thread_.joinable()) thread_.join();
}

void RunInParallel(const std::string& name, int count, const std::function<void(int)>& body) {
  std::vector<std::unique_ptr<Thread>> threads;
  for (int i = 1; i < count; ++i) {
    threads.push_back(std::make_unique<Thread>(name + "-" + std::to_string(i),
                                               ThreadPriority::kNormal, [&body, i] { body(i); }));
  }
  if (count > 0) body(0);
  for (const auto& thread : threads) thread->Join();
}

int UsableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace vectron
