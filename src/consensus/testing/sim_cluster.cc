#include "consensus/testing/sim_cluster.h"

#include <fmt/format.h>

#include "common/check.h"

namespace vectron::testing {

using consensus::Applied;
using consensus::GroupOptions;
using consensus::HostEnvironment;
using consensus::HostImpl;
using consensus::HostOptions;
using consensus::HostThreads;

SimCluster::SimCluster(const Options& options)
    : options_(options), network_(options.network, &clock_, dir_.path()) {
  for (int node = 1; node <= options_.node_count; ++node) {
    nodes_[node].disk = std::make_unique<LogDisk>();
    OpenHost(node);
  }
}

SimCluster::~SimCluster() {
  for (auto& [id, node] : nodes_) node.host.reset();
}

void SimCluster::OpenHost(int id) {
  Node& node = nodes_.at(id);
  HostOptions host_options = options_.host;
  host_options.self = NodeId(static_cast<uint64_t>(id));
  host_options.dir = dir_.Join(fmt::format("node{}", id));
  host_options.seed = options_.seed;
  HostEnvironment environment;
  environment.clock = &clock_;
  environment.transport = network_.TransportOf(NodeId(static_cast<uint64_t>(id)));
  environment.file_system = node.disk.get();
  auto host = HostImpl::Open(host_options, environment, HostThreads::kNone);
  VECTRON_CHECK_OK(host);
  node.host = std::move(*host);
  GroupOptions group_options;
  group_options.self = ReplicaId(static_cast<uint64_t>(id));
  for (int i = 1; i <= options_.node_count; ++i) {
    const uint64_t n = static_cast<uint64_t>(i);
    group_options.initial_members.push_back({ReplicaId(n), NodeId(n), false});
  }
  for (int i = 0; i < options_.group_count; ++i) {
    group_options.group = Group(i);
    auto& machine = node.machines[group_options.group];
    if (machine == nullptr) machine = std::make_shared<TestMachine>();
    VECTRON_CHECK_OK(node.host->StartGroup(group_options, machine));
  }
}

void SimCluster::StartJoining(int id, GroupId group) {
  if (!nodes_.contains(id)) {
    nodes_[id].disk = std::make_unique<LogDisk>();
    Node& node = nodes_.at(id);
    HostOptions host_options = options_.host;
    host_options.self = NodeId(static_cast<uint64_t>(id));
    host_options.dir = dir_.Join(fmt::format("node{}", id));
    HostEnvironment environment;
    environment.clock = &clock_;
    environment.transport = network_.TransportOf(NodeId(static_cast<uint64_t>(id)));
    environment.file_system = node.disk.get();
    auto host = HostImpl::Open(host_options, environment, HostThreads::kNone);
    VECTRON_CHECK_OK(host);
    node.host = std::move(*host);
  }
  GroupOptions group_options;
  group_options.group = group;
  group_options.self = ReplicaId(static_cast<uint64_t>(id));
  auto machine = std::make_shared<TestMachine>();
  nodes_.at(id).machines[group] = machine;
  VECTRON_CHECK_OK(nodes_.at(id).host->StartGroup(group_options, machine));
}

void SimCluster::Work() {
  // What one host does may give others work at the same instant only through the
  // network, so each works until it is idle.
  for (auto& [id, node] : nodes_) {
    if (node.host == nullptr) continue;
    for (int i = 0; i < 10'000 && node.host->Poll(); ++i) {
    }
  }
}

void SimCluster::Run(Duration duration) {
  const TimePoint end = clock_.Now() + duration;
  while (clock_.Now() < end) {
    clock_.Advance(std::chrono::milliseconds(1));
    network_.Pump();
    Work();
  }
}

bool SimCluster::RunUntil(const std::function<bool()>& condition, Duration limit) {
  const TimePoint end = clock_.Now() + limit;
  while (!condition()) {
    if (clock_.Now() >= end) return false;
    Run(std::chrono::milliseconds(1));
  }
  return true;
}

void SimCluster::Crash(int id) {
  Node& node = nodes_.at(id);
  std::unique_ptr<LogDisk> survived = node.disk->AfterPowerLoss(static_cast<int>(
      Random(options_.seed + static_cast<uint64_t>(clock_.Now().time_since_epoch().count()))
          .Below(101)));
  network_.Crash(NodeId(static_cast<uint64_t>(id)));
  // Whatever it still does on its way out goes to a disk and to state machines that
  // nobody looks at again.
  std::map<GroupId, std::shared_ptr<TestMachine>> machines;
  for (auto& [group, machine] : node.machines) machines[group] = machine->CloneDurable();
  node.host.reset();
  node.machines = std::move(machines);
  node.disk = std::move(survived);
}

void SimCluster::Restart(int id) { OpenHost(id); }

int SimCluster::LeaderOf(GroupId group) {
  int leader = 0;
  Term term;
  for (auto& [id, node] : nodes_) {
    if (node.host == nullptr) continue;
    const auto status = node.host->GetStatus(group);
    if (status.ok() && status->is_leader && status->term > term) {
      leader = id;
      term = status->term;
    }
  }
  return leader;
}

bool SimCluster::AllHaveLeaders() {
  for (int i = 0; i < options_.group_count; ++i) {
    if (LeaderOf(Group(i)) == 0) return false;
  }
  return true;
}

bool SimCluster::Converged(GroupId group, uint64_t commands) {
  std::optional<uint64_t> hash;
  for (auto& [id, node] : nodes_) {
    if (node.host == nullptr || !node.machines.contains(group)) continue;
    const TestMachine& machine = *node.machines.at(group);
    if (machine.command_count() != commands) return false;
    if (hash.has_value() && *hash != machine.hash()) return false;
    hash = machine.hash();
  }
  return hash.has_value();
}

std::optional<Applied> SimCluster::Write(GroupId group, const std::string& command) {
  const WriteSession session{77, next_sequence_++, 0};
  for (int attempt = 0; attempt < 100; ++attempt) {
    if (!RunUntil([&] { return LeaderOf(group) != 0; })) return std::nullopt;
    const auto answer = std::make_shared<std::optional<StatusOr<Applied>>>();
    host(LeaderOf(group))
        .Propose(group, {session, command}, clock_.Now() + std::chrono::seconds(1),
                 [answer](StatusOr<Applied> result) { *answer = std::move(result); });
    RunUntil([&] { return answer->has_value(); }, std::chrono::seconds(2));
    if (answer->has_value() && (*answer)->ok()) return ***answer;
  }
  return std::nullopt;
}

std::optional<LogIndex> SimCluster::Read(int node, GroupId group) {
  const auto answer = std::make_shared<std::optional<StatusOr<LogIndex>>>();
  host(node).ReadIndex(group, clock_.Now() + std::chrono::seconds(5),
                       [answer](StatusOr<LogIndex> result) { *answer = std::move(result); });
  RunUntil([&] { return answer->has_value(); }, std::chrono::seconds(6));
  if (!answer->has_value() || !(*answer)->ok()) return std::nullopt;
  return ***answer;
}

}  // namespace vectron::testing
