#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/random.h"
#include "consensus/transport.h"

namespace vectron::testing {

// A network between the hosts of one process, as bad as it is told to be. Messages
// are delivered by Pump only, so that a run with one thread repeats from its seed.
// Thread-safe.
class MemoryNetwork {
 public:
  struct Options {
    uint64_t seed = 1;
    int loss_percent = 0;
    int repeat_percent = 0;
    Duration delay_min = std::chrono::milliseconds(1);
    Duration delay_max = std::chrono::milliseconds(1);  // different delays reorder
  };

  // `snapshot_dir`: where snapshots that arrive are put.
  MemoryNetwork(const Options& options, const Clock* clock, std::string snapshot_dir);
  ~MemoryNetwork();

  // The transport of `node`; lives as long as the network.
  consensus::Transport* TransportOf(NodeId node);

  // Delivers what is due. False if nothing was.
  bool Pump();

  // Nothing gets through between `node` and the rest.
  void Isolate(NodeId node, bool isolated);
  void SetLoss(int percent);
  // The process of `node` ended: what it sent and what was sent to it is gone, and
  // the others' connections to it break.
  void Crash(NodeId node);

  uint64_t message_count() const;
  uint64_t snapshot_count() const;
  // Over all that was delivered, in order: the same for the same run.
  uint64_t trace_hash() const;

 private:
  class NodeTransport;
  struct Packet {
    NodeId from;
    NodeId to;
    std::vector<consensus::GroupMessage> messages;
    // A snapshot, if it has a directory.
    std::string dir;
    std::function<void(Status)> done;
  };

  void Send(NodeId from, NodeId to, std::vector<consensus::GroupMessage> messages);
  void SendSnapshot(NodeId from, NodeId to, consensus::SnapshotTransfer transfer,
                    std::function<void(Status)> done);
  void SetReceiver(NodeId node, consensus::TransportReceiver* receiver);
  void Deliver(Packet packet);
  TimePoint DueTime() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const Clock* const clock_;
  const std::string snapshot_dir_;

  // Held while a receiver is called, so that it can be taken away.
  Mutex delivery_;
  std::map<NodeId, consensus::TransportReceiver*> receivers_ ABSL_GUARDED_BY(delivery_);

  mutable Mutex mutex_;
  std::map<NodeId, std::unique_ptr<NodeTransport>> transports_ ABSL_GUARDED_BY(mutex_);
  std::multimap<std::pair<TimePoint, uint64_t>, Packet> queue_ ABSL_GUARDED_BY(mutex_);
  std::set<NodeId> isolated_ ABSL_GUARDED_BY(mutex_);
  Random random_ ABSL_GUARDED_BY(mutex_);
  int loss_percent_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_packet_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t message_count_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t snapshot_count_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t trace_hash_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace vectron::testing
