#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "common/ids.h"
#include "consensus/raft_types.h"

// The log's files, byte by byte.
//
//   segment:  SegmentHeader, record*; behind the header XORed with Whiten's stream
//   record:   RecordHeader, payload, zeros up to a multiple of kRecordAlignment
//   payload:  op*
//   op:       kind (u8), group (u64), fields (see LogOpView)

namespace vectron::consensus {

// A snapshot that arrived but may not be in the state machine yet.
struct PendingSnapshot {
  LogIndex index;
  Term term;
  std::string membership;

  bool operator==(const PendingSnapshot&) const = default;
};

enum class LogOpKind : uint8_t {
  kGroup = 1,   // all of a group's state but its entries; at a segment's start
  kAppend = 2,  // entries; what was at or after the first one's index is void
  kHardState = 3,
  kTruncate = 4,  // entries up to an index are void
  kMembership = 5,
  kPending = 6,  // a snapshot is about to be given to the state machine
  kInstall = 7,  // it has it: the log begins after it
  kDestroy = 8,
  kRewrite = 9,  // live entries of an old segment, copied
};

// Changes to the log that are made together.
class LogBatch {
 public:
  // `block` holds the entries from `first` on.
  void Append(GroupId group, LogIndex first, std::string block);
  void SetHardState(GroupId group, const HardState& state);
  void Truncate(GroupId group, LogIndex index, Term term);
  void SetMembership(GroupId group, LogIndex index, std::string membership);
  void SetPendingSnapshot(GroupId group, const PendingSnapshot& snapshot);
  void InstallSnapshot(GroupId group, const PendingSnapshot& snapshot);
  void Destroy(GroupId group);
  void RequireSync() { must_sync_ = true; }

  // Moves what `other` holds behind what is here.
  void Add(LogBatch other);

  bool empty() const { return parts_.empty(); }
  bool must_sync() const { return must_sync_; }
  size_t bytes() const { return bytes_; }

 private:
  friend class LogStore;

  void Group(GroupId group, const HardState& state, LogIndex truncated_index, Term truncated_term,
             LogIndex membership_index, std::string_view membership,
             const std::optional<PendingSnapshot>& pending);
  // All entries of `block` are of `term`.
  void Block(LogOpKind kind, GroupId group, LogIndex first, LogIndex last, Term term,
             std::string block);
  void Put(std::string part);

  // The payload in pieces, so that entries are not copied once more.
  std::vector<std::string> parts_;
  size_t bytes_ = 0;
  bool must_sync_ = false;
};

// One op of a payload; which fields count depends on the kind. Views into it.
struct LogOpView {
  LogOpKind kind = LogOpKind::kGroup;
  GroupId group;
  HardState hard_state;       // kGroup, kHardState
  LogIndex index;             // kGroup and kTruncate: truncated; kPending, kInstall; kAppend: first
  LogIndex last;              // kAppend, kRewrite
  Term term;                  // of `index`; of the whole block
  LogIndex membership_index;  // kGroup, kMembership
  std::string_view membership;             // kGroup, kMembership, kPending, kInstall
  std::optional<PendingSnapshot> pending;  // kGroup
  std::string_view block;                  // kAppend, kRewrite
  uint64_t block_checksum = 0;
  size_t block_offset = 0;  // in the payload
};

// Walks over the ops of a payload.
class LogOpReader {
 public:
  explicit LogOpReader(std::string_view payload) : payload_(payload), reader_(payload) {}
  // For a payload in pieces: an op whose block, if it has one, is elsewhere.
  LogOpReader(std::string_view op, std::string_view block)
      : payload_(op), detached_block_(block), reader_(op) {}

  // Nothing at the end, and where the payload is malformed.
  std::optional<LogOpView> Next();
  bool malformed() const { return malformed_; }

 private:
  const std::string_view payload_;
  const std::string_view detached_block_;
  Reader reader_;
  bool malformed_ = false;
};

inline constexpr uint32_t kLogFormatVersion = 2;
inline constexpr size_t kSegmentHeaderBytes = 32;
inline constexpr size_t kRecordHeaderBytes = 40;
// Of records' lengths: so many whitened bytes, the fewest that one leaves in the file's
// last sector, are hardly ever all zeros.
inline constexpr size_t kRecordAlignment = 8;

// Of the payload with the zeros behind it.
inline uint64_t PaddedBytes(uint64_t payload_bytes) {
  return (payload_bytes + kRecordAlignment - 1) / kRecordAlignment * kRecordAlignment;
}

// Whether no second record is in the segment before it was noted (log_note.h). Files that
// an earlier build made are of the other kind.
enum class SegmentKind : uint32_t { kNotNoted = 0, kNoted = 1 };

std::string EncodeSegmentHeader(uint64_t segment, SegmentKind kind = SegmentKind::kNoted);
// INCOMPATIBLE_FORMAT or CORRUPTION (without the file's name).
StatusOr<SegmentKind> CheckSegmentHeader(std::string_view bytes, uint64_t segment);

struct RecordHeader {
  // Of the records right before it, so many were not synced when it was written: a loss of
  // power may take one of them and leave this one.
  uint32_t unsynced_count = 0;
  uint64_t sequence = 0;
  uint64_t payload_bytes = 0;
  uint64_t payload_checksum = 0;
};

// The header is bound to its segment, so that bytes of another file are never
// taken for a record.
std::string EncodeRecordHeader(const RecordHeader& header, uint64_t segment);
// Nothing unless `bytes` begin with a header that is intact.
std::optional<RecordHeader> DecodeRecordHeader(std::string_view bytes, uint64_t segment);
// XORs what stands, or will stand, at `offset` of a segment's file with a stream of
// pseudo-random bytes, behind the segment's header. A sector that was written is then
// never all zeros, whatever its content: zeros say that it did not reach the disk.
void Whiten(uint64_t segment, uint64_t offset, char* bytes, size_t size);

// What every record begins with.
std::string_view RecordMagic();

uint64_t ChecksumOf(std::string_view bytes);
uint64_t ChecksumOf(const std::vector<std::string>& parts);

}  // namespace vectron::consensus
