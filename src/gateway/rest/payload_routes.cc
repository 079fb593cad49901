#include <utility>

#include "gateway/rest/call_options.h"
#include "gateway/rest/dialect/points_json.h"
#include "gateway/rest/rest_api.h"
#include "gateway/rest/write_report.h"

namespace vectron::gateway::rest {
namespace {

StatusOr<WriteOp> ParseSet(std::string_view body, const Limits& limits) {
  VECTRON_ASSIGN_OR_RETURN(PayloadChange change, ParsePayloadChange(body, limits));
  return SetPayload{std::move(change.ids), std::move(change.payload)};
}

StatusOr<WriteOp> ParseOverwrite(std::string_view body, const Limits& limits) {
  VECTRON_ASSIGN_OR_RETURN(PayloadChange change, ParsePayloadChange(body, limits));
  return OverwritePayload{std::move(change.ids), std::move(change.payload)};
}

StatusOr<WriteOp> ParseDeleteKeys(std::string_view body, const Limits& limits) {
  VECTRON_ASSIGN_OR_RETURN(DeletePayloadKeys op, ParseDeletePayload(body, limits));
  return WriteOp(std::move(op));
}

StatusOr<WriteOp> ParseClear(std::string_view body, const Limits& limits) {
  VECTRON_ASSIGN_OR_RETURN(std::vector<PointId> ids, ParsePointSelection(body, limits));
  return ClearPayload{std::move(ids)};
}

using ParseOp = StatusOr<WriteOp> (*)(std::string_view body, const Limits& limits);

void WritePayload(const RestContext& context, ParseOp parse, const CallPtr& call) {
  VECTRON_ASSIGN_OR_SEND(call, RequestOptions options,
                         ParseCallOptions(*call, kWriteParams, context.default_timeout));
  VECTRON_ASSIGN_OR_SEND(call, WriteOp op, parse(call->request().body, context.limits));
  context.gateway->Write(call->param(0), std::move(op), std::move(options),
                         Then<WriteReport>(call, [call](const WriteReport& report) {
                           SendWriteReport(call, report);
                         }));
}

}  // namespace

void AddPayloadRoutes(const RestContext& context, Router* router) {
  const auto add = [&](const char* method, const char* pattern, ParseOp parse) {
    router->Add(method, pattern, RouteBody::kJson,
                [&context, parse](const CallPtr& call) { WritePayload(context, parse, call); });
  };
  add("POST", "/collections/{collection_name}/points/payload", ParseSet);
  add("PUT", "/collections/{collection_name}/points/payload", ParseOverwrite);
  add("POST", "/collections/{collection_name}/points/payload/delete", ParseDeleteKeys);
  add("POST", "/collections/{collection_name}/points/payload/clear", ParseClear);
}

}  // namespace vectron::gateway::rest
