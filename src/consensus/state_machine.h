#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/data_ops.h"
#include "common/error.h"
#include "common/ids.h"

namespace vectron::consensus {

// A committed proposal. The views live as long as the call they are passed to.
struct CommittedEntry {
  LogIndex index;
  Term term;
  // For exactly-once: state machines remember outcomes in a SessionTable that
  // they store together with their state.
  WriteSession session;
  std::string_view command;
};

// What applying one entry gave; passed to its proposer. An application error
// (e.g. "exists already") is a Status here; the entry counts as applied.
using ApplyResult = StatusOr<std::string>;

// One group's replicated state. The Host calls it; it never calls the Host.
//
// Threading: Apply, Restore and Flush are called by one apply thread at a time,
// never two of them at once. The rest may be called from any thread at any time.
class StateMachine {
 public:
  virtual ~StateMachine() = default;

  // The state contains every entry up to here. At start the host delivers from
  // the entry after it. With parts that lag behind each other it is the lowest;
  // Apply then skips what a part already has.
  virtual LogIndex AppliedIndex() const = 0;

  // Entries up to here survive a crash of this process: the log is never
  // truncated past it.
  virtual LogIndex DurableIndex() const = 0;

  // Applies `entries`, in order, with no gap to AppliedIndex() (entries of the
  // log that carry no command, such as a new leader's, are delivered with an empty
  // command so that the index moves on). Must be deterministic. One result an
  // entry. An error means that the state could not be changed (disk): the host
  // stops the group, reports it, and nothing more is applied; but after DISK_FULL
  // (entries up to AppliedIndex() are applied, the others are not) it comes again with
  // the same entries, until there is room.
  virtual StatusOr<std::vector<ApplyResult>> Apply(std::span<const CommittedEntry> entries) = 0;

  // Asks for DurableIndex() to move on to what is applied now, in the background;
  // called when the log has grown (its bytes or entries past a limit).
  virtual void RequestFlush() = 0;

  // Writes the state at some applied index, at least AppliedIndex() at the time of
  // the call, as files into the new directory `dir`; returns that index. Runs while
  // Apply goes on.
  virtual StatusOr<LogIndex> SaveSnapshot(const std::string& dir) = 0;

  // Replaces the whole state by the snapshot in `dir`, atomically with regard to
  // a crash, and leaves `dir` to the caller.
  virtual Status RestoreSnapshot(const std::string& dir) = 0;
};

}  // namespace vectron::consensus
