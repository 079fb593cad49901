#include "gateway/starting_gateway.h"

#include <fmt/format.h>

#include <utility>

#include "common/check.h"

namespace vectron::gateway {

void StartingGateway::SetProgress(std::string progress) {
  MutexLock lock(mutex_);
  progress_ = std::move(progress);
}

void StartingGateway::Open(Gateway* gateway) {
  VECTRON_CHECK(gateway_.load() == nullptr);
  gateway_.store(gateway, std::memory_order_release);
}

Status StartingGateway::Starting() const {
  MutexLock lock(mutex_);
  return MakeError(Reason::kStarting, fmt::format("the server is starting: {}", progress_),
                   {{"retry_after_ms", "1000"}});
}

template <typename T>
Gateway* StartingGateway::OpenOr(Callback<T>* done) {
  Gateway* const gateway = gateway_.load(std::memory_order_acquire);
  if (gateway == nullptr) (*done)(Starting());
  return gateway;
}

void StartingGateway::CreateCollection(CollectionConfig config, Deadline deadline,
                                       Callback<rpc::CollectionInfo> done) {
  if (Gateway* gateway = OpenOr(&done)) {
    gateway->CreateCollection(std::move(config), deadline, std::move(done));
  }
}

void StartingGateway::DropCollection(std::string name, Deadline deadline, Callback<bool> done) {
  if (Gateway* gateway = OpenOr(&done)) {
    gateway->DropCollection(std::move(name), deadline, std::move(done));
  }
}

void StartingGateway::ListCollections(Deadline deadline,
                                      Callback<std::vector<rpc::CollectionInfo>> done) {
  if (Gateway* gateway = OpenOr(&done)) gateway->ListCollections(deadline, std::move(done));
}

void StartingGateway::GetCollection(std::string name, Deadline deadline,
                                    Callback<CollectionReport> done) {
  if (Gateway* gateway = OpenOr(&done)) {
    gateway->GetCollection(std::move(name), deadline, std::move(done));
  }
}

void StartingGateway::FindCollection(std::string name, Deadline deadline,
                                     Callback<rpc::CollectionInfo> done) {
  if (Gateway* gateway = OpenOr(&done)) {
    gateway->FindCollection(std::move(name), deadline, std::move(done));
  }
}

void StartingGateway::Write(std::string collection, WriteOp op, RequestOptions options,
                            Callback<WriteReport> done) {
  if (Gateway* gateway = OpenOr(&done)) {
    gateway->Write(std::move(collection), std::move(op), std::move(options), std::move(done));
  }
}

void StartingGateway::Search(std::string collection, std::vector<SearchQuery> queries,
                             Select select, RequestOptions options, Callback<SearchReport> done) {
  if (Gateway* gateway = OpenOr(&done)) {
    gateway->Search(std::move(collection), std::move(queries), std::move(select),
                    std::move(options), std::move(done));
  }
}

void StartingGateway::Get(std::string collection, std::vector<PointId> ids, Select select,
                          RequestOptions options, Callback<RecordsReport> done) {
  if (Gateway* gateway = OpenOr(&done)) {
    gateway->Get(std::move(collection), std::move(ids), std::move(select), std::move(options),
                 std::move(done));
  }
}

void StartingGateway::Scroll(std::string collection, ScrollQuery query, Select select,
                             RequestOptions options, Callback<RecordsReport> done) {
  if (Gateway* gateway = OpenOr(&done)) {
    gateway->Scroll(std::move(collection), std::move(query), std::move(select), std::move(options),
                    std::move(done));
  }
}

void StartingGateway::Count(std::string collection, RequestOptions options,
                            Callback<uint64_t> done) {
  if (Gateway* gateway = OpenOr(&done)) {
    gateway->Count(std::move(collection), std::move(options), std::move(done));
  }
}

void StartingGateway::ClusterStatus(Deadline deadline, Callback<rpc::ClusterStatus> done) {
  if (Gateway* gateway = OpenOr(&done)) gateway->ClusterStatus(deadline, std::move(done));
}

}  // namespace vectron::gateway
