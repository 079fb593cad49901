#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/data_ops.h"
#include "common/error.h"
#include "common/point.h"
#include "index/vector_index.h"
#include "shard/checkpoint_policy.h"
#include "shard/id_table.h"
#include "shard/key_pool.h"
#include "shard/reader_gate.h"
#include "shard/schema.h"

namespace vectron::shard {

// The indexes of a shard, one a named vector, by point id instead of slot.
//
// Thread-safety: "writer" calls come from one thread at a time. Everything else
// may run beside them on any thread, under a Guard of the gate.
class PointIndex {
 public:
  struct Neighbour {
    PointId id;
    float score = 0;  // index::ScoreOf
  };

  // What a checkpoint writes: the index at one moment. Ends the pool's freeze, on any
  // thread, when it goes; must not outlive the index.
  class Cut;
  struct CutDeleter {
    void operator()(Cut* cut) const;
  };
  using CutPtr = std::unique_ptr<Cut, CutDeleter>;

  // `gate`, by which readers are seen, is not owned.
  static StatusOr<std::unique_ptr<PointIndex>> Create(const Schema& schema, ReaderGate* gate);
  // `files`: what WriteFiles wrote to `dir`. CORRUPTION and other errors say why
  // it is of no use. Vectors that were added to the schema since are empty.
  static StatusOr<std::unique_ptr<PointIndex>> Load(const Schema& schema, ReaderGate* gate,
                                                    const std::string& dir,
                                                    std::span<const std::string> files);
  ~PointIndex();

  // --- writer ---

  bool Contains(const PointId& id) const;
  // The point's vectors are these from now on. They fit the schema. A search that
  // runs meanwhile finds the old one or the new one of each, or both.
  Status Set(const PointId& id, std::span<const NamedVector> vectors);
  void Remove(const PointId& id);
  // Set, where it would change something: for replay.
  Status Reconcile(const PointId& id, std::span<const NamedVector> vectors);
  // Puts one vector of a point that has none of this number. For building from a store.
  Status Put(size_t number, const PointId& id, std::span<const float> vector);
  void Reserve(size_t number, size_t count) { fields_[number].ids.Reserve(count); }
  // Frees what readers no longer see; cheap when there is nothing.
  void Reclaim();
  CutPtr MakeCut();

  // --- any thread ---

  // The nearest points, best first, ties by id; each once.
  StatusOr<std::vector<Neighbour>> Search(size_t number, std::span<const float> query,
                                          index::SearchOptions options) const;
  // What a point with this vector would have there.
  StatusOr<float> Score(size_t number, std::span<const float> query,
                        std::span<const float> vector) const;
  // Links and repairs; false when there was nothing to do.
  bool DoWork(size_t count_max);
  index::IndexStats Stats(size_t number) const { return fields_[number].index->Stats(); }
  // Over all named vectors. change_count: since it was made or loaded.
  CheckpointPolicy::Observed Observe() const;
  // Writes the files into `dir`, which exists, each synced; returns their names.
  StatusOr<std::vector<std::string>> WriteFiles(const Cut& cut, const std::string& dir,
                                                uint64_t bytes_per_second_max) const;

 private:
  struct Field {
    std::unique_ptr<index::VectorIndex> index;
    IdTable ids;
  };

  PointIndex(const Schema& schema, ReaderGate* gate) : schema_(schema), gate_(gate) {}

  index::Slot FindSlot(const Field& field, const PointId& id, uint32_t hash) const;
  bool LabelLess(uint64_t a, uint64_t b) const;
  bool IsLabelOf(uint64_t label, const PointId& id) const;
  // The label of the id, new if no index has it.
  StatusOr<uint64_t> LabelFor(const PointId& id, uint32_t hash);
  // If no index has it any more, its label is not used any more.
  void RetireIfGone(const PointId& id, uint32_t hash, uint64_t label);
  void Erase(Field& field, uint32_t hash, index::Slot slot);
  // `old` is kNoSlot for a vector that is new.
  Status Replace(Field& field, uint32_t hash, index::Slot old, uint64_t label,
                 std::span<const float> vector);
  bool HoldsExactly(const PointId& id, uint32_t hash, std::span<const NamedVector> vectors) const;

  const Schema schema_;
  ReaderGate* const gate_;
  std::vector<Field> fields_;  // by vector number
  KeyPool pool_;
  std::atomic<uint64_t> change_count_{0};  // written by the writer
};

}  // namespace vectron::shard
