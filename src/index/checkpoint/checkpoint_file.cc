#include "index/checkpoint/checkpoint_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>

#include "index/graph/graph.h"

namespace vectron::index {

CheckpointFile::~CheckpointFile() {
  if (fd_ >= 0) close(fd_);
}

Status CheckpointFile::DamagedAt(uint64_t offset, std::string_view what) const {
  return Corruption(fmt::format("checkpoint {}, block at byte {}: {}", path_, offset, what));
}

Status CheckpointFile::Open() {
  fd_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat stat {};
  if (fd_ < 0 || fstat(fd_, &stat) != 0) {
    return Internal(fmt::format("cannot open checkpoint {}: {}", path_, std::strerror(errno)));
  }
  size_bytes_ = static_cast<uint64_t>(stat.st_size);
  VECTRON_RETURN_IF_ERROR(ReadHeader());
  // Small pieces, far apart.
  posix_fadvise(fd_, 0, 0, POSIX_FADV_RANDOM);
  VECTRON_RETURN_IF_ERROR(ReadLayout());
  posix_fadvise(fd_, 0, 0, POSIX_FADV_SEQUENTIAL);
  return OkStatus();
}

Status CheckpointFile::ReadAt(uint64_t offset, void* data, uint64_t bytes, const char* what) const {
  if (bytes > size_bytes_ - offset) return DamagedAt(offset, fmt::format("ends within {}", what));
  auto* at = static_cast<std::byte*>(data);
  while (bytes > 0) {
    const ssize_t count = pread(fd_, at, bytes, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      return Internal(fmt::format("cannot read checkpoint {}: {}", path_, std::strerror(errno)));
    }
    if (count == 0) return DamagedAt(offset, fmt::format("ends within {}", what));
    at += count;
    bytes -= static_cast<uint64_t>(count);
    offset += static_cast<uint64_t>(count);
  }
  return OkStatus();
}

Status CheckpointFile::ReadHeader() {
  VECTRON_RETURN_IF_ERROR(ReadAt(0, &header_, sizeof(header_), "the header"));
  if (std::memcmp(header_.magic, kCheckpointMagic, sizeof(header_.magic)) != 0) {
    return DamagedAt(0, "this is not an index checkpoint");
  }
  if (header_.hash != XXH3_64bits(&header_, offsetof(CheckpointHeader, hash))) {
    return DamagedAt(0, "the header does not match its hash");
  }
  if (header_.version != kCheckpointVersion) {
    return MakeError(Reason::kIncompatibleFormat,
                     fmt::format("checkpoint {} has format version {}, not {}", path_,
                                 header_.version, kCheckpointVersion));
  }
  // Each slot has a byte of flags at least.
  if (header_.slot_count > size_bytes_ || header_.slot_count > kSlotsMax) {
    return DamagedAt(0, "more slots than the file has bytes");
  }
  if (header_.live_count > header_.slot_count) return DamagedAt(0, "more vectors than slots");
  return OkStatus();
}

Status CheckpointFile::NextBlock(uint64_t* offset, Block* block) const {
  block->offset = *offset;
  BlockHeader& header = block->header;
  VECTRON_RETURN_IF_ERROR(ReadAt(*offset, &header, sizeof(header), "a block's header"));
  if (header.header_hash != XXH3_64bits(&header, offsetof(BlockHeader, header_hash))) {
    return Damaged(*block, "a block's header does not match its hash");
  }
  *offset += sizeof(header);
  // Before memory is taken for it.
  if (header.payload_bytes > size_bytes_ - *offset) return Damaged(*block, "ends within a block");
  *offset += header.payload_bytes;
  return OkStatus();
}

Status CheckpointFile::ReadLayout() {
  uint64_t offset = sizeof(header_);
  uint64_t slots = 0;
  uint64_t blocks = 0;
  while (true) {
    Block block;
    VECTRON_RETURN_IF_ERROR(NextBlock(&offset, &block));
    switch (block.header.type) {
      case BlockType::kRanges:
        if (blocks != 0) return Damaged(block, "ranges after vectors");
        ranges_ = block;
        ++blocks;
        break;
      case BlockType::kFloats:
      case BlockType::kBytes:
        VECTRON_RETURN_IF_ERROR(AddRun(block, &offset, slots));
        slots += block.header.slot_count;
        blocks += 2;
        break;
      case BlockType::kLinks:
        return Damaged(block, "links of unexpected slots");
      case BlockType::kEnd:
        return ReadEnd(block, offset, blocks, slots);
      default:
        return Damaged(block, "a block of an unknown type");
    }
  }
}

Status CheckpointFile::AddRun(const Block& vectors, uint64_t* offset, uint64_t first_slot) {
  const BlockHeader& header = vectors.header;
  if (header.first_slot != first_slot || header.slot_count == 0 ||
      header.slot_count > header_.slot_count - first_slot ||
      header.slot_count > header.payload_bytes) {
    return Damaged(vectors, "vectors of unexpected slots");
  }
  Block links;
  VECTRON_RETURN_IF_ERROR(NextBlock(offset, &links));
  if (links.header.type != BlockType::kLinks || links.header.first_slot != first_slot ||
      links.header.slot_count != header.slot_count) {
    return Damaged(links, "not the links of the slots before it");
  }
  runs_.push_back({vectors, links});
  return OkStatus();
}

Status CheckpointFile::ReadEnd(const Block& block, uint64_t offset, uint64_t block_count,
                               uint64_t slot_count) {
  std::vector<std::byte> payload;
  if (block.header.payload_bytes != sizeof(end_) || offset != size_bytes_) {
    return Damaged(block, "something after the end");
  }
  VECTRON_RETURN_IF_ERROR(ReadPayload(block, &payload));
  std::memcpy(&end_, payload.data(), sizeof(end_));
  if (end_.block_count != block_count || slot_count != header_.slot_count) {
    return Damaged(block, "blocks are missing before the end");
  }
  return OkStatus();
}

Status CheckpointFile::ReadPayload(const Block& block, std::vector<std::byte>* payload) const {
  payload->resize(block.header.payload_bytes);
  VECTRON_RETURN_IF_ERROR(
      ReadAt(block.offset + sizeof(BlockHeader), payload->data(), payload->size(), "a block"));
  if (block.header.payload_hash != XXH3_64bits(payload->data(), payload->size())) {
    return Damaged(block, "a block does not match its hash");
  }
  return OkStatus();
}

void CheckpointFile::WillNeed(const Block& block) const {
  posix_fadvise(fd_, static_cast<off_t>(block.offset),
                static_cast<off_t>(sizeof(BlockHeader) + block.header.payload_bytes),
                POSIX_FADV_WILLNEED);
}

}  // namespace vectron::index
