#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "consensus/host_impl.h"
#include "consensus/testing/log_disk.h"
#include "consensus/testing/manual_clock.h"
#include "consensus/testing/memory_network.h"
#include "consensus/testing/test_machine.h"
#include "storage/testing/temp_dir.h"

namespace vectron::testing {

// Processes with replicas of some groups, on one thread, with a clock, disks and a
// network of their own: a run follows from its options and the calls alone.
// Process n is NodeId n; the replicas in it are ReplicaId n.
class SimCluster {
 public:
  struct Options {
    int node_count = 3;
    int group_count = 1;
    uint64_t seed = 1;
    MemoryNetwork::Options network;
    consensus::HostOptions host;
  };

  explicit SimCluster(const Options& options);
  ~SimCluster();

  static GroupId Group(int i) { return GroupId(100 + static_cast<uint64_t>(i)); }

  // Lets time pass, a millisecond at a time, delivering and working.
  void Run(Duration duration);
  // Until `condition` holds, at most for `limit`; returns whether it does.
  bool RunUntil(const std::function<bool()>& condition, Duration limit = std::chrono::seconds(20));

  // The power of a node goes, and the others' connections to it break. What its log
  // and state machines had not made durable is gone.
  void Crash(int node);
  void Restart(int node);
  bool IsUp(int node) const { return nodes_.at(node).host != nullptr; }

  consensus::HostImpl& host(int node) { return *nodes_.at(node).host; }
  TestMachine& machine(int node, GroupId group) { return *nodes_.at(node).machines.at(group); }
  LogDisk& disk(int node) { return *nodes_.at(node).disk; }
  MemoryNetwork& network() { return network_; }
  ManualClock& clock() { return clock_; }

  // Starts a replica of `group` that waits to be made a member.
  void StartJoining(int node, GroupId group);

  // The node whose replica leads and may commit; 0 for none.
  int LeaderOf(GroupId group);
  bool AllHaveLeaders();
  // All running replicas of the group are equal and have applied `commands`.
  bool Converged(GroupId group, uint64_t commands);

  // Proposes at the leader until it is done, with a session of its own, as a client
  // that retries would. Null if there is no answer within the limit.
  std::optional<consensus::Applied> Write(GroupId group, const std::string& command);
  // A linearizable read point at `node`.
  std::optional<LogIndex> Read(int node, GroupId group);

 private:
  struct Node {
    std::unique_ptr<LogDisk> disk;
    std::map<GroupId, std::shared_ptr<TestMachine>> machines;
    std::unique_ptr<consensus::HostImpl> host;
  };

  void OpenHost(int node);
  void Work();

  const Options options_;
  TempDir dir_;
  ManualClock clock_;
  MemoryNetwork network_;
  std::map<int, Node> nodes_;
  uint64_t next_sequence_ = 1;
};

}  // namespace vectron::testing
