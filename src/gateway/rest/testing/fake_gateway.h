#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/mutex.h"
#include "common/thread_pool.h"
#include "gateway/gateway.h"

namespace vectron::gateway::rest {

// A gateway for tests: collections in memory, searched exactly, validated as the real
// one does. Answers come from a thread of its own, as a cluster's would, and carry the
// session token (16, number of writes).
class FakeGateway final : public Gateway {
 public:
  FakeGateway();
  ~FakeGateway() override;

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

  // Everything is answered with `status`, until it is OK again.
  void FailWith(Status status);
  // What the answers to Get name besides.
  void ShowInGets(SessionToken token);
  // Writes are answered with this report.
  void ReportWrites(WriteReport report);
  // Answers wait until they are released.
  void Hold();
  void Release();
  // What the last request asked for.
  RequestOptions last_options();
  std::vector<SearchQuery> last_queries();

 private:
  struct Collection {
    rpc::CollectionInfo info;
    std::map<PointId, Point> points;
    std::map<PointId, uint64_t> versions;
  };

  // Runs `make` under the lock, and hands its StatusOr<T> to `done` on the pool's thread.
  template <typename T, typename Make>
  void Answer(Callback<T> done, Make make);
  StatusOr<Collection*> Find(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  StatusOr<uint64_t> Apply(Collection* collection, const WriteOp& op)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  StatusOr<std::vector<ScoredRecord>> SearchOne(const Collection& collection,
                                                const SearchQuery& query, const Select& select)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static Record MakeRecord(const Collection& collection, const Point& point, const Select& select);
  SessionToken Token() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  CondVar released_;
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  Status failure_ ABSL_GUARDED_BY(mutex_);
  SessionToken shown_in_gets_ ABSL_GUARDED_BY(mutex_);
  std::optional<WriteReport> write_report_ ABSL_GUARDED_BY(mutex_);
  uint64_t write_count_ ABSL_GUARDED_BY(mutex_) = 0;
  RequestOptions last_options_ ABSL_GUARDED_BY(mutex_);
  std::vector<SearchQuery> last_queries_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Collection> collections_ ABSL_GUARDED_BY(mutex_);
  ThreadPool pool_;
};

}  // namespace vectron::gateway::rest
