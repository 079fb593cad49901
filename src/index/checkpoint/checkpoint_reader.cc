#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/thread.h"
#include "index/checkpoint/checkpoint.h"
#include "index/checkpoint/checkpoint_file.h"

namespace vectron::index {
namespace {

// More threads would wait for memory.
constexpr int kThreadsMax = 4;
// A thread that has less to read is not worth starting.
constexpr uint64_t kBytesPerThread = uint64_t{16} << 20;
// Blocks that the system is told of before they are wanted.
constexpr size_t kReadAhead = 6;

// In the flags of a slot while it is read, beside SlotFlags.
constexpr uint8_t kSlotReached = 8;  // some node links to it
constexpr uint8_t kSlotWeak = 16;    // lost many of its links

}  // namespace

// What one of the reading threads has for itself, in cache lines of its own.
struct alignas(64) CheckpointReader::Worker {
  std::vector<std::byte> payload;
  std::vector<Slot> list;
  std::vector<float> vector;
  uint64_t present_count = 0;
  uint64_t misfit_count = 0;  // components that the codes' ranges do not hold
  uint64_t linked_count = 0;
};

Status CheckpointReader::Read(const std::string& path) {
  CheckpointFile file(path);
  VECTRON_RETURN_IF_ERROR(file.Open());
  VECTRON_RETURN_IF_ERROR(CheckOptions(file));
  slot_count_ = file.header().slot_count;
  if (!ReserveSlots(file)) {
    return MakeError(
        Reason::kOverloaded,
        fmt::format("no memory for the {} vectors of checkpoint {}", slot_count_, path));
  }
  flags_ = std::make_unique<std::atomic<uint8_t>[]>(slot_count_);
  if (file.ranges().has_value()) VECTRON_RETURN_IF_ERROR(ReadRanges(file));

  const auto wanted = static_cast<int>(
      std::min<uint64_t>(file.size_bytes() / kBytesPerThread + 1, uint64_t{kThreadsMax}));
  std::vector<Worker> workers(static_cast<size_t>(std::min(wanted, UsableCores())));
  // Links lead to slots that come later in the file, so all vectors are read before them.
  VECTRON_RETURN_IF_ERROR(ForEachRun(file, &workers, &CheckpointReader::ReadVectors));
  VECTRON_RETURN_IF_ERROR(ForEachRun(file, &workers, &CheckpointReader::ReadLinks));

  core_.vectors.FinishRestore(slot_count_);
  core_.slot_count.store(slot_count_, std::memory_order_release);
  Worker total;
  for (const Worker& worker : workers) {
    total.present_count += worker.present_count;
    total.misfit_count += worker.misfit_count;
    total.linked_count += worker.linked_count;
  }
  core_.codes.FinishRestore(total.present_count, total.misfit_count);
  const uint64_t live_count = SettleSlots();
  core_.live_count.store(live_count);
  core_.linked_count.store(total.linked_count);
  const EndPayload& end = file.end();
  if (live_count != file.header().live_count || end.live_count != live_count ||
      end.linked_count != total.linked_count || end.present_count != total.present_count) {
    return Corruption(fmt::format("checkpoint {}: the blocks do not add up", path));
  }
  ChooseEntry();
  return OkStatus();
}

bool CheckpointReader::ReserveSlots(const CheckpointFile& file) {
  if (!reserve_(slot_count_)) return false;
  for (const CheckpointFile::Run& run : file.runs()) {
    const BlockHeader& block = run.vectors.header;
    if (block.type == BlockType::kBytes) continue;
    if (!core_.vectors.KeepAsFloats(block.first_slot, block.slot_count)) return false;
  }
  return true;
}

Status CheckpointReader::CheckOptions(const CheckpointFile& file) const {
  const IndexOptions& options = core_.options;
  const CheckpointHeader& header = file.header();
  const auto differs = [&](const char* what, uint64_t stored, uint64_t wanted) {
    return InvalidArgument(fmt::format("checkpoint {} was written with {} {}, not {}", file.path(),
                                       what, stored, wanted));
  };
  if (header.dimension != options.dimension) {
    return differs("dimension", header.dimension, options.dimension);
  }
  if (header.m != options.m) return differs("m", header.m, options.m);
  if (header.seed != options.seed) return differs("seed", header.seed, options.seed);
  if (header.metric != static_cast<uint8_t>(options.metric)) {
    return InvalidArgument(fmt::format("checkpoint {} was written with another metric than {}",
                                       file.path(), MetricName(options.metric)));
  }
  if (header.quantization != static_cast<uint8_t>(options.quantization)) {
    return InvalidArgument(
        fmt::format("checkpoint {} was written with another quantization than {}", file.path(),
                    QuantizationName(options.quantization)));
  }
  return OkStatus();
}

Status CheckpointReader::ReadRanges(const CheckpointFile& file) {
  const CheckpointFile::Block& block = *file.ranges();
  std::vector<std::byte> payload;
  VECTRON_RETURN_IF_ERROR(file.ReadPayload(block, &payload));
  const size_t dimension = core_.options.dimension;
  RangesPrefix prefix;
  if (payload.size() != sizeof(prefix) + 2 * dimension * sizeof(float) ||
      core_.options.quantization != Quantization::kSq8) {
    return file.Damaged(block, "ranges that do not belong to such an index");
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
    if (!fits) return file.Damaged(block, "ranges that no data has");
  }
  if (prefix.sample_count == 0 || (integral && core_.options.metric == Metric::kCosine)) {
    return file.Damaged(block, "ranges that no data has");
  }
  Sq8Quantizer quantizer(core_.options.metric, std::move(low), std::move(range), integral,
                         core_.space.kernels());
  if (!core_.codes.Restore(std::move(quantizer), prefix.sample_count, slot_count_)) {
    return MakeError(Reason::kOverloaded, "no memory for the codes of a checkpoint");
  }
  return OkStatus();
}

// Runs are taken in their order, so that the file is read almost sequentially.
Status CheckpointReader::ForEachRun(const CheckpointFile& file, std::vector<Worker>* workers,
                                    ReadRun read) {
  const bool reads_vectors = read == &CheckpointReader::ReadVectors;
  const std::vector<CheckpointFile::Run>& runs = file.runs();
  const auto announce = [&](size_t i) {
    if (i < runs.size()) file.WillNeed(reads_vectors ? runs[i].vectors : runs[i].links);
  };
  for (size_t i = 0; i < kReadAhead; ++i) announce(i);
  std::atomic<size_t> next{0};
  std::vector<Status> results(workers->size());
  RunInParallel("index-load", static_cast<int>(workers->size()), [&](int number) {
    const auto w = static_cast<size_t>(number);
    for (size_t i = next++; i < runs.size() && results[w].ok(); i = next++) {
      announce(i + kReadAhead);
      results[w] = (this->*read)(file, runs[i], &(*workers)[w]);
      if (!results[w].ok()) next = runs.size();  // the others need not go on
    }
  });
  for (const Status& result : results) VECTRON_RETURN_IF_ERROR(result);
  return OkStatus();
}

Status CheckpointReader::ReadVectors(const CheckpointFile& file, const CheckpointFile::Run& run,
                                     Worker* worker) {
  const CheckpointFile::Block& block = run.vectors;
  std::vector<std::byte>& payload = worker->payload;
  VECTRON_RETURN_IF_ERROR(file.ReadPayload(block, &payload));
  const uint64_t count = block.header.slot_count;
  const auto* flags = reinterpret_cast<const uint8_t*>(payload.data());
  uint64_t present = 0;
  for (uint64_t i = 0; i < count; ++i) {
    // Something that is not there is neither live nor linked; what is there is one
    // of the two.
    const bool valid = flags[i] == 0 || flags[i] == (kSlotPresent | kSlotLive) ||
                       flags[i] == (kSlotPresent | kSlotLinked) ||
                       flags[i] == (kSlotPresent | kSlotLive | kSlotLinked);
    if (!valid) return file.Damaged(block, "slots in a state that does not exist");
    present += flags[i] != 0;
  }
  const bool bytes = block.header.type == BlockType::kBytes;
  const uint64_t row_bytes = core_.options.dimension * (bytes ? 1 : sizeof(float));
  if (payload.size() - count != present * (sizeof(uint64_t) + row_bytes)) {
    return file.Damaged(block, "more or fewer vectors than slots in use");
  }
  worker->present_count += present;
  const std::byte* label_at = payload.data() + count;
  const std::byte* row = label_at + present * sizeof(uint64_t);
  for (uint64_t i = 0; i < count; ++i) {
    if (flags[i] == 0) continue;
    const auto slot = static_cast<Slot>(block.header.first_slot + i);
    flags_[slot].store(flags[i], std::memory_order_relaxed);
    std::memcpy(&core_.labels[slot], label_at, sizeof(uint64_t));
    label_at += sizeof(uint64_t);
    if (!PlaceRow(slot, row, bytes, worker)) {
      return file.Damaged(block, "a vector that nobody can have put");
    }
    row += row_bytes;
  }
  return OkStatus();
}

bool CheckpointReader::PlaceRow(Slot slot, const std::byte* row, bool bytes, Worker* worker) {
  worker->vector.resize(core_.options.dimension);
  if (bytes) {
    const auto* values = reinterpret_cast<const uint8_t*>(row);
    core_.vectors.RestoreBytes(slot, values);
    if (core_.codes.RestoreExact(slot, values)) return true;
    Widen(values, worker->vector.size(), worker->vector.data());
  } else {
    std::memcpy(worker->vector.data(), row, worker->vector.size() * sizeof(float));
    core_.vectors.Restore(slot, worker->vector.data());
  }
  if (!core_.space.Validate(worker->vector, "vector").ok()) return false;
  worker->misfit_count += core_.codes.RestoreCode(slot, worker->vector.data());
  return true;
}

Status CheckpointReader::ReadLinks(const CheckpointFile& file, const CheckpointFile::Run& run,
                                   Worker* worker) {
  const CheckpointFile::Block& block = run.links;
  const std::vector<std::byte>& payload = worker->payload;
  VECTRON_RETURN_IF_ERROR(file.ReadPayload(block, &worker->payload));
  size_t at = 0;
  for (uint64_t i = 0; i < block.header.slot_count; ++i) {
    const auto slot = static_cast<Slot>(block.header.first_slot + i);
    const uint8_t flags = flags_[slot].load(std::memory_order_relaxed);
    if (flags == 0) continue;
    const bool linked = flags & kSlotLinked;
    worker->linked_count += linked;
    for (int level = 0; level <= core_.graph.LevelOf(slot); ++level) {
      worker->list.clear();
      if (linked) {
        const size_t degree_max = core_.graph.degree_max(level);
        if (payload.size() - at < degree_max * sizeof(Slot)) {
          return file.Damaged(block, "fewer links than nodes");
        }
        ReadList(slot, level, payload.data() + at, &worker->list);
        at += degree_max * sizeof(Slot);
      }
      core_.graph.SetLinks(slot, level, worker->list);
    }
  }
  return at == payload.size() ? OkStatus() : file.Damaged(block, "more links than nodes");
}

// Drops links that lead nowhere: to what came after the cut, for example. A list that
// was changed while it was dumped may go on after its end.
void CheckpointReader::ReadList(Slot slot, int level, const std::byte* stored,
                                std::vector<Slot>* list) {
  size_t before = 0;
  for (; before < core_.graph.degree_max(level); ++before) {
    Slot to = kNoSlot;
    std::memcpy(&to, stored + before * sizeof(Slot), sizeof(to));
    if (to == kNoSlot) break;
    if (to >= slot_count_ || to == slot) continue;
    const uint8_t flags = flags_[to].load(std::memory_order_relaxed);
    if (!(flags & kSlotLinked) || (level > 0 && core_.graph.LevelOf(to) < level)) continue;
    if (level == 0 && !(flags & kSlotReached)) {
      flags_[to].fetch_or(kSlotReached, std::memory_order_relaxed);
    }
    list->push_back(to);
  }
  // It lost half of its neighbours, or has none.
  if (level == 0 && list->size() * 2 <= before) {
    flags_[slot].fetch_or(kSlotWeak, std::memory_order_relaxed);
  }
}

// After the last block: makes slots what they are, gives those that are not well linked to
// the tail, and returns how many are live.
uint64_t CheckpointReader::SettleSlots() {
  uint64_t live_count = 0;
  uint64_t pending = 0;
  for (uint64_t i = 0; i < slot_count_; ++i) {
    const auto slot = static_cast<Slot>(i);
    const uint8_t flags = flags_[slot].load(std::memory_order_relaxed);
    if (flags == 0) {
      free_.push_back(slot);
      continue;
    }
    const bool linked = flags & kSlotLinked;
    const bool live = flags & kSlotLive;
    const bool weak = linked && ((flags & kSlotWeak) || !(flags & kSlotReached));
    const bool settled = !live || (linked && !weak);
    core_.graph.RestoreState(
        slot, static_cast<uint8_t>(Graph::kUsed | (linked ? Graph::kLinked : 0) |
                                   (live ? 0 : Graph::kDead) | (weak ? Graph::kWeak : 0) |
                                   (settled ? Graph::kSettled : 0)));
    if (live) {
      core_.live.Set(slot);
      ++live_count;
      pending += !linked;
    } else {
      dead_.push_back(slot);
    }
    if (!settled) core_.tail.Append(slot);
  }
  core_.pending_count.store(pending);
  return live_count;
}

void CheckpointReader::ChooseEntry() {
  Graph::Entry best;
  bool best_lives = false;
  for (uint64_t i = 0; i < slot_count_; ++i) {
    const auto slot = static_cast<Slot>(i);
    const uint8_t flags = flags_[slot].load(std::memory_order_relaxed);
    if (!(flags & kSlotLinked)) continue;
    const bool lives = flags & kSlotLive;
    const int level = core_.graph.LevelOf(slot);
    if (best.slot == kNoSlot || std::pair(lives, level) > std::pair(best_lives, best.level)) {
      best = {slot, level};
      best_lives = lives;
    }
  }
  core_.graph.set_entry(best);
}

}  // namespace vectron::index
