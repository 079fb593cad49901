#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>

#include "cmd/bench/load.h"
#include "common/collection.h"
#include "common/error.h"

namespace vectron::cmd {

struct IngestOptions {
  std::string server;
  std::string input_path;  // .fvecs or .bvecs; point ids are row numbers
  uint64_t first_row = 0;
  uint64_t row_count = 0;  // 0: all from `first_row`
  uint32_t batch_size = 1000;
  bool payload = false;          // give each point the payload of RowPayload()
  LoadOptions load;              // op_count and duration are not used; an op is a batch
  double points_per_second = 0;  // open loop; 0: closed
  // How long a batch is retried, under the same write session, after errors that
  // may pass (UNAVAILABLE, OUTCOME_UNKNOWN ...). OVERLOADED, where the server asks
  // to come again later, is always retried, for a minute.
  std::chrono::milliseconds retry{0};
  std::chrono::milliseconds timeout{60'000};  // of one attempt

  bool create = false;  // make the collection; its dimension is the file's
  CollectionConfig collection;
  bool wait_indexed = false;
  std::string ack_log_path;  // write what was acknowledged here: see AckLog
  bool quiet = false;
};

// Loads the file's rows into the collection and prints the result to stdout as
// JSON. An error if any row was not acknowledged, after printing.
Status RunIngest(const IngestOptions& options);

// The payload of row `row` under `payload`: a JSON object with its number and a
// checksum of its vector, so that both can be checked when they come back.
std::string RowPayload(uint64_t row, std::span<const float> vector);

}  // namespace vectron::cmd
