#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "index/checkpoint/checkpoint.h"
#include "index/checkpoint/checkpoint_format.h"

namespace vectron::index {

// The file being read, a block at a time.
class CheckpointReader::File {
 public:
  explicit File(std::string path) : path_(std::move(path)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }

  Status Open() {
    fd_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat stat {};
    if (fd_ < 0 || fstat(fd_, &stat) != 0) {
      return Internal(fmt::format("cannot open checkpoint {}: {}", path_, std::strerror(errno)));
    }
    left_ = static_cast<uint64_t>(stat.st_size);
    posix_fadvise(fd_, 0, 0, POSIX_FADV_SEQUENTIAL);
    return OkStatus();
  }

  Status Read(void* data, uint64_t bytes, const char* what) {
    if (bytes > left_) return Damaged(fmt::format("ends within {}", what));
    auto* at = static_cast<std::byte*>(data);
    while (bytes > 0) {
      const ssize_t count = read(fd_, at, bytes);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) {
        return Internal(fmt::format("cannot read checkpoint {}: {}", path_, std::strerror(errno)));
      }
      if (count == 0) return Damaged(fmt::format("ends within {}", what));
      at += count;
      bytes -= static_cast<uint64_t>(count);
      left_ -= static_cast<uint64_t>(count);
      offset_ += static_cast<uint64_t>(count);
    }
    return OkStatus();
  }

  // The next block into header() and payload(), checked against its hashes.
  Status NextBlock() {
    block_offset_ = offset_;
    VECTRON_RETURN_IF_ERROR(Read(&header_, sizeof(header_), "a block's header"));
    if (header_.header_hash != XXH3_64bits(&header_, offsetof(BlockHeader, header_hash))) {
      return Damaged("a block's header does not match its hash");
    }
    // Before memory is taken for it.
    if (header_.payload_bytes > left_) return Damaged("ends within a block");
    payload_.resize(header_.payload_bytes);
    VECTRON_RETURN_IF_ERROR(Read(payload_.data(), payload_.size(), "a block"));
    if (header_.payload_hash != XXH3_64bits(payload_.data(), payload_.size())) {
      return Damaged("a block does not match its hash");
    }
    return OkStatus();
  }

  Status Damaged(std::string_view what) const {
    return Corruption(
        fmt::format("checkpoint {}, block at byte {}: {}", path_, block_offset_, what));
  }

  const BlockHeader& header() const { return header_; }
  const std::vector<std::byte>& payload() const { return payload_; }
  uint64_t left() const { return left_; }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
  int fd_ = -1;
  uint64_t left_ = 0;
  uint64_t offset_ = 0;
  uint64_t block_offset_ = 0;
  BlockHeader header_{};
  std::vector<std::byte> payload_;
};

Status CheckpointReader::Read(const std::string& path) {
  File file(path);
  VECTRON_RETURN_IF_ERROR(file.Open());
  VECTRON_RETURN_IF_ERROR(ReadHeader(&file));
  if (!reserve_(slot_count_)) {
    return MakeError(
        Reason::kOverloaded,
        fmt::format("no memory for the {} vectors of checkpoint {}", slot_count_, path));
  }
  flags_.assign(slot_count_, 0);
  row_.resize(core_.options.dimension);
  core_.slot_count.store(slot_count_, std::memory_order_release);
  VECTRON_RETURN_IF_ERROR(ReadBlocks(&file));
  core_.live_count.store(live_read_);
  core_.linked_count.store(linked_read_);
  MendLinks();
  ChooseEntry();
  return OkStatus();
}

