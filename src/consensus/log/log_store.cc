#include "consensus/log/log_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/logging.h"

namespace vectron::consensus {

LogStore::LogStore(const Options& options, LogFileSystem* file_system)
    : options_(options), file_system_(file_system) {}

std::string LogStore::PathOf(uint64_t segment) const {
  return fmt::format("{}/{:016x}.log", options_.dir, segment);
}

std::string LogStore::DroppedPathOf(uint64_t segment) const { return PathOf(segment) + ".dropped"; }

std::vector<GroupId> LogStore::Groups() const {
  std::vector<GroupId> result;
  MutexLock lock(mutex_);
  result.reserve(groups_.size());
  for (const auto& [group, log] : groups_) result.push_back(group);
  std::sort(result.begin(), result.end());
  return result;
}

std::optional<GroupLogState> LogStore::GetState(GroupId group) const {
  MutexLock lock(mutex_);
  const auto it = groups_.find(group);
  if (it == groups_.end()) return std::nullopt;
  const GroupLog& log = it->second;
  GroupLogState state;
  state.hard_state = log.hard_state;
  // Truncating says that everything before was committed.
  state.hard_state.commit = std::max(state.hard_state.commit, log.truncated_index);
  state.membership = log.membership;
  state.membership_index = log.membership_index;
  state.truncated_index = log.truncated_index;
  state.truncated_term = log.truncated_term;
  state.last_index = log.last_index();
  for (const Chunk& chunk : log.chunks) {
    if (state.term_runs.empty() || state.term_runs.back().term != chunk.term) {
      state.term_runs.push_back({chunk.first, chunk.term});
    }
  }
  state.conf_changes.assign(log.conf_changes.begin(), log.conf_changes.end());
  state.pending_snapshot = log.pending_snapshot;
  state.bytes = log.bytes;
  return state;
}

uint64_t LogStore::GroupBytes(GroupId group) const {
  MutexLock lock(mutex_);
  const auto it = groups_.find(group);
  return it == groups_.end() ? 0 : it->second.bytes;
}

uint64_t LogStore::bytes_written() const {
  MutexLock lock(mutex_);
  return bytes_written_;
}

uint64_t LogStore::disk_bytes() const {
  MutexLock lock(mutex_);
  uint64_t total = 0;
  for (const auto& [id, segment] : segments_) total += segment.size;
  return total;
}

size_t LogStore::segment_count() const {
  MutexLock lock(mutex_);
  return segments_.size();
}

Status LogStore::ApplyPayload(std::string_view payload, Location location) {
  LogOpReader reader(payload);
  while (const auto op = reader.Next()) VECTRON_RETURN_IF_ERROR(ApplyOp(*op, location));
  return reader.malformed() ? Corruption("its content is malformed") : OkStatus();
}

Status LogStore::ApplyOp(const LogOpView& op, Location location) {
  if (op.kind == LogOpKind::kDestroy) {
    const auto it = groups_.find(op.group);
    if (it == groups_.end()) return OkStatus();
    CutFrom(LogIndex(), &it->second);
    groups_.erase(it);
    return OkStatus();
  }
  GroupLog& log = groups_[op.group];
  switch (op.kind) {
    case LogOpKind::kAppend:
      CutFrom(op.index, &log);
      return ApplyBlock(op, location, &log);
    case LogOpKind::kRewrite:
      return ApplyBlock(op, location, &log);
    case LogOpKind::kHardState:
      log.hard_state = op.hard_state;
      break;
    case LogOpKind::kTruncate:
      CutUpTo(op.index, op.term, &log);
      break;
    case LogOpKind::kMembership:
      log.membership = op.membership;
      log.membership_index = op.membership_index;
      break;
    case LogOpKind::kPending:
      log.pending_snapshot = PendingSnapshot{op.index, op.term, std::string(op.membership)};
      break;
    case LogOpKind::kInstall:
      CutFrom(LogIndex(), &log);
      log.conf_changes.clear();
      log.truncated_index = op.index;
      log.truncated_term = op.term;
      log.membership = op.membership;
      log.membership_index = op.index;
      log.pending_snapshot.reset();
      break;
    case LogOpKind::kGroup:
      log.hard_state = op.hard_state;
      log.membership = op.membership;
      log.membership_index = op.membership_index;
      log.pending_snapshot = op.pending;
      CutUpTo(op.index, op.term, &log);
      break;
    case LogOpKind::kDestroy:
      break;
  }
  return OkStatus();
}

Status LogStore::ApplyBlock(const LogOpView& op, Location location, GroupLog* log) {
  EntryReader reader(op.index, op.block);
  LogIndex last;
  while (const auto entry = reader.Next()) {
    if (entry->term != op.term) break;
    if (entry->type != EntryType::kNormal) log->conf_changes.insert(entry->index);
    last = entry->index;
  }
  if (reader.malformed() || reader.remaining() > 0 || last != op.last || op.index > op.last) {
    return Corruption(fmt::format("entries {} to {} of group {} are malformed", op.index.value(),
                                  op.last.value(), op.group.value()));
  }
  Chunk chunk;
  chunk.block_first = op.index;
  chunk.first = op.index;
  chunk.last = op.last;
  chunk.term = op.term;
  chunk.segment = location.segment;
  chunk.offset = location.offset + op.block_offset;
  chunk.bytes = op.block.size();
  chunk.checksum = op.block_checksum;
  Retain(chunk, log);
  // Appends go to the end. A copied block takes the place of its original, which is
  // not there any more when its segment was deleted before this one was read.
  auto place = log->chunks.end();
  while (place != log->chunks.begin() && std::prev(place)->first >= chunk.first) --place;
  if (place != log->chunks.end() && place->first == chunk.first) {
    Release(*place, log);
    *place = chunk;
  } else {
    log->chunks.insert(place, chunk);
  }
  return OkStatus();
}

void LogStore::CutFrom(LogIndex index, GroupLog* log) {
  while (!log->chunks.empty() && log->chunks.back().first >= index) {
    Release(log->chunks.back(), log);
    log->chunks.pop_back();
  }
  if (!log->chunks.empty() && log->chunks.back().last >= index) {
    log->chunks.back().last = LogIndex(index.value() - 1);
    log->chunks.back().bytes_are_live = false;
  }
  log->conf_changes.erase(log->conf_changes.lower_bound(index), log->conf_changes.end());
}

void LogStore::CutUpTo(LogIndex index, Term term, GroupLog* log) {
  while (!log->chunks.empty() && log->chunks.front().last <= index) {
    Release(log->chunks.front(), log);
    log->chunks.pop_front();
  }
  if (!log->chunks.empty() && log->chunks.front().first <= index) {
    log->chunks.front().first = Next(index);
  }
  log->conf_changes.erase(log->conf_changes.begin(), log->conf_changes.upper_bound(index));
  log->truncated_index = index;
  log->truncated_term = term;
}

void LogStore::Retain(const Chunk& chunk, GroupLog* log) {
  log->bytes += chunk.bytes;
  Segment& segment = segments_.at(chunk.segment);
  segment.live_bytes += chunk.bytes;
  ++segment.live_chunks;
}

void LogStore::Release(const Chunk& chunk, GroupLog* log) {
  log->bytes -= chunk.bytes;
  Segment& segment = segments_.at(chunk.segment);
  segment.live_bytes -= chunk.bytes;
  --segment.live_chunks;
}

Status LogStore::Write(const LogBatch& batch) {
  if (!failed_.ok()) return failed_;
  Status status;
  if (current_ == nullptr || current_->size() >= options_.segment_bytes) status = StartSegment();
  if (status.ok()) status = NoteSegment();
  if (status.ok()) status = WriteRecord(batch);
  if (status.ok() && batch.must_sync()) status = SyncCurrent();
  if (!status.ok()) {
    if (ReasonOf(status) != Reason::kDiskFull) failed_ = status;
    return status;
  }
  if (IsOldestWorthCopying()) {
    // Now, and not once the segment is full: a group that falls silent would keep
    // what it no longer needs, and every start would read it.
    status = StartSegment();
    if (status.ok()) status = NoteSegment();
    if (!status.ok() && ReasonOf(status) != Reason::kDiskFull) return failed_ = status;
    if (status.ok()) DeleteDeadSegments();
  } else if (batch.must_sync()) {
    DeleteDeadSegments();
  }
  return OkStatus();
}

Status LogStore::WriteRecord(const LogBatch& batch) {
  MutexLock lock(mutex_);
  auto& [id, segment] = *segments_.rbegin();
  RecordHeader header;
  header.unsynced_count = unsynced_count_;
  header.sequence = next_sequence_;
  header.payload_bytes = batch.bytes();
  header.payload_checksum = ChecksumOf(batch.parts_);
  const std::string encoded = EncodeRecordHeader(header, id);
  std::vector<std::string_view> parts;
  parts.reserve(batch.parts_.size() + 2);
  parts.emplace_back(encoded);
  for (const std::string& part : batch.parts_) parts.emplace_back(part);
  static constexpr char kPadding[kRecordAlignment] = {};
  parts.emplace_back(kPadding, PaddedBytes(header.payload_bytes) - header.payload_bytes);

  const uint64_t start = current_->size();
  mutex_.Unlock();  // readers need not wait for the disk
  Status status = AppendWhitened(id, parts);
  if (!status.ok() && !current_->Truncate(start).ok()) {
    // Whatever the disk lacked: behind what is left there nothing can be written any more.
    failed_ = status =
        MakeError(Reason::kInternal, fmt::format("{}, and what was written could not be removed",
                                                 std::string(status.message())));
  }
  mutex_.Lock();
  if (!status.ok()) return Annotate(status, "raft log");
  ++next_sequence_;
  ++unsynced_count_;
  bytes_written_ += current_->size() - start;
  segment.size = current_->size();
  uint64_t offset = start + kRecordHeaderBytes;
  for (size_t i = 0; i < batch.parts_.size(); ++i) {
    // Each op is one part, but for blocks: theirs is the part behind their header's.
    const std::string_view header = batch.parts_[i];
    const auto kind = static_cast<LogOpKind>(header[0]);
    const bool has_block = kind == LogOpKind::kAppend || kind == LogOpKind::kRewrite;
    LogOpReader reader(header, has_block ? std::string_view(batch.parts_[++i]) : "");
    const auto op = reader.Next();
    VECTRON_CHECK(op.has_value());
    VECTRON_CHECK_OK(ApplyOp(*op, {id, offset}));
    offset += header.size() + op->block.size();
  }
  return OkStatus();
}

// In pieces that stay in the cache between being whitened and being written.
Status LogStore::AppendWhitened(uint64_t segment, std::span<const std::string_view> parts) {
  constexpr size_t kPieceBytes = 256 << 10;
  const auto flush = [&] {
    Whiten(segment, current_->size(), whitened_.data(), whitened_.size());
    const std::string_view piece = whitened_;
    const Status status = current_->Append({&piece, 1});
    whitened_.clear();
    return status;
  };
  whitened_.clear();
  for (std::string_view part : parts) {
    while (!part.empty()) {
      const size_t count = std::min(part.size(), kPieceBytes - whitened_.size());
      whitened_.append(part.substr(0, count));
      part.remove_prefix(count);
      if (whitened_.size() == kPieceBytes) VECTRON_RETURN_IF_ERROR(flush());
    }
  }
  return whitened_.empty() ? OkStatus() : flush();
}

Status LogStore::SyncCurrent() {
  const Status synced = current_->Sync();
  if (synced.ok()) {
    unsynced_count_ = 0;
    return OkStatus();
  }
  // Also where there was no room, which is not waited out here: the system may have given up
  // pages that it could not write, and the next sync would say nothing of them.
  failed_ = MakeError(Reason::kInternal, std::string(synced.message()));
  return failed_;
}

Status LogStore::StartSegment() {
  uint64_t id = 1;
  if (current_ != nullptr) {
    // What a crash leaves of the new segment is told from damage by the note, which a log of
    // an earlier build does not have yet.
    VECTRON_RETURN_IF_ERROR(noted_.has_value() ? SyncCurrent() : NoteEnd());
    MutexLock lock(mutex_);
    id = segments_.rbegin()->first + 1;
  }
  LogBatch checkpoint = CheckpointBatch();
  if (IsOldestWorthCopying()) VECTRON_RETURN_IF_ERROR(CopyOldest(&checkpoint));

  Segment segment;
  segment.path = PathOf(id);
  VECTRON_ASSIGN_OR_RETURN(segment.file, file_system_->Open(segment.path));
  const std::string header = EncodeSegmentHeader(id);
  const std::string_view part = header;
  Status status = segment.file->Append({&part, 1});
  if (!status.ok()) {
    file_system_->Remove(segment.path).IgnoreError();
    return Annotate(status, "raft log");
  }
  const std::shared_ptr<LogFile> previous = std::exchange(current_, segment.file);
  {
    MutexLock lock(mutex_);
    segments_[id] = std::move(segment);
    segments_[id].size = current_->size();
    bytes_written_ += current_->size();
  }
  status = WriteRecord(checkpoint);
  if (status.ok()) status = SyncCurrent();
  if (status.ok()) status = file_system_->SyncDir(options_.dir);
  if (status.ok()) return OkStatus();
  // Nothing refers to the new segment unless its record was written; in that case
  // it stays, and the log is not written to any more.
  if (ReasonOf(status) == Reason::kDiskFull && current_->size() == kSegmentHeaderBytes) {
    MutexLock lock(mutex_);
    file_system_->Remove(PathOf(id)).IgnoreError();
    segments_.erase(id);
    current_ = previous;
    return status;
  }
  failed_ = MakeError(Reason::kInternal, std::string(status.message()));
  return failed_;
}

// The segment's first record and its name are synced. Only now do more records follow, and
// only now are segments before it deleted: as long as it is not noted, nothing is lost with it.
Status LogStore::NoteSegment() {
  uint64_t id = 0;
  {
    MutexLock lock(mutex_);
    id = segments_.rbegin()->first;
  }
  return noted_.has_value() && noted_->segment == id ? OkStatus() : NoteEnd();
}

Status LogStore::NoteEnd() {
  VECTRON_RETURN_IF_ERROR(SyncCurrent());
  LogPosition end;
  {
    MutexLock lock(mutex_);
    end = {segments_.rbegin()->first, current_->size()};
  }
  if (noted_ == end) return OkStatus();
  VECTRON_RETURN_IF_ERROR(Annotate(WriteLogNote(options_.dir, end, file_system_), "raft log"));
  noted_ = end;
  return OkStatus();
}

void LogStore::Close() {
  if (!failed_.ok() || current_ == nullptr) return;
  const Status noted = NoteEnd();
  if (!noted.ok()) VECTRON_LOG_WARN("{}", std::string(noted.message()));
}

LogBatch LogStore::CheckpointBatch() const {
  LogBatch batch;
  for (const GroupId group : Groups()) {
    MutexLock lock(mutex_);
    const GroupLog& log = groups_.at(group);
    batch.Group(group, log.hard_state, log.truncated_index, log.truncated_term,
                log.membership_index, log.membership, log.pending_snapshot);
  }
  return batch;
}

bool LogStore::IsOldestWorthCopying() const {
  MutexLock lock(mutex_);
  uint64_t total = 0;
  uint64_t live = 0;
  for (const auto& [id, segment] : segments_) {
    total += segment.size;
    live += segment.live_bytes;
  }
  if (segments_.empty()) return false;
  const Segment& oldest = segments_.begin()->second;
  return oldest.live_bytes <= options_.segment_bytes / 4 &&
         total > 2 * live + options_.segment_bytes;
}

Status LogStore::CopyOldest(LogBatch* batch) const {
  std::vector<std::pair<GroupId, Chunk>> chunks;
  {
    MutexLock lock(mutex_);
    const uint64_t oldest = segments_.begin()->first;
    for (const auto& [group, log] : groups_) {
      for (const Chunk& chunk : log.chunks) {
        if (chunk.segment == oldest) chunks.emplace_back(group, chunk);
      }
    }
  }
  std::sort(chunks.begin(), chunks.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first, a.second.first) < std::pair(b.first, b.second.first);
  });
  for (const auto& [group, chunk] : chunks) {
    VECTRON_ASSIGN_OR_RETURN(std::string block, ReadChunk(group, chunk));
    batch->Block(LogOpKind::kRewrite, group, chunk.first, chunk.last, chunk.term, std::move(block));
  }
  return OkStatus();
}

