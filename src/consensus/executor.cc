#include "consensus/executor.h"

#include <deque>
#include <utility>
#include <vector>

#include "common/mutex.h"

namespace vectron::consensus {
namespace {

class QueueExecutor : public Executor {
 public:
  QueueExecutor(const std::string& name, int thread_count, ThreadPriority priority) {
    for (int i = 0; i < thread_count; ++i) {
      threads_.push_back(std::make_unique<Thread>(name, priority, [this] { Run(); }));
    }
  }
  ~QueueExecutor() override { Stop(); }

  void Submit(std::function<void()> task) override {
    MutexLock lock(mutex_);
    if (stopping_) return;
    queue_.push_back(std::move(task));
    wake_.NotifyOne();
  }

  void Stop() override {
    {
      MutexLock lock(mutex_);
      stopping_ = true;
      wake_.NotifyAll();
    }
    for (const auto& thread : threads_) thread->Join();
  }

  bool RunOne() override {
    if (!threads_.empty()) return false;
    std::function<void()> task;
    {
      MutexLock lock(mutex_);
      if (queue_.empty()) return false;
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    task();
    return true;
  }

  size_t QueueLength() const override {
    MutexLock lock(mutex_);
    return queue_.size();
  }

 private:
  void Run() {
    while (true) {
      std::function<void()> task;
      {
        MutexLock lock(mutex_);
        while (queue_.empty() && !stopping_) wake_.Wait(mutex_);
        if (queue_.empty()) return;
        task = std::move(queue_.front());
        queue_.pop_front();
      }
      task();
    }
  }

  mutable Mutex mutex_;
  CondVar wake_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::unique_ptr<Thread>> threads_;
};

}  // namespace

std::unique_ptr<Executor> MakeExecutor(const std::string& name, int thread_count,
                                       ThreadPriority priority) {
  return std::make_unique<QueueExecutor>(name, thread_count, priority);
}

}  // namespace vectron::consensus