Status CheckpointReader::ReadHeader(File* file) {
  const IndexOptions& options = core_.options;
  const auto differs = [&](const char* what, uint64_t stored, uint64_t wanted) {
    return InvalidArgument(fmt::format("checkpoint {} was written with {} {}, not {}", file->path(),
                                       what, stored, wanted));
  };
  CheckpointHeader header;
  VECTRON_RETURN_IF_ERROR(file->Read(&header, sizeof(header), "the header"));
  if (std::memcmp(header.magic, kCheckpointMagic, sizeof(header.magic)) != 0) {
    return file->Damaged("this is not an index checkpoint");
  }
  if (header.hash != XXH3_64bits(&header, offsetof(CheckpointHeader, hash))) {
    return file->Damaged("the header does not match its hash");
  }
  if (header.version != kCheckpointVersion) {
    return MakeError(Reason::kIncompatibleFormat,
                     fmt::format("checkpoint {} has format version {}, not {}", file->path(),
                                 header.version, kCheckpointVersion));
  }
  if (header.dimension != options.dimension) {
    return differs("dimension", header.dimension, options.dimension);
  }
  if (header.m != options.m) return differs("m", header.m, options.m);
  if (header.seed != options.seed) return differs("seed", header.seed, options.seed);
  if (header.metric != static_cast<uint8_t>(options.metric)) {
    return InvalidArgument(fmt::format("checkpoint {} was written with another metric than {}",
                                       file->path(), MetricName(options.metric)));
  }
  if (header.quantization != static_cast<uint8_t>(options.quantization)) {
    return InvalidArgument(
        fmt::format("checkpoint {} was written with another quantization than {}", file->path(),
                    QuantizationName(options.quantization)));
  }
  // Each slot has a byte of flags at least.
  if (header.slot_count > file->left() || header.slot_count > kSlotsMax) {
    return file->Damaged("more slots than the file has bytes");
  }
  if (header.live_count > header.slot_count) return file->Damaged("more vectors than slots");
  slot_count_ = header.slot_count;
  live_count_ = header.live_count;
  return OkStatus();
}

Status CheckpointReader::ReadBlocks(File* file) {
  for (uint64_t blocks = 0;; ++blocks) {
    VECTRON_RETURN_IF_ERROR(file->NextBlock());
    switch (file->header().type) {
      case BlockType::kRanges:
        if (blocks != 0) return file->Damaged("ranges after vectors");
        VECTRON_RETURN_IF_ERROR(ReadRanges(*file));
        break;
      case BlockType::kFloats:
      case BlockType::kBytes:
        VECTRON_RETURN_IF_ERROR(ReadVectors(*file));
        break;
      case BlockType::kLinks:
        VECTRON_RETURN_IF_ERROR(ReadLinks(*file));
        break;
      case BlockType::kEnd: {
        VECTRON_RETURN_IF_ERROR(ReadEnd(*file));
        EndPayload end;
        std::memcpy(&end, file->payload().data(), sizeof(end));
        if (end.block_count != blocks) return file->Damaged("blocks are missing before the end");
        return OkStatus();
      }
      default:
        return file->Damaged("a block of an unknown type");
    }
  }
}

Status CheckpointReader::ReadRanges(const File& file) {
  const size_t dimension = core_.options.dimension;
  const std::vector<std::byte>& payload = file.payload();
  RangesPrefix prefix;
  if (payload.size() != sizeof(prefix) + 2 * dimension * sizeof(float) ||
      core_.options.quantization != Quantization::kSq8) {
    return file.Damaged("ranges that do not belong to such an index");
  }
  std::memcpy(&prefix, payload.data(), sizeof(prefix));
  std::vector<float> low(dimension);
  std::vector<float> range(dimension);
  std::memcpy(low.data(), payload.data() + sizeof(prefix), dimension * sizeof(float));
  std::memcpy(range.data(), payload.data() + sizeof(prefix) + dimension * sizeof(float),
              dimension * sizeof(float));
  const bool integral = prefix.integral != 0;
  for (size_t d = 0; d < dimension; ++d) {
    const bool fits = integral ? low[d] == 0 && range[d] == 255
                               : std::isfinite(low[d]) && std::isfinite(range[d]) && range[d] >= 0;
    if (!fits) return file.Damaged("ranges that no data has");
  }
  if (prefix.sample_count == 0 || (integral && core_.options.metric == Metric::kCosine)) {
    return file.Damaged("ranges that no data has");
  }
  Sq8Quantizer quantizer(core_.options.metric, std::move(low), std::move(range), integral,
                         core_.space.kernels());
  if (!core_.codes.Restore(std::move(quantizer), prefix.sample_count, slot_count_)) {
    return MakeError(Reason::kOverloaded, "no memory for the codes of a checkpoint");
  }
  return OkStatus();
}