void LogStore::DeleteDeadSegments() {
  // Only from the front: each record then finds everything it builds on before it.
  while (true) {
    uint64_t id = 0;
    {
      MutexLock lock(mutex_);
      if (segments_.size() < 2 || segments_.begin()->second.live_chunks > 0) return;
      id = segments_.begin()->first;
      segments_.erase(segments_.begin());
    }
    // A file that stays by accident is deleted after the next start.
    file_system_->Remove(PathOf(id)).IgnoreError();
    file_system_->Remove(DroppedPathOf(id)).IgnoreError();  // there is hardly ever one
  }
}

std::shared_ptr<LogFile> LogStore::FileOf(uint64_t segment) const {
  MutexLock lock(mutex_);
  const auto it = segments_.find(segment);
  return it == segments_.end() ? nullptr : it->second.file;
}

StatusOr<std::string> LogStore::ReadChunk(GroupId group, const Chunk& chunk) const {
  const std::shared_ptr<LogFile> file = FileOf(chunk.segment);
  if (file == nullptr) return absl::NotFoundError("these entries were truncated");
  VECTRON_ASSIGN_OR_RETURN(std::string block, file->Read(chunk.offset, chunk.bytes));
  Whiten(chunk.segment, chunk.offset, block.data(), block.size());
  if (block.size() != chunk.bytes || ChecksumOf(block) != chunk.checksum) {
    return Corruption(
        fmt::format("raft log {}: entries of group {} at offset {} do not match "
                    "their checksum",
                    PathOf(chunk.segment), group.value(), chunk.offset));
  }
  // What is live may be a part of the block.
  if (chunk.first == chunk.block_first && chunk.bytes_are_live) return block;
  size_t begin = 0;
  size_t end = 0;
  EntryReader reader(chunk.block_first, block);
  while (const auto entry = reader.Next()) {
    const size_t entry_end = block.size() - reader.remaining();
    if (entry->index < chunk.first) begin = entry_end;
    if (entry->index <= chunk.last) end = entry_end;
  }
  return block.substr(begin, end - begin);
}

