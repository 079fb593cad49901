#include "gateway/grpc_service.h"

#include <utility>

#include "gateway/grpc_convert.h"
#include "gateway/grpc_store_stream.h"
#include "gateway/search_response.h"
#include "rpc/service.h"
#include "rpc/status.h"
#include "vectron/v1/vectron.pb.h"

namespace vectron::gateway {
namespace {

template <typename Request, typename Response>
using Call = rpc::UnaryCall<Request, Response>;
using StoreCall = Call<v1::StoreVectorRequest, v1::WriteResponse>;
using DeleteCall = Call<v1::DeleteVectorsRequest, v1::WriteResponse>;
using SetPayloadCall = Call<v1::SetPayloadRequest, v1::WriteResponse>;
using OverwritePayloadCall = Call<v1::OverwritePayloadRequest, v1::WriteResponse>;
using DeletePayloadKeysCall = Call<v1::DeletePayloadKeysRequest, v1::WriteResponse>;
using ClearPayloadCall = Call<v1::ClearPayloadRequest, v1::WriteResponse>;
using SearchCall = Call<v1::SearchRequest, v1::SearchResponse>;
using GetCall = Call<v1::GetVectorsRequest, v1::GetVectorsResponse>;
using ScrollCall = Call<v1::ScrollRequest, v1::ScrollResponse>;
using CountCall = Call<v1::CountRequest, v1::CountResponse>;
using CreateCollectionCall = Call<v1::CreateCollectionRequest, v1::CreateCollectionResponse>;
using GetCollectionCall = Call<v1::GetCollectionRequest, v1::GetCollectionResponse>;
using ListCollectionsCall = Call<v1::ListCollectionsRequest, v1::ListCollectionsResponse>;
using DropCollectionCall = Call<v1::DropCollectionRequest, v1::DropCollectionResponse>;
using ClusterStatusCall = Call<v1::ClusterStatusRequest, v1::ClusterStatusResponse>;

// Each unary call: convert, ask the gateway, convert. The gateway may answer before
// the method returns, on its thread; the call lives until Finish.
class GrpcService final : public rpc::Service {
 public:
  explicit GrpcService(const GrpcServiceOptions& options)
      : rpc::Service("vectron.v1.Vectron"), options_(options), gateway_(*options.gateway) {
    Add("StoreVector", &GrpcService::StoreVector);
    AddMethod("StoreVectors", [this] { return MakeStoreStream(options_); });
    Add("DeleteVectors", &GrpcService::DeleteVectors);
    Add("SetPayload", &GrpcService::SetPayload);
    Add("OverwritePayload", &GrpcService::OverwritePayload);
    Add("DeletePayloadKeys", &GrpcService::DeletePayloadKeys);
    Add("ClearPayload", &GrpcService::ClearPayload);
    Add("Search", &GrpcService::Search);
    Add("GetVectors", &GrpcService::GetVectors);
    Add("Scroll", &GrpcService::Scroll);
    Add("Count", &GrpcService::Count);
    Add("CreateCollection", &GrpcService::CreateCollection);
    Add("GetCollection", &GrpcService::GetCollection);
    Add("ListCollections", &GrpcService::ListCollections);
    Add("DropCollection", &GrpcService::DropCollection);
    Add("ClusterStatus", &GrpcService::ClusterStatus);
  }

 private:
  template <typename Request, typename Response>
  void Add(std::string_view name, void (GrpcService::*method)(Call<Request, Response>*)) {
    AddUnary<Request, Response>(
        name, [this, method](Call<Request, Response>* call) { (this->*method)(call); });
  }

  void StoreVector(StoreCall* call) {
    StatusOr<UpsertPoints> op = ToUpsertPoints(call->request().points());
    if (!op.ok()) return Refuse(call, op.status());
    Write(call, *std::move(op), [call] { return IdsOf(call->request().points()); });
  }

  void DeleteVectors(DeleteCall* call) {
    WriteByIds(call, [](std::vector<PointId> ids) { return DeletePoints{std::move(ids)}; });
  }

