#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "index/checkpoint/checkpoint_format.h"

namespace vectron::index {

// A checkpoint that is being read. What it says of itself is not trusted: Open looks at
// the header of each block, without what is in them, and holds it to its hash, to the size
// of the file and to the order that the format asks for; ReadPayload holds a block's
// content to its hash.
//
// Open first; then ReadPayload by any number of threads.
class CheckpointFile {
 public:
  struct Block {
    BlockHeader header;
    uint64_t offset = 0;  // of the header, in the file
  };
  // A run of slots: its vectors and then its links.
  struct Run {
    Block vectors;
    Block links;
  };

  explicit CheckpointFile(std::string path) : path_(std::move(path)) {}
  ~CheckpointFile();
  CheckpointFile(const CheckpointFile&) = delete;
  CheckpointFile& operator=(const CheckpointFile&) = delete;

  // CORRUPTION, INCOMPATIBLE_FORMAT, INTERNAL.
  Status Open();

  const std::string& path() const { return path_; }
  uint64_t size_bytes() const { return size_bytes_; }
  const CheckpointHeader& header() const { return header_; }
  const std::optional<Block>& ranges() const { return ranges_; }
  // All slots of the header, ascending.
  const std::vector<Run>& runs() const { return runs_; }
  const EndPayload& end() const { return end_; }
  // The error for a block with this content.
  Status Damaged(const Block& block, std::string_view what) const {
    return DamagedAt(block.offset, what);
  }

  Status ReadPayload(const Block& block, std::vector<std::byte>* payload) const;
  // Tells the system that the block will be read.
  void WillNeed(const Block& block) const;

 private:
  Status DamagedAt(uint64_t offset, std::string_view what) const;
  Status ReadAt(uint64_t offset, void* data, uint64_t bytes, const char* what) const;
  Status ReadHeader();
  Status ReadLayout();
  // The block at `offset`, which becomes that of the next one.
  Status NextBlock(uint64_t* offset, Block* block) const;
  Status AddRun(const Block& vectors, uint64_t* offset, uint64_t first_slot);
  Status ReadEnd(const Block& block, uint64_t offset, uint64_t block_count, uint64_t slot_count);

  const std::string path_;
  int fd_ = -1;
  uint64_t size_bytes_ = 0;
  CheckpointHeader header_{};
  std::optional<Block> ranges_;
  std::vector<Run> runs_;
  EndPayload end_{};
};

}  // namespace vectron::index
