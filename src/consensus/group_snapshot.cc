#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <utility>

#include "common/check.h"
#include "common/logging.h"
#include "consensus/group.h"

// Snapshots, sent and received, and the end of the log that they make dispensable.

namespace vectron::consensus {
namespace {

// A snapshot that nobody fetches any more is deleted after this.
constexpr std::chrono::seconds kSnapshotIdle{10};
// Less than this is not worth a record.
constexpr uint64_t kTruncateBytes = 256 << 10;
constexpr uint64_t kTruncateEntries = 4096;
// A flush that did not help is asked for again after this.
constexpr std::chrono::seconds kFlushAgain{10};

void RemoveDir(const std::string& dir) {
  if (dir.empty()) return;
  std::error_code error;
  std::filesystem::remove_all(dir, error);
  if (error) VECTRON_LOG_WARN("removing {}: {}", dir, error.message());
}

}  // namespace

void Group::OnSnapshot(NodeId from, SnapshotTransfer transfer, Round* round) {
  arrived_dir_ = std::move(transfer.dir);
  if (!restoring_.has_value()) {
    OnMessage(from, transfer.message.bytes, round);
    Process(round);
  }
  // Whatever was not taken up is not needed.
  RemoveDir(std::exchange(arrived_dir_, {}));
}

// The core has taken a snapshot. Three steps, each durable before the next, so that
// a crash leaves either the old state with the old log, or the new with the new:
//   1. the log notes which snapshot is about to be restored (kAnnouncing),
//   2. the state machine restores it (kApplying),
//   3. the log begins after it (kInstalling).
// A crash between 2 and 3 is told by the state machine's applied index at start.
void Group::BeginRestore(RawNode::Ready* ready, Round* round) {
  Restoring restoring;
  restoring.number = ready->number;
  restoring.snapshot = ready->snapshot;
  restoring.messages = std::move(ready->messages_after_persist);
  restoring.dir = std::exchange(arrived_dir_, {});
  restoring.hard_state = ready->has_hard_state ? ready->hard_state : written_hard_state_;
  if (restoring.dir.empty()) {
    Fail(Internal("a snapshot without its files was taken up"));
    return;
  }
  // Term and vote count from here on; the commit index is the new log's.
  HardState now = restoring.hard_state;
  now.commit = written_hard_state_.commit;
  round->batch.SetHardState(group_, now);
  round->batch.SetPendingSnapshot(group_, restoring.snapshot);
  round->batch.RequireSync();
  round->persists.push_back({replica_, restoring.number});
  deferred_hard_state_.reset();
  restoring_ = std::move(restoring);
}

// The announcement or the installation is durable.
void Group::FinishRestore(Round* round) {
  if (restoring_->stage == Restoring::Stage::kAnnouncing) {
    restoring_->stage = Restoring::Stage::kApplying;
    ApplyTask task;
    task.last = restoring_->snapshot.index;
    task.snapshot_dir = restoring_->dir;
    services_.applier->Push(replica_, std::move(task));
    return;
  }
  VECTRON_CHECK(restoring_->stage == Restoring::Stage::kInstalling);
  Restoring done = std::move(*restoring_);
  restoring_.reset();
  unpersisted_.clear();
  membership_history_.clear();
  membership_history_[done.snapshot.index] = node_->membership();
  written_hard_state_ = done.hard_state;
  if (!Take(node_->OnPersisted(done.number))) return;
  if (!Take(node_->AdvanceApply(done.snapshot.index))) return;
  Send(std::move(done.messages), round);
  RemoveDir(done.dir);
}

void Group::OnRestored(const ApplyReport& report, Round* round) {
  VECTRON_CHECK(restoring_.has_value() && restoring_->stage == Restoring::Stage::kApplying);
  VECTRON_CHECK(report.applied == restoring_->snapshot.index);
  // What became of proposals that the snapshot covers cannot be told from it.
  while (!placed_.empty() && placed_.front().index <= report.applied) {
    placed_.front().waiter->Answer(
        MakeError(Reason::kOutcomeUnknown, "a snapshot took the place of the write's log entry"));
    placed_.pop_front();
  }
  restoring_->stage = Restoring::Stage::kInstalling;
  round->batch.InstallSnapshot(group_, restoring_->snapshot);
  round->batch.SetHardState(group_, restoring_->hard_state);
  round->batch.RequireSync();
  round->persists.push_back({replica_, restoring_->number});
}

std::string Group::NewSnapshotDir() {
  return fmt::format("{}/snapshots/{}-{}-{}", services_.options->dir, group_.value(),
                     services_.log->incarnation(), next_snapshot_++);
}

void Group::SaveSnapshot() {
  if (saving_snapshot_ || outgoing_.has_value()) return;
  saving_snapshot_ = true;
  services_.background->Submit([replica = replica_, post = services_.post, dir = NewSnapshotDir()] {
    if (!replica->Enter()) return;
    std::error_code error;
    std::filesystem::create_directories(std::filesystem::path(dir).parent_path(), error);
    StatusOr<LogIndex> index = replica->machine().SaveSnapshot(dir);
    replica->Leave();
    post(replica, [index = std::move(index), dir](Group& group, Round& round) {
      group.OnSnapshotSaved(index, dir, &round);
    });
  });
}

void Group::OnSnapshotSaved(StatusOr<LogIndex> index, const std::string& dir, Round* round) {
  (void)round;
  if (failed_ || !index.ok()) {
    if (!index.ok()) {
      VECTRON_LOG_WARN("group {}: saving a snapshot: {}", group_.value(),
                       std::string(index.status().message()));
    }
    saving_snapshot_ = false;
    RemoveDir(dir);
    return;
  }
  saved_index_ = *index;
  saved_dir_ = dir;
  OfferSnapshot();
}

// The state machine may be ahead of what the core heard of: its membership at the
// snapshot's index is known only when it has caught up.
void Group::OfferSnapshot() {
  if (!saved_index_.has_value() || *saved_index_ > node_->GetStatus().applied) return;
  const LogIndex index = *std::exchange(saved_index_, std::nullopt);
  saving_snapshot_ = false;
  const auto after = membership_history_.upper_bound(index);
  if (after == membership_history_.begin() ||
      !node_->OfferSnapshot(index, std::prev(after)->second).ok()) {
    RemoveDir(saved_dir_);
    return;
  }
  outgoing_ = OutgoingSnapshot{index, std::exchange(saved_dir_, {}), 0, services_.clock->Now()};
}

void Group::SendSnapshot(RawNode::Message message) {
  const NodeId node = NodeOf(message.to);
  if (!outgoing_.has_value() || node == NodeId() || services_.transport == nullptr) {
    Take(node_->ReportSnapshot(message.to, false));
    return;
  }
  ++outgoing_->sends;
  outgoing_->used = services_.clock->Now();
  std::string bytes(1, kRaftMessage);
  PutFixed64(self_.value(), &bytes);
  bytes += message.bytes;
  services_.transport->SendSnapshot(
      node, {{group_, std::move(bytes)}, outgoing_->dir},
      [post = services_.post, replica = replica_, to = message.to](Status status) {
        post(replica, [status, to](Group& group, Round& round) {
          if (!status.ok()) {
            VECTRON_LOG_WARN("group {}: sending a snapshot: {}", group.group_.value(),
                             std::string(status.message()));
          }
          if (group.outgoing_.has_value()) {
            --group.outgoing_->sends;
            group.outgoing_->used = round.now;
          }
          if (!group.failed_) group.Take(group.node_->ReportSnapshot(to, status.ok()));
        });
      });
}

void Group::DropIdleSnapshots(TimePoint now) {
  if (!outgoing_.has_value() || outgoing_->sends > 0 || outgoing_->used + kSnapshotIdle > now) {
    return;
  }
  node_->WithdrawSnapshot();
  RemoveDir(outgoing_->dir);
  outgoing_.reset();
}

void Group::Maintain(Round* round) {
  if (failed_ || restoring_.has_value()) return;
  DropIdleSnapshots(round->now);
  services_.applier->Resume(replica_);
  Truncate(round);
}

// How far the log is not needed any more: what is durable in the state machine and
// known to all followers, but for those so far behind that a snapshot serves them
// better.
LogIndex Group::TruncationPoint(LogIndex durable) const {
  const RawNode::Status status = node_->GetStatus();
  LogIndex point = std::min(durable, status.applied);
  if (outgoing_.has_value()) point = std::min(point, outgoing_->index);
  if (saved_index_.has_value()) {
    // It waits until the core has heard of what it holds, which a full disk may put off.
    point = std::min(point, *saved_index_);
  } else if (saving_snapshot_) {
    return status.first_index;
  }
  if (!status.is_leader()) {
    // A follower may lead soon, and then others may need its entries.
    const uint64_t keep = status.is_sole_voter ? 0 : kTruncateEntries;
    return LogIndex(point.value() > keep ? point.value() - keep : 0);
  }
  const bool is_large = services_.log->GroupBytes(group_) > services_.options->log_bytes_flush;
  for (const RawNode::Progress& p : node_->GetProgress()) {
    if (p.replica == self_ || p.needs_snapshot) continue;
    if (is_large && !p.recent_active) continue;
    point = std::min(point, p.matched);
  }
  return point;
}

void Group::Truncate(Round* round) {
  const uint64_t bytes = services_.log->GroupBytes(group_);
  if (bytes == 0) return;
  const RawNode::Status status = node_->GetStatus();
  const LogIndex durable = replica_->machine().DurableIndex();
  const LogIndex point = TruncationPoint(durable);
  const uint64_t entries = status.last_index.value() - status.first_index.value() + 1;
  const bool is_worth = bytes >= kTruncateBytes || entries >= kTruncateEntries;
  if (is_worth && point >= status.first_index) {
    const Term term = node_->TermAt(point);
    if (!Take(node_->Truncate(point))) return;
    Flush(round);
    round->batch.Truncate(group_, point, term);
    // The membership that holds at the log's begin stays known.
    auto current = membership_history_.upper_bound(point);
    if (current != membership_history_.begin()) {
      membership_history_.erase(membership_history_.begin(), std::prev(current));
    }
  }
  const HostOptions& options = *services_.options;
  const bool is_large = bytes > options.log_bytes_flush || entries > options.log_entries_flush;
  const bool is_needed = services_.disk_full() && bytes >= kTruncateBytes;
  if (!is_large && !is_needed) return;
  if (flush_requested_.has_value() && flush_requested_->first == durable &&
      flush_requested_->second + kFlushAgain > round->now) {
    return;
  }
  flush_requested_ = {durable, round->now};
  replica_->machine().RequestFlush();
}

}  // namespace vectron::consensus
