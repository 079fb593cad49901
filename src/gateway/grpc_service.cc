#include "gateway/grpc_service.h"

#include <utility>

#include "gateway/grpc_arena.h"
#include "gateway/grpc_convert.h"
#include "gateway/grpc_read_reactor.h"
#include "gateway/grpc_store_stream.h"
#include "rpc/channel.h"
#include "rpc/status.h"
#include "vectron/v1/vectron.grpc.pb.h"

namespace vectron::gateway {
namespace {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

// Each unary call: convert, ask the gateway, convert. The gateway may answer before
// the handler returns, on its thread; messages and reactor live until Finish.
class GrpcService final : public v1::Vectron::CallbackService {
 public:
  explicit GrpcService(const GrpcServiceOptions& options)
      : options_(options), gateway_(*options.gateway) {
    SetMessageAllocatorFor_StoreVector(&store_memory_);
    SetMessageAllocatorFor_GetVectors(&get_memory_);
    SetMessageAllocatorFor_DeleteVectors(&delete_memory_);
    SetMessageAllocatorFor_Search(&search_memory_);
    SetMessageAllocatorFor_Scroll(&scroll_memory_);
  }

  ServerUnaryReactor* StoreVector(CallbackServerContext* context,
                                  const v1::StoreVectorRequest* request,
                                  v1::WriteResponse* response) override {
    StatusOr<UpsertPoints> op = ToUpsertPoints(request->points());
    if (!op.ok()) return Refuse(context, op.status());
    return Write(context, request, *std::move(op), response,
                 [request] { return IdsOf(request->points()); });
  }

  grpc::ServerBidiReactor<v1::StoreVectorsRequest, v1::StoreVectorsResponse>* StoreVectors(
      CallbackServerContext* context) override {
    return StartStoreStream(options_, *context);
  }

  ServerUnaryReactor* DeleteVectors(CallbackServerContext* context,
                                    const v1::DeleteVectorsRequest* request,
                                    v1::WriteResponse* response) override {
    return WriteByIds(context, request, response,
                      [](std::vector<PointId> ids) { return DeletePoints{std::move(ids)}; });
  }

  ServerUnaryReactor* SetPayload(CallbackServerContext* context,
                                 const v1::SetPayloadRequest* request,
                                 v1::WriteResponse* response) override {
    return WriteByIds(context, request, response, [request](std::vector<PointId> ids) {
      return vectron::SetPayload{std::move(ids), request->payload()};
    });
  }

  ServerUnaryReactor* OverwritePayload(CallbackServerContext* context,
                                       const v1::OverwritePayloadRequest* request,
                                       v1::WriteResponse* response) override {
    return WriteByIds(context, request, response, [request](std::vector<PointId> ids) {
      return vectron::OverwritePayload{std::move(ids), request->payload()};
    });
  }

  ServerUnaryReactor* DeletePayloadKeys(CallbackServerContext* context,
                                        const v1::DeletePayloadKeysRequest* request,
                                        v1::WriteResponse* response) override {
    return WriteByIds(context, request, response, [request](std::vector<PointId> ids) {
      return vectron::DeletePayloadKeys{std::move(ids),
                                        {request->keys().begin(), request->keys().end()}};
    });
  }

  ServerUnaryReactor* ClearPayload(CallbackServerContext* context,
                                   const v1::ClearPayloadRequest* request,
                                   v1::WriteResponse* response) override {
    return WriteByIds(context, request, response, [](std::vector<PointId> ids) {
      return vectron::ClearPayload{std::move(ids)};
    });
  }

  ServerUnaryReactor* Search(CallbackServerContext* context, const v1::SearchRequest* request,
                             v1::SearchResponse* response) override {
    RequestOptions options = OptionsOf(*context);
    options.allow_partial = request->allow_partial();
    Status status = ReadReadOptions(request->read(), &options);
    if (!status.ok()) return Refuse(context, status);
    auto* reactor = new ReadReactor();
    options.cancelled = reactor->cancelled();
    gateway_.Search(request->collection(), ToQueries(request->queries()),
                    ToSelect(request->select()), std::move(options),
                    [reactor, response](StatusOr<SearchReport> report) {
                      if (!report.ok()) return reactor->Finish(rpc::ToGrpcStatus(report.status()));
                      FillSearchResponse(*std::move(report), response);
                      reactor->Finish(grpc::Status::OK);
                    });
    return reactor;
  }

