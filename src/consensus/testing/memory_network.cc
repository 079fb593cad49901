#include "consensus/testing/memory_network.h"

#include <fmt/format.h>

#include <filesystem>

namespace vectron::testing {

using consensus::GroupMessage;
using consensus::SnapshotTransfer;
using consensus::TransportReceiver;

class MemoryNetwork::NodeTransport : public consensus::Transport {
 public:
  NodeTransport(MemoryNetwork* network, NodeId node) : network_(network), node_(node) {}

  void SetReceiver(TransportReceiver* receiver) override { network_->SetReceiver(node_, receiver); }
  void Send(NodeId to, std::vector<GroupMessage> messages) override {
    network_->Send(node_, to, std::move(messages));
  }
  void SendSnapshot(NodeId to, SnapshotTransfer transfer,
                    std::function<void(Status)> done) override {
    network_->SendSnapshot(node_, to, std::move(transfer), std::move(done));
  }

 private:
  MemoryNetwork* const network_;
  const NodeId node_;
};

MemoryNetwork::MemoryNetwork(const Options& options, const Clock* clock, std::string snapshot_dir)
    : options_(options),
      clock_(clock),
      snapshot_dir_(std::move(snapshot_dir)),
      random_(options.seed),
      loss_percent_(options.loss_percent) {}

MemoryNetwork::~MemoryNetwork() = default;

consensus::Transport* MemoryNetwork::TransportOf(NodeId node) {
  MutexLock lock(mutex_);
  auto& transport = transports_[node];
  if (transport == nullptr) transport = std::make_unique<NodeTransport>(this, node);
  return transport.get();
}

void MemoryNetwork::SetReceiver(NodeId node, TransportReceiver* receiver) {
  MutexLock lock(delivery_);
  receivers_[node] = receiver;
}

TimePoint MemoryNetwork::DueTime() {
  const int64_t spread = (options_.delay_max - options_.delay_min).count();
  const Duration extra(spread > 0 ? static_cast<int64_t>(random_.Below(spread)) : 0);
  return clock_->Now() + options_.delay_min + extra;
}

void MemoryNetwork::Send(NodeId from, NodeId to, std::vector<GroupMessage> messages) {
  MutexLock lock(mutex_);
  for (GroupMessage& message : messages) {
    ++message_count_;
    if (random_.Below(100) < static_cast<uint64_t>(loss_percent_)) continue;
    const bool repeat = random_.Below(100) < static_cast<uint64_t>(options_.repeat_percent);
    for (int i = 0; i < (repeat ? 2 : 1); ++i) {
      queue_.emplace(std::pair(DueTime(), next_packet_++), Packet{from, to, {message}, "", {}});
    }
  }
}

void MemoryNetwork::SendSnapshot(NodeId from, NodeId to, SnapshotTransfer transfer,
                                 std::function<void(Status)> done) {
  MutexLock lock(mutex_);
  ++snapshot_count_;
  queue_.emplace(std::pair(DueTime(), next_packet_++),
                 Packet{from, to, {std::move(transfer.message)}, transfer.dir, std::move(done)});
}

bool MemoryNetwork::Pump() {
  std::vector<Packet> due;
  {
    MutexLock lock(mutex_);
    const TimePoint now = clock_->Now();
    while (!queue_.empty() && queue_.begin()->first.first <= now) {
      due.push_back(std::move(queue_.begin()->second));
      queue_.erase(queue_.begin());
    }
  }
  for (Packet& packet : due) Deliver(std::move(packet));
  return !due.empty();
}

void MemoryNetwork::Deliver(Packet packet) {
  MutexLock delivery(delivery_);
  bool cut = receivers_[packet.to] == nullptr;
  {
    MutexLock lock(mutex_);
    cut = cut || isolated_.contains(packet.from) || isolated_.contains(packet.to);
    if (!cut) {
      for (const GroupMessage& message : packet.messages) {
        trace_hash_ = (trace_hash_ ^ std::hash<std::string>{}(message.bytes) ^ packet.from.value() ^
                       packet.to.value() << 8) *
                      0x9e3779b97f4a7c15u;
      }
    }
  }
  if (!packet.dir.empty()) {
    const auto done = std::move(packet.done);
    Status status = MakeError(Reason::kUnavailable, "the network is cut");
    if (!cut) {
      const std::string dir = fmt::format("{}/arrived-{}", snapshot_dir_, trace_hash());
      std::error_code error;
      std::filesystem::copy(packet.dir, dir, std::filesystem::copy_options::recursive, error);
      status = error ? Internal(error.message()) : OkStatus();
      if (status.ok()) {
        receivers_[packet.to]->OnSnapshot(packet.from, {std::move(packet.messages[0]), dir});
      }
    }
    done(status);
  } else if (!cut) {
    receivers_[packet.to]->OnMessages(packet.from, std::move(packet.messages));
  }
}

void MemoryNetwork::Isolate(NodeId node, bool isolated) {
  MutexLock lock(mutex_);
  if (isolated) {
    isolated_.insert(node);
  } else {
    isolated_.erase(node);
  }
}

void MemoryNetwork::SetLoss(int percent) {
  MutexLock lock(mutex_);
  loss_percent_ = percent;
}

void MemoryNetwork::Crash(NodeId node) {
  std::vector<std::function<void(Status)>> broken;
  {
    MutexLock lock(mutex_);
    for (auto it = queue_.begin(); it != queue_.end();) {
      if (it->second.from != node && it->second.to != node) {
        ++it;
        continue;
      }
      if (it->second.done && it->second.from != node) broken.push_back(std::move(it->second.done));
      it = queue_.erase(it);
    }
  }
  for (const auto& done : broken) done(MakeError(Reason::kUnavailable, "the peer crashed"));
  MutexLock delivery(delivery_);
  for (const auto& [peer, receiver] : receivers_) {
    if (peer != node && receiver != nullptr) receiver->OnPeerLost(node);
  }
}

uint64_t MemoryNetwork::message_count() const {
  MutexLock lock(mutex_);
  return message_count_;
}

uint64_t MemoryNetwork::snapshot_count() const {
  MutexLock lock(mutex_);
  return snapshot_count_;
}

uint64_t MemoryNetwork::trace_hash() const {
  MutexLock lock(mutex_);
  return trace_hash_;
}

}  // namespace vectron::testing