Status CheckpointReader::ReadVectors(const File& file) {
  const BlockHeader& header = file.header();
  const std::vector<std::byte>& payload = file.payload();
  if (header.first_slot != next_vectors_ || next_links_ != next_vectors_ ||
      header.slot_count == 0 || header.slot_count > slot_count_ - next_vectors_ ||
      header.slot_count > payload.size()) {
    return file.Damaged("vectors of unexpected slots");
  }
  const auto* flags = reinterpret_cast<const uint8_t*>(payload.data());
  uint64_t present = 0;
  for (uint64_t i = 0; i < header.slot_count; ++i) {
    // Something that is not there is neither live nor linked; what is there is one
    // of the two.
    const bool valid = flags[i] == 0 || flags[i] == (kSlotPresent | kSlotLive) ||
                       flags[i] == (kSlotPresent | kSlotLinked) ||
                       flags[i] == (kSlotPresent | kSlotLive | kSlotLinked);
    if (!valid) return file.Damaged("slots in a state that does not exist");
    present += flags[i] != 0;
  }
  const bool bytes = header.type == BlockType::kBytes;
  const uint64_t row_bytes = core_.options.dimension * (bytes ? 1 : sizeof(float));
  if (payload.size() - header.slot_count != present * (sizeof(uint64_t) + row_bytes)) {
    return file.Damaged("more or fewer vectors than slots in use");
  }
  std::memcpy(flags_.data() + header.first_slot, flags, header.slot_count);
  const std::byte* label_at = payload.data() + header.slot_count;
  const std::byte* row = label_at + present * sizeof(uint64_t);
  for (uint64_t i = 0; i < header.slot_count; ++i) {
    const auto slot = static_cast<Slot>(header.first_slot + i);
    if (flags[i] == 0) {
      free_.push_back(slot);
      continue;
    }
    uint64_t label = 0;
    std::memcpy(&label, label_at, sizeof(label));
    label_at += sizeof(label);
    if (!PlaceRow(slot, label, row, bytes).ok()) {
      return file.Damaged("a vector that nobody can have put");
    }
    row += row_bytes;
    if (flags[i] & kSlotLive) {
      ++live_read_;
    } else {
      dead_.push_back(slot);
    }
  }
  next_vectors_ += header.slot_count;
  return OkStatus();
}

Status CheckpointReader::PlaceRow(Slot slot, uint64_t label, const std::byte* row, bool bytes) {
  if (bytes) {
    for (size_t d = 0; d < row_.size(); ++d) row_[d] = static_cast<float>(row[d]);
  } else {
    std::memcpy(row_.data(), row, row_.size() * sizeof(float));
  }
  VECTRON_RETURN_IF_ERROR(core_.space.Validate(row_, "vector"));
  std::memcpy(core_.space.Row(slot), row_.data(), row_.size() * sizeof(float));
  core_.labels[slot] = label;
  if (!core_.graph.Reset(slot)) return Internal("no memory");
  core_.codes.Encode(slot, [&] {
    core_.graph.AddState(slot, Graph::kUsed);
    if (flags_[slot] & kSlotLive) core_.live.Set(slot);
  });
  return OkStatus();
}

