#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/mutex.h"
#include "common/thread_pool.h"
#include "consensus/session_table.h"
#include "consensus/state_machine.h"
#include "placement/catalog.h"
#include "placement/catalog_codec.h"

namespace vectron::placement {

using CatalogPtr = std::shared_ptr<const Catalog>;

// The placement group's state machine. The catalogue is small, so it lives in memory as
// an immutable value that every change replaces; the log makes it durable. A checkpoint
// file, replaced as a whole, lets the log be truncated.
//
// Thread-safe as StateMachine asks; Current() and Map() from anywhere.
class CatalogMachine : public consensus::StateMachine {
 public:
  struct Options {
    std::string dir;
    // Entries applied after which a checkpoint is written unasked.
    uint64_t checkpoint_entries = 512;
    // Called after the map changed, on the apply thread, without locks held.
    std::function<void(const rpc::ClusterMapPtr&)> on_map;
  };

  // Reads the checkpoint, if there is one. CORRUPTION, INCOMPATIBLE_FORMAT.
  static StatusOr<std::shared_ptr<CatalogMachine>> Open(Options options);
  ~CatalogMachine() override;

  LogIndex AppliedIndex() const override;
  LogIndex DurableIndex() const override;
  StatusOr<std::vector<consensus::ApplyResult>> Apply(
      std::span<const consensus::CommittedEntry> entries) override;
  void RequestFlush() override;
  StatusOr<LogIndex> SaveSnapshot(const std::string& dir) override;
  Status RestoreSnapshot(const std::string& dir) override;

  // Never null.
  CatalogPtr Current() const;
  rpc::ClusterMapPtr Map() const;

  // Writes the checkpoint file and waits for it.
  Status WriteCheckpoint();

 private:
  explicit CatalogMachine(Options options);

  // The result of one entry; `next` is what the batch has made of the catalogue.
  consensus::ApplyResult ApplyEntry(const consensus::CommittedEntry& entry, Catalog* next)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Replaces the whole state.
  Status Load(CheckpointState state);
  CheckpointState Save() const;

  const Options options_;
  const std::string path_;  // of the checkpoint

  mutable Mutex mutex_;
  LogIndex applied_ ABSL_GUARDED_BY(mutex_);
  CatalogPtr catalog_ ABSL_GUARDED_BY(mutex_);
  rpc::ClusterMapPtr map_ ABSL_GUARDED_BY(mutex_);
  consensus::SessionTable sessions_ ABSL_GUARDED_BY(mutex_);

  Mutex file_mutex_;  // one writer of the checkpoint; before mutex_
  std::atomic<uint64_t> durable_{0};
  std::atomic<bool> flush_queued_{false};
  ThreadPool flush_pool_;  // last: its task uses the rest
};

}  // namespace vectron::placement
