#include "consensus/step_worker.h"

#include <algorithm>
#include <chrono>

namespace vectron::consensus {
namespace {

// Messages of peers that wait for the next round; raft sends again what is dropped.
constexpr size_t kInboxBytes = 256 << 20;
constexpr std::chrono::seconds kMaintenance{1};
// After a pause, what piled up is heard before more time passes.
constexpr int kTicksPerRound = 2;
// Sleeping groups look after those who wait for them so seldom.
constexpr int kSleepersTicks = 10;

}  // namespace

StepWorker::StepWorker(const GroupServices& services, LogWriter* log_writer,
                       MetricsRegistry* metrics)
    : services_(services), log_writer_(log_writer) {
  if (metrics != nullptr) {
    rounds_ = &prometheus::BuildCounter()
                   .Name("vectron_raft_rounds_total")
                   .Help("Passes of the step workers over the groups with work")
                   .Register(*metrics)
                   .Add({});
  }
  const TimePoint now = services_.clock->Now();
  next_tick_ = now + services_.options->tick;
  next_maintenance_ = now + kMaintenance;
}

void StepWorker::Add(std::unique_ptr<Group> group) {
  MutexLock lock(mutex_);
  inbox_.added.push_back(std::move(group));
  wake_.NotifyOne();
}

void StepWorker::Remove(std::shared_ptr<Replica> replica, std::function<void()> done) {
  MutexLock lock(mutex_);
  inbox_.removed.push_back({std::move(replica), std::move(done)});
  wake_.NotifyOne();
}

void StepWorker::Post(std::shared_ptr<Replica> replica, Action action) {
  MutexLock lock(mutex_);
  // Of an action that came too late, whoever waits is answered by its end.
  if (closed_) return;
  inbox_.items.push_back({std::move(replica), NodeId(), 0, std::move(action)});
  if (inbox_.items.size() == 1) wake_.NotifyOne();
}

void StepWorker::PostMessage(std::shared_ptr<Replica> replica, NodeId from, size_t bytes,
                             Action action) {
  MutexLock lock(mutex_);
  if (closed_) return;
  if (inbox_.message_bytes > 0 && inbox_.message_bytes + bytes > kInboxBytes) return;
  inbox_.message_bytes += bytes;
  inbox_.items.push_back({std::move(replica), from, bytes, std::move(action)});
  if (inbox_.items.size() == 1) wake_.NotifyOne();
}

void StepWorker::PostPeerLost(NodeId peer) {
  MutexLock lock(mutex_);
  // A heartbeat that was sent before the crash would bring the dead leader back.
  size_t dropped_bytes = 0;
  std::erase_if(inbox_.items, [&](const Item& item) {
    if (item.from != peer) return false;
    dropped_bytes += item.bytes;
    return true;
  });
  inbox_.message_bytes -= dropped_bytes;
  inbox_.lost_peers.push_back(peer);
  wake_.NotifyOne();
}

void StepWorker::Wake() {
  MutexLock lock(mutex_);
  woken_ = true;
  wake_.NotifyAll();
}

void StepWorker::WaitForWork() {
  MutexLock lock(mutex_);
  while (inbox_.empty() && !woken_) {
    const Duration left = wait_until_ - services_.clock->Now();
    if (left <= Duration::zero()) break;
    wake_.WaitFor(mutex_, left);
  }
  woken_ = false;
}

StepWorker::Inbox StepWorker::TakeInbox() {
  MutexLock lock(mutex_);
  return std::exchange(inbox_, {});
}

Group* StepWorker::Find(const std::shared_ptr<Replica>& replica) {
  const auto it = groups_.find(replica->group());
  return it == groups_.end() || it->second->replica() != replica ? nullptr : it->second.get();
}

bool StepWorker::RunRound() {
  Round round;
  round.now = services_.clock->Now();
  Inbox inbox = TakeInbox();
  const bool idle = inbox.empty() && touched_.empty() && round.now < next_tick_;
  if (!idle) {
    Deliver(std::move(inbox), &round);
    TickIfDue(&round);
    ProcessTouched(&round);
    SendOut(std::move(round));
    if (rounds_ != nullptr) rounds_->Increment();
  }
  MutexLock lock(mutex_);
  group_count_ = groups_.size();
  wait_until_ = !touched_.empty() ? TimePoint()
                : awake_.empty()  ? next_tick_ + (kSleepersTicks - 1) * services_.options->tick
                                  : next_tick_;
  return !idle;
}

void StepWorker::Deliver(Inbox inbox, Round* round) {
  for (std::unique_ptr<Group>& added : inbox.added) {
    const GroupId id = added->replica()->group();
    Group& group = *(groups_[id] = std::move(added));
    group.Start(round);
    touched_.insert(id);
  }
  for (const NodeId peer : inbox.lost_peers) {
    for (const auto& [id, group] : groups_) {
      group->OnPeerLost(peer, round);
      touched_.insert(id);
    }
  }
  for (Item& item : inbox.items) {
    Group* const group = Find(item.replica);
    if (group == nullptr) continue;
    item.action(*group, *round);
    touched_.insert(item.replica->group());
  }
  for (Removal& removal : inbox.removed) {
    if (Group* const group = Find(removal.replica)) {
      const GroupId id = removal.replica->group();
      group->Flush(round);
      group->Close(MakeError(Reason::kShuttingDown, "the group stops"));
      groups_.erase(id);
      awake_.erase(id);
      touched_.erase(id);
    }
    round->removed.push_back(std::move(removal.done));
  }
}

void StepWorker::TickIfDue(Round* round) {
  for (int i = 0; i < kTicksPerRound && next_tick_ <= round->now; ++i) {
    ++tick_count_;
    next_tick_ += services_.options->tick;
    if (tick_count_ % kSleepersTicks == 0) {
      for (const auto& [id, group] : groups_) group->Tick(round);
      touched_.insert(awake_.begin(), awake_.end());
      continue;
    }
    for (const GroupId id : awake_) {
      groups_.at(id)->Tick(round);
      touched_.insert(id);
    }
  }
  if (next_tick_ <= round->now) next_tick_ = round->now + services_.options->tick;
  if (next_maintenance_ > round->now) return;
  next_maintenance_ = round->now + kMaintenance;
  for (const auto& [id, group] : groups_) group->Maintain(round);
}

void StepWorker::ProcessTouched(Round* round) {
  for (const GroupId id : std::exchange(touched_, {})) {
    Group& group = *groups_.at(id);
    group.Process(round);
    if (group.HasMore()) touched_.insert(id);
    if (group.asleep() || group.failed()) {
      awake_.erase(id);
    } else {
      awake_.insert(id);
    }
  }
}

void StepWorker::SendOut(Round round) {
  for (auto& [node, messages] : round.messages) {
    if (services_.transport != nullptr) services_.transport->Send(node, std::move(messages));
  }
  if (!round.batch.empty() || !round.persists.empty()) {
    Write(std::move(round.batch), std::move(round.persists));
  }
  for (const auto& done : round.removed) done();
}

void StepWorker::Write(LogBatch batch, std::vector<Round::Persist> persists) {
  log_writer_->Submit(
      std::move(batch), [this, persists = std::move(persists)](const Status& status) {
        for (const Round::Persist& persist : persists) {
          Post(persist.replica, [number = persist.number, status](Group& group, Round& next) {
            if (status.ok()) {
              group.OnPersisted(number, &next);
            } else {
              group.Fail(status);
            }
          });
        }
      });
}

void StepWorker::CloseAll(const Status& why) {
  Round round;
  round.now = services_.clock->Now();
  Inbox inbox;
  {
    MutexLock lock(mutex_);
    closed_ = true;
    inbox = std::exchange(inbox_, {});
  }
  Deliver(std::move(inbox), &round);
  for (const auto& [id, group] : groups_) {
    group->Flush(&round);
    group->Close(why);
  }
  touched_.clear();
  awake_.clear();
  groups_.clear();
  round.batch.RequireSync();
  SendOut(std::move(round));
}

size_t StepWorker::group_count() const {
  MutexLock lock(mutex_);
  return group_count_;
}

}  // namespace vectron::consensus
