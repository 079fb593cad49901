#include "worker/search_executor.h"

#include <utility>

namespace vectron::worker {

SearchExecutor::SearchExecutor(const Options& options) : options_(options) {
  for (int i = 0; i < options_.concurrency; ++i) {
    threads_.push_back(std::make_unique<Thread>("search-" + std::to_string(i),
                                                ThreadPriority::kNormal, [this] { Run(); }));
  }
}

SearchExecutor::~SearchExecutor() { Stop(); }

SearchExecutor::Slot SearchExecutor::TryEnter() {
  MutexLock lock(mutex_);
  // Those who queue came first.
  if (running_ >= options_.concurrency || !queue_.empty()) return Slot();
  ++running_;
  return Slot(this);
}

void SearchExecutor::Leave() {
  bool has_work = false;
  {
    MutexLock lock(mutex_);
    --running_;
    has_work = !queue_.empty();
  }
  if (has_work) wake_.NotifyOne();
}

bool SearchExecutor::TryEnqueue(std::function<void()> task) {
  bool may_run = false;
  {
    MutexLock lock(mutex_);
    if (stopping_ || queue_.size() >= options_.queue_count_max) return false;
    queue_.push_back(std::move(task));
    may_run = running_ < options_.concurrency;
  }
  if (may_run) wake_.NotifyOne();
  return true;
}

void SearchExecutor::Run() {
  std::function<void()> task;
  for (;;) {
    {
      MutexLock lock(mutex_);
      while ((queue_.empty() || running_ >= options_.concurrency) &&
             !(stopping_ && queue_.empty())) {
        wake_.Wait(mutex_);
      }
      if (queue_.empty()) return;
      task = std::move(queue_.front());
      queue_.pop_front();
      ++running_;
    }
    task();
    task = nullptr;
    Leave();
  }
}

void SearchExecutor::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.NotifyAll();
  for (auto& thread : threads_) thread->Join();
}

size_t SearchExecutor::running_count() const {
  MutexLock lock(mutex_);
  return static_cast<size_t>(running_);
}

size_t SearchExecutor::queue_length() const {
  MutexLock lock(mutex_);
  return queue_.size();
}

}  // namespace vectron::worker
