#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/data_ops.h"
#include "common/error.h"
#include "common/ids.h"
#include "consensus/state_machine.h"

namespace vectron::consensus {

// One change of a SessionTable's stored form: `value` replaces what is under
// `key`, or nothing stays there. Later changes win over earlier ones.
struct SessionChange {
  std::string key;
  std::optional<std::string> value;
};

// Exactly-once for a state machine (RIFL: Lee et al., "Implementing
// linearizability at large scale and low latency", SOSP 2015). For every client
// session it remembers which sequences were applied, with their results, until
// the session says that it has seen them. A state machine applies an entry so:
//
//   if (auto before = sessions.Find(entry.session)) return *before;
//   ApplyResult result = ...;
//   sessions.Record(entry.session, entry.index, result, &changes);
//   // `changes`, under a prefix of its own, go into the same WriteBatch as the
//   // entry's effects and the applied index.
//
// Everything is bounded, and what is given up first follows from the log alone,
// so all replicas agree. A session that was idle longest loses its results but
// keeps one number, the sequence below which its outcomes are unknown; a retry
// below it gets OUTCOME_FORGOTTEN and is not applied. Only when
// `idle_session_count_max` other sessions were idle after it is it forgotten
// altogether.
//
// The limits are part of the replicated state's meaning: they must be the same on
// all replicas. Not thread-safe: owned by what applies.
class SessionTable {
 public:
  struct Options {
    size_t session_count_max = 4096;         // that keep their results
    size_t idle_session_count_max = 262144;  // that keep one number
    size_t result_count_max = 1024;          // of one session
    size_t result_bytes_max = 64 << 10;      // of one result; a larger one is not kept
  };

  SessionTable() : SessionTable(Options{}) {}
  explicit SessionTable(const Options& options);

  // What became of this write earlier: nothing (apply it), its result, or
  // OUTCOME_FORGOTTEN (it may have been applied, do not apply it). Writes without a
  // session are always new.
  std::optional<ApplyResult> Find(const WriteSession& write) const;

  // Remembers what applying `write` at `index` gave; `Find` must have returned
  // nothing for it. Appends to `changes` what is to be stored.
  void Record(const WriteSession& write, LogIndex index, const ApplyResult& result,
              std::vector<SessionChange>* changes);

  // Restores a stored table: call Load for each stored pair, in any order, then
  // FinishLoad. CORRUPTION if this is not what Record or Dump gave.
  Status Load(std::string_view key, std::string_view value);
  Status FinishLoad();

  // The whole table, as changes to an empty one.
  std::vector<SessionChange> Dump() const;

  void Clear();

  // Sessions that keep their results.
  size_t session_count() const { return active_.size(); }
  size_t idle_session_count() const { return idle_.size(); }

 private:
  struct Session {
    // Outcomes of sequences below are not kept.
    uint64_t floor = 0;
    uint64_t sequence_max = 0;
    LogIndex last_index;  // of the last entry recorded
    bool idle = false;
    std::map<uint64_t, std::string> results;  // encoded, by sequence
  };
  // By the index of the session's last entry, oldest first.
  using ByAge = std::map<LogIndex, uint64_t>;

  void DropResultsBelow(uint64_t floor, uint64_t id, Session* session,
                        std::vector<SessionChange>* changes);
  void EvictSessions(std::vector<SessionChange>* changes);
  static std::string EncodeSession(const Session& session);
  std::string EncodeResult(const ApplyResult& result) const;

  Options options_;
  absl::flat_hash_map<uint64_t, Session> sessions_;
  // Each session is in exactly one of these.
  ByAge active_;
  ByAge idle_;
};

}  // namespace vectron::consensus