StatusOr<EntryBlock> LogStore::Read(GroupId group, LogIndex first, LogIndex last,
                                    size_t bytes_max) const {
  std::vector<Chunk> chunks;
  {
    MutexLock lock(mutex_);
    const auto it = groups_.find(group);
    if (it != groups_.end()) {
      const auto& all = it->second.chunks;
      auto chunk = std::partition_point(all.begin(), all.end(),
                                        [&](const Chunk& c) { return c.last < first; });
      for (size_t bytes = 0; chunk != all.end() && chunk->first <= last; ++chunk) {
        bytes += chunk->bytes;
        if (!chunks.empty() && bytes > bytes_max) break;
        chunks.push_back(*chunk);
      }
    }
  }
  if (chunks.empty() || chunks.front().first > first) {
    return absl::NotFoundError(
        fmt::format("the log has no entry {} of group {}", first.value(), group.value()));
  }
  chunks.front().first = first;
  if (chunks.back().last > last) {
    chunks.back().last = last;
    chunks.back().bytes_are_live = false;
  }
  EntryBlock result;
  result.first = first;
  result.last = chunks.back().last;
  for (const Chunk& chunk : chunks) {
    VECTRON_ASSIGN_OR_RETURN(std::string block, ReadChunk(group, chunk));
    if (result.bytes.empty()) {
      result.bytes = std::move(block);
    } else {
      result.bytes += block;
    }
  }
  return result;
}

}  // namespace vectron::consensus
