#include "consensus/applier.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/logging.h"

namespace vectron::consensus {
namespace {

constexpr size_t kApplyBytes = 4 << 20;  // entries applied by one call, roughly
constexpr size_t kReadBytes = 8 << 20;   // entries read from the log at once

WriteSession DecodeSession(std::string_view context) {
  WriteSession session;
  Reader reader(context);
  session.session = reader.Fixed64();
  session.sequence = reader.Fixed64();
  session.acked_below = reader.Fixed64();
  return reader.Done() ? session : WriteSession{};
}

Status Replaced() {
  return MakeError(Reason::kUnavailable,
                   "the leader changed before the write was committed; it was not applied");
}

}  // namespace

std::string EncodeSession(const WriteSession& session) {
  std::string context;
  if (session.session == 0) return context;
  PutFixed64(session.session, &context);
  PutFixed64(session.sequence, &context);
  PutFixed64(session.acked_below, &context);
  return context;
}

void Applier::Push(const std::shared_ptr<Replica>& replica, ApplyTask task) {
  if (replica->Push(std::move(task))) {
    executor_->Submit([this, replica] { Run(replica); });
  }
}

void Applier::Resume(const std::shared_ptr<Replica>& replica) {
  if (replica->Resume()) {
    executor_->Submit([this, replica] { Run(replica); });
  }
}

void Applier::Run(const std::shared_ptr<Replica>& replica) {
  std::vector<ApplyTask> tasks = replica->Take(kApplyBytes);
  if (tasks.empty()) return;
  const bool is_restore = !tasks.front().snapshot_dir.empty();
  const Status status = is_restore ? Restore(replica, tasks.front()) : ApplyTasks(replica, tasks);
  if (ReasonOf(status) == Reason::kDiskFull) {
    VECTRON_LOG_WARN("group {}: applying waits for room: {}", replica->group().value(),
                     std::string(status.message()));
    replica->PutBack(std::move(tasks));
    return;
  }
  if (!status.ok()) {
    VECTRON_LOG_ERROR("group {}: applying: {}", replica->group().value(),
                      std::string(status.message()));
    replica->Fail(status);
    report_({replica, replica->applied(), {}, is_restore, status});
  }
  // Again, so that other replicas have their turn.
  executor_->Submit([this, replica] { Run(replica); });
}

Status Applier::Restore(const std::shared_ptr<Replica>& replica, const ApplyTask& task) {
  VECTRON_RETURN_IF_ERROR(
      Annotate(replica->machine().RestoreSnapshot(task.snapshot_dir), "restoring a snapshot"));
  replica->SetApplied(task.last);
  report_({replica, task.last, {}, true, OkStatus()});
  return OkStatus();
}

Status Applier::ApplyTasks(const std::shared_ptr<Replica>& replica,
                           const std::vector<ApplyTask>& tasks) {
  std::vector<std::pair<LogIndex, std::string_view>> blocks;
  std::vector<PlacedProposal> proposals;
  for (const ApplyTask& task : tasks) {
    if (!task.in_memory) return ApplyFromLog(replica, task);
    blocks.emplace_back(task.first, task.block);
    proposals.insert(proposals.end(), task.proposals.begin(), task.proposals.end());
  }
  return ApplyBlocks(replica, blocks, proposals);
}

Status Applier::ApplyFromLog(const std::shared_ptr<Replica>& replica, const ApplyTask& task) {
  // A disk that ran full may have stopped it in the middle.
  for (LogIndex next = std::max(task.first, Next(replica->applied())); next <= task.last;) {
    VECTRON_ASSIGN_OR_RETURN(const EntryBlock block,
                             log_->Read(replica->group(), next, task.last, kReadBytes));
    VECTRON_RETURN_IF_ERROR(ApplyBlocks(replica, {{block.first, block.bytes}}, task.proposals));
    next = Next(block.last);
  }
  return OkStatus();
}

Status Applier::ApplyBlocks(const std::shared_ptr<Replica>& replica,
                            const std::vector<std::pair<LogIndex, std::string_view>>& blocks,
                            const std::vector<PlacedProposal>& proposals) {
  std::vector<CommittedEntry> entries;
  std::vector<AppliedChange> changes;
  for (const auto& [first, block] : blocks) {
    EntryReader reader(first, block);
    while (const auto entry = reader.Next()) {
      const bool is_normal = entry->type == EntryType::kNormal;
      entries.push_back({entry->index, entry->term, DecodeSession(entry->context),
                         is_normal ? entry->data : std::string_view()});
      if (!is_normal) changes.push_back({entry->index, std::string(entry->data)});
    }
    if (reader.malformed()) return Corruption("committed entries are malformed");
  }
  if (entries.empty()) return OkStatus();
  VECTRON_ASSIGN_OR_RETURN(std::vector<ApplyResult> results, replica->machine().Apply(entries));
  if (results.size() != entries.size()) {
    return Internal("the state machine did not give one result an entry");
  }
  const LogIndex first = entries.front().index;
  const LogIndex last = entries.back().index;
  replica->SetApplied(last);
  for (const PlacedProposal& proposal : proposals) {
    if (proposal.index < first || proposal.index > last) continue;
    const size_t i = proposal.index.value() - first.value();
    VECTRON_CHECK(entries[i].index == proposal.index);
    if (entries[i].term != proposal.term) {
      proposal.waiter->Answer(Replaced());
    } else if (results[i].ok()) {
      proposal.waiter->Answer(Applied{proposal.index, std::move(*results[i])});
    } else {
      proposal.waiter->Answer(results[i].status());
    }
  }
  report_({replica, last, std::move(changes), false, OkStatus()});
  return OkStatus();
}

}  // namespace vectron::consensus
