#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "common/ids.h"
#include "common/mutex.h"
#include "consensus/log/log_file.h"
#include "consensus/log/log_note.h"
#include "consensus/log/log_record.h"
#include "consensus/raft_types.h"

namespace vectron::consensus {

// What the log knows of a group, besides the entries' data.
struct GroupLogState {
  HardState hard_state;
  // As the host encoded it, and the index of the entry it follows from.
  std::string membership;
  LogIndex membership_index;
  LogIndex truncated_index;
  Term truncated_term;
  LogIndex last_index;
  std::vector<TermRun> term_runs;
  std::vector<LogIndex> conf_changes;  // entries that change the membership
  std::optional<PendingSnapshot> pending_snapshot;
  uint64_t bytes = 0;  // of entries that are not truncated, roughly
};

// Entries `first` to `last`, as EntryReader reads them.
struct EntryBlock {
  LogIndex first;
  LogIndex last;
  std::string bytes;
};

// The log of all groups of a process: one sequence of files ("segments"), only
// ever appended to. Everything that one round changed, in all groups, is one
// checksummed record: written by one call, made durable by one sync, there after
// a crash wholly or not at all. An entry's bytes are written once; where they are
// is kept in memory, and found again by reading the files at start.
//
// A segment begins with the state of all groups (without entries), so segments
// before it are needed only for the entries in them: when no live entry is left in
// the oldest one, it is deleted. Live entries that alone keep an old segment from
// being deleted are copied to the newest one.
//
// Threads: Write by one thread at a time; everything else by any.
class LogStore {
 public:
  struct Options {
    std::string dir;
    uint64_t segment_bytes = 64 << 20;  // a segment ends with the record that passes this
  };

  // Reads and verifies the whole log. An incomplete record at the end, behind what was
  // noted as synced, is what a crash leaves: it is dropped, which is logged, and a copy
  // is kept beside the segment. Any other damage, and an end that is missing before the
  // place that was noted, is CORRUPTION, naming the file, the place and the group where known;
  // INCOMPATIBLE_FORMAT for the files of another version.
  static StatusOr<std::unique_ptr<LogStore>> Open(const Options& options,
                                                  LogFileSystem* file_system);

  std::vector<GroupId> Groups() const;
  // Nothing if the log does not know the group.
  std::optional<GroupLogState> GetState(GroupId group) const;
  // Bytes of the group's live entries.
  uint64_t GroupBytes(GroupId group) const;

  // Appends `batch` as one record, and makes it and all before it durable if it
  // asks for that. After DISK_FULL nothing has changed and the same batch may be
  // tried again. After any other error the log cannot be trusted any more (a failed
  // sync, for want of room or not, may have lost earlier bytes): every later Write fails
  // with it.
  Status Write(const LogBatch& batch);

  // Notes where the log ends: no truncation from here on goes unnoticed. Nothing is written
  // after it. What it cannot do it logs.
  void Close();

  // At least the entry `first`, then more up to `last` or `bytes_max`. CORRUPTION
  // if the bytes changed on disk, NOT_FOUND (code) if they are truncated.
  StatusOr<EntryBlock> Read(GroupId group, LogIndex first, LogIndex last, size_t bytes_max) const;

  // Grows with every opening: no two openings of a log see the same.
  uint64_t incarnation() const { return incarnation_; }
  // Bytes written to files since the log was opened.
  uint64_t bytes_written() const;
  // Bytes in all segments.
  uint64_t disk_bytes() const;
  size_t segment_count() const;

 private:
  struct Segment {
    std::string path;
    std::shared_ptr<LogFile> file;
    uint64_t size = 0;
    uint64_t live_bytes = 0;
    uint64_t live_chunks = 0;
  };
  // A block of entries of one term, or what is left of it.
  struct Chunk {
    LogIndex block_first;  // of the whole block
    LogIndex first;        // of what is left
    LogIndex last;
    bool bytes_are_live = true;  // up to the block's end
    Term term;
    uint64_t segment = 0;
    uint64_t offset = 0;  // of the block
    uint64_t bytes = 0;   // of the block, with entries that are dead by now
    uint64_t checksum = 0;
  };
  struct GroupLog {
    HardState hard_state;
    std::string membership;
    LogIndex membership_index;
    LogIndex truncated_index;
    Term truncated_term;
    std::deque<Chunk> chunks;
    uint64_t bytes = 0;  // of the chunks
    std::set<LogIndex> conf_changes;
    std::optional<PendingSnapshot> pending_snapshot;

