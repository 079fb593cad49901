#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/error.h"
#include "common/ids.h"
#include "common/limits.h"
#include "common/metrics.h"
#include "consensus/host.h"
#include "rpc/placement_api.h"
#include "rpc/worker_api.h"

namespace vectron::worker {

struct WorkerOptions {
  // The process's id, the same as the host's. Not 0.
  NodeId node;
  std::string dir;               // one directory a shard below it; created if missing
  std::string internal_address;  // HOST:PORT, for other processes; may be empty
  std::vector<std::pair<std::string, std::string>> labels;

  Limits limits;

  // Searches that run at once; 0: as many as there are cores.
  int search_concurrency = 0;
  // Searches that wait for their turn; beyond it they are refused (OVERLOADED).
  size_t search_queue_max = 1024;
  // Link vectors into graphs, at background priority; 0: as many as there are cores.
  int index_thread_count = 0;
  // Open, close and delete shards.
  int lifecycle_thread_count = 2;

  // What scanning a shard's unlinked vectors may cost one search. Writes are slowed
  // from half of it on and refused (OVERLOADED) beyond it.
  std::chrono::microseconds tail_scan_max{5000};
  std::chrono::milliseconds write_delay_max{250};
  size_t delayed_write_count_max = 1024;
  size_t delayed_write_bytes_max = 256 << 20;

  // Room that writes must leave on the file system (common/disk_room.h).
  uint64_t disk_reserve_bytes = 512ull << 20;

  // How the shards' files are read through to find damage.
  uint64_t scrub_bytes_per_second_max = 32 << 20;
  std::chrono::milliseconds scrub_first_delay{10'000};
  std::chrono::milliseconds scrub_interval = std::chrono::hours(24);

  size_t block_cache_bytes = 128 << 20;   // shared by all shards
  size_t write_buffer_bytes = 128 << 20;  // shared by all shards
  int store_open_files_max = 512;         // of each shard's store

  std::chrono::milliseconds heartbeat{1000};
  // How often leadership and state of the replicas are looked at.
  std::chrono::milliseconds poll{20};
};

// None of it is owned; all of it outlives the worker.
struct WorkerEnvironment {
  const Clock* clock = nullptr;
  consensus::Host* host = nullptr;
  // Of this process, or a stub of another one's.
  rpc::PlacementApi* placement = nullptr;
  MetricsRegistry* metrics = nullptr;
};

// Hosts shards (DESIGN, "Roles and processes"): runs the replicas that the cluster
// map assigns to this node, serves their reads and writes, links their vectors in
// the background. Thread-safe.
//
// Order of a process: Host, Placement, Worker; stopped in the opposite order.
class Worker : public rpc::WorkerApi {
 public:
  // Checks the data directory and starts the threads that register at placement,
  // follow the map and open the shards; requests find their shards
  // (SHARD_NOT_FOUND until then) as they open. INVALID_ARGUMENT if the directory
  // belongs to another node; CORRUPTION, INCOMPATIBLE_FORMAT.
  static StatusOr<std::unique_ptr<Worker>> Start(const WorkerOptions& options,
                                                 const WorkerEnvironment& environment);

  // Every replica that the newest known map assigns to this node serves; not OK says what is
  // missing.
  virtual Status Ready() const = 0;
  // The same, but for replicas that wait for room on the disk: others may be what makes some.
  // CORRUPTION, INCOMPATIBLE_FORMAT: one will never serve.
  virtual Status Settled() const = 0;

  // Refuses new requests (SHUTTING_DOWN), waits for those under way until `deadline`,
  // makes the shards durable (so that the next start is fast), closes them.
  // Idempotent; the destructor does the same without waiting and making durable.
  virtual void Stop(Deadline deadline) = 0;
};

}  // namespace vectron::worker
