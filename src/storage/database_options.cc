#include "storage/database_options.h"

#include <rocksdb/file_checksum.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>

#include "storage/rocks_logger.h"

namespace vectron::storage {
namespace {

rocksdb::WALRecoveryMode ToRocks(WalRecovery recovery) {
  switch (recovery) {
    case WalRecovery::kPointInTime:
      return rocksdb::WALRecoveryMode::kPointInTimeRecovery;
    case WalRecovery::kAbsolute:
      return rocksdb::WALRecoveryMode::kAbsoluteConsistency;
    case WalRecovery::kTornTail:
      return rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  }
  return rocksdb::WALRecoveryMode::kAbsoluteConsistency;
}

}  // namespace

rocksdb::DBOptions ToRocksOptions(const DatabaseOptions& options) {
  rocksdb::DBOptions rocks;
  rocks.create_if_missing = options.create_if_missing;
  rocks.create_missing_column_families = true;
  rocks.wal_recovery_mode = ToRocks(options.wal_recovery);
  rocks.max_total_wal_size = options.wal_bytes_max;
  rocks.max_open_files = options.open_files_max;
  // By default 4 MiB on disk for each database, of which a shard needs some kilobytes.
  rocks.manifest_preallocation_size = 64 << 10;
  rocks.atomic_flush = options.durability == Durability::kFlush;
  // The owner decides what survives it: see ~Database.
  rocks.avoid_flush_during_shutdown = options.durability == Durability::kFlush;
  // Large sequential writes reach the disk little by little, not in one burst
  // that a log's fsync would wait behind.
  rocks.bytes_per_sync = 1 << 20;
  // The system tells by itself who reads from end to end and who here and there. Told that all
  // is random, it would bring each value that an iterator meets, in files that are not in
  // memory, from the disk by a read of its own.
  rocks.advise_random_on_open = false;
  rocks.max_background_jobs = 4;  // the pools of SharedResources are the real bound
  rocks.enable_pipelined_write = false;
  rocks.file_checksum_gen_factory = rocksdb::GetFileChecksumGenCrc32cFactory();
  rocks.info_log = MakeRocksLogger(options.dir);
  rocks.stats_dump_period_sec = 0;
  rocks.stats_persist_period_sec = 0;
  return rocks;
}

rocksdb::ColumnFamilyOptions ToRocksOptions(const FamilyOptions& family,
                                            const std::shared_ptr<rocksdb::Cache>& block_cache) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = block_cache;
  table.format_version = 5;
  table.checksum = rocksdb::kXXH3;
  // Index and filter blocks count against the cache, so that memory is bounded.
  table.cache_index_and_filter_blocks = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  table.block_size = 8 << 10;

  rocksdb::ColumnFamilyOptions rocks;
  rocks.write_buffer_size = family.write_buffer_bytes;
  rocks.max_write_buffer_number = family.write_buffer_count_max;
  rocks.level_compaction_dynamic_level_bytes = true;
  rocks.target_file_size_base = 32 << 20;
  rocks.max_bytes_for_level_base = 128 << 20;
  rocks.compression = rocksdb::kNoCompression;
  if (family.blob_bytes_min > 0) {
    rocks.enable_blob_files = true;
    rocks.min_blob_size = family.blob_bytes_min;
    rocks.blob_file_size = family.blob_file_bytes;
    rocks.enable_blob_garbage_collection = false;  // see Database::CollectGarbage
  }
  switch (family.profile) {
    case FamilyProfile::kMeta:
      break;
    case FamilyProfile::kRecords:
      table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
      rocks.compression = rocksdb::kLZ4Compression;
      rocks.blob_compression_type = rocksdb::kLZ4Compression;
      break;
    case FamilyProfile::kVectors:
      // Values beside blob files are keys with references: small.
      table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
      break;
  }
  rocks.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return rocks;
}

}  // namespace vectron::storage