Status CheckpointReader::ReadLinks(const File& file) {
  const BlockHeader& header = file.header();
  const std::vector<std::byte>& payload = file.payload();
  if (header.first_slot != next_links_ || header.slot_count > next_vectors_ - next_links_ ||
      header.first_slot + header.slot_count != next_vectors_) {
    return file.Damaged("links of unexpected slots");
  }
  size_t at = 0;
  std::vector<Slot> list;
  for (uint64_t i = 0; i < header.slot_count; ++i) {
    const auto slot = static_cast<Slot>(header.first_slot + i);
    if (!(flags_[slot] & kSlotLinked)) continue;
    ++linked_read_;
    for (int level = 0; level <= core_.graph.LevelOf(slot); ++level) {
      list.resize(core_.graph.degree_max(level));
      const size_t bytes = list.size() * sizeof(Slot);
      if (payload.size() - at < bytes) return file.Damaged("fewer links than nodes");
      std::memcpy(list.data(), payload.data() + at, bytes);
      at += bytes;
      // A list that was changed while it was dumped may go on after its end.
      list.erase(std::find(list.begin(), list.end(), kNoSlot), list.end());
      // Some lead to slots that come later in the file: looked at when all is read.
      core_.graph.SetLinks(slot, level, list);
    }
  }
  if (at != payload.size()) return file.Damaged("more links than nodes");
  next_links_ = next_vectors_;
  return OkStatus();
}

Status CheckpointReader::ReadEnd(const File& file) {
  EndPayload end;
  if (file.payload().size() != sizeof(end) || file.left() != 0) {
    return file.Damaged("something after the end");
  }
  std::memcpy(&end, file.payload().data(), sizeof(end));
  if (next_vectors_ != slot_count_ || next_links_ != slot_count_ || end.live_count != live_read_ ||
      live_count_ != live_read_ || end.linked_count != linked_read_ ||
      end.present_count != live_read_ + dead_.size()) {
    return file.Damaged("the blocks do not add up");
  }
  return OkStatus();
}

void CheckpointReader::MendLinks() {
  std::vector<bool> reached(slot_count_, false);
  std::vector<Slot> weak;
  for (uint64_t i = 0; i < slot_count_; ++i) {
    const auto slot = static_cast<Slot>(i);
    if ((flags_[slot] & kSlotLinked) && !MendNode(slot, &reached)) weak.push_back(slot);
  }
  for (const Slot slot : weak) core_.graph.AddState(slot, Graph::kWeak);

  uint64_t pending = 0;
  for (uint64_t i = 0; i < slot_count_; ++i) {
    const auto slot = static_cast<Slot>(i);
    if (flags_[slot] == 0) continue;
    const bool linked = flags_[slot] & kSlotLinked;
    const bool live = flags_[slot] & kSlotLive;
    if (linked) core_.graph.AddState(slot, Graph::kLinked);
    if (!live) core_.graph.AddState(slot, Graph::kDead);
    if (linked && !reached[slot]) core_.graph.AddState(slot, Graph::kWeak);
    const bool weak_node = core_.graph.State(slot) & Graph::kWeak;
    if (live && (!linked || weak_node)) {
      core_.tail.Append(slot);
      pending += !linked;
    } else {
      core_.graph.AddState(slot, Graph::kSettled);
    }
  }
  core_.pending_count.store(pending);
}

// False if the node lost half of its neighbours, or all.
bool CheckpointReader::MendNode(Slot slot, std::vector<bool>* reached) {
  bool strong = true;
  std::vector<Slot> links;
  for (int level = 0; level <= core_.graph.LevelOf(slot); ++level) {
    core_.graph.CopyLinks(slot, level, &links);
    const size_t before = links.size();
    std::erase_if(links, [&](Slot to) {
      return to >= slot_count_ || to == slot || !(flags_[to] & kSlotLinked) ||
             core_.graph.LevelOf(to) < level;
    });
    if (links.size() < before) core_.graph.SetLinks(slot, level, links);
    if (level > 0) continue;
    strong = links.size() * 2 > before;
    for (const Slot to : links) (*reached)[to] = true;
  }
  return strong;
}

void CheckpointReader::ChooseEntry() {
  Graph::Entry best;
  bool best_lives = false;
  for (uint64_t i = 0; i < slot_count_; ++i) {
    const auto slot = static_cast<Slot>(i);
    if (!(flags_[slot] & kSlotLinked)) continue;
    const bool lives = flags_[slot] & kSlotLive;
    const int level = core_.graph.LevelOf(slot);
    if (best.slot == kNoSlot || std::pair(lives, level) > std::pair(best_lives, best.level)) {
      best = {slot, level};
      best_lives = lives;
    }
  }
  core_.graph.set_entry(best);
}

}  // namespace vectron::index