  void SetPayload(SetPayloadCall* call) {
    WriteByIds(call, [call](std::vector<PointId> ids) {
      return vectron::SetPayload{std::move(ids), call->request().payload()};
    });
  }

  void OverwritePayload(OverwritePayloadCall* call) {
    WriteByIds(call, [call](std::vector<PointId> ids) {
      return vectron::OverwritePayload{std::move(ids), call->request().payload()};
    });
  }

  void DeletePayloadKeys(DeletePayloadKeysCall* call) {
    WriteByIds(call, [call](std::vector<PointId> ids) {
      const auto& keys = call->request().keys();
      return vectron::DeletePayloadKeys{std::move(ids), {keys.begin(), keys.end()}};
    });
  }

  void ClearPayload(ClearPayloadCall* call) {
    WriteByIds(call,
               [](std::vector<PointId> ids) { return vectron::ClearPayload{std::move(ids)}; });
  }

  void Search(SearchCall* call) {
    RequestOptions options = ReadOptionsOf(*call);
    options.allow_partial = call->request().allow_partial();
    Status status = ReadReadOptions(call->request().read(), &options);
    if (!status.ok()) return Refuse(call, status);
    gateway_.Search(call->request().collection(), ToQueries(call->request().queries()),
                    ToSelect(call->request().select()), std::move(options),
                    [call](StatusOr<SearchReport> report) {
                      if (!report.ok()) return Refuse(call, report.status());
                      call->FinishWith(EncodeSearchResponse(*report));
                    });
  }

  void GetVectors(GetCall* call) {
    RequestOptions options = ReadOptionsOf(*call);
    Status status = ReadReadOptions(call->request().read(), &options);
    if (!status.ok()) return Refuse(call, status);
    StatusOr<std::vector<PointId>> ids = ToPointIds(call->request().ids());
    if (!ids.ok()) return Refuse(call, ids.status());
    gateway_.Get(call->request().collection(), *std::move(ids), ToSelect(call->request().select()),
                 std::move(options), [call](StatusOr<RecordsReport> report) {
                   if (!report.ok()) return Refuse(call, report.status());
                   FillRecords(std::move(report->records), call->response()->mutable_points());
                   FillToken(report->token, call->response()->mutable_token());
                   call->Finish(grpc::Status::OK);
                 });
  }

  void Scroll(ScrollCall* call) {
    const v1::ScrollRequest& request = call->request();
    RequestOptions options = ReadOptionsOf(*call);
    Status status = ReadReadOptions(request.read(), &options);
    if (!status.ok()) return Refuse(call, status);
    ScrollQuery query{.limit = request.limit()};
    if (request.has_from()) {
      StatusOr<PointId> from = ToScrollFrom(request.from());
      if (!from.ok()) return Refuse(call, Annotate(from.status(), "from"));
      query.from = *std::move(from);
    }
    gateway_.Scroll(request.collection(), std::move(query), ToSelect(request.select()),
                    std::move(options), [call](StatusOr<RecordsReport> report) {
                      if (!report.ok()) return Refuse(call, report.status());
                      v1::ScrollResponse* response = call->response();
                      FillRecords(std::move(report->records), response->mutable_points());
                      if (report->next.has_value()) {
                        FillPointId(*report->next, response->mutable_next());
                      }
                      FillToken(report->token, response->mutable_token());
                      call->Finish(grpc::Status::OK);
                    });
  }

  void Count(CountCall* call) {
    RequestOptions options = ReadOptionsOf(*call);
    Status status = ReadReadOptions(call->request().read(), &options);
    if (!status.ok()) return Refuse(call, status);
    gateway_.Count(
        call->request().collection(), std::move(options),
        Answer<uint64_t>(call, [call](uint64_t count) { call->response()->set_count(count); }));
  }

  void CreateCollection(CreateCollectionCall* call) {
    StatusOr<CollectionConfig> config = ToCollectionConfig(call->request().config());
    if (!config.ok()) return Refuse(call, config.status());
    gateway_.CreateCollection(
        *std::move(config), call->DeadlineBy(*options_.clock),
        Answer<rpc::CollectionInfo>(call, [call](const rpc::CollectionInfo& info) {
          FillCollection(info, call->response()->mutable_collection());
        }));
  }

