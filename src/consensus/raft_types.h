#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/ids.h"
#include "consensus/coding.h"

// What the Raft core, the log and the host say to each other.

namespace vectron::consensus {

// Raft thesis, figure 3.1: what must be on disk before a message that follows
// from it is sent. `commit` is a hint that may lag.
struct HardState {
  Term term;
  ReplicaId vote;
  LogIndex commit;

  bool operator==(const HardState&) const = default;
};

// Entries from `first` up to the next run are of `term`.
struct TermRun {
  LogIndex first;
  Term term;

  bool operator==(const TermRun&) const = default;
};

enum class EntryType : uint8_t { kNormal = 0, kConfChange = 1, kConfChangeV2 = 2 };

// One entry of a block: entries one after the other, as raft_core/src/codec.rs
// writes them. Views into the block.
struct EntryView {
  LogIndex index;
  Term term;
  EntryType type = EntryType::kNormal;
  std::string_view context;
  std::string_view data;
};

inline void AppendEntry(const EntryView& entry, std::string* block) {
  PutFixed64(entry.term.value(), block);
  block->push_back(static_cast<char>(entry.type));
  PutFixed32(static_cast<uint32_t>(entry.context.size()), block);
  PutFixed32(static_cast<uint32_t>(entry.data.size()), block);
  block->append(entry.context);
  block->append(entry.data);
}

// Walks over the entries of a block whose first index is known.
class EntryReader {
 public:
  EntryReader(LogIndex first, std::string_view block) : next_(first), reader_(block) {}

  // Nothing at the end of the block, and where it is malformed.
  std::optional<EntryView> Next() {
    if (reader_.remaining() == 0) return std::nullopt;
    EntryView entry;
    entry.index = next_;
    entry.term = Term(reader_.Fixed64());
    const uint8_t type = reader_.Fixed8();
    const uint32_t context_bytes = reader_.Fixed32();
    const uint32_t data_bytes = reader_.Fixed32();
    entry.context = reader_.Raw(context_bytes);
    entry.data = reader_.Raw(data_bytes);
    if (!reader_.ok() || type > static_cast<uint8_t>(EntryType::kConfChangeV2)) {
      malformed_ = true;
      return std::nullopt;
    }
    entry.type = static_cast<EntryType>(type);
    next_ = vectron::Next(next_);
    return entry;
  }

  bool malformed() const { return malformed_; }
  // Bytes behind the entries that were returned.
  size_t remaining() const { return reader_.remaining(); }

 private:
  LogIndex next_;
  Reader reader_;
  bool malformed_ = false;
};

}  // namespace vectron::consensus
