#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/mutex.h"
#include "rpc/placement_api.h"

namespace vectron::worker::testing {

// A placement whose map a test sets. Remembers what workers tell it. Thread-safe.
class FakePlacement : public rpc::PlacementApi {
 public:
  explicit FakePlacement(std::string cluster_id = "c1") { map_.cluster_id = cluster_id; }

  // Replaces the collections; watchers see it.
  void SetCollections(std::vector<rpc::CollectionInfo> collections) {
    std::vector<Callback<rpc::ClusterMapPtr>> watchers;
    rpc::ClusterMapPtr map;
    {
      MutexLock lock(mutex_);
      ++map_.version;
      map_.collections.clear();
      for (rpc::CollectionInfo& info : collections) {
        const std::string name = info.config.name;
        map_.collections.emplace(name, std::move(info));
      }
      map = std::make_shared<rpc::ClusterMap>(map_);
      watchers.swap(watchers_);
    }
    for (auto& watcher : watchers) watcher(map);
  }

  // While down, every call fails.
  void SetDown(bool down) {
    MutexLock lock(mutex_);
    down_ = down;
  }
  // As if placement had lost its memory of the workers.
  void ForgetWorkers() {
    MutexLock lock(mutex_);
    is_registered_ = false;
  }
  int register_count() const {
    MutexLock lock(mutex_);
    return register_count_;
  }
  rpc::RegisterRequest last_register() const {
    MutexLock lock(mutex_);
    return last_register_;
  }
  rpc::HeartbeatRequest last_heartbeat() const {
    MutexLock lock(mutex_);
    return last_heartbeat_;
  }
  int heartbeat_count() const {
    MutexLock lock(mutex_);
    return heartbeat_count_;
  }
  uint64_t map_version() const {
    MutexLock lock(mutex_);
    return map_.version;
  }

  void CreateCollection(CollectionConfig, Deadline, Callback<rpc::CollectionInfo> done) override {
    done(Unsupported());
  }
  void DropCollection(std::string, Deadline, Callback<bool> done) override { done(Unsupported()); }
  void GetMap(Deadline, Callback<rpc::ClusterMapPtr> done) override {
    StatusOr<rpc::ClusterMapPtr> map = Down();
    {
      MutexLock lock(mutex_);
      if (!down_) map = std::make_shared<rpc::ClusterMap>(map_);
    }
    done(std::move(map));
  }
  void WatchMap(uint64_t known, Deadline, Callback<rpc::ClusterMapPtr> done) override {
    StatusOr<rpc::ClusterMapPtr> map = Down();
    {
      MutexLock lock(mutex_);
      if (!down_ && map_.version <= known) {
        watchers_.push_back(std::move(done));
        return;
      }
      if (!down_) map = std::make_shared<rpc::ClusterMap>(map_);
    }
    done(std::move(map));
  }
  void Register(rpc::RegisterRequest request, Deadline,
                Callback<rpc::RegisterResponse> done) override {
    StatusOr<rpc::RegisterResponse> response = Down();
    {
      MutexLock lock(mutex_);
      ++register_count_;
      last_register_ = request;
      if (!request.cluster_id.empty() && request.cluster_id != map_.cluster_id) {
        response = InvalidArgument("the worker's data directory belongs to another cluster");
      } else if (!down_) {
        is_registered_ = true;
        response = rpc::RegisterResponse{request.node, map_.cluster_id};
      }
    }
    done(std::move(response));
  }
  void Heartbeat(rpc::HeartbeatRequest request, Callback<rpc::HeartbeatResponse> done) override {
    StatusOr<rpc::HeartbeatResponse> response = Down();
    {
      MutexLock lock(mutex_);
      if (!down_ && !is_registered_) {
        response = InvalidArgument("not registered");
      } else if (!down_) {
        ++heartbeat_count_;
        last_heartbeat_ = std::move(request);
        response = rpc::HeartbeatResponse{map_.version};
      }
    }
    done(std::move(response));
  }
  void GetStatus(Deadline, Callback<rpc::ClusterStatus> done) override { done(Unsupported()); }

 private:
  static Status Down() { return MakeError(Reason::kUnavailable, "placement is down"); }
  static Status Unsupported() { return MakeError(Reason::kUnsupported, "not a worker's call"); }

  mutable Mutex mutex_;
  rpc::ClusterMap map_ ABSL_GUARDED_BY(mutex_);
  bool down_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_registered_ ABSL_GUARDED_BY(mutex_) = false;
  int register_count_ ABSL_GUARDED_BY(mutex_) = 0;
  int heartbeat_count_ ABSL_GUARDED_BY(mutex_) = 0;
  rpc::RegisterRequest last_register_ ABSL_GUARDED_BY(mutex_);
  rpc::HeartbeatRequest last_heartbeat_ ABSL_GUARDED_BY(mutex_);
  std::vector<Callback<rpc::ClusterMapPtr>> watchers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace vectron::worker::testing
