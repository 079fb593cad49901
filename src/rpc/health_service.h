#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/mutex.h"
#include "common/string_map.h"
#include "rpc/service.h"

namespace vectron::rpc {

// grpc.health.v1.Health. One status for the server ("") and each of its services;
// NOT_SERVING until it is set. Thread-safe.
class HealthService final : public Service {
 public:
  // `services`: full names.
  explicit HealthService(const std::vector<std::string>& services);

  void SetServing(bool serving);
  // NOT_SERVING for good; ends the calls that watch.
  void Shutdown();

 private:
  class Watcher;

  bool Knows(const std::string& service) const { return names_.contains(service); }
  bool IsServing() const;
  void Add(const std::shared_ptr<Watcher>& watcher);
  void Remove(Watcher* watcher);
  std::set<std::shared_ptr<Watcher>> Watchers() const;

  const StringSet names_;
  mutable Mutex mutex_;
  bool serving_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<std::shared_ptr<Watcher>> watchers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace vectron::rpc
