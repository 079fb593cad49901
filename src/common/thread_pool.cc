#include "common/thread_pool.h"

#include <utility>

namespace vectron {

ThreadPool::ThreadPool(const Options& options) : queue_count_max_(options.queue_count_max) {
  for (int i = 0; i < options.thread_count; ++i) {
    threads_.push_back(std::make_unique<Thread>(options.name + "-" + std::to_string(i),
                                                options.priority, [this] { Run(); }));
  }
}

ThreadPool::~ThreadPool() { Stop(); }

bool ThreadPool::TrySubmit(std::function<void()> task) {
  {
    MutexLock lock(mutex_);
    if (stopping_ || queue_.size() >= queue_count_max_) return false;
    queue_.push_back(std::move(task));
  }
  wake_.NotifyOne();
  return true;
}

void ThreadPool::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.NotifyAll();
  for (auto& thread : threads_) thread->Join();
}

size_t ThreadPool::QueueLength() const {
  MutexLock lock(mutex_);
  return queue_.size();
}

void ThreadPool::Run() {
  for (;;) {
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

}  // namespace vectron
