#pragma once

#include <map>
#include <memory>
#include <vector>

#include "common/mutex.h"
#include "index/graph/consolidator.h"
#include "index/graph/linker.h"
#include "index/index_core.h"
#include "index/vector_index.h"

namespace vectron::index {

struct CheckpointCut;

// The VectorIndex: wires the parts together and owns the life of slots.
// The write path is Put, then LinkPending; the read path is Search; slots come
// back through Delete and Consolidate.
class HnswIndex final : public VectorIndex {
 public:
  // `options` are valid.
  explicit HnswIndex(const IndexOptions& options);
  ~HnswIndex() override;

  const IndexOptions& options() const override { return core_.options; }
  StatusOr<Slot> Put(std::span<const float> vector, uint64_t label) override;
  uint64_t Label(Slot slot) const override;
  void Delete(Slot slot) override;
  size_t LinkPending(size_t count_max) override;
  bool Consolidate() override;
  StatusOr<std::vector<Hit>> Search(std::span<const float> query,
                                    const SearchOptions& options) const override;
  StatusOr<std::vector<std::vector<Hit>>> SearchBatch(std::span<const float> queries,
                                                      const SearchOptions& options) const override;
  StatusOr<float> Distance(std::span<const float> query, Slot slot) const override;
  StatusOr<float> Distance(std::span<const float> query,
                           std::span<const float> vector) const override;
  StatusOr<std::vector<float>> GetVector(Slot slot) const override;
  std::unique_ptr<Watermark> Cut() override;
  Status WriteCheckpoint(const Watermark& watermark, const std::string& path,
                         uint64_t bytes_per_second_max) const override;
  IndexStats Stats() const override;
  void ForEachLive(const std::function<void(Slot slot, uint64_t label)>& visit) const override;

  // Fills an index that nobody uses yet from a checkpoint.
  Status Restore(const std::string& path);

 private:
  class Cutting;

  StatusOr<Slot> TakeSlot();
  void GiveBack(std::span<const Slot> slots);
  Status NoMemory() const;
  [[nodiscard]] bool Reserve(uint64_t slots);
  void LinkOne(const Tail::Claimed& claimed, LinkScratch* scratch);
  uint64_t OldestCut() const;
  std::function<bool(Slot slot, uint64_t sequence)> InCuts() const;

  IndexCore core_;
  SlotBitmap doomed_;
  Linker linker_;
  Consolidator consolidator_;

  uint64_t sequence_ = 1;  // apply thread: numbers deletions and cuts

  mutable Mutex free_mutex_;
  std::vector<Slot> free_ ABSL_GUARDED_BY(free_mutex_);  // taken from the back

  // The watermarks that are alive, by their sequence numbers. Shared with them: one may
  // outlive the index.
  struct Cuts {
    using Alive = std::multimap<uint64_t, std::shared_ptr<const CheckpointCut>>;

    Mutex mutex;
    Alive alive ABSL_GUARDED_BY(mutex);
  };
  const std::shared_ptr<Cuts> cuts_ = std::make_shared<Cuts>();
};

}  // namespace vectron::index
