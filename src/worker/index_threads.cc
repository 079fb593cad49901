#include "worker/index_threads.h"

#include <algorithm>

namespace vectron::worker {
namespace {

// A piece of work: some tens of milliseconds, after which another shard has its turn.
constexpr size_t kPieceCount = 64;
// A sleeper looks by itself after this long: followers apply without anybody's notice.
constexpr std::chrono::milliseconds kSleepMin{5};
constexpr std::chrono::milliseconds kSleepMax{500};

}  // namespace

IndexThreads::IndexThreads(const ShardTable* table, int thread_count) : table_(table) {
  for (int i = 0; i < thread_count; ++i) {
    threads_.push_back(std::make_unique<Thread>("index-" + std::to_string(i),
                                                ThreadPriority::kBackground,
                                                [this, i] { Run(static_cast<size_t>(i)); }));
  }
}

IndexThreads::~IndexThreads() { Stop(); }

void IndexThreads::Notify() {
  if (sleeping_.load(std::memory_order_relaxed) == 0) return;
  {
    MutexLock lock(mutex_);
    ++notified_;
  }
  wake_.NotifyAll();
}

void IndexThreads::Stop() {
  stop_ = true;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.NotifyAll();
  for (auto& thread : threads_) thread->Join();
}

void IndexThreads::Run(size_t first) {
  std::chrono::milliseconds sleep = kSleepMin;
  while (!stop_) {
    bool worked = false;
    {
      const std::vector<HostedShardPtr> shards = table_->All();
      for (size_t i = 0; i < shards.size() && !stop_; ++i) {
        const HostedShardPtr& hosted = shards[(first + i) % shards.size()];
        worked |= hosted->shard->DoIndexWork(kPieceCount);
      }
    }
    if (worked) {
      sleep = kSleepMin;
      continue;
    }
    MutexLock lock(mutex_);
    const uint64_t before = notified_;
    ++sleeping_;
    if (!stopping_) wake_.WaitFor(mutex_, sleep);
    --sleeping_;
    sleep = notified_ != before ? kSleepMin : std::min(2 * sleep, kSleepMax);
  }
}

}  // namespace vectron::worker
