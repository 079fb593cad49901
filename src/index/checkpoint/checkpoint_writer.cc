#include <fcntl.h>
#include <fmt/format.h>
#include <sys/uio.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "index/checkpoint/checkpoint.h"
#include "index/checkpoint/checkpoint_format.h"

namespace vectron::index {
namespace {

// Vectors are read under an epoch guard a block at a time.
constexpr uint64_t kBlockBytes = uint64_t{4} << 20;
constexpr uint64_t kBlockSlotsMax = 65'536;

void Append(std::vector<std::byte>* payload, const void* data, size_t bytes) {
  const auto* start = static_cast<const std::byte*>(data);
  payload->insert(payload->end(), start, start + bytes);
}

}  // namespace

// The file being written; keeps to the allowed rate.
class CheckpointWriter::File {
 public:
  File(std::string path, const Clock& clock, uint64_t bytes_per_second_max)
      : path_(std::move(path)),
        clock_(clock),
        bytes_per_second_max_(bytes_per_second_max),
        start_(clock.Now()) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }

  Status Open() {
    fd_ = open(path_.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    return fd_ >= 0 ? OkStatus() : Error("create");
  }

  Status WriteHeader(CheckpointHeader header) {
    header.hash = XXH3_64bits(&header, offsetof(CheckpointHeader, hash));
    return WriteAll({iovec{&header, sizeof(header)}, iovec{nullptr, 0}});
  }

  Status WriteBlock(BlockType type, uint64_t first_slot, uint64_t slot_count, const void* payload,
                    size_t payload_bytes) {
    BlockHeader header{type, 0, first_slot, slot_count, payload_bytes, 0, 0};
    header.payload_hash = XXH3_64bits(payload, payload_bytes);
    header.header_hash = XXH3_64bits(&header, offsetof(BlockHeader, header_hash));
    VECTRON_RETURN_IF_ERROR(WriteAll(
        {iovec{&header, sizeof(header)}, iovec{const_cast<void*>(payload), payload_bytes}}));
    KeepToRate();
    return OkStatus();
  }

  Status Sync() { return fdatasync(fd_) == 0 ? OkStatus() : Error("sync"); }

 private:
  Status Error(const char* what) const {
    const Reason reason =
        errno == ENOSPC || errno == EDQUOT ? Reason::kDiskFull : Reason::kInternal;
    return MakeError(reason,
                     fmt::format("cannot {} checkpoint {}: {}", what, path_, std::strerror(errno)));
  }

  Status WriteAll(std::array<iovec, 2> parts) {
    for (iovec& part : parts) {
      while (part.iov_len > 0) {
        const ssize_t written = write(fd_, part.iov_base, part.iov_len);
        if (written < 0) {
          if (errno == EINTR) continue;
          return Error("write");
        }
        part.iov_base = static_cast<char*>(part.iov_base) + written;
        part.iov_len -= static_cast<size_t>(written);
        bytes_ += static_cast<uint64_t>(written);
      }
    }
    return OkStatus();
  }

  void KeepToRate() {
    if (bytes_per_second_max_ == 0) return;
    const double seconds = static_cast<double>(bytes_) / static_cast<double>(bytes_per_second_max_);
    const TimePoint due =
        start_ + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
    const Duration ahead = due - clock_.Now();
    if (ahead <= Duration::zero()) return;
    MutexLock lock(mutex_);
    pause_.WaitFor(mutex_, ahead);
  }

  const std::string path_;
  const Clock& clock_;
  const uint64_t bytes_per_second_max_;
  const TimePoint start_;
  uint64_t bytes_ = 0;
  int fd_ = -1;
  Mutex mutex_;
  CondVar pause_;  // never notified
};

Status CheckpointWriter::Write(const std::string& path, uint64_t bytes_per_second_max) {
  const IndexOptions& options = core_.options;
  FindLinked();
  File file(path, *options.clock, bytes_per_second_max);
  VECTRON_RETURN_IF_ERROR(file.Open());
  CheckpointHeader header{};
  std::memcpy(header.magic, kCheckpointMagic, sizeof(header.magic));
  header.version = kCheckpointVersion;
  header.dimension = options.dimension;
  header.m = options.m;
  header.metric = static_cast<uint8_t>(options.metric);
  header.quantization = static_cast<uint8_t>(options.quantization);
  header.seed = options.seed;
  header.slot_count = cut_.slot_count;
  header.live_count = cut_.live_count;
  VECTRON_RETURN_IF_ERROR(file.WriteHeader(header));
  VECTRON_RETURN_IF_ERROR(WriteRanges(&file));

  const uint64_t row_bytes = options.dimension * sizeof(float);
  const uint64_t slots_per_block = std::clamp<uint64_t>(kBlockBytes / row_bytes, 1, kBlockSlotsMax);
  for (uint64_t first = 0; first < cut_.slot_count; first += slots_per_block) {
    VECTRON_RETURN_IF_ERROR(
        WriteSlots(first, std::min(slots_per_block, cut_.slot_count - first), &file));
  }
  const EndPayload end{counts_.blocks, counts_.live, counts_.present, counts_.linked};
  VECTRON_RETURN_IF_ERROR(file.WriteBlock(BlockType::kEnd, cut_.slot_count, 0, &end, sizeof(end)));
  return file.Sync();
}

// Only what is linked before the first list is written counts as linked: later
// nodes' incoming links might stand in lists that were written already.
void CheckpointWriter::FindLinked() {
  linked_.assign((cut_.slot_count + 63) / 64, 0);
  for (uint64_t slot = 0; slot < cut_.slot_count; ++slot) {
    const uint64_t linked = (core_.graph.State(static_cast<Slot>(slot)) & Graph::kLinked) != 0;
    linked_[slot >> 6] |= linked << (slot & 63);
  }
}

Status CheckpointWriter::WriteRanges(File* file) {
  if (core_.options.quantization != Quantization::kSq8) return OkStatus();
  payload_.clear();
  {
    const EpochManager::Guard guard = core_.epochs.Enter();
    const CodeSet* codes = core_.codes.current();
    if (codes == nullptr) return OkStatus();
    const RangesPrefix prefix{codes->sample_count, codes->quantizer.integral() ? 1u : 0u};
    const size_t bytes = core_.options.dimension * sizeof(float);
    Append(&payload_, &prefix, sizeof(prefix));
    Append(&payload_, codes->quantizer.low().data(), bytes);
    Append(&payload_, codes->quantizer.range().data(), bytes);
  }
  ++counts_.blocks;
  return file->WriteBlock(BlockType::kRanges, 0, 0, payload_.data(), payload_.size());
}

Status CheckpointWriter::WriteSlots(uint64_t first, uint64_t count, File* file) {
  {
    const EpochManager::Guard guard = core_.epochs.Enter();
    CollectVectors(first, count);
    CollectLinks(first);
  }
  payload_.clear();
  Append(&payload_, flags_.data(), flags_.size());
  Append(&payload_, labels_.data(), labels_.size() * sizeof(uint64_t));
  const bool bytes = HoldsBytes(rows_.data(), rows_.size());
  if (bytes) {
    const size_t start = payload_.size();
    payload_.resize(start + rows_.size());
    Narrow(rows_.data(), rows_.size(), reinterpret_cast<uint8_t*>(payload_.data() + start));
  } else {
    Append(&payload_, rows_.data(), rows_.size() * sizeof(float));
  }
  counts_.blocks += 2;
  VECTRON_RETURN_IF_ERROR(file->WriteBlock(bytes ? BlockType::kBytes : BlockType::kFloats, first,
                                           count, payload_.data(), payload_.size()));
  return file->WriteBlock(BlockType::kLinks, first, count, links_.data(),
                          links_.size() * sizeof(Slot));
}

// Under a guard: a slot that is seen used is not written to meanwhile.
void CheckpointWriter::CollectVectors(uint64_t first, uint64_t count) {
  flags_.assign(count, 0);
  labels_.clear();
  rows_.clear();
  for (uint64_t i = 0; i < count; ++i) {
    const auto slot = static_cast<Slot>(first + i);
    const uint8_t state = core_.graph.State(slot);
    const bool linked = (linked_[slot >> 6] >> (slot & 63)) & 1 && (state & Graph::kLinked);
    const bool live = cut_.Live(slot);
    if (!live && !(linked && (state & Graph::kDead))) continue;
    flags_[i] =
        static_cast<uint8_t>(kSlotPresent | (live ? kSlotLive : 0) | (linked ? kSlotLinked : 0));
    labels_.push_back(core_.labels[slot]);
    const float* vector = core_.vectors.Vector(slot, &vector_);
    rows_.insert(rows_.end(), vector, vector + vector_.size());
    ++counts_.present;
    counts_.live += live;
    counts_.linked += linked;
  }
}

void CheckpointWriter::CollectLinks(uint64_t first) {
  links_.clear();
  for (size_t i = 0; i < flags_.size(); ++i) {
    if (!(flags_[i] & kSlotLinked)) continue;
    const auto slot = static_cast<Slot>(first + i);
    for (int level = 0; level <= core_.graph.LevelOf(slot); ++level) {
      const std::atomic<Slot>* links = core_.graph.Links(slot, level);
      for (uint32_t l = 0; l < core_.graph.degree_max(level); ++l) {
        links_.push_back(links[l].load(std::memory_order_acquire));
      }
    }
  }
}

}  // namespace vectron::index
