#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "common/clock.h"
#include "common/limits.h"
#include "common/metrics.h"
#include "gateway/gateway.h"
#include "gateway/rest/http/server.h"
#include "gateway/rest/router.h"

namespace vectron::gateway::rest {

struct RestOptions {
  HttpServerOptions http;
  Limits limits;  // its request_bytes_max and connections_max win over those of `http`
  std::chrono::milliseconds default_timeout{60'000};  // of requests that name none
};

// What the handlers work with. All of it outlives the server.
struct RestContext {
  Gateway* gateway = nullptr;
  const MetricsRegistry* registry = nullptr;
  Limits limits;
  Duration default_timeout;
};

// The REST interface: Qdrant's dialect over HTTP, on top of a Gateway (docs/API.md says
// how far). Start and Stop from one thread, once each.
class RestServer {
 public:
  // `gateway`, `registry` and `clock` outlive it, and so does what answers the calls
  // that the gateway took: their callbacks may still come after Stop.
  RestServer(const RestOptions& options, Gateway* gateway, MetricsRegistry* registry,
             const Clock* clock);
  ~RestServer();
  RestServer(const RestServer&) = delete;
  RestServer& operator=(const RestServer&) = delete;

  Status Start();
  uint16_t port() const;
  void Stop();

  const Router& router() const { return router_; }

 private:
  const RestContext context_;
  Router router_;
  HttpServer server_;
};

// The routes of each group.
void AddServiceRoutes(const RestContext& context, Router* router);
void AddCollectionRoutes(const RestContext& context, Router* router);
void AddPointRoutes(const RestContext& context, Router* router);
void AddPayloadRoutes(const RestContext& context, Router* router);
void AddQueryRoutes(const RestContext& context, Router* router);
// Routes of the dialect that are known and not offered.
void AddUnsupportedRoutes(Router* router);

// For reads that ask for nothing, as clients do with lists that happen to be empty: an
// empty list, if the collection of the path exists.
void SendNothing(const RestContext& context, const CallPtr& call, Deadline deadline);

// The description that /openapi.json serves.
std::string_view OpenApiJson();

}  // namespace vectron::gateway::rest
