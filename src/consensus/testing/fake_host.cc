#include "consensus/testing/fake_host.h"

#include <fmt/format.h>

#include <utility>

#include "common/check.h"

namespace vectron::consensus {

Status FakeHost::StartGroup(const GroupOptions& options, std::shared_ptr<StateMachine> machine) {
  auto group = std::make_shared<Group>();
  group->options = options;
  group->machine = std::move(machine);
  {
    MutexLock lock(mutex_);
    if (stopped_) return MakeError(Reason::kShuttingDown, "the host is stopped");
    if (!groups_.emplace(options.group, group).second) return Internal("the group runs already");
  }
  std::vector<LogEntry> log;
  {
    MutexLock lock(disk_->mutex);
    log = disk_->logs[options.group];
  }
  MutexLock lock(group->mutex);
  const uint64_t applied = group->machine->AppliedIndex().value();
  if (applied > log.size()) return Corruption("the state is ahead of the log");
  for (uint64_t i = applied; i < log.size(); ++i) {
    const CommittedEntry entry{LogIndex(i + 1), log[i].term, log[i].session, log[i].command};
    VECTRON_RETURN_IF_ERROR(group->machine->Apply({&entry, 1}).status());
  }
  group->term = Term(log.empty() ? 1 : log.back().term.value() + 1);
  return Append(group.get(), {group->term, {}, ""}).status();  // a new leader's entry
}

Status FakeHost::StopGroup(GroupId id) {
  GroupPtr group;
  {
    MutexLock lock(mutex_);
    const auto found = groups_.find(id);
    if (found == groups_.end()) return NotHere(id);
    group = found->second;
    groups_.erase(found);
  }
  MutexLock lock(group->mutex);  // waits for the call under way
  group->machine.reset();
  return OkStatus();
}

Status FakeHost::DestroyGroup(GroupId group) {
  const Status stopped = StopGroup(group);
  MutexLock lock(disk_->mutex);
  return disk_->logs.erase(group) > 0 ? OkStatus() : stopped;
}

StatusOr<Applied> FakeHost::Append(Group* group, LogEntry entry) {
  LogIndex index;
  {
    MutexLock lock(disk_->mutex);
    std::vector<LogEntry>& log = disk_->logs[group->options.group];
    log.push_back(entry);
    index = LogIndex(log.size());
  }
  const CommittedEntry committed{index, entry.term, entry.session, entry.command};
  VECTRON_ASSIGN_OR_RETURN(auto results, group->machine->Apply({&committed, 1}));
  VECTRON_CHECK(results.size() == 1);
  if (!results[0].ok()) return results[0].status();
  return Applied{index, *std::move(results[0])};
}

void FakeHost::Propose(GroupId id, Proposal proposal, Deadline, Callback<Applied> done) {
  const GroupPtr group = Find(id);
  if (group == nullptr) return done(NotHere(id));
  StatusOr<Applied> result = Applied{};
  {
    MutexLock lock(group->mutex);
    Status failure;
    if (!group->failures.empty()) {
      failure = group->failures.front();
      group->failures.pop_front();
    }
    const bool is_applied = failure.ok() || ReasonOf(failure) == Reason::kOutcomeUnknown;
    if (group->machine == nullptr) {
      result = NotHere(id);
    } else if (!group->leading) {
      result = NotLeader(id, std::nullopt);
    } else if (is_applied) {
      result = Append(group.get(), {group->term, proposal.session, std::move(proposal.command)});
    }
    if (!failure.ok()) result = failure;
  }
  done(std::move(result));
}

std::optional<LogIndex> FakeHost::TryReadIndex(GroupId id) const {
  const GroupPtr group = Find(id);
  if (group == nullptr || !fast_reads_) return std::nullopt;
  MutexLock lock(group->mutex);
  if (!group->leading || group->machine == nullptr) return std::nullopt;
  return group->machine->AppliedIndex();
}

void FakeHost::ReadIndex(GroupId id, Deadline, Callback<LogIndex> done) {
  const GroupPtr group = Find(id);
  if (group == nullptr) return done(NotHere(id));
  StatusOr<LogIndex> index = LogIndex();
  {
    MutexLock lock(group->mutex);
    if (!group->leading || group->machine == nullptr) {
      index = MakeError(Reason::kUnavailable, "the group has no leader");
    } else {
      index = group->machine->AppliedIndex();
    }
  }
  done(std::move(index));
}

void FakeHost::WaitApplied(GroupId id, LogIndex index, Deadline, Callback<LogIndex> done) {
  const GroupPtr group = Find(id);
  if (group == nullptr) return done(NotHere(id));
  StatusOr<LogIndex> applied = LogIndex();
  {
    MutexLock lock(group->mutex);
    if (group->machine == nullptr) {
      applied = NotHere(id);
    } else if (applied = group->machine->AppliedIndex(); *applied < index) {
      // All there is to apply is applied: it would wait for ever.
      applied = MakeError(Reason::kDeadlineExceeded, "the index is not applied");
    }
  }
  done(std::move(applied));
}

StatusOr<GroupStatus> FakeHost::GetStatus(GroupId id) const {
  const GroupPtr group = Find(id);
  if (group == nullptr) return NotHere(id);
  MutexLock lock(group->mutex);
  if (group->machine == nullptr) return NotHere(id);
  GroupStatus status;
  status.self = group->options.self;
  status.is_leader = group->leading;
  if (group->leading) status.leader = Member{group->options.self, self_, false};
  status.term = group->term;
  status.first_index = LogIndex(1);
  status.applied = group->machine->AppliedIndex();
  status.last_index = status.committed = status.applied;
  status.members = group->options.initial_members;
  return status;
}

void FakeHost::TransferLeadership(GroupId, ReplicaId) {}

void FakeHost::ChangeMembers(GroupId, std::vector<Member>, Deadline, Callback<LogIndex> done) {
  done(MakeError(Reason::kUnsupported, "the group has one voter"));
}

void FakeHost::Stop() {
  std::vector<GroupId> running;
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    for (const auto& [id, group] : groups_) running.push_back(id);
  }
  for (const GroupId id : running) StopGroup(id).IgnoreError();
}

void FakeHost::FailProposals(GroupId id, std::vector<Status> errors) {
  const GroupPtr group = Find(id);
  VECTRON_CHECK(group != nullptr);
  MutexLock lock(group->mutex);
  group->failures.insert(group->failures.end(), errors.begin(), errors.end());
}

void FakeHost::SetLeading(GroupId id, bool leading) {
  const GroupPtr group = Find(id);
  VECTRON_CHECK(group != nullptr);
  MutexLock lock(group->mutex);
  if (leading && !group->leading) group->term = Term(group->term.value() + 1);
  group->leading = leading;
}

bool FakeHost::HasLog(GroupId group) const {
  MutexLock lock(disk_->mutex);
  return disk_->logs.contains(group);
}

bool FakeHost::IsRunning(GroupId group) const { return Find(group) != nullptr; }

FakeHost::GroupPtr FakeHost::Find(GroupId group) const {
  MutexLock lock(mutex_);
  const auto found = groups_.find(group);
  return found == groups_.end() ? nullptr : found->second;
}

Status FakeHost::NotHere(GroupId group) const {
  return MakeError(Reason::kShardNotFound,
                   fmt::format("group {} does not run here", group.value()));
}

}  // namespace vectron::consensus
