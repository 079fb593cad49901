#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "common/point.h"

namespace vectron::shard {

// Gives point ids the 64-bit labels that a VectorIndex carries. A number below
// 2^63 is its own label; every other id is kept here, and its label says where.
//
// Thread-safety: Resolve on any thread, for labels that it got from the index
// under a ReaderGate. Everything else on one thread at a time, the writer; Serialize
// may run beside it between Freeze and Thaw.
class KeyPool {
 public:
  KeyPool();
  ~KeyPool();
  KeyPool(const KeyPool&) = delete;
  KeyPool& operator=(const KeyPool&) = delete;

  // Whether labels of such ids are made by Add. If not, it is LabelOfNumber.
  static bool IsPooled(const PointId& id) { return !id.is_number() || id.number() >= kPooled; }
  static bool IsPooledLabel(uint64_t label) { return label >= kPooled; }

  // A label for an id that IsPooled; RESOURCE_EXHAUSTED when the pool is full.
  StatusOr<uint64_t> Add(const PointId& id);
  // The label's place may be used again after the readers of `epoch` are gone
  // (ReaderGate).
  void Retire(uint64_t label, uint64_t epoch);
  // Frees what was retired two epochs before `epoch`.
  void Reclaim(uint64_t epoch);
  bool HasRetired() const { return !retired_.empty(); }

  PointId Resolve(uint64_t label) const;
  // The id's key (PointId::Key) of a pooled label.
  std::string_view Key(uint64_t label) const;

  // A checkpoint. Between Freeze and Thaw no place that was in use or free at Freeze
  // is written to, so that Serialize gives the pool as it was at Freeze. There may be
  // several at a time.
  uint64_t Freeze();
  std::string Serialize(uint64_t frozen) const;
  // Any thread.
  void Thaw() { freeze_count_.fetch_sub(1, std::memory_order_release); }
  // Into an empty pool: what Serialize gave, and the labels that are in use.
  // CORRUPTION.
  Status Load(std::string_view serialized, std::vector<uint64_t> used_labels);

  size_t memory_bytes() const { return chunk_count_ * kChunkBytes; }

 private:
  // The top bit of a label says that the rest is a position, in units.
  static constexpr uint64_t kPooled = uint64_t{1} << 63;
  static constexpr size_t kUnitBytes = 16;
  static constexpr size_t kChunkBytes = 256 << 10;
  static constexpr size_t kChunkUnits = kChunkBytes / kUnitBytes;
  static constexpr size_t kChunkCountMax = 1 << 16;  // 16 GB of keys
  // An entry: the key's length (2 bytes) and the key, rounded up to units.
  static constexpr size_t kHeaderBytes = 2;
  static constexpr size_t kEntryUnitsMax =
      (kHeaderBytes + 1 + kPointIdBytesMax + kUnitBytes - 1) / kUnitBytes;

  struct Retired {
    uint64_t unit;
    uint64_t epoch;
  };
  // Chunks never move, and the directory of them neither; it is made with the first.
  using Directory = std::array<std::atomic<char*>, kChunkCountMax>;

  static size_t UnitsOf(size_t key_bytes) {
    return (kHeaderBytes + key_bytes + kUnitBytes - 1) / kUnitBytes;
  }
  char* At(uint64_t unit) const;
  // A place of that many units within one chunk; kPooled when full.
  uint64_t Allocate(size_t units);
  void AddChunk();

  std::unique_ptr<Directory> directory_;
  std::atomic<size_t> chunk_count_{0};
  uint64_t next_unit_ = 0;  // the first that was never used
  std::atomic<int> freeze_count_{0};
  std::array<std::vector<uint64_t>, kEntryUnitsMax + 1> free_;  // by size in units
  std::deque<Retired> retired_;                                 // oldest first
};

}  // namespace vectron::shard
