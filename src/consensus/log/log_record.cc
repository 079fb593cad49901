#include "consensus/log/log_record.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "common/check.h"
#include "common/error.h"

namespace vectron::consensus {
namespace {

constexpr std::string_view kSegmentMagic = "VECTRLOG";
constexpr std::string_view kRecordMagic("\xd7\x4c\x6f\x67", 4);

// A block with more entries than one is no larger.
constexpr size_t kBlockBytes = 1 << 20;

std::string OpHeader(LogOpKind kind, GroupId group) {
  std::string out(1, static_cast<char>(kind));
  PutFixed64(group.value(), &out);
  return out;
}

void PutHardState(const HardState& state, std::string* out) {
  PutFixed64(state.term.value(), out);
  PutFixed64(state.vote.value(), out);
  PutFixed64(state.commit.value(), out);
}

HardState GetHardState(Reader* reader) {
  HardState state;
  state.term = Term(reader->Fixed64());
  state.vote = ReplicaId(reader->Fixed64());
  state.commit = LogIndex(reader->Fixed64());
  return state;
}

void PutSnapshot(const PendingSnapshot& snapshot, std::string* out) {
  PutFixed64(snapshot.index.value(), out);
  PutFixed64(snapshot.term.value(), out);
  PutBytes(snapshot.membership, out);
}

}  // namespace

void LogBatch::Put(std::string part) {
  bytes_ += part.size();
  parts_.push_back(std::move(part));
}

void LogBatch::Block(LogOpKind kind, GroupId group, LogIndex first, LogIndex last, Term term,
                     std::string block) {
  std::string header = OpHeader(kind, group);
  PutFixed64(first.value(), &header);
  PutFixed64(last.value(), &header);
  PutFixed64(term.value(), &header);
  PutFixed64(ChecksumOf(block), &header);
  PutFixed64(block.size(), &header);
  Put(std::move(header));
  Put(std::move(block));
}

void LogBatch::Append(GroupId group, LogIndex first, std::string block) {
  // The log reads a block as a whole, and keeps one term for it.
  size_t begin = 0;
  size_t end = 0;
  LogIndex begin_index = first;
  Term term;
  EntryReader reader(first, block);
  const auto flush = [&](LogIndex next) {
    if (end == begin) return;
    Block(LogOpKind::kAppend, group, begin_index, LogIndex(next.value() - 1), term,
          begin == 0 && end == block.size() ? std::move(block) : block.substr(begin, end - begin));
    begin = end;
    begin_index = next;
  };
  LogIndex next = first;
  while (const auto entry = reader.Next()) {
    const size_t entry_end = block.size() - reader.remaining();
    if (entry->term != term || entry_end - begin > kBlockBytes) flush(entry->index);
    term = entry->term;
    end = entry_end;
    next = Next(entry->index);
  }
  VECTRON_CHECK(!reader.malformed());
  flush(next);
}

void LogBatch::SetHardState(GroupId group, const HardState& state) {
  std::string op = OpHeader(LogOpKind::kHardState, group);
  PutHardState(state, &op);
  Put(std::move(op));
}

void LogBatch::Truncate(GroupId group, LogIndex index, Term term) {
  std::string op = OpHeader(LogOpKind::kTruncate, group);
  PutFixed64(index.value(), &op);
  PutFixed64(term.value(), &op);
  Put(std::move(op));
}

void LogBatch::SetMembership(GroupId group, LogIndex index, std::string membership) {
  std::string op = OpHeader(LogOpKind::kMembership, group);
  PutFixed64(index.value(), &op);
  PutBytes(membership, &op);
  Put(std::move(op));
}

void LogBatch::SetPendingSnapshot(GroupId group, const PendingSnapshot& snapshot) {
  std::string op = OpHeader(LogOpKind::kPending, group);
  PutSnapshot(snapshot, &op);
  Put(std::move(op));
}

void LogBatch::InstallSnapshot(GroupId group, const PendingSnapshot& snapshot) {
  std::string op = OpHeader(LogOpKind::kInstall, group);
  PutSnapshot(snapshot, &op);
  Put(std::move(op));
}

void LogBatch::Destroy(GroupId group) { Put(OpHeader(LogOpKind::kDestroy, group)); }

void LogBatch::Group(GroupId group, const HardState& state, LogIndex truncated_index,
                     Term truncated_term, LogIndex membership_index, std::string_view membership,
                     const std::optional<PendingSnapshot>& pending) {
  std::string op = OpHeader(LogOpKind::kGroup, group);
  PutHardState(state, &op);
  PutFixed64(truncated_index.value(), &op);
  PutFixed64(truncated_term.value(), &op);
  PutFixed64(membership_index.value(), &op);
  PutBytes(membership, &op);
  op.push_back(pending.has_value() ? 1 : 0);
  if (pending.has_value()) PutSnapshot(*pending, &op);
  Put(std::move(op));
}

void LogBatch::Add(LogBatch other) {
  for (std::string& part : other.parts_) Put(std::move(part));
  must_sync_ = must_sync_ || other.must_sync_;
}

std::optional<LogOpView> LogOpReader::Next() {
  if (reader_.remaining() == 0) return std::nullopt;
  LogOpView op;
  op.kind = static_cast<LogOpKind>(reader_.Fixed8());
  op.group = GroupId(reader_.Fixed64());
  switch (op.kind) {
    case LogOpKind::kAppend:
    case LogOpKind::kRewrite: {
      op.index = LogIndex(reader_.Fixed64());
      op.last = LogIndex(reader_.Fixed64());
      op.term = Term(reader_.Fixed64());
      op.block_checksum = reader_.Fixed64();
      const uint64_t bytes = reader_.Fixed64();
      op.block_offset = payload_.size() - reader_.remaining();
      op.block = detached_block_.empty() ? reader_.Raw(bytes) : detached_block_;
      break;
    }
    case LogOpKind::kHardState:
      op.hard_state = GetHardState(&reader_);
      break;
    case LogOpKind::kTruncate:
      op.index = LogIndex(reader_.Fixed64());
      op.term = Term(reader_.Fixed64());
      break;
    case LogOpKind::kMembership:
      op.membership_index = LogIndex(reader_.Fixed64());
      op.membership = reader_.Bytes();
      break;
    case LogOpKind::kPending:
    case LogOpKind::kInstall:
      op.index = LogIndex(reader_.Fixed64());
      op.term = Term(reader_.Fixed64());
      op.membership = reader_.Bytes();
      break;
    case LogOpKind::kGroup:
      op.hard_state = GetHardState(&reader_);
      op.index = LogIndex(reader_.Fixed64());
      op.term = Term(reader_.Fixed64());
      op.membership_index = LogIndex(reader_.Fixed64());
      op.membership = reader_.Bytes();
      if (reader_.Fixed8() != 0) {
        PendingSnapshot pending;
        pending.index = LogIndex(reader_.Fixed64());
        pending.term = Term(reader_.Fixed64());
        pending.membership = reader_.Bytes();
        op.pending = std::move(pending);
      }
      break;
    case LogOpKind::kDestroy:
      break;
    default:
      malformed_ = true;
  }
  if (!reader_.ok()) malformed_ = true;
  if (malformed_) return std::nullopt;
  return op;
}

std::string EncodeSegmentHeader(uint64_t segment, SegmentKind kind) {
  std::string out(kSegmentMagic);
  PutFixed32(kLogFormatVersion, &out);
  PutFixed32(static_cast<uint32_t>(kind), &out);
  PutFixed64(segment, &out);
  PutFixed64(ChecksumOf(out), &out);
  return out;
}

StatusOr<SegmentKind> CheckSegmentHeader(std::string_view bytes, uint64_t segment) {
  Reader reader(bytes);
  const std::string_view magic = reader.Raw(kSegmentMagic.size());
  const uint32_t version = reader.Fixed32();
  const uint32_t kind = reader.Fixed32();
  const uint64_t stored_segment = reader.Fixed64();
  const uint64_t checksum = reader.Fixed64();
  if (!reader.ok() || magic != kSegmentMagic) return Corruption("not a file of the raft log");
  if (checksum != ChecksumOf(bytes.substr(0, kSegmentHeaderBytes - 8))) {
    return Corruption("the file's header is damaged");
  }
  if (version != kLogFormatVersion) {
    return MakeError(
        Reason::kIncompatibleFormat,
        fmt::format("format {}, this program reads format {}", version, kLogFormatVersion));
  }
  if (stored_segment != segment) {
    return Corruption(fmt::format("the file holds segment {}", stored_segment));
  }
  if (kind > static_cast<uint32_t>(SegmentKind::kNoted)) {
    return MakeError(Reason::kIncompatibleFormat,
                     fmt::format("segments of kind {} are not known to this program", kind));
  }
  return static_cast<SegmentKind>(kind);
}

namespace {

// The word number `index` of a segment's stream: splitmix64 (Steele, Lea and Flood,
// "Fast splittable pseudorandom number generators", OOPSLA 2014), which gives
// any of its words at once.
inline uint64_t StreamWord(uint64_t segment, uint64_t index) {
  uint64_t word = segment * 0xd1342543de82ef95u + (index + 1) * 0x9e3779b97f4a7c15u;
  word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
  word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
  return word ^ (word >> 31);
}

}  // namespace

void Whiten(uint64_t segment, uint64_t offset, char* bytes, size_t size) {
  size_t done = 0;
  while (done < size) {
    const uint64_t word = StreamWord(segment, (offset + done) / sizeof(uint64_t));
    const size_t skip = (offset + done) % sizeof(uint64_t);
    const size_t count = std::min(sizeof(uint64_t) - skip, size - done);
    if (count == sizeof(uint64_t)) {
      uint64_t value;
      std::memcpy(&value, bytes + done, sizeof(value));
      value ^= word;
      std::memcpy(bytes + done, &value, sizeof(value));
    } else {
      for (size_t i = 0; i < count; ++i) {
        bytes[done + i] =
            static_cast<char>(bytes[done + i] ^ static_cast<char>(word >> (8 * (skip + i))));
      }
    }
    done += count;
  }
}

std::string EncodeRecordHeader(const RecordHeader& header, uint64_t segment) {
  std::string out(kRecordMagic);
  PutFixed32(header.unsynced_count, &out);
  PutFixed64(header.sequence, &out);
  PutFixed64(header.payload_bytes, &out);
  PutFixed64(header.payload_checksum, &out);
  PutFixed64(XXH3_64bits_withSeed(out.data(), out.size(), segment), &out);
  return out;
}

std::optional<RecordHeader> DecodeRecordHeader(std::string_view bytes, uint64_t segment) {
  Reader reader(bytes);
  const std::string_view magic = reader.Raw(kRecordMagic.size());
  RecordHeader header;
  header.unsynced_count = reader.Fixed32();
  header.sequence = reader.Fixed64();
  header.payload_bytes = reader.Fixed64();
  header.payload_checksum = reader.Fixed64();
  const uint64_t checksum = reader.Fixed64();
  if (!reader.ok() || magic != kRecordMagic ||
      checksum != XXH3_64bits_withSeed(bytes.data(), kRecordHeaderBytes - 8, segment)) {
    return std::nullopt;
  }
  return header;
}

std::string_view RecordMagic() { return kRecordMagic; }

uint64_t ChecksumOf(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

uint64_t ChecksumOf(const std::vector<std::string>& parts) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(),
                                                                       &XXH3_freeState);
  XXH3_64bits_reset(state.get());
  for (const std::string& part : parts) XXH3_64bits_update(state.get(), part.data(), part.size());
  return XXH3_64bits_digest(state.get());
}

}  // namespace vectron::consensus
