#include "gateway/gateway.h"

#include <algorithm>
#include <utility>

#include "gateway/core.h"
#include "gateway/fan_out.h"
#include "gateway/read_requests.h"
#include "gateway/write_request.h"

namespace vectron::gateway {
namespace {

using std::chrono::milliseconds;

class GatewayImpl final : public Gateway {
 public:
  explicit GatewayImpl(GatewayOptions options) : core_(std::move(options)) {}

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
  template <typename T>
  Reply<T> Metered(Operation operation, Callback<T> done) {
    return Reply<T>(&core_.metrics(), operation, std::move(done));
  }

  Deadline WithDefault(Deadline deadline, milliseconds timeout) const {
    return deadline == kNoDeadline ? core_.clock().Now() + timeout : deadline;
  }
  Deadline ReadDeadline(Deadline deadline) const {
    return WithDefault(deadline, core_.options().read_timeout);
  }
  Deadline WriteDeadline(Deadline deadline) const {
    return WithDefault(deadline, core_.options().write_timeout);
  }

  // Once placement has changed the collections: what this gateway is asked next sees
  // the change. `answer` is given in any case; a map that could not be had now
  // comes by the watch.
  template <typename T>
  void AnswerWithNewMap(Deadline deadline, T answer, Reply<T> reply) {
    core_.routing().Refresh(
        deadline, [answer = std::move(answer), reply = std::move(reply)](
                      const StatusOr<rpc::ClusterMapPtr>&) mutable { reply(std::move(answer)); });
  }

  Core core_;
};

void GatewayImpl::CreateCollection(CollectionConfig config, Deadline deadline,
                                   Callback<rpc::CollectionInfo> done) {
  auto reply = Metered(Operation::kCreateCollection, std::move(done));
  Status status = ValidateCollectionConfig(config);
  if (!status.ok()) return reply(std::move(status));
  deadline = WriteDeadline(deadline);
  core_.placement().CreateCollection(
      std::move(config), deadline,
      [this, deadline, reply = std::move(reply)](StatusOr<rpc::CollectionInfo> info) mutable {
        if (!info.ok()) return reply(std::move(info));
        AnswerWithNewMap(deadline, *std::move(info), std::move(reply));
      });
}

void GatewayImpl::DropCollection(std::string name, Deadline deadline, Callback<bool> done) {
  auto reply = Metered(Operation::kDropCollection, std::move(done));
  Status status = ValidateCollectionName(name);
  if (!status.ok()) return reply(std::move(status));
  deadline = WriteDeadline(deadline);
  core_.placement().DropCollection(
      std::move(name), deadline,
      [this, deadline, reply = std::move(reply)](StatusOr<bool> existed) mutable {
        if (!existed.ok()) return reply(std::move(existed));
        AnswerWithNewMap(deadline, *existed, std::move(reply));
      });
}

void GatewayImpl::ListCollections(Deadline deadline,
                                  Callback<std::vector<rpc::CollectionInfo>> done) {
  core_.routing().Refresh(
      ReadDeadline(deadline), [reply = Metered(Operation::kListCollections, std::move(done))](
                                  StatusOr<rpc::ClusterMapPtr> map) mutable {
        if (!map.ok()) return reply(map.status());
        std::vector<rpc::CollectionInfo> infos;
        for (const auto& [name, info] : (*map)->collections) infos.push_back(info);
        std::sort(infos.begin(), infos.end(),
                  [](const auto& a, const auto& b) { return a.config.name < b.config.name; });
        reply(std::move(infos));
      });
}

void GatewayImpl::GetCollection(std::string name, Deadline deadline,
                                Callback<CollectionReport> done) {
  RequestOptions options{.deadline = ReadDeadline(deadline), .consistency = Consistency::kEventual};
  RunRequest(&core_, StatsKind(std::move(name), std::move(options),
                               [reply = Metered(Operation::kGetCollection, std::move(done))](
                                   StatusOr<CollectionReport> report) mutable {
                                 reply(std::move(report));
                               }));
}

void GatewayImpl::FindCollection(std::string name, Deadline deadline,
                                 Callback<rpc::CollectionInfo> done) {
  auto reply = Metered(Operation::kFindCollection, std::move(done));
  if (const CollectionView known = core_.routing().Lookup(name)) return reply(*known.info);
  Status status = ValidateCollectionName(name);
  if (!status.ok()) return reply(std::move(status));
  core_.routing().Refresh(ReadDeadline(deadline), [name, reply = std::move(reply)](
                                                      StatusOr<rpc::ClusterMapPtr> map) mutable {
    if (!map.ok()) return reply(Annotate(map.status(), "looking for the collection"));
    const CollectionView found = FindIn(*std::move(map), name);
    if (!found) return reply(CollectionNotFound(name));
    reply(*found.info);
  });
}

void GatewayImpl::Write(std::string collection, WriteOp op, RequestOptions options,
                        Callback<WriteReport> done) {
  options.deadline = WriteDeadline(options.deadline);
  RunRequest(&core_, WriteKind(std::move(collection), std::move(op), std::move(options),
                               Metered(Operation::kWrite, std::move(done))));
}

void GatewayImpl::Search(std::string collection, std::vector<SearchQuery> queries, Select select,
                         RequestOptions options, Callback<SearchReport> done) {
  options.deadline = ReadDeadline(options.deadline);
  RunRequest(&core_, SearchKind(std::move(collection), std::move(queries), std::move(select),
                                std::move(options), Metered(Operation::kSearch, std::move(done))));
}

void GatewayImpl::Get(std::string collection, std::vector<PointId> ids, Select select,
                      RequestOptions options, Callback<RecordsReport> done) {
  options.deadline = ReadDeadline(options.deadline);
  RunRequest(&core_,
             GetKind(std::move(collection), std::move(ids), std::move(select), std::move(options),
                     [reply = Metered(Operation::kGet, std::move(done))](
                         StatusOr<RecordsReport> report) mutable { reply(std::move(report)); }));
}

void GatewayImpl::Scroll(std::string collection, ScrollQuery query, Select select,
                         RequestOptions options, Callback<RecordsReport> done) {
  options.deadline = ReadDeadline(options.deadline);
  RunRequest(&core_, ScrollKind(std::move(collection), std::move(query), std::move(select),
                                std::move(options), Metered(Operation::kScroll, std::move(done))));
}

void GatewayImpl::Count(std::string collection, RequestOptions options, Callback<uint64_t> done) {
  options.deadline = ReadDeadline(options.deadline);
  RunRequest(&core_, StatsKind(std::move(collection), std::move(options),
                               [reply = Metered(Operation::kCount, std::move(done))](
                                   StatusOr<CollectionReport> report) mutable {
                                 if (!report.ok()) return reply(report.status());
                                 if (!report->failed_shards.empty()) {
                                   return reply(report->failed_shards.front().second);
                                 }
                                 reply(report->stats.point_count);
                               }));
}

void GatewayImpl::ClusterStatus(Deadline deadline, Callback<rpc::ClusterStatus> done) {
  core_.placement().GetStatus(
      ReadDeadline(deadline),
      [reply = Metered(Operation::kClusterStatus, std::move(done))](
          StatusOr<rpc::ClusterStatus> status) mutable { reply(std::move(status)); });
}

}  // namespace

std::unique_ptr<Gateway> MakeGateway(GatewayOptions options) {
  return std::make_unique<GatewayImpl>(std::move(options));
}

}  // namespace vectron::gateway
