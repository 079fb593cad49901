#pragma once

#include <string>

#include "cmd/bench/load.h"
#include "common/error.h"

namespace vectron::cmd {

struct RpcBaselineOptions {
  std::string server;
  LoadOptions load;
  bool quiet = false;
};

// Calls the server's health check, which does nothing, and prints the result to
// stdout as JSON: what any RPC costs, before it does its work.
Status RunRpcBaseline(const RpcBaselineOptions& options);

}  // namespace vectron::cmd
