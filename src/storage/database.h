#pragma once

#include <rocksdb/slice.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "storage/shared_resources.h"

namespace rocksdb {
class ColumnFamilyHandle;
class DB;
class Iterator;
class Snapshot;
class Status;
class WriteBatch;
}  // namespace rocksdb

// RocksDB behind the few calls that the log and the shards need: key families
// tuned by what they hold, atomic batches, ordered reads, hard-linked copies.

namespace vectron::storage {

// A family's position in DatabaseOptions::families.
using Family = size_t;

// A value read without copying it out of the cache that holds it.
using PinnedValue = rocksdb::PinnableSlice;

enum class FamilyProfile {
  kMeta,     // few small values, rewritten often
  kRecords,  // read by key and in key order, replaced; compressed
  kVectors,  // large incompressible values, read by key
};

struct FamilyOptions {
  std::string name;
  FamilyProfile profile = FamilyProfile::kRecords;
  // A memtable of this size is flushed; there may be `write_buffer_count_max` of
  // them, all but one being written, before writes wait.
  size_t write_buffer_bytes = 8 << 20;
  int write_buffer_count_max = 3;
  // Values from this size on go to blob files, which compaction does not rewrite;
  // 0: none do. See Database::CollectGarbage.
  size_t blob_bytes_min = 0;
  size_t blob_file_bytes = 64 << 20;
};

enum class Durability {
  // A write survives once it was synced (Sync::kYes).
  kWriteAheadLog,
  // No write-ahead log: a write survives once it was flushed. All families are
  // flushed atomically, so that a crash leaves the state after some earlier write.
  kFlush,
};

enum class WalRecovery {
  kPointInTime,  // the longest prefix that is intact
  kAbsolute,     // refuses a log with any damage, a torn end included
  kTornTail,     // tolerates an incomplete last record, refuses other damage
};

struct DatabaseOptions {
  std::string dir;
  std::vector<FamilyOptions> families;  // the first one is stored as "default"
  Durability durability = Durability::kWriteAheadLog;
  WalRecovery wal_recovery = WalRecovery::kPointInTime;
  // kWriteAheadLog: log files past this make the oldest families be flushed.
  size_t wal_bytes_max = 256 << 20;
  int open_files_max = 512;
  // False: NOT_FOUND when there is no database in `dir`.
  bool create_if_missing = true;
};

enum class Sync { kNo, kYes };

// A consistent view of all families. Must not outlive its Database.
class Snapshot {
 public:
  ~Snapshot();
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

 private:
  friend class Database;
  Snapshot(rocksdb::DB* db, const rocksdb::Snapshot* snapshot) : db_(db), snapshot_(snapshot) {}

  rocksdb::DB* const db_;
  const rocksdb::Snapshot* const snapshot_;
};

struct ReadOptions {
  const Snapshot* snapshot = nullptr;  // null: what is there now
  // Only what would survive a crash now (kFlush: without what is not flushed).
  // Not with a snapshot, not for iterators.
  bool durable_only = false;
  bool fill_cache = true;
};

struct IterateOptions {
  ReadOptions read;
  std::string lower;  // inclusive; empty: no bound
  std::string upper;  // exclusive; empty: no bound
  size_t readahead_bytes = 0;
};

// Keys and values in key order. Not thread-safe. Must not outlive its Database
// or snapshot. After an error Valid() is false: check status() when a loop ends.
class Iterator {
 public:
  ~Iterator();
  Iterator(const Iterator&) = delete;
  Iterator& operator=(const Iterator&) = delete;

  void SeekToFirst();
  void SeekToLast();
  // To the first key at or after `key`.
  void Seek(std::string_view key);
  // To the last key at or before `key`.
  void SeekForPrev(std::string_view key);
  void Next();
  void Prev();
  bool Valid() const;
  // Only if Valid(); the views live until the iterator moves.
  std::string_view key() const;
  std::string_view value() const;
  Status status() const;

 private:
  friend class Database;
  struct Bounds;
  Iterator(std::string dir, std::unique_ptr<Bounds> bounds);

  const std::string dir_;  // for messages
  std::unique_ptr<Bounds> bounds_;
  std::unique_ptr<rocksdb::Iterator> iterator_;  // before bounds_ in destruction
};

// A table or blob file of a database: written once, never altered, deleted when it
// is of no more use.
struct StoredFile {
  uint64_t number = 0;  // newer files have larger ones
  std::string path;
  bool is_blob = false;
  uint64_t size_bytes = 0;
  std::string checksum;  // of all bytes, taken as they were written
};

class Database;

// Changes that are made all or not at all. Not thread-safe.
class WriteBatch {
 public:
  // `database` must outlive the batch.
  explicit WriteBatch(const Database& database, size_t reserved_bytes = 0);
  ~WriteBatch();
  WriteBatch(WriteBatch&&) noexcept;
  WriteBatch(const WriteBatch&) = delete;
  WriteBatch& operator=(const WriteBatch&) = delete;

  // Where a value is in the batch.
  struct ValuePlace {
    size_t offset = 0;
    size_t size = 0;
  };
  ValuePlace Put(Family family, std::string_view key, std::string_view value);
  // The value is the parts, one after the other.
  ValuePlace Put(Family family, std::string_view key,
                 std::span<const std::string_view> value_parts);
  void Delete(Family family, std::string_view key);
  // Deletes all keys in [begin, end).
  void DeleteRange(Family family, std::string_view begin, std::string_view end);

