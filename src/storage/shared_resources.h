#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace rocksdb {
class Cache;
class Env;
class RateLimiter;
class Statistics;
class WriteBufferManager;
}  // namespace rocksdb

namespace vectron::storage {

// What all databases of a process share, so that their memory, their threads
// and their disk traffic are bounded together. Thread-safe, immutable.
class SharedResources {
 public:
  struct Options {
    size_t block_cache_bytes = 32 << 20;
    // All memtables of all databases: the largest is flushed when they exceed it.
    size_t write_buffer_bytes = 64 << 20;
    int background_thread_count = 2;  // compactions; flushes have one of their own
    // Of each database, less where its own options say less.
    int open_files_max = 512;
    // Of compactions and flushes together; 0: no limit.
    uint64_t background_bytes_per_second_max = 0;
    // The disk and the threads; not owned, must outlive all databases. Null: the
    // machine's.
    rocksdb::Env* env = nullptr;
  };

  explicit SharedResources(const Options& options);
  ~SharedResources();
  SharedResources(const SharedResources&) = delete;
  SharedResources& operator=(const SharedResources&) = delete;

  // Since the process began, over all databases.
  struct Stats {
    uint64_t wal_written_bytes = 0;
    uint64_t flush_written_bytes = 0;
    uint64_t compaction_written_bytes = 0;
    uint64_t blob_written_bytes = 0;  // part of the two above
    uint64_t wal_sync_count = 0;
    uint64_t stall_us = 0;  // that writes waited for flushes and compactions
    uint64_t block_cache_bytes = 0;
    uint64_t write_buffer_bytes = 0;
  };
  Stats GetStats() const;

 private:
  friend class Database;
  friend class FileScrub;

  rocksdb::Env* const env_;
  const int open_files_max_;
  std::shared_ptr<rocksdb::Cache> block_cache_;
  std::shared_ptr<rocksdb::WriteBufferManager> write_buffers_;
  std::shared_ptr<rocksdb::RateLimiter> rate_limiter_;
  std::shared_ptr<rocksdb::Statistics> statistics_;
};

}  // namespace vectron::storage
