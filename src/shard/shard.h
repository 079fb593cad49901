#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "common/collection.h"
#include "common/data_ops.h"
#include "common/error.h"
#include "common/ids.h"
#include "common/mutex.h"
#include "common/thread_pool.h"
#include "consensus/state_machine.h"
#include "shard/reader_gate.h"
#include "shard/state_directory.h"
#include "shard/state_hash.h"
#include "storage/database.h"
#include "storage/shared_resources.h"

namespace vectron::shard {

struct RecordHeader;
class WriteStage;

struct ShardOptions {
  ShardId shard;
  std::string dir;  // the shard's own; created if missing, its parent must exist
  // It was there before (its log says so): nothing is created, what is missing is
  // CORRUPTION.
  bool must_exist = false;
  // The collection's. Names may be added later, none removed or altered.
  std::vector<VectorConfig> vectors;

  // What scanning the unlinked vectors may cost one search; see TailFill.
  std::chrono::microseconds tail_scan_max{5000};
  // Tick starts a checkpoint of the index when the last one is this old and at least
  // this part of the vectors, and this many, have changed since: a checkpoint
  // writes all vectors, and replaying a change is cheap. It waits for vectors to be
  // linked, but no longer than this while they do not get fewer (CheckpointPolicy).
  std::chrono::milliseconds checkpoint_interval{120'000};
  double checkpoint_changed_fraction = 0.25;
  uint64_t checkpoint_changed_min = 20'000;
  std::chrono::milliseconds checkpoint_wait_max{120'000};
  uint64_t checkpoint_bytes_per_second_max = 0;  // 0: no limit
  // Blob files are rewritten when more than this part of their bytes is garbage.
  double blob_garbage_fraction_max = 0.5;
  size_t write_buffer_bytes = 24 << 20;  // of the vectors; the other families have less
};

// How long a read may go on, and how much it may bring.
struct ReadLimits {
  Deadline deadline = kNoDeadline;
  // If not null: set by whoever no longer wants the answer.
  const std::atomic<bool>* cancelled = nullptr;
  // ContentBytes of the records, together.
  size_t bytes_max = std::numeric_limits<size_t>::max();
  // A single record may have more: there is no less to ask for.
  bool one_in_any_case = true;
};

// None of it is owned; all of it outlives the shard.
struct ShardEnvironment {
  const Clock* clock = nullptr;
  std::shared_ptr<storage::SharedResources> resources;
  // Flushes and checkpoints; at background priority.
  ThreadPool* background = nullptr;
};

// One shard of a collection as a replicated state machine (DESIGN, "A shard's state
// machine"): points in a RocksDB without a write-ahead log, since the Raft log is
// one, and an HNSW index a named vector beside it.
//
// The store and the index may lag behind each other after a crash. AppliedIndex()
// is the lower of the two, the log is replayed from there, and each part skips
// what it has. Until the replay has reached ServeableIndex() the index may lack
// vectors, and reads fail with UNAVAILABLE.
//
// Damage in the store that is met later than Open (by a read, by Apply, by Scrub) ends
// the service: whatever is asked of the shard from then on fails with CORRUPTION, in
// this life and the next ones, until all files are intact again.
//
// Thread-safety: Apply and RestoreSnapshot are called by one thread at a time
// (consensus/state_machine.h). Everything else may be called by any thread. Reads
// take no lock.
class Shard : public consensus::StateMachine {
 public:
  // Creates the shard if there is none in the directory and need not be. CORRUPTION
  // (naming what is damaged or missing), INCOMPATIBLE_FORMAT (stored by a newer version, or other
  // vectors), UNAVAILABLE when it is open elsewhere. An index that is missing or damaged is built
  // again from the store, with a warning.
  static StatusOr<std::shared_ptr<Shard>> Open(const ShardOptions& options,
                                               const ShardEnvironment& environment);
  // Waits for its background work. Makes nothing durable: see Close.
  ~Shard() override;

  // --- consensus::StateMachine ---
  LogIndex AppliedIndex() const override;
  LogIndex DurableIndex() const override;
  // The result of a write is EncodeOutcome's (shard/command.h). DISK_FULL: the entries after
  // AppliedIndex() changed nothing, and the same entries may be applied again when there is
  // room; the results of those before it are given then.
  StatusOr<std::vector<consensus::ApplyResult>> Apply(
      std::span<const consensus::CommittedEntry> entries) override;
  void RequestFlush() override;
  StatusOr<LogIndex> SaveSnapshot(const std::string& dir) override;
  Status RestoreSnapshot(const std::string& dir) override;

  // --- reads; UNAVAILABLE before ServeableIndex() is applied ---
  //
  // DEADLINE_EXCEEDED, CANCELLED; RESPONSE_TOO_LARGE where there would be more bytes
  // than `limits` allows, which is found while the records are read.

  // Best first, ties by id. `version` is filled in only where `select` asks for
  // something, since the store is read only then. INVALID_ARGUMENT.
  StatusOr<std::vector<ScoredRecord>> Search(const SearchQuery& query, const Select& select,
                                             const ReadLimits& limits = {}) const;
  // Those that exist, in the order of `ids`.
  StatusOr<std::vector<Record>> Get(std::span<const PointId> ids, const Select& select,
                                    const ReadLimits& limits = {}) const;
  // Consistent within the page, which ends where it has as many bytes as it may.
  StatusOr<ScrollPage> Scroll(const ScrollQuery& query, const Select& select,
                              const ReadLimits& limits = {}) const;
  ShardStats Stats() const;

  // Get and Scroll show every entry up to here, and Search no later one if `select` asks for
  // nothing. Ahead of AppliedIndex() while an Apply puts into the index what it has stored.
  LogIndex StoredIndex() const;
  // No read that has ended showed a later entry.
  LogIndex SeenIndex() const;
  // Reads are served once this index is applied.
  LogIndex ServeableIndex() const;
  bool Serveable() const { return AppliedIndex() >= ServeableIndex(); }

  // --- admission of writes, before they are proposed ---

  // The unlinked vectors as a part of what tail_scan_max allows, over the fullest of
  // the named vectors. The worker slows writes as it nears 1 and refuses them beyond.
  double TailFill() const;
  // Why the store takes no writes (DISK_FULL ...); OK when it does.
  Status StoreHealth() const;
  // CORRUPTION, naming the file and the place, once damage was found; else OK.
  Status Damage() const;

  // --- background work, called by the worker's threads ---

  // Links up to `count_max` vectors and repairs links around deleted ones. False
  // when there was nothing to do. Any number of threads.
  bool DoIndexWork(size_t count_max);
  // Starts what is due: a checkpoint, the collection of garbage, a retry after a
  // full disk. To be called about once a second.
  void Tick();
  struct ScrubPiece {
    uint64_t read_bytes = 0;
    bool is_last = false;  // of a pass over all files: the next call begins another
  };
  // Reads on through the store's files, for about `bytes_max` bytes, and holds them to
  // their checksums. CORRUPTION is Damage() from then on; other errors (a file that
  // cannot be read now) are left to the next pass. One call at a time.
  StatusOr<ScrubPiece> Scrub(uint64_t bytes_max);
  // Makes everything that is applied durable, index included, so that the next Open
  // has nothing to replay. After the last Apply.
  Status Close();

  // --- proof of equality ---

  // Of all points, kept incrementally: equal at the same applied index on all
  // replicas. `index` is the index that it belongs to.
  StateHash CurrentStateHash() const;
  // The same, computed from what is stored now. Slow.
  StatusOr<StateHash> ComputeStateHash() const;

  // For metrics.
  storage::DatabaseStats StoreStats() const;

  const ShardOptions& options() const { return options_; }

 private:
  struct State;  // what a snapshot replaces: the store and the index
  enum class CheckpointRule { kAlways, kIfDue };

  Shard(ShardOptions options, ShardEnvironment environment, StateDirectory directory);

  // The state stays while the caller holds a Guard of gate_.
  const State& CurrentState() const { return *current_.load(std::memory_order_acquire); }
  // The same for calls that take long.
  std::shared_ptr<State> SharedState() const;
  void SetState(std::shared_ptr<State> state);

  Status CheckServeable(const State& state) const;
  // `status` of something that was done with `state`: damage that it tells of ends the
  // shard's service.
  Status Noted(const State& state, Status status) const;
  StatusOr<std::vector<ScoredRecord>> SearchIn(const State& state, const SearchQuery& query,
                                               const Select& select,
                                               const ReadLimits& limits) const;
  StatusOr<std::vector<Record>> GetFrom(const State& state, std::span<const PointId> ids,
                                        const Select& select, const ReadLimits& limits) const;
  StatusOr<ScrollPage> ScrollIn(const State& state, const ScrollQuery& query, const Select& select,
                                const ReadLimits& limits) const;
  // To the log, once: what it took until reads are served.
  void SayServeable(const State& state) const;
  // Entries that the store already has: brings the index forward.
  Status Replay(State& state, std::span<const consensus::CommittedEntry> entries)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(apply_mutex_);
  // Makes these points in the index what they are in the store.
  Status ReconcileIndex(State& state, std::span<const PointId> ids)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(apply_mutex_);
  // Of the first entries, as many as one batch should hold: their results.
  StatusOr<std::vector<consensus::ApplyResult>> ApplySome(
      State& state, std::span<const consensus::CommittedEntry> entries)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(apply_mutex_);
  StatusOr<std::vector<consensus::ApplyResult>> StageSome(
      State& state, std::span<const consensus::CommittedEntry> entries, WriteStage* stage)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(apply_mutex_);
  Status ApplyToIndex(State& state, const WriteStage& stage)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(apply_mutex_);

  Status Checkpoint(CheckpointRule rule);
  void StartFlush();
  void RunFlushes();
  void CollectGarbage();
  // Runs `task` on the background pool unless one of ours is queued or runs.
  void StartBackground(std::function<void()> task);

  // The winners of a search, which saw all up to `seen`, with what `select` asks for.
  // Score, vectors and payload of one are of one version; what was written since is
  // measured again. False if one of them is gone or further away.
  StatusOr<bool> FillRecords(const State& state, const SearchQuery& query, LogIndex seen,
                             const Select& select, const ReadLimits& limits,
                             std::vector<ScoredRecord>* results) const;
  // Of a stored point; nothing if it lacks the vector.
  StatusOr<std::optional<float>> ScoreNow(const State& state, const SearchQuery& query,
                                          std::string_view key, const RecordHeader& header,
                                          const storage::Snapshot& snapshot) const;
  uint64_t TailCountMax(const VectorConfig& config) const;

  const ShardOptions options_;
  const ShardEnvironment environment_;

  // Readers of current_, and of what the index's labels name.
  ReaderGate gate_;
  std::atomic<State*> current_{nullptr};
  mutable Mutex state_mutex_;
  std::shared_ptr<State> state_ ABSL_GUARDED_BY(state_mutex_);

  // Held by checkpoints while they run. Before apply_mutex_.
  Mutex checkpoint_mutex_;
  // Held by Apply, and by checkpoints and snapshots for the moment of their cut.
  Mutex apply_mutex_;
  StateDirectory directory_ ABSL_GUARDED_BY(apply_mutex_);
  // Of the entries that the last call of Apply applied, if it failed after them.
  std::map<LogIndex, consensus::ApplyResult> unreported_ ABSL_GUARDED_BY(apply_mutex_);

  Mutex background_mutex_;
  CondVar background_done_;
  bool background_running_ ABSL_GUARDED_BY(background_mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(background_mutex_) = false;
  // RequestFlush came while something ran.
  bool flush_wanted_ ABSL_GUARDED_BY(background_mutex_) = false;
  std::atomic<TimePoint> last_garbage_check_;
};

}  // namespace vectron::shard
