#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "cmd/bench/latency_histogram.h"
#include "cmd/json_writer.h"
#include "common/clock.h"
#include "common/error.h"

namespace vectron::cmd {

// How a load is offered to the server.
struct LoadOptions {
  int client_count = 1;       // threads, each with one request under way at most
  uint64_t op_count = 0;      // how many in all; 0: until `duration` is over
  Duration duration{0};       // stop after it; 0: after `op_count`
  double ops_per_second = 0;  // 0: closed loop, each client as fast as it is answered
  bool stop_on_error = false;
  int server_pid = 0;  // whose CPU time to measure; 0: nobody's
};

// Failed operations by code, with one message each.
struct ErrorCounts {
  struct Entry {
    uint64_t count = 0;
    std::string first_message;
  };
  std::map<std::string, Entry> by_code;

  void Add(const Status& status);
  void Merge(const ErrorCounts& other);
  uint64_t total() const;
};

struct LoadResult {
  // Of the operations that succeeded. In an open loop from the moment at which
  // an operation was due, so that a server that falls behind is seen to.
  LatencyHistogram latency;
  uint64_t ok_count = 0;
  ErrorCounts errors;
  Duration elapsed{0};
  std::optional<Duration> server_cpu;
  Duration client_cpu{0};

  double OpsPerSecond() const;
  Status FirstError() const;  // OK if there was none
};

// Calls `operation(client, index)` from `client_count` threads for index 0, 1, 2 ...
// (each once) and measures. `operation` must be thread-safe between clients.
// INVALID_ARGUMENT if neither a count nor a duration is given.
StatusOr<LoadResult> RunLoad(const LoadOptions& options,
                             const std::function<Status(int client, uint64_t index)>& operation);

// Writes the result's members into the innermost object of `json`.
void WriteLoad(const LoadOptions& options, const LoadResult& result, JsonWriter* json);

}  // namespace vectron::cmd
