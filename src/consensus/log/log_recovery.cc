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

bool IsZeros(std::string_view bytes) {
  return bytes.find_first_not_of('\0') == std::string_view::npos;
}

// Whether a part of the bytes, which begin at `offset` of their file, may never have reached
// the disk: it reads as zeros then. The first sector may have had earlier records in it.
bool HasUnwrittenSector(std::string_view bytes, uint64_t offset) {
  size_t end = kSectorBytes - offset % kSectorBytes;
  for (size_t at = 0; at < bytes.size(); at = end, end += kSectorBytes) {
    if (IsZeros(bytes.substr(at, end - at))) return true;
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
  VECTRON_ASSIGN_OR_RETURN(noted_, ReadLogNote(options_.dir, file_system_));
  VECTRON_ASSIGN_OR_RETURN(const std::vector<uint64_t> ids, ListSegments());
  for (size_t i = 0; i < ids.size(); ++i) {
    VECTRON_RETURN_IF_ERROR(RecoverSegment(ids[i], i + 1 == ids.size()));
  }
  VECTRON_RETURN_IF_ERROR(VerifyGroups());
  {
    MutexLock lock(mutex_);
    if (!segments_.empty()) current_ = segments_.rbegin()->second.file;
  }
  // What a killed process wrote may be no further than the system's cache.
  if (current_ != nullptr) VECTRON_RETURN_IF_ERROR(SyncCurrent());
  return MarkOpened();
}

Status LogStore::MarkOpened() {
  // An empty record: this opening has a number of its own.
  LogBatch opened;
  opened.RequireSync();
  incarnation_ = next_sequence_;
  Status status = Write(opened);
  if (status.ok()) status = NoteEnd();
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
  if (noted_.has_value() && (ids.empty() || ids.back() < noted_->segment)) {
    return Corruption(fmt::format("raft log: {} is missing, of which {} bytes were synced",
                                  PathOf(noted_->segment), noted_->offset));
  }
  return ids;
}

uint64_t LogStore::SyncedBytes(uint64_t id) const {
  return noted_.has_value() && noted_->segment == id ? noted_->offset : 0;
}

StatusOr<std::optional<SegmentKind>> LogStore::RecoverHeader(uint64_t id, bool is_last,
                                                             const LogFile& file) {
  const std::string path = PathOf(id);
  const uint64_t end = file.size();
  VECTRON_ASSIGN_OR_RETURN(const std::string header, file.Read(0, kSegmentHeaderBytes));
  std::string problem;
  if (end < kSegmentHeaderBytes + kRecordHeaderBytes) {
    problem =
        fmt::format("raft log {}: the file ends at offset {}, within its first record", path, end);
  } else if (IsZeros(header)) {
    problem = fmt::format("raft log {}: the header at offset 0 is zeros", path);
  }
  if (!problem.empty()) {
    if (SyncedBytes(id) > 0) {
      return Corruption(fmt::format("{}; {} bytes of it were synced", problem, SyncedBytes(id)));
    }
    if (!is_last) return Corruption(problem);
    VECTRON_ASSIGN_OR_RETURN(const bool may_be_leftover, MayBeLeftover(id, file));
    if (!may_be_leftover) return Corruption(problem);
    VECTRON_RETURN_IF_ERROR(DropSegment(id, end, problem));
    return std::optional<SegmentKind>();
  }
  const StatusOr<SegmentKind> kind = CheckSegmentHeader(header, id);
  if (!kind.ok()) return Annotate(kind.status(), fmt::format("raft log {}", path));
  return std::optional(*kind);
}

// What is left when a crash came while the segment was begun: any of its sectors may be
// missing. Nothing in it counted yet, as it is not noted.
StatusOr<bool> LogStore::MayBeLeftover(uint64_t id, const LogFile& file) const {
  if (file.size() < kSegmentHeaderBytes + kRecordHeaderBytes) return true;
  VECTRON_ASSIGN_OR_RETURN(std::string bytes, file.Read(0, file.size()));
  if (IsZeros(bytes)) return true;
  // Where there is no note at all, an earlier build wrote the log, and not being noted says
  // nothing; or it is a new log, whose first record is in one sector with the header.
  if (!noted_.has_value()) return false;
  bytes.erase(0, kSegmentHeaderBytes);
  Whiten(id, kSegmentHeaderBytes, bytes.data(), bytes.size());
  return !HasRecordAfter(id, bytes);
}

StatusOr<LogStore::FoundRecord> LogStore::ReadRecord(uint64_t id, const LogFile& file,
                                                     uint64_t offset, uint64_t end) const {
  FoundRecord record;
  VECTRON_ASSIGN_OR_RETURN(std::string head, file.Read(offset, kRecordHeaderBytes));
  Whiten(id, offset, head.data(), head.size());
  record.header = DecodeRecordHeader(head, id);
  if (!record.header.has_value()) {
    record.problem = "has a damaged header";
    return record;
  }
  if (!HasRoom(*record.header, end - offset)) {
    record.problem = "is cut off";
    return record;
  }
  std::string& payload = record.payload;
  const uint64_t payload_bytes = record.header->payload_bytes;
  VECTRON_ASSIGN_OR_RETURN(payload,
                           file.Read(offset + kRecordHeaderBytes, PaddedBytes(payload_bytes)));
  Whiten(id, offset + kRecordHeaderBytes, payload.data(), payload.size());
  if (payload.find_first_not_of('\0', payload_bytes) != std::string::npos) {
    record.problem = "has damaged padding";
  }
  payload.resize(payload_bytes);
  if (ChecksumOf(payload) != record.header->payload_checksum) {
    record.problem = "fails its checksum" + DamagedGroup(payload);
  }
  return record;
}

Status LogStore::RecoverSegment(uint64_t id, bool is_last) {
  const std::string path = PathOf(id);
  VECTRON_ASSIGN_OR_RETURN(const std::shared_ptr<LogFile> file, file_system_->Open(path));
  const uint64_t end = file->size();
  VECTRON_ASSIGN_OR_RETURN(const auto kind, RecoverHeader(id, is_last, *file));
  if (!kind.has_value()) return OkStatus();
  bool is_first_segment = false;
  {
    MutexLock lock(mutex_);
    is_first_segment = segments_.empty();
    segments_[id] = Segment{path, file, end};
  }

  uint64_t offset = kSegmentHeaderBytes;
  while (offset < end) {
    VECTRON_ASSIGN_OR_RETURN(const FoundRecord record, ReadRecord(id, *file, offset, end));
    if (!record.problem.empty()) {
      const std::string what =
          fmt::format("raft log {}: the record at offset {} {}", path, offset, record.problem);
      return is_last ? RecoverTail(id, *file, offset, end, what) : Corruption(what);
    }
    const uint64_t sequence = record.header->sequence;
    const bool is_first_record = is_first_segment && offset == kSegmentHeaderBytes;
    if (!is_first_record && sequence != next_sequence_) {
      return Corruption(fmt::format("raft log {}: record {} at offset {}, where {} should be", path,
                                    sequence, offset, next_sequence_));
    }
    {
      MutexLock lock(mutex_);
      const Status status = ApplyPayload(record.payload, {id, offset + kRecordHeaderBytes});
      if (!status.ok()) {
        return Annotate(status, fmt::format("raft log {}: the record at offset {}", path, offset));
      }
    }
    next_sequence_ = sequence + 1;
    offset += kRecordHeaderBytes + PaddedBytes(record.header->payload_bytes);
    if (kind == SegmentKind::kNoted && !noted_.has_value() && (!is_last || offset < end)) {
      return Corruption(
          fmt::format("raft log: {} is missing, which was there before the record "
                      "at offset {} of {}",
                      LogNotePath(options_.dir), offset, path));
    }
  }
  if (offset >= SyncedBytes(id)) return OkStatus();
  return Corruption(
      fmt::format("raft log {}: the file ends at offset {}, and {} bytes of it were "
                  "synced",
                  path, offset, SyncedBytes(id)));
}

// The record at `offset` is not intact. If a crash left it incomplete, it was not synced
// yet: some of it is missing, and what is behind it was written before that sync, too, and
// says so. If it is all there, or was synced before a later one was written, or was noted,
// then it was damaged later.
Status LogStore::RecoverTail(uint64_t id, const LogFile& file, uint64_t offset, uint64_t end,
                             std::string_view what) {
  if (offset < SyncedBytes(id)) {
    return Corruption(fmt::format("{}; {} bytes of the file were synced", what, SyncedBytes(id)));
  }
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
  if (offset == kSegmentHeaderBytes) {
    // Not even the record that every segment begins with: as if it was never created.
    {
      MutexLock lock(mutex_);
      segments_.erase(id);
    }
    return DropSegment(id, end, what);
  }
  Whiten(id, offset, rest.data(), rest.size());
  const std::string copy = KeepCopy(id, rest);
  VECTRON_LOG_WARN(
      "{}: it was not completely written; unless the file was altered since, it was never "
      "acknowledged. {} bytes are dropped; {}",
      what, rest.size(), copy);
  MutexLock lock(mutex_);
  Segment& segment = segments_.at(id);
  VECTRON_RETURN_IF_ERROR(segment.file->Truncate(offset));
  segment.size = offset;
  return OkStatus();
}

std::string LogStore::KeepCopy(uint64_t id, std::string_view bytes) const {
  const std::string path = DroppedPathOf(id);
  file_system_->Remove(path).IgnoreError();  // what an earlier crash left
  Status status;
  const auto file = file_system_->Open(path);
  if (file.ok()) status = (*file)->Append({&bytes, 1});
  if (file.ok() && status.ok()) status = (*file)->Sync();
  if (file.ok() && status.ok()) return fmt::format("{} has a copy", path);
  file_system_->Remove(path).IgnoreError();
  // A start must not need room.
  return fmt::format("there is no copy: {}",
                     std::string((file.ok() ? status : file.status()).message()));
}

Status LogStore::DropSegment(uint64_t id, uint64_t bytes, std::string_view what) {
  VECTRON_LOG_WARN(
      "{}: the segment was not completely begun; unless the file was altered since, nothing in it "
      "was acknowledged. Its {} bytes are dropped, and kept as {}",
      what, bytes, DroppedPathOf(id));
  return file_system_->Rename(PathOf(id), DroppedPathOf(id));
}

bool LogStore::HasRecordAfter(uint64_t id, std::string_view bytes) const {
  for (size_t at = bytes.find(RecordMagic()); at != std::string_view::npos;
       at = bytes.find(RecordMagic(), at + 1)) {
    const auto header = DecodeRecordHeader(bytes.substr(at), id);
    if (header.has_value() && header->sequence > next_sequence_ &&
        header->sequence - next_sequence_ > header->unsynced_count) {
      return true;
    }
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
