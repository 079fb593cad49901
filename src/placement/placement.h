#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/error.h"
#include "common/ids.h"
#include "common/metrics.h"
#include "consensus/host.h"
#include "rpc/placement_api.h"

namespace vectron::placement {

struct PlacementOptions {
  std::string dir;  // of the catalogue's checkpoint; created if missing
  ReplicaId self{1};
  // The members of the placement group in a new cluster, the same on all of them.
  // Their nodes' ids are known to the catalogue from the start.
  std::vector<consensus::Member> members;
  // Of the cluster's id and of the write session: another one in every life of the
  // process (RandomSeed()), or changes would be taken for an earlier life's.
  uint64_t seed = 0;

  // A worker that was silent for this long gets no new replicas.
  std::chrono::milliseconds worker_alive_timeout{5000};
  // DropCollection waits at most this long for workers to stop serving.
  std::chrono::milliseconds drop_wait_max{5000};
  size_t watcher_count_max = 4096;  // calls of WatchMap that wait
  size_t change_count_max = 1024;   // creations and drops under way
  size_t collection_count_max = 10'000;
  size_t replicas_per_worker_max = 4096;
};

// None of it is owned; all of it outlives the placement.
struct PlacementEnvironment {
  const Clock* clock = nullptr;
  consensus::Host* host = nullptr;
  MetricsRegistry* metrics = nullptr;
};

// One member of the placement driver (DESIGN, "Placement driver"): runs
// kPlacementGroup in the host it is given, keeps the catalogue, schedules shards,
// knows from heartbeats who is alive. Thread-safe; answers its callers' callbacks
// from the caller's, the host's or its own thread.
//
// Order of a process: Host, Placement, Worker; stopped in the opposite order.
class Placement : public rpc::PlacementApi {
 public:
  // Loads the catalogue's checkpoint and begins to run the group. Calls are accepted
  // at once and wait, until their deadlines, for the group to have a leader.
  // CORRUPTION (naming the file), INCOMPATIBLE_FORMAT.
  static StatusOr<std::unique_ptr<Placement>> Start(const PlacementOptions& options,
                                                    const PlacementEnvironment& environment);

  // Answers what waits with SHUTTING_DOWN, stops the group, writes a checkpoint.
  // Idempotent; the destructor does the same without the checkpoint.
  virtual void Stop() = 0;
};

}  // namespace vectron::placement
