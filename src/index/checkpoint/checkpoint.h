#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "index/checkpoint/checkpoint_file.h"
#include "index/index_core.h"

namespace vectron::index {

// Which slots were live at a moment.
struct CheckpointCut {
  uint64_t slot_count = 0;
  uint64_t live_count = 0;
  std::vector<uint64_t> live;  // one bit a slot

  bool Live(uint64_t slot) const {
    return slot < slot_count && ((live[slot >> 6] >> (slot & 63)) & 1) != 0;
  }
};

// Writes a checkpoint while the index goes on living: the vectors exactly as at the
// cut, the links as they are when the writer comes by. Deleted nodes that the
// graph still goes through are written too, so that nothing has to be repaired
// before the first search. The cut's watermark keeps its slots from being freed.
class CheckpointWriter {
 public:
  CheckpointWriter(const IndexCore& core, const CheckpointCut& cut) : core_(core), cut_(cut) {}

  // DISK_FULL, INTERNAL for other errors of the file system; what was written
  // stays behind.
  Status Write(const std::string& path, uint64_t bytes_per_second_max);

 private:
  class File;
  struct Counts {
    uint64_t blocks = 0;
    uint64_t live = 0;
    uint64_t present = 0;
    uint64_t linked = 0;
  };

  void FindLinked();
  Status WriteRanges(File* file);
  Status WriteSlots(uint64_t first, uint64_t count, File* file);
  void CollectVectors(uint64_t first, uint64_t count);
  void CollectLinks(uint64_t first);

  const IndexCore& core_;
  const CheckpointCut& cut_;
  Counts counts_;
  std::vector<uint64_t> linked_;  // when the writing began; one bit a slot
  // Of the block that is being put together.
  std::vector<uint8_t> flags_;
  std::vector<uint64_t> labels_;
  std::vector<float> rows_;
  std::vector<float> vector_;
  std::vector<Slot> links_;
  std::vector<std::byte> payload_;
};

// Reads a checkpoint into an empty index, on several threads where it is large. What it
// reads is not trusted: every block is checked against its hash, every count against the
// size of the file.
class CheckpointReader {
 public:
  // `reserve` makes slots usable in all parts of the index.
  CheckpointReader(IndexCore& core, std::function<bool(uint64_t slots)> reserve)
      : core_(core), reserve_(std::move(reserve)) {}

  // CORRUPTION, INCOMPATIBLE_FORMAT, INVALID_ARGUMENT (other options), INTERNAL. The
  // index is of no use after an error.
  Status Read(const std::string& path);

  // Slots that hold deleted nodes, and slots that hold nothing; ascending.
  const std::vector<Slot>& dead() const { return dead_; }
  const std::vector<Slot>& free() const { return free_; }

 private:
  struct Worker;
  using ReadRun = Status (CheckpointReader::*)(const CheckpointFile& file,
                                               const CheckpointFile::Run& run, Worker* worker);

  bool ReserveSlots(const CheckpointFile& file);
  Status CheckOptions(const CheckpointFile& file) const;
  Status ReadRanges(const CheckpointFile& file);
  // Calls `read` for every run, on as many threads as there are workers.
  Status ForEachRun(const CheckpointFile& file, std::vector<Worker>* workers, ReadRun read);
  Status ReadVectors(const CheckpointFile& file, const CheckpointFile::Run& run, Worker* worker);
  // False for a vector that does not fit.
  bool PlaceRow(Slot slot, const std::byte* row, bool bytes, Worker* worker);
  Status ReadLinks(const CheckpointFile& file, const CheckpointFile::Run& run, Worker* worker);
  void ReadList(Slot slot, int level, const std::byte* stored, std::vector<Slot>* list);
  uint64_t SettleSlots();
  void ChooseEntry();

  IndexCore& core_;
  std::function<bool(uint64_t)> reserve_;
  uint64_t slot_count_ = 0;
  std::unique_ptr<std::atomic<uint8_t>[]> flags_;  // SlotFlags and others, of all slots
  std::vector<Slot> dead_;
  std::vector<Slot> free_;
};

}  // namespace vectron::index
