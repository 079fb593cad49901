#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "common/logging.h"
#include "consensus/log/log_store.h"

// How a log is read back when it is opened.

namespace vectron::consensus {
namespace {

constexpr std::string_view kSuffix = ".log";
// A disk writes at least this much at once, or not at all.
constexpr size_t kSectorBytes = 512;

std::optional<uint64_t> SegmentOf(std::string_view name) {
  if (name.size() != 16 + kSuffix.size() || !name.ends_with(kSuffix)) return std::nullopt;
  uint64_t id = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + 16, id, 16);
  if (error != std::errc() || end != name.data() + 16 || id == 0) return std::nullopt;
  return id;
}

// Whether a part of the bytes, which begin at `offset` of their file, may never
// have reached the disk: it reads as zeros then.
bool HasUnwrittenSector(std::string_view bytes, uint64_t offset) {
  size_t at = (kSectorBytes - offset % kSectorBytes) % kSectorBytes;
  for (; at < bytes.size(); at += kSectorBytes) {
    const std::string_view sector = bytes.substr(at, kSectorBytes);
    if (sector.find_first_not_of('\0') == std::string_view::npos) return true;
  }
  return false;
}

// Whether all of the record can be in `bytes`, which begin with its header.
bool HasRoom(const RecordHeader& header, uint64_t bytes) {
  const uint64_t behind = bytes - kRecordHeaderBytes;
  return header.payload_bytes <= behind && PaddedBytes(header.payload_bytes) <= behind;
}

// The group whose entries in a damaged payload do not match their own checksum.
std::string DamagedGroup(std::string_view payload) {
  LogOpReader reader(payload);
  while (const auto op = reader.Next()) {
    if (!op->block.empty() && ChecksumOf(op->block) != op->block_checksum) {
      return fmt::format(" (entries {} to {} of group {})", op->index.value(), op->last.value(),
                         op->group.value());
    }
  }
  return "";
}

}  // namespace

StatusOr<std::unique_ptr<LogStore>> LogStore::Open(const Options& options,
                                                   LogFileSystem* file_system) {
  std::unique_ptr<LogStore> store(new LogStore(options, file_system));
  VECTRON_RETURN_IF_ERROR(store->Recover());
  return store;
}

Status LogStore::Recover() {
  VECTRON_RETURN_IF_ERROR(file_system_->CreateDir(options_.dir));
  VECTRON_ASSIGN_OR_RETURN(const std::vector<uint64_t> ids, ListSegments());
  for (size_t i = 0; i < ids.size(); ++i) {
    VECTRON_RETURN_IF_ERROR(RecoverSegment(ids[i], i + 1 == ids.size()));
  }
  VECTRON_RETURN_IF_ERROR(VerifyGroups());
  {
    MutexLock lock(mutex_);
    if (!segments_.empty()) current_ = segments_.rbegin()->second.file;
  }
  return MarkOpened();
}

Status LogStore::MarkOpened() {
  // An empty record: what was read stays readable from here on, even if the end of
  // it had reached the disk only partly, and this opening has a number of its own.
  LogBatch opened;
  opened.RequireSync();
  incarnation_ = next_sequence_;
  const Status status = Write(opened);
  if (status.ok() || ReasonOf(status) != Reason::kDiskFull) return status;
  VECTRON_LOG_WARN("{}", std::string(status.message()));
  return OkStatus();
}

StatusOr<std::vector<uint64_t>> LogStore::ListSegments() const {
  VECTRON_ASSIGN_OR_RETURN(const std::vector<std::string> names, file_system_->List(options_.dir));
  std::vector<uint64_t> ids;
  for (const std::string& name : names) {
    if (const auto id = SegmentOf(name)) ids.push_back(*id);
  }
  std::sort(ids.begin(), ids.end());
  for (size_t i = 1; i < ids.size(); ++i) {
    if (ids[i] != ids[i - 1] + 1) {
      return Corruption(fmt::format("raft log: {} is missing", PathOf(ids[i - 1] + 1)));
    }
  }
  return ids;
}