  // What a Put of this batch, not taken back since, has stored: whoever needs it again need
  // not keep a copy. Lives until the batch changes.
  std::string_view ValueAt(const ValuePlace& place) const;

  // What comes after a save point can be taken back. Each ends by one of the two calls
  // below; they nest.
  void SetSavePoint();
  void RollBackToSavePoint();
  void DropSavePoint();

  void Clear();
  bool empty() const;
  size_t size_bytes() const;

 private:
  friend class Database;
  const Database& database_;
  std::unique_ptr<rocksdb::WriteBatch> batch_;
};

struct DatabaseStats {
  uint64_t disk_bytes = 0;          // all files
  uint64_t blob_bytes = 0;          // of them, blob files
  uint64_t blob_garbage_bytes = 0;  // of them, known to be garbage
  uint64_t memtable_bytes = 0;
  uint64_t table_reader_bytes = 0;  // memory outside the block cache
  uint64_t pending_compaction_bytes = 0;
  uint64_t key_count_estimate = 0;
};

// One directory of keys and values. Thread-safe. Errors of every call: DISK_FULL,
// CORRUPTION (naming the directory), SHUTTING_DOWN, INTERNAL.
//
// A failed flush or log write makes the database refuse writes (reads go on)
// until there is room again; it then resumes by itself within seconds, or at
// once by Resume().
class Database {
 public:
  // Holds every table and blob file to the size that the manifest says, and reads the
  // ends of the tables, but not all their contents: that is FileScrub's.
  //
  // UNAVAILABLE when another process has it open, INCOMPATIBLE_FORMAT when it
  // holds families that are not named, CORRUPTION.
  static StatusOr<std::unique_ptr<Database>> Open(const DatabaseOptions& options,
                                                  std::shared_ptr<SharedResources> resources);
  // Does not flush: what kFlush has not flushed is lost, as in a crash.
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  const std::string& dir() const { return options_.dir; }

  // Sync::kYes only with kWriteAheadLog. The batch may be reused after Clear().
  Status Write(WriteBatch& batch, Sync sync = Sync::kNo);
  // Makes all earlier writes durable (kWriteAheadLog).
  Status SyncWal();

  // False if there is no such key.
  StatusOr<bool> Get(Family family, std::string_view key, PinnedValue* value,
                     const ReadOptions& options = {}) const;
  StatusOr<std::optional<std::string>> Get(Family family, std::string_view key,
                                           const ReadOptions& options = {}) const;
  // `values` has the size of `keys`; returns which were found.
  StatusOr<std::vector<bool>> MultiGet(Family family, std::span<const std::string_view> keys,
                                       std::span<PinnedValue> values,
                                       const ReadOptions& options = {}) const;

  std::unique_ptr<Iterator> NewIterator(Family family, IterateOptions options = {}) const;
  std::unique_ptr<Snapshot> NewSnapshot() const;

  // The table and blob files in use now, oldest first.
  StatusOr<std::vector<StoredFile>> ListFiles() const;

  // Writes all memtables to disk and waits for it.
  Status Flush();
  // Grows by one with every flush that was completed: tells that what
  // ReadOptions::durable_only gives may have moved on.
  uint64_t flush_count() const;

  // Flushes, and links (or copies) all files into the new directory `dir`: a
  // database of its own with everything written before the call.
  Status Checkpoint(const std::string& dir);

  // Deletes the files that hold nothing but keys in [begin, end): frees disk space
  // at once. Other keys in the range may remain: delete them by a batch.
  Status DropFilesInRange(Family family, std::string_view begin, std::string_view end);
  // Compacts the range [begin, end); "" for no bound.
  Status CompactRange(Family family, std::string_view begin, std::string_view end);
  // Rewrites the live values of blob files if more than `garbage_fraction` of the
  // family's blob bytes are garbage. Slow: for a background thread. True if it did.
  StatusOr<bool> CollectGarbage(Family family, double garbage_fraction);
  // Makes CompactRange and CollectGarbage, running or to come, return at once: before
  // closing.
  void CancelManualCompactions();

  // Why writes are refused; OK when they are not.
  Status BackgroundError() const;
  // Tries to accept writes again after BackgroundError(). UNAVAILABLE while the
  // database is trying by itself.
  Status Resume();

  // Room left on the file system of `dir`.
  StatusOr<uint64_t> FreeBytes() const;
  DatabaseStats Stats() const;

  const SharedResources& resources() const { return *resources_; }

 private:
  friend class FileScrub;
  friend class WriteBatch;
  class Listener;

  Database(DatabaseOptions options, std::shared_ptr<SharedResources> resources);
  rocksdb::ColumnFamilyHandle* Handle(Family family) const;
  Status CheckFiles() const;
  bool HasImmutableMemtables() const;
  Status FromRocks(const rocksdb::Status& status) const;

  const DatabaseOptions options_;
  const std::shared_ptr<SharedResources> resources_;
  std::shared_ptr<Listener> listener_;
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;  // owned by db_, destroyed first
};

}  // namespace vectron::storage
