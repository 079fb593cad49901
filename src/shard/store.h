#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/data_ops.h"
#include "common/error.h"
#include "common/ids.h"
#include "common/mutex.h"
#include "consensus/session_table.h"
#include "shard/record.h"
#include "shard/schema.h"
#include "shard/state_hash.h"
#include "storage/database.h"

namespace vectron::shard {

// What the store says of itself, kept under one key of its meta family and written
// with every batch.
struct StoreState {
  StateHash hash;  // with the applied index and the number of points
  // Points without any vector, which no index knows.
  uint64_t vectorless_count = 0;

  LogIndex applied() const { return hash.index; }
};

// How many records are read at once by who needs many: what is not wanted of them, or not
// yet, must not be in memory either.
inline constexpr size_t kRecordsPerRead = 64;

// The points of a shard in RocksDB: which families and keys there are, and reads.
// Thread-safe. Writing is WriteStage's.
class Store {
 public:
  static constexpr storage::Family kMeta = 0;
  static constexpr storage::Family kPoints = 1;
  static constexpr storage::Family kVectors = 2;

  struct Options {
    std::string dir;
    std::vector<VectorConfig> vectors;
    size_t write_buffer_bytes = 0;  // of the vectors' family
    bool create_if_missing = false;
  };

  // CORRUPTION (also when it is missing and is not to be), INCOMPATIBLE_FORMAT,
  // UNAVAILABLE.
  static StatusOr<std::unique_ptr<Store>> Open(const Options& options,
                                               std::shared_ptr<storage::SharedResources> resources);

  const Schema& schema() const { return *schema_; }
  storage::Database& database() { return *database_; }
  const storage::Database& database() const { return *database_; }

  // What is stored now.
  StatusOr<StoreState> ReadState() const;
  static void PutState(const StoreState& state, storage::WriteBatch* batch);

  StatusOr<consensus::SessionTable> ReadSessions() const;
  static void PutSessionChanges(std::span<const consensus::SessionChange> changes,
                                storage::WriteBatch* batch);

  // The applied index that would survive a crash now.
  LogIndex DurableApplied() const;

  // Of the points with these keys, nothing for those that are not there.
  StatusOr<std::vector<std::optional<std::string>>> ReadRecords(
      std::span<const std::string> keys, const storage::Snapshot* snapshot) const;
  // All vectors of the point, or those of them that are named.
  StatusOr<std::vector<NamedVector>> ReadVectors(std::string_view key, const RecordHeader& header,
                                                 std::span<const std::string> names,
                                                 const storage::Snapshot* snapshot) const;
  // What `select` asks for of a stored point.
  StatusOr<Record> MakeRecord(PointId id, std::string_view key, std::string_view record,
                              const Select& select, const storage::Snapshot* snapshot) const;

  // Recomputes `hash` from all points. Slow.
  StatusOr<StateHash> ComputeHash() const;

 private:
  Store() = default;
  Status ReadOrWriteMeta(const Options& options);

  std::unique_ptr<storage::Database> database_;
  std::optional<Schema> schema_;  // set once it is open

  // Of DurableApplied.
  mutable Mutex durable_mutex_;
  mutable uint64_t durable_flush_count_ ABSL_GUARDED_BY(durable_mutex_) = ~uint64_t{0};
  mutable LogIndex durable_applied_ ABSL_GUARDED_BY(durable_mutex_);
};

}  // namespace vectron::shard