  void GetCollection(GetCollectionCall* call) {
    gateway_.GetCollection(call->request().name(), call->DeadlineBy(*options_.clock),
                           Answer<CollectionReport>(call, [call](const CollectionReport& report) {
                             FillCollection(report.info, call->response()->mutable_collection());
                             FillStats(report.stats, call->response()->mutable_stats());
                             FillFailedShards(report, call->response());
                           }));
  }

  void ListCollections(ListCollectionsCall* call) {
    using Infos = std::vector<rpc::CollectionInfo>;
    gateway_.ListCollections(call->DeadlineBy(*options_.clock),
                             Answer<Infos>(call, [call](const Infos& infos) {
                               for (const rpc::CollectionInfo& info : infos) {
                                 FillCollection(info, call->response()->add_collections());
                               }
                             }));
  }

  void DropCollection(DropCollectionCall* call) {
    gateway_.DropCollection(
        call->request().name(), call->DeadlineBy(*options_.clock),
        Answer<bool>(call, [call](bool existed) { call->response()->set_existed(existed); }));
  }

  void ClusterStatus(ClusterStatusCall* call) {
    gateway_.ClusterStatus(call->DeadlineBy(*options_.clock),
                           Answer<rpc::ClusterStatus>(call, [call](const rpc::ClusterStatus& s) {
                             FillClusterStatus(s, call->response());
                           }));
  }

  template <typename CallType>
  RequestOptions ReadOptionsOf(const CallType& call) const {
    return {.deadline = call.DeadlineBy(*options_.clock),
            .cancelled = &call.cancelled(),
            .caller_is_wanted = !call.alone()};
  }

  template <typename CallType>
  static void Refuse(CallType* call, const Status& status) {
    call->Finish(rpc::ToGrpcStatus(status));
  }

  // Finishes with the error, or fills the response by `fill` and finishes.
  template <typename T, typename CallType, typename Fill>
  static Callback<T> Answer(CallType* call, Fill fill) {
    return [call, fill = std::move(fill)](StatusOr<T> value) {
      if (!value.ok()) return Refuse(call, value.status());
      fill(*value);
      call->Finish(grpc::Status::OK);
    };
  }

  template <typename CallType, typename MakeOp>
  void WriteByIds(CallType* call, MakeOp make_op) {
    StatusOr<std::vector<PointId>> ids = ToPointIds(call->request().ids());
    if (!ids.ok()) return Refuse(call, ids.status());
    Write(call, make_op(*std::move(ids)), [call] { return *ToPointIds(call->request().ids()); });
  }

  // `ids_of`: those of the request, in its order.
  template <typename CallType, typename IdsOf>
  void Write(CallType* call, WriteOp op, IdsOf ids_of) {
    RequestOptions options{.deadline = call->DeadlineBy(*options_.clock)};
    options.write_session = ToWriteSession(call->request().session());
    gateway_.Write(call->request().collection(), std::move(op), std::move(options),
                   [call, ids_of](StatusOr<WriteReport> report) {
                     if (!report.ok()) return Refuse(call, report.status());
                     FillToken(report->token, call->response()->mutable_token());
                     call->response()->set_changed_count(report->changed_count);
                     if (report->status.ok()) return call->Finish(grpc::Status::OK);
                     if (!IsMixed(*report)) return Refuse(call, report->status);
                     const v1::WriteOutcome outcome = ToWriteOutcome(*report, ids_of());
                     call->Finish(rpc::ToGrpcStatus(report->status, &outcome));
                   });
  }

  const GrpcServiceOptions options_;
  Gateway& gateway_;
};

}  // namespace

std::unique_ptr<rpc::Service> MakeGrpcService(const GrpcServiceOptions& options) {
  return std::make_unique<GrpcService>(options);
}

}  // namespace vectron::gateway