Status LogStore::RecoverSegment(uint64_t id, bool is_last) {
  const std::string path = PathOf(id);
  VECTRON_ASSIGN_OR_RETURN(const std::shared_ptr<LogFile> file, file_system_->Open(path));
  const uint64_t end = file->size();
  if (end < kSegmentHeaderBytes + kRecordHeaderBytes && is_last) {
    // A crash while it was created: nothing was in it yet.
    return file_system_->Remove(path);
  }
  VECTRON_ASSIGN_OR_RETURN(const std::string header, file->Read(0, kSegmentHeaderBytes));
  const Status header_status = CheckSegmentHeader(header, id);
  if (!header_status.ok()) {
    if (is_last && HasUnwrittenSector(std::string(kSectorBytes, '\0'), 0) &&
        header.find_first_not_of('\0') == std::string::npos) {
      return file_system_->Remove(path);
    }
    return Annotate(header_status, fmt::format("raft log {}", path));
  }
  bool is_first_segment = false;
  {
    MutexLock lock(mutex_);
    is_first_segment = segments_.empty();
    segments_[id] = Segment{path, file, end};
  }

  uint64_t offset = kSegmentHeaderBytes;
  while (offset < end) {
    VECTRON_ASSIGN_OR_RETURN(std::string head, file->Read(offset, kRecordHeaderBytes));
    Whiten(id, offset, head.data(), head.size());
    const auto record = DecodeRecordHeader(head, id);
    std::string_view problem;
    std::string payload;
    if (!record.has_value()) {
      problem = "has a damaged header";
    } else if (!HasRoom(*record, end - offset)) {
      problem = "is cut off";
    } else {
      const uint64_t padded = PaddedBytes(record->payload_bytes);
      VECTRON_ASSIGN_OR_RETURN(payload, file->Read(offset + kRecordHeaderBytes, padded));
      Whiten(id, offset + kRecordHeaderBytes, payload.data(), payload.size());
      if (payload.find_first_not_of('\0', record->payload_bytes) != std::string::npos) {
        problem = "has damaged padding";
      }
      payload.resize(record->payload_bytes);
      if (ChecksumOf(payload) != record->payload_checksum) problem = "fails its checksum";
    }
    if (!problem.empty()) {
      const std::string what =
          fmt::format("raft log {}: the record at offset {} {}{}", path, offset, problem,
                      payload.empty() ? "" : DamagedGroup(payload));
      if (!is_last) return Corruption(what);
      return RecoverTail(id, *file, offset, end, what);
    }
    const bool is_first_record = is_first_segment && offset == kSegmentHeaderBytes;
    if (!is_first_record && record->sequence != next_sequence_) {
      return Corruption(fmt::format("raft log {}: record {} at offset {}, where {} should be", path,
                                    record->sequence, offset, next_sequence_));
    }
    {
      MutexLock lock(mutex_);
      const Status status = ApplyPayload(payload, {id, offset + kRecordHeaderBytes});
      if (!status.ok()) {
        return Annotate(status, fmt::format("raft log {}: the record at offset {}", path, offset));
      }
    }
    next_sequence_ = record->sequence + 1;
    offset += kRecordHeaderBytes + PaddedBytes(record->payload_bytes);
  }
  return OkStatus();
}

// The record at `offset` is not intact. Each record is synced before anything that
// follows from it is said, and before the next one that needs a sync; so if a crash
// left it incomplete, nothing is behind it, and some of it is missing. If it is all
// there, or something follows, then it was damaged later.
Status LogStore::RecoverTail(uint64_t id, const LogFile& file, uint64_t offset, uint64_t end,
                             std::string_view what) {
  VECTRON_ASSIGN_OR_RETURN(std::string rest, file.Read(offset, end - offset));
  // As it stands in the file, where only what was never written is zeros.
  const bool has_unwritten_sector = HasUnwrittenSector(rest, offset);
  Whiten(id, offset, rest.data(), rest.size());
  const auto header = DecodeRecordHeader(rest, id);
  const bool is_cut_off =
      rest.size() < kRecordHeaderBytes || (header.has_value() && !HasRoom(*header, rest.size()));
  if (HasRecordAfter(id, std::string_view(rest).substr(1)) ||
      (!is_cut_off && !has_unwritten_sector)) {
    return Corruption(what);
  }
  VECTRON_LOG_WARN("{}; it was never acknowledged, and is dropped", what);
  MutexLock lock(mutex_);
  Segment& segment = segments_.at(id);
  VECTRON_RETURN_IF_ERROR(segment.file->Truncate(offset));
  segment.size = offset;
  if (offset > kSegmentHeaderBytes) return OkStatus();
  // Not even the record that every segment begins with: as if it was never created.
  segments_.erase(id);
  return file_system_->Remove(PathOf(id));
}

bool LogStore::HasRecordAfter(uint64_t id, std::string_view bytes) const {
  for (size_t at = bytes.find(RecordMagic()); at != std::string_view::npos;
       at = bytes.find(RecordMagic(), at + 1)) {
    const auto header = DecodeRecordHeader(bytes.substr(at), id);
    if (header.has_value() && header->sequence > next_sequence_) return true;
  }
  return false;
}

Status LogStore::VerifyGroups() const {
  MutexLock lock(mutex_);
  for (const auto& [group, log] : groups_) {
    const auto problem = [&, group = group](const std::string& what) {
      return Corruption(
          fmt::format("raft log {}: group {}: {}", options_.dir, group.value(), what));
    };
    LogIndex previous = log.truncated_index;
    Term term = log.truncated_term;
    for (const Chunk& chunk : log.chunks) {
      if (chunk.first != Next(previous)) {
        return problem(fmt::format("entries {} to {} are missing", previous.value() + 1,
                                   chunk.first.value() - 1));
      }
      if (chunk.term < term) {
        return problem(fmt::format("the terms go back at entry {}", chunk.first.value()));
      }
      previous = chunk.last;
      term = chunk.term;
    }
    if (log.hard_state.commit > log.last_index()) {
      return problem(fmt::format("entries {} to {} were committed and are missing",
                                 log.last_index().value() + 1, log.hard_state.commit.value()));
    }
  }
  return OkStatus();
}

}  // namespace vectron::consensus
