#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/data_ops.h"
#include "common/error.h"
#include "consensus/session_table.h"
#include "consensus/state_machine.h"
#include "shard/command.h"
#include "shard/point_index.h"
#include "shard/store.h"

namespace vectron::shard {

// Works out what some consecutive log entries do to the store, as one batch, and
// to the index. Later entries see what earlier ones staged. Nothing is changed
// until the caller writes the batch; dropping the stage drops it all.
//
// A stored record is in memory only while it is looked at, a new one once, in the batch.
//
// Used by the apply thread, for one batch. The index must be at the
// store's applied index: what it does not know is taken for absent.
class WriteStage {
 public:
  // The final state of a point that was touched.
  struct Change {
    const PointId& id;
    bool exists;
    bool vectors_changed;
    std::span<const NamedVector> vectors;  // if vectors_changed
  };

  WriteStage(const Store& store, const PointIndex& index, const StoreState& state);

  // Stages one write. `result` is the write's own (an application error changes
  // nothing); the status is not OK when the store cannot be read.
  Status Apply(LogIndex index, Command command, consensus::ApplyResult* result);

  // What it has in memory by now, about: the caller may write it before it stages more.
  size_t held_bytes() const {
    return batch_.size_bytes() + vector_bytes_ + points_.size() * kPointBytes;
  }

  // To be written, after the state and the sessions were added.
  storage::WriteBatch& batch() { return batch_; }
  const StoreState& state() const { return state_; }
  void SetApplied(LogIndex index) { state_.hash.index = index; }

  // The points that were touched, in the order in which they first were.
  template <typename Visit>
  Status ForEachChange(Visit&& visit) const {
    for (const Staged& point : points_) {
      if (!point.record.changed) continue;
      VECTRON_RETURN_IF_ERROR(
          visit(Change{point.id, point.record.exists, point.vectors_changed, point.vectors}));
    }
    return OkStatus();
  }

 private:
  // A point's record as the entries so far leave it.
  struct StagedRecord {
    bool is_known = false;  // the rest counts
    bool exists = false;
    bool changed = false;
    RecordHeader header;                       // if exists
    PointHash hash;                            // if exists
    storage::WriteBatch::ValuePlace in_batch;  // if exists and changed; else it is in the store
  };
  struct Staged {
    PointId id;
    std::string key;
    StagedRecord record;
    bool vectors_changed = false;
    std::vector<NamedVector> vectors;  // if vectors_changed
  };
  // With its place in positions_.
  static constexpr size_t kPointBytes = sizeof(Staged) + 2 * sizeof(PointId);

  using Result = consensus::ApplyResult;
  Status ApplyOp(LogIndex index, UpsertPoints op, Result* result);
  Status ApplyOp(LogIndex index, DeletePoints op, Result* result);
  Status ApplyOp(LogIndex index, SetPayload op, Result* result);
  Status ApplyOp(LogIndex index, OverwritePayload op, Result* result);
  Status ApplyOp(LogIndex index, DeletePayloadKeys op, Result* result);
  Status ApplyOp(LogIndex index, ClearPayload op, Result* result);
  // `new_payload`: (present payload) -> StatusOr<std::string>.
  template <typename NewPayload>
  Status ChangePayloads(LogIndex index, std::span<const PointId> ids, const NewPayload& new_payload,
                        Result* result);

  // LIMIT_EXCEEDED unless `payload` may take the place of `present`, after so many points
  // that have `written_bytes` together by now.
  Status CheckPayload(std::string_view payload, std::string_view present, size_t written_count,
                      uint64_t written_bytes) const;

  // The positions in points_ of the ids, each once, in order.
  std::vector<size_t> Enter(std::span<const PointId> ids);
  // The same; their records are known.
  StatusOr<std::vector<size_t>> Touch(std::span<const PointId> ids);
  // `visit`: (Staged&, const std::optional<RecordView>&) -> Status, of each of the points in
  // order, with what is there of it. A few are read at a time.
  template <typename Visit>
  Status VisitRecords(std::span<const size_t> positions, Visit&& visit);
  // False where there is nothing of it to be read in the store.
  bool MayBeStored(const Staged& point) const;

  // `payload` is not in the batch.
  void Put(Staged& point, const RecordHeader& header, std::string_view payload);
  void Remove(Staged& point);
  // Takes the record that is there, if any, out of hash, counts.
  void Forget(const Staged& point);

  const Store& store_;
  const PointIndex& index_;
  StoreState state_;
  storage::WriteBatch batch_;
  // Of the command that is applied.
  uint64_t payload_bytes_max_ = 0;
  uint64_t change_bytes_max_ = 0;
  std::vector<Staged> points_;
  size_t vector_bytes_ = 0;                         // of their vectors
  absl::flat_hash_map<PointId, size_t> positions_;  // in points_
};

}  // namespace vectron::shard
