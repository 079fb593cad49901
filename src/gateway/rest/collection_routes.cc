#include <algorithm>
#include <string>
#include <vector>

#include "gateway/rest/call_options.h"
#include "gateway/rest/dialect/collection_json.h"
#include "gateway/rest/dialect/json_writer.h"
#include "gateway/rest/rest_api.h"

namespace vectron::gateway::rest {
namespace {

// Handlers begin alike: the options of the URL's query, or an answer that names what is
// wrong with it.
StatusOr<Deadline> ParseDeadline(const RestContext& context, const CallPtr& call) {
  VECTRON_ASSIGN_OR_RETURN(const RequestOptions options,
                           ParseCallOptions(*call, kTimeoutParam, context.default_timeout));
  return options.deadline;
}

void ListCollections(const RestContext& context, const CallPtr& call) {
  VECTRON_ASSIGN_OR_SEND(call, const Deadline deadline, ParseDeadline(context, call));
  context.gateway->ListCollections(
      deadline,
      Then<std::vector<rpc::CollectionInfo>>(
          call, [call](std::vector<rpc::CollectionInfo> collections) {
            std::sort(collections.begin(), collections.end(),
                      [](const auto& a, const auto& b) { return a.config.name < b.config.name; });
            std::string out;
            JsonWriter json(&out);
            json.Begin('{').Key("collections").Begin('[');
            for (const rpc::CollectionInfo& info : collections) {
              json.Begin('{').Key("name").Value(info.config.name).End('}');
            }
            json.End(']').End('}');
            call->SendOk(std::move(out));
          }));
}

void GetCollection(const RestContext& context, const CallPtr& call) {
  VECTRON_ASSIGN_OR_SEND(call, const Deadline deadline, ParseDeadline(context, call));
  context.gateway->GetCollection(
      call->param(0), deadline,
      Then<CollectionReport>(call, [call](const CollectionReport& report) {
        call->SendOk(WriteCollectionInfo(report));
      }));
}

void CreateCollection(const RestContext& context, const CallPtr& call) {
  VECTRON_ASSIGN_OR_SEND(call, const Deadline deadline, ParseDeadline(context, call));
  VECTRON_ASSIGN_OR_SEND(call, CollectionConfig config,
                         ParseCreateCollection(call->param(0), call->request().body));
  context.gateway->CreateCollection(
      std::move(config), deadline,
      Then<rpc::CollectionInfo>(call,
                                [call](const rpc::CollectionInfo&) { call->SendOk("true"); }));
}

void DropCollection(const RestContext& context, const CallPtr& call) {
  VECTRON_ASSIGN_OR_SEND(call, const Deadline deadline, ParseDeadline(context, call));
  context.gateway->DropCollection(call->param(0), deadline, Then<bool>(call, [call](bool dropped) {
                                    call->SendOk(dropped ? "true" : "false");
                                  }));
}

void CollectionExists(const RestContext& context, const CallPtr& call) {
  VECTRON_ASSIGN_OR_SEND(call, const Deadline deadline, ParseDeadline(context, call));
  context.gateway->FindCollection(
      call->param(0), deadline,
      ThenAlways<rpc::CollectionInfo>(call, [call](const StatusOr<rpc::CollectionInfo>& found) {
        if (found.ok()) return call->SendOk(R"({"exists":true})");
        if (ReasonOf(found.status()) != Reason::kCollectionNotFound) {
          return call->SendError(found.status());
        }
        call->SendOk(R"({"exists":false})");
      }));
}

}  // namespace

void SendNothing(const RestContext& context, const CallPtr& call, Deadline deadline) {
  context.gateway->FindCollection(
      call->param(0), deadline,
      Then<rpc::CollectionInfo>(call, [call](const rpc::CollectionInfo&) { call->SendOk("[]"); }));
}

void AddCollectionRoutes(const RestContext& context, Router* router) {
  const auto add = [&](const char* method, const char* pattern, RouteBody body,
                       void (*handler)(const RestContext&, const CallPtr&)) {
    router->Add(method, pattern, body,
                [&context, handler](const CallPtr& call) { handler(context, call); });
  };
  add("GET", "/collections", RouteBody::kNone, ListCollections);
  add("GET", "/collections/{collection_name}", RouteBody::kNone, GetCollection);
  add("PUT", "/collections/{collection_name}", RouteBody::kJson, CreateCollection);
  add("DELETE", "/collections/{collection_name}", RouteBody::kNone, DropCollection);
  add("GET", "/collections/{collection_name}/exists", RouteBody::kNone, CollectionExists);
}

}  // namespace vectron::gateway::rest
