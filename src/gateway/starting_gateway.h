#pragma once

#include <atomic>
#include <string>

#include "common/mutex.h"
#include "gateway/gateway.h"

namespace vectron::gateway {

// What a process offers while it starts: the interfaces listen from the beginning, and
// until the gateway behind this one is there every request is answered with STARTING,
// which says how far the start has come. Nothing was done then. Thread-safe.
class StartingGateway final : public Gateway {
 public:
  // Shown to those who ask. Any number of times, before Open.
  void SetProgress(std::string progress);
  // From now on every request is `gateway`'s, which outlives the requests. Once.
  void Open(Gateway* gateway);

  void CreateCollection(CollectionConfig config, Deadline deadline,
                        Callback<rpc::CollectionInfo> done) override;
  void DropCollection(std::string name, Deadline deadline, Callback<bool> done) override;
  void ListCollections(Deadline deadline, Callback<std::vector<rpc::CollectionInfo>> done) override;
  void GetCollection(std::string name, Deadline deadline, Callback<CollectionReport> done) override;
  void FindCollection(std::string name, Deadline deadline,
                      Callback<rpc::CollectionInfo> done) override;
  void Write(std::string collection, WriteOp op, RequestOptions options,
             Callback<WriteReport> done) override;
  void Search(std::string collection, std::vector<SearchQuery> queries, Select select,
              RequestOptions options, Callback<SearchReport> done) override;
  void Get(std::string collection, std::vector<PointId> ids, Select select, RequestOptions options,
           Callback<RecordsReport> done) override;
  void Scroll(std::string collection, ScrollQuery query, Select select, RequestOptions options,
              Callback<RecordsReport> done) override;
  void Count(std::string collection, RequestOptions options, Callback<uint64_t> done) override;
  void ClusterStatus(Deadline deadline, Callback<rpc::ClusterStatus> done) override;

 private:
  // The gateway, or null once `done` was told that there is none yet.
  template <typename T>
  Gateway* OpenOr(Callback<T>* done);
  Status Starting() const;

  std::atomic<Gateway*> gateway_{nullptr};
  mutable Mutex mutex_;
  std::string progress_ ABSL_GUARDED_BY(mutex_) = "the data are being opened";
};

}  // namespace vectron::gateway
