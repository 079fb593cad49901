#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/error.h"
#include "common/ids.h"

namespace vectron::consensus {

// A message of one group, already encoded: by the core (eraftpb.Message), or one of
// the host's own. Opaque to the transport.
struct GroupMessage {
  GroupId group;
  std::string bytes;
};

// A snapshot on its way: the raft message that announces it and the directory
// that holds it.
struct SnapshotTransfer {
  GroupMessage message;
  std::string dir;
};

// What the host does with what arrives. Thread-safe, never blocks.
class TransportReceiver {
 public:
  virtual ~TransportReceiver() = default;

  virtual void OnMessages(NodeId from, std::vector<GroupMessage> messages) = 0;
  // All of the snapshot is in `transfer.dir`, which now belongs to the receiver.
  virtual void OnSnapshot(NodeId from, SnapshotTransfer transfer) = 0;
  // The connection to `peer`'s process broke: it probably crashed.
  virtual void OnPeerLost(NodeId peer) = 0;
};

// Carries messages between the hosts of different processes. Thread-safe. May
// lose, repeat, delay and reorder; never alters. Queues are bounded and drop.
class Transport {
 public:
  virtual ~Transport() = default;

  // Set once, before any Send. Null when the receiver goes away: when this returns,
  // no call to it is running or will be made.
  virtual void SetReceiver(TransportReceiver* receiver) = 0;

  // Never blocks.
  virtual void Send(NodeId to, std::vector<GroupMessage> messages) = 0;

  // Copies the snapshot over; `done` says whether all of it arrived. `dir` must
  // stay until then.
  virtual void SendSnapshot(NodeId to, SnapshotTransfer transfer,
                            std::function<void(Status)> done) = 0;
};

}  // namespace vectron::consensus