  ServerUnaryReactor* GetVectors(CallbackServerContext* context,
                                 const v1::GetVectorsRequest* request,
                                 v1::GetVectorsResponse* response) override {
    RequestOptions options = OptionsOf(*context);
    Status status = ReadReadOptions(request->read(), &options);
    if (!status.ok()) return Refuse(context, status);
    StatusOr<std::vector<PointId>> ids = ToPointIds(request->ids());
    if (!ids.ok()) return Refuse(context, ids.status());
    auto* reactor = new ReadReactor();
    options.cancelled = reactor->cancelled();
    gateway_.Get(request->collection(), *std::move(ids), ToSelect(request->select()),
                 std::move(options), [reactor, response](StatusOr<RecordsReport> report) {
                   if (!report.ok()) return reactor->Finish(rpc::ToGrpcStatus(report.status()));
                   FillRecords(std::move(report->records), response->mutable_points());
                   FillToken(report->token, response->mutable_token());
                   reactor->Finish(grpc::Status::OK);
                 });
    return reactor;
  }

  ServerUnaryReactor* Scroll(CallbackServerContext* context, const v1::ScrollRequest* request,
                             v1::ScrollResponse* response) override {
    RequestOptions options = OptionsOf(*context);
    Status status = ReadReadOptions(request->read(), &options);
    if (!status.ok()) return Refuse(context, status);
    ScrollQuery query{.limit = request->limit()};
    if (request->has_from()) {
      StatusOr<PointId> from = ToPointId(request->from());
      if (!from.ok()) return Refuse(context, Annotate(from.status(), "from"));
      query.from = *std::move(from);
    }
    auto* reactor = new ReadReactor();
    options.cancelled = reactor->cancelled();
    gateway_.Scroll(request->collection(), std::move(query), ToSelect(request->select()),
                    std::move(options), [reactor, response](StatusOr<RecordsReport> report) {
                      if (!report.ok()) return reactor->Finish(rpc::ToGrpcStatus(report.status()));
                      FillRecords(std::move(report->records), response->mutable_points());
                      if (report->next.has_value()) {
                        FillPointId(*report->next, response->mutable_next());
                      }
                      FillToken(report->token, response->mutable_token());
                      reactor->Finish(grpc::Status::OK);
                    });
    return reactor;
  }

  ServerUnaryReactor* Count(CallbackServerContext* context, const v1::CountRequest* request,
                            v1::CountResponse* response) override {
    RequestOptions options = OptionsOf(*context);
    Status status = ReadReadOptions(request->read(), &options);
    if (!status.ok()) return Refuse(context, status);
    ServerUnaryReactor* reactor = context->DefaultReactor();
    gateway_.Count(
        request->collection(), std::move(options),
        Answer<uint64_t>(reactor, [response](uint64_t count) { response->set_count(count); }));
    return reactor;
  }

  ServerUnaryReactor* CreateCollection(CallbackServerContext* context,
                                       const v1::CreateCollectionRequest* request,
                                       v1::CreateCollectionResponse* response) override {
    StatusOr<CollectionConfig> config = ToCollectionConfig(request->config());
    if (!config.ok()) return Refuse(context, config.status());
    ServerUnaryReactor* reactor = context->DefaultReactor();
    gateway_.CreateCollection(
        *std::move(config), rpc::DeadlineOf(*context, *options_.clock),
        Answer<rpc::CollectionInfo>(reactor, [response](const rpc::CollectionInfo& info) {
          FillCollection(info, response->mutable_collection());
        }));
    return reactor;
  }

  ServerUnaryReactor* GetCollection(CallbackServerContext* context,
                                    const v1::GetCollectionRequest* request,
                                    v1::GetCollectionResponse* response) override {
    ServerUnaryReactor* reactor = context->DefaultReactor();
    gateway_.GetCollection(
        request->name(), rpc::DeadlineOf(*context, *options_.clock),
        Answer<CollectionReport>(reactor, [response](const CollectionReport& report) {
          FillCollection(report.info, response->mutable_collection());
          FillStats(report.stats, response->mutable_stats());
        }));
    return reactor;
  }

  ServerUnaryReactor* ListCollections(CallbackServerContext* context,
                                      const v1::ListCollectionsRequest*,
                                      v1::ListCollectionsResponse* response) override {
    ServerUnaryReactor* reactor = context->DefaultReactor();
    using Infos = std::vector<rpc::CollectionInfo>;
    gateway_.ListCollections(rpc::DeadlineOf(*context, *options_.clock),
                             Answer<Infos>(reactor, [response](const Infos& infos) {
                               for (const rpc::CollectionInfo& info : infos) {
                                 FillCollection(info, response->add_collections());
                               }
                             }));
    return reactor;
  }

