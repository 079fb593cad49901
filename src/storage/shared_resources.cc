#include "storage/shared_resources.h"

#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/rate_limiter.h>
#include <rocksdb/statistics.h>
#include <rocksdb/write_buffer_manager.h>

namespace vectron::storage {

SharedResources::SharedResources(const Options& options)
    : env_(options.env != nullptr ? options.env : rocksdb::Env::Default()),
      open_files_max_(options.open_files_max),
      block_cache_(rocksdb::NewLRUCache(options.block_cache_bytes)),
      // Not charged to the block cache, and never stalling: a stall of all
      // databases would let one slow shard stop the log of all.
      write_buffers_(std::make_shared<rocksdb::WriteBufferManager>(options.write_buffer_bytes)),
      statistics_(rocksdb::CreateDBStatistics()) {
  if (options.background_bytes_per_second_max > 0) {
    rate_limiter_.reset(rocksdb::NewGenericRateLimiter(
        static_cast<int64_t>(options.background_bytes_per_second_max)));
  }
  statistics_->set_stats_level(rocksdb::StatsLevel::kExceptHistogramOrTimers);
  env_->SetBackgroundThreads(options.background_thread_count, rocksdb::Env::Priority::LOW);
  env_->SetBackgroundThreads(1, rocksdb::Env::Priority::HIGH);
  // Compactions must not take the processor from queries; flushes free memory
  // that writes wait for, so they keep their priority.
  env_->LowerThreadPoolCPUPriority(rocksdb::Env::Priority::LOW);
}

SharedResources::~SharedResources() = default;

SharedResources::Stats SharedResources::GetStats() const {
  Stats stats;
  stats.wal_written_bytes = statistics_->getTickerCount(rocksdb::WAL_FILE_BYTES);
  stats.flush_written_bytes = statistics_->getTickerCount(rocksdb::FLUSH_WRITE_BYTES);
  stats.compaction_written_bytes = statistics_->getTickerCount(rocksdb::COMPACT_WRITE_BYTES);
  stats.blob_written_bytes = statistics_->getTickerCount(rocksdb::BLOB_DB_BLOB_FILE_BYTES_WRITTEN);
  stats.wal_sync_count = statistics_->getTickerCount(rocksdb::WAL_FILE_SYNCED);
  stats.stall_us = statistics_->getTickerCount(rocksdb::STALL_MICROS);
  stats.block_cache_bytes = block_cache_->GetUsage();
  stats.write_buffer_bytes = write_buffers_->memory_usage();
  return stats;
}

}  // namespace vectron::storage
