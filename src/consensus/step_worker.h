#pragma once

#include <absl/functional/any_invocable.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "consensus/group.h"
#include "consensus/log/log_writer.h"

namespace vectron::consensus {

// Runs the groups that belong to it, in rounds: everything that arrived is given to
// the groups, then what all of them have to say goes out together, messages to each
// peer and one batch to the log. A group without events costs nothing.
//
// RunRound is called by one thread at a time; the rest may be called from any. It
// never waits for disk, network or a state machine.
class StepWorker {
 public:
  using Action = absl::AnyInvocable<void(Group&, Round&)>;

  StepWorker(const GroupServices& services, LogWriter* log_writer, MetricsRegistry* metrics);

  const GroupServices& services() const { return services_; }

  void Add(std::unique_ptr<Group> group);
  // `done` is called when the group is gone, and what it wrote is among the log's writes.
  void Remove(std::shared_ptr<Replica> replica, std::function<void()> done);
  // Runs `action` in the next round, unless the replica is gone by then; destroys it at
  // once after CloseAll.
  void Post(std::shared_ptr<Replica> replica, Action action);
  // The same for what came from a peer; dropped when too much of it waits.
  void PostMessage(std::shared_ptr<Replica> replica, NodeId from, size_t bytes, Action action);
  // Drops what is queued from `peer`, and tells the groups.
  void PostPeerLost(NodeId peer);

  // One pass. False if there was nothing to do.
  bool RunRound();
  // Until there is something to do. For the worker's thread.
  void WaitForWork();
  // Makes WaitForWork return.
  void Wake();
  // The last round: answers everyone, writes what was put off. Nothing is taken from now on.
  void CloseAll(const Status& why);

  size_t group_count() const;

 private:
  struct Item {
    std::shared_ptr<Replica> replica;
    NodeId from;  // 0: not a message
    size_t bytes = 0;
    Action action;
  };
  struct Removal {
    std::shared_ptr<Replica> replica;
    std::function<void()> done;
  };
  struct Inbox {
    std::vector<std::unique_ptr<Group>> added;
    std::vector<Item> items;
    std::vector<NodeId> lost_peers;
    std::vector<Removal> removed;
    size_t message_bytes = 0;

    bool empty() const {
      return added.empty() && items.empty() && lost_peers.empty() && removed.empty();
    }
  };

  Inbox TakeInbox();
  void Deliver(Inbox inbox, Round* round);
  void TickIfDue(Round* round);
  void ProcessTouched(Round* round);
  void SendOut(Round round);
  void Write(LogBatch batch, std::vector<Round::Persist> persists);
  Group* Find(const std::shared_ptr<Replica>& replica);

  const GroupServices services_;
  LogWriter* const log_writer_;
  prometheus::Counter* rounds_ = nullptr;

  // Of the worker's thread.
  std::map<GroupId, std::unique_ptr<Group>> groups_;
  std::set<GroupId> awake_;
  std::set<GroupId> touched_;  // to be processed
  TimePoint next_tick_;
  TimePoint next_maintenance_;
  int64_t tick_count_ = 0;

  mutable Mutex mutex_;
  CondVar wake_;
  Inbox inbox_ ABSL_GUARDED_BY(mutex_);
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  TimePoint wait_until_ ABSL_GUARDED_BY(mutex_);
  size_t group_count_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace vectron::consensus