  ServerUnaryReactor* DropCollection(CallbackServerContext* context,
                                     const v1::DropCollectionRequest* request,
                                     v1::DropCollectionResponse* response) override {
    ServerUnaryReactor* reactor = context->DefaultReactor();
    gateway_.DropCollection(
        request->name(), rpc::DeadlineOf(*context, *options_.clock),
        Answer<bool>(reactor, [response](bool existed) { response->set_existed(existed); }));
    return reactor;
  }

  ServerUnaryReactor* ClusterStatus(CallbackServerContext* context, const v1::ClusterStatusRequest*,
                                    v1::ClusterStatusResponse* response) override {
    ServerUnaryReactor* reactor = context->DefaultReactor();
    gateway_.ClusterStatus(
        rpc::DeadlineOf(*context, *options_.clock),
        Answer<rpc::ClusterStatus>(reactor, [response](const rpc::ClusterStatus& status) {
          FillClusterStatus(status, response);
        }));
    return reactor;
  }

 private:
  RequestOptions OptionsOf(const CallbackServerContext& context) const {
    return {.deadline = rpc::DeadlineOf(context, *options_.clock)};
  }

  static ServerUnaryReactor* Refuse(CallbackServerContext* context, const Status& status) {
    ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(rpc::ToGrpcStatus(status));
    return reactor;
  }

  // Finishes with the error, or fills the response by `fill` and finishes.
  template <typename T, typename Fill>
  static Callback<T> Answer(ServerUnaryReactor* reactor, Fill fill) {
    return [reactor, fill = std::move(fill)](StatusOr<T> value) {
      if (!value.ok()) return reactor->Finish(rpc::ToGrpcStatus(value.status()));
      fill(*value);
      reactor->Finish(grpc::Status::OK);
    };
  }

  template <typename Request, typename MakeOp>
  ServerUnaryReactor* WriteByIds(CallbackServerContext* context, const Request* request,
                                 v1::WriteResponse* response, MakeOp make_op) {
    StatusOr<std::vector<PointId>> ids = ToPointIds(request->ids());
    if (!ids.ok()) return Refuse(context, ids.status());
    return Write(context, request, make_op(*std::move(ids)), response,
                 [request] { return *ToPointIds(request->ids()); });
  }

  // `ids_of`: those of the request, in its order.
  template <typename Request, typename IdsOf>
  ServerUnaryReactor* Write(CallbackServerContext* context, const Request* request, WriteOp op,
                            v1::WriteResponse* response, IdsOf ids_of) {
    RequestOptions options = OptionsOf(*context);
    options.write_session = ToWriteSession(request->session());
    ServerUnaryReactor* reactor = context->DefaultReactor();
    gateway_.Write(request->collection(), std::move(op), std::move(options),
                   [reactor, response, ids_of](StatusOr<WriteReport> report) {
                     if (!report.ok()) return reactor->Finish(rpc::ToGrpcStatus(report.status()));
                     FillToken(report->token, response->mutable_token());
                     response->set_changed_count(report->changed_count);
                     if (report->status.ok()) return reactor->Finish(grpc::Status::OK);
                     if (!IsMixed(*report)) {
                       return reactor->Finish(rpc::ToGrpcStatus(report->status));
                     }
                     const v1::WriteOutcome outcome = ToWriteOutcome(*report, ids_of());
                     reactor->Finish(rpc::ToGrpcStatus(report->status, &outcome));
                   });
    return reactor;
  }

  const GrpcServiceOptions options_;
  Gateway& gateway_;
  ArenaAllocator<v1::StoreVectorRequest, v1::WriteResponse> store_memory_;
  ArenaAllocator<v1::GetVectorsRequest, v1::GetVectorsResponse> get_memory_;
  ArenaAllocator<v1::DeleteVectorsRequest, v1::WriteResponse> delete_memory_;
  ArenaAllocator<v1::SearchRequest, v1::SearchResponse> search_memory_;
  ArenaAllocator<v1::ScrollRequest, v1::ScrollResponse> scroll_memory_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeGrpcService(const GrpcServiceOptions& options) {
  return std::make_unique<GrpcService>(options);
}

}  // namespace vectron::gateway
