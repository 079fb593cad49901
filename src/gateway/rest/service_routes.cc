#include <fmt/format.h>

#include <algorithm>

#include "common/metrics.h"
#include "gateway/rest/call_options.h"
#include "gateway/rest/dialect/json_writer.h"
#include "gateway/rest/rest_api.h"

// GET / and what operators and load balancers ask.

namespace vectron::gateway::rest {
namespace {

// The version of the dialect that is spoken. Clients compare it with their own, and warn
// when the minor versions are more than one apart.
constexpr std::string_view kDialectVersion = "1.19.0";

constexpr std::chrono::seconds kReadyTimeout{1};

void SendText(const CallPtr& call, int status, std::string body, std::string content_type) {
  call->Send({.status = status, .content_type = std::move(content_type), .body = std::move(body)});
}

void SendVersion(const CallPtr& call) {
  HttpResponse response;
  JsonWriter json(&response.body);
  json.Begin('{').Key("title").Value("vectron");
  json.Key("version").Value(kDialectVersion);
  json.Key("vectron_version").Value(VECTRON_VERSION).End('}');
  call->Send(std::move(response));
}

// Ready is who can answer what needs the placement driver. A shard whose data are damaged does not
// make the others unready, and is named.
std::string Readiness(const rpc::ClusterStatus& status) {
  std::string text;
  for (const rpc::ClusterStatus::Worker& worker : status.workers) {
    for (const rpc::ReplicaReport& replica : worker.replicas) {
      if (replica.failure.empty()) continue;
      text += fmt::format("shard {} cannot serve: {}\n", replica.shard.value(), replica.failure);
    }
  }
  return text.empty() ? "all shards are ready" : "ready, but\n" + text;
}

void SendReadiness(const RestContext& context, const CallPtr& call) {
  context.gateway->ClusterStatus(
      call->request().received_at + kReadyTimeout,
      Then<rpc::ClusterStatus>(call, [call](const rpc::ClusterStatus& status) {
        SendText(call, 200, Readiness(status), "text/plain");
      }));
}

}  // namespace

void AddServiceRoutes(const RestContext& context, Router* router) {
  router->Add("GET", "/", RouteBody::kNone, SendVersion);
  for (const char* path : {"/healthz", "/livez"}) {
    router->Add("GET", path, RouteBody::kNone, [](const CallPtr& call) {
      SendText(call, 200, "healthz check passed", "text/plain");
    });
  }
  router->Add("GET", "/readyz", RouteBody::kNone,
              [&context](const CallPtr& call) { SendReadiness(context, call); });
  router->Add("GET", "/metrics", RouteBody::kNone, [&context](const CallPtr& call) {
    SendText(call, 200, RenderMetrics(*context.registry),
             "text/plain; version=0.0.4; charset=utf-8");
  });
  router->Add("GET", "/openapi.json", RouteBody::kNone, [](const CallPtr& call) {
    SendText(call, 200, std::string(OpenApiJson()), "application/json");
  });
}

void AddUnsupportedRoutes(Router* router) {
  constexpr std::pair<const char*, const char*> kRoutes[] = {
      {"GET", "/telemetry"},
      {"GET", "/cluster"},
      {"GET", "/issues"},
      {"DELETE", "/issues"},
      {"GET", "/aliases"},
      {"POST", "/collections/aliases"},
      {"GET", "/snapshots"},
      {"POST", "/snapshots"},
      {"PATCH", "/collections/{collection_name}"},
      {"GET", "/collections/{collection_name}/aliases"},
      {"GET", "/collections/{collection_name}/cluster"},
      {"POST", "/collections/{collection_name}/cluster"},
      {"PUT", "/collections/{collection_name}/index"},
      {"DELETE", "/collections/{collection_name}/index/{field_name}"},
      {"GET", "/collections/{collection_name}/snapshots"},
      {"POST", "/collections/{collection_name}/snapshots"},
      {"PUT", "/collections/{collection_name}/shards"},
      {"POST", "/collections/{collection_name}/shards/delete"},
      {"POST", "/collections/{collection_name}/facet"},
      {"POST", "/collections/{collection_name}/points/batch"},
      {"PUT", "/collections/{collection_name}/points/vectors"},
      {"POST", "/collections/{collection_name}/points/vectors/delete"},
      {"POST", "/collections/{collection_name}/points/query/groups"},
      {"POST", "/collections/{collection_name}/points/search/groups"},
      {"POST", "/collections/{collection_name}/points/search/matrix/pairs"},
      {"POST", "/collections/{collection_name}/points/search/matrix/offsets"},
      {"POST", "/collections/{collection_name}/points/recommend"},
      {"POST", "/collections/{collection_name}/points/recommend/batch"},
      {"POST", "/collections/{collection_name}/points/recommend/groups"},
      {"POST", "/collections/{collection_name}/points/discover"},
      {"POST", "/collections/{collection_name}/points/discover/batch"},
  };
  for (const auto& [method, pattern] : kRoutes) router->AddUnsupported(method, pattern);
}

}  // namespace vectron::gateway::rest
