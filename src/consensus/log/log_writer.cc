#include "consensus/log/log_writer.h"

#include <chrono>
#include <utility>

#include "common/logging.h"

namespace vectron::consensus {
namespace {

// A record holds at least one round's changes, and no further ones past this.
constexpr size_t kRecordBytes = 32 << 20;
constexpr std::chrono::milliseconds kDiskFullRetry{100};

}  // namespace

LogWriter::LogWriter(LogStore* store, const Clock* clock, MetricsRegistry* metrics, bool has_thread)
    : store_(store), clock_(clock) {
  if (metrics != nullptr) {
    fsync_seconds_ = &prometheus::BuildHistogram()
                          .Name("vectron_log_fsync_seconds")
                          .Help("Time to write one record of the raft log and sync it")
                          .Register(*metrics)
                          .Add({}, LatencyBuckets());
    records_ = &prometheus::BuildCounter()
                    .Name("vectron_log_records_total")
                    .Help("Records written to the raft log")
                    .Register(*metrics)
                    .Add({});
    bytes_ = &prometheus::BuildCounter()
                  .Name("vectron_log_written_bytes_total")
                  .Help("Bytes written to the raft log")
                  .Register(*metrics)
                  .Add({});
  }
  if (has_thread) {
    thread_ = std::make_unique<Thread>("raft-log", ThreadPriority::kRealtime, [this] { Run(); });
  }
}

LogWriter::~LogWriter() { Stop(); }

void LogWriter::Submit(LogBatch batch, Done done) {
  MutexLock lock(mutex_);
  queue_.push_back({std::move(batch), std::move(done)});
  wake_.NotifyOne();
}

std::deque<LogWriter::Write> LogWriter::TakeSome() {
  std::deque<Write> taken;
  size_t bytes = 0;
  while (!queue_.empty() &&
         (taken.empty() || bytes + queue_.front().batch.bytes() <= kRecordBytes)) {
    bytes += queue_.front().batch.bytes();
    taken.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return taken;
}

// `writes` becomes one batch, kept in the first of them, so that it can be tried
// again.
Status LogWriter::WriteAll(std::deque<Write>* writes) {
  LogBatch& batch = writes->front().batch;
  for (size_t i = 1; i < writes->size(); ++i) batch.Add(std::exchange((*writes)[i].batch, {}));
  const TimePoint start = clock_->Now();
  const uint64_t before = store_->bytes_written();
  const Status status = store_->Write(batch);
  if (records_ != nullptr && status.ok()) {
    records_->Increment();
    bytes_->Increment(static_cast<double>(store_->bytes_written() - before));
    if (batch.must_sync()) {
      fsync_seconds_->Observe(std::chrono::duration<double>(clock_->Now() - start).count());
    }
  }
  const bool full = ReasonOf(status) == Reason::kDiskFull;
  if (full != disk_full_.exchange(full)) {
    if (full) {
      VECTRON_LOG_ERROR("{}; writes wait until there is room", std::string(status.message()));
    } else {
      VECTRON_LOG_INFO("raft log: there is room again");
    }
  }
  return status;
}

bool LogWriter::Poll() {
  std::deque<Write> writes;
  {
    MutexLock lock(mutex_);
    writes = TakeSome();
  }
  if (writes.empty()) return false;
  const Status status = WriteAll(&writes);
  if (ReasonOf(status) == Reason::kDiskFull) {
    MutexLock lock(mutex_);
    while (!writes.empty()) {
      queue_.push_front(std::move(writes.back()));
      writes.pop_back();
    }
    return false;
  }
  for (const Write& write : writes) write.done(status);
  return true;
}

void LogWriter::Run() {
  while (true) {
    std::deque<Write> writes;
    {
      MutexLock lock(mutex_);
      while (queue_.empty() && !stopping_) wake_.Wait(mutex_);
      if (queue_.empty()) return;
      writes = TakeSome();
    }
    Status status = WriteAll(&writes);
    while (ReasonOf(status) == Reason::kDiskFull) {
      {
        MutexLock lock(mutex_);
        if (stopping_) break;
        wake_.WaitFor(mutex_, kDiskFullRetry);
      }
      status = WriteAll(&writes);
    }
    for (const Write& write : writes) write.done(status);
  }
}

void LogWriter::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  if (thread_ != nullptr) thread_->Join();
}

}  // namespace vectron::consensus