    LogIndex last_index() const { return chunks.empty() ? truncated_index : chunks.back().last; }
  };
  struct Location {
    uint64_t segment = 0;
    uint64_t offset = 0;  // of the record's payload
  };

  LogStore(const Options& options, LogFileSystem* file_system);

  std::string PathOf(uint64_t segment) const;
  // Of what a crash left at the end of a segment, or all that it left of one.
  std::string DroppedPathOf(uint64_t segment) const;

  // Recovery (log_recovery.cc).
  Status Recover();
  StatusOr<std::vector<uint64_t>> ListSegments() const;
  Status RecoverSegment(uint64_t id, bool is_last);
  // Nothing if the segment was not completely begun, and is dropped.
  StatusOr<std::optional<SegmentKind>> RecoverHeader(uint64_t id, bool is_last,
                                                     const LogFile& file);
  StatusOr<bool> MayBeLeftover(uint64_t id, const LogFile& file) const;
  struct FoundRecord {
    std::optional<RecordHeader> header;
    std::string payload;
    std::string problem;  // empty if the record is intact
  };
  StatusOr<FoundRecord> ReadRecord(uint64_t id, const LogFile& file, uint64_t offset,
                                   uint64_t end) const;
  Status RecoverTail(uint64_t id, const LogFile& file, uint64_t offset, uint64_t end,
                     std::string_view what);
  Status DropSegment(uint64_t id, uint64_t bytes, std::string_view what);
  // Where a copy is, or why there is none.
  std::string KeepCopy(uint64_t id, std::string_view bytes) const;
  // So much of the segment was noted as synced.
  uint64_t SyncedBytes(uint64_t id) const;
  // Whether there is a record that was written after the next one was synced.
  bool HasRecordAfter(uint64_t id, std::string_view bytes) const;
  Status VerifyGroups() const;
  Status MarkOpened();

  // Replaying and writing.
  Status ApplyPayload(std::string_view payload, Location location)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Status ApplyOp(const LogOpView& op, Location location) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Status ApplyBlock(const LogOpView& op, Location location, GroupLog* log)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CutFrom(LogIndex index, GroupLog* log) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CutUpTo(LogIndex index, Term term, GroupLog* log) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Retain(const Chunk& chunk, GroupLog* log) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Release(const Chunk& chunk, GroupLog* log) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Status WriteRecord(const LogBatch& batch);
  // Of the writer alone: `parts` as they stand in the file, appended to current_.
  Status AppendWhitened(uint64_t segment, std::span<const std::string_view> parts);
  Status SyncCurrent();  // an error of it is final
  Status StartSegment();
  // Before a second record is in it.
  Status NoteSegment();
  Status NoteEnd();
  LogBatch CheckpointBatch() const;
  bool IsOldestWorthCopying() const;
  Status CopyOldest(LogBatch* batch) const;
  void DeleteDeadSegments();
  StatusOr<std::string> ReadChunk(GroupId group, const Chunk& chunk) const;
  std::shared_ptr<LogFile> FileOf(uint64_t segment) const;

  const Options options_;
  LogFileSystem* const file_system_;
  uint64_t incarnation_ = 0;

  // Of the writer alone.
  uint64_t next_sequence_ = 1;
  uint32_t unsynced_count_ = 0;  // records written since the last sync
  std::shared_ptr<LogFile> current_;
  std::optional<LogPosition> noted_;
  Status failed_;
  std::string whitened_;  // scratch of AppendWhitened

  mutable Mutex mutex_;
  std::map<uint64_t, Segment> segments_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<GroupId, GroupLog> groups_ ABSL_GUARDED_BY(mutex_);
  uint64_t bytes_written_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace vectron::consensus
