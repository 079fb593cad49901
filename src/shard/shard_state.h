#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "common/error.h"
#include "common/ids.h"
#include "common/mutex.h"
#include "consensus/session_table.h"
#include "shard/checkpoint_policy.h"
#include "shard/index_checkpoints.h"
#include "shard/point_index.h"
#include "shard/reader_gate.h"
#include "shard/shard.h"
#include "shard/store.h"
#include "storage/file_scrub.h"

namespace vectron::shard {

// What a shard holds and a snapshot replaces as a whole. Used by shard*.cc only.
struct Shard::State {
  enum class Mode {
    kCreate,
    kOpen,
    kAdopt,  // a copy from elsewhere: all of it is verified before it is used
  };
  static StatusOr<std::shared_ptr<State>> Open(const std::string& path, Mode mode,
                                               const ShardOptions& options,
                                               const ShardEnvironment& environment,
                                               ReaderGate* gate);
  State(std::string state_path, std::unique_ptr<Store> opened, const ShardOptions& options,
        TimePoint now)
      : path(std::move(state_path)),
        store(std::move(opened)),
        checkpoints(path + "/index"),
        checkpoint_policy({options.checkpoint_interval, options.checkpoint_changed_fraction,
                           options.checkpoint_changed_min, options.checkpoint_wait_max},
                          now) {}
  // Removes the directory if it was replaced.
  ~State();

  LogIndex applied() const {
    return LogIndex(std::min(store_applied.load(std::memory_order_acquire),
                             index_applied.load(std::memory_order_acquire)));
  }
  LogIndex stored() const { return LogIndex(store_applied.load(std::memory_order_acquire)); }
  bool serveable() const { return applied() >= serveable_from; }
  // The first damage found; OK while there is none. Cheap while there is none.
  Status Damage() const;
  // Remembers it, here and for the next Open, and says it once. Any thread.
  void SetDamage(const Status& damage) const;
  void Publish(const StoreState& state);
  StateHash hash() const {
    MutexLock lock(hash_mutex);
    return published_hash;
  }

  // What opening it took, for the log.
  struct OpenTimes {
    Duration store{};
    Duration index{};
    TimePoint begun;
    TimePoint opened;
  };

  // Constant.
  OpenTimes open_times;
  const std::string path;
  std::unique_ptr<Store> store;
  std::unique_ptr<PointIndex> index;
  LogIndex replay_from;     // what the index had applied when it was opened
  LogIndex serveable_from;  // what the store had applied when it was opened

  // Of whoever holds Shard::apply_mutex_.
  consensus::SessionTable sessions;
  StoreState store_state;
  // Not OK after an error that left the store and the index apart: nothing more is
  // applied, and opening the shard again repairs it.
  Status failure;

  // Written under Shard::apply_mutex_, read by anyone.
  std::atomic<uint64_t> store_applied{0};
  // The same, but before the store is written: whoever finds something there finds this
  // as well.
  std::atomic<uint64_t> store_reach{0};
  std::atomic<uint64_t> index_applied{0};
  std::atomic<uint64_t> point_count{0};
  std::atomic<bool> replaced{false};
  // Of Shard::Scrub.
  std::unique_ptr<storage::FileScrub> scrub;
  mutable Mutex hash_mutex;
  StateHash published_hash ABSL_GUARDED_BY(hash_mutex);

  // Of whoever holds Shard::checkpoint_mutex_.
  IndexCheckpoints checkpoints;
  // Written under it, read by anyone.
  std::atomic<uint64_t> checkpoint_applied{0};
  CheckpointPolicy checkpoint_policy;

 private:
  // Reads all files if there is a reason to.
  Status VerifyStore(Mode mode);
  Status OpenIndex(ReaderGate* gate, TimePoint now);
  Status BuildIndex(ReaderGate* gate);
  std::string DamageMarkPath() const { return path + "/DAMAGED"; }

  // Whoever reads may find it.
  mutable std::atomic<bool> is_damaged_{false};
  mutable Mutex damage_mutex_;
  mutable Status damage_ ABSL_GUARDED_BY(damage_mutex_);
};

}  // namespace vectron::shard
