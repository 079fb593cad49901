#pragma once

#include <string>
#include <vector>

#include "rpc/service.h"

namespace vectron::rpc {

// grpc.reflection.v1 and v1alpha ServerReflection: describes `services`, itself and
// every message that is compiled into the program. Thread-safe.
class ReflectionService final : public Service {
 public:
  // `services`: full names.
  explicit ReflectionService(std::vector<std::string> services);

 private:
  class Stream;

  std::vector<std::string> services_;  // with this one
};

}  // namespace vectron::rpc
