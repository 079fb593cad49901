#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/error.h"

namespace vectron::cmd {

struct VerifyOptions {
  std::string server;
  std::string collection;
  std::string input_path;  // the file that was ingested
  std::vector<std::string> ack_log_paths;
  bool payload = false;         // ingested with payloads
  uint32_t search_count = 200;  // acknowledged points to search for by their own vector
  uint64_t seed = 1;            // of their choice
  bool quiet = false;
};

// Reads all of the collection and holds it against what `bench ingest` recorded:
// every acknowledged point is there, vector and payload bit for bit, and is found
// by searching for its vector; nothing is there that was never sent. Prints what it
// counted to stdout as JSON; an error, after printing, if anything is amiss.
Status RunVerify(const VerifyOptions& options);

}  // namespace vectron::cmd
