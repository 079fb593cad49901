#include "gateway/rest/rest_api.h"

#include <utility>

namespace vectron::gateway::rest {
namespace {

HttpServerOptions MakeHttpOptions(const RestOptions& options, Router* router) {
  HttpServerOptions http = options.http;
  http.body_bytes_max = options.limits.request_bytes_max;
  http.connections_max = options.limits.connections_max;
  http.on_refused = [router](int status) { router->CountRefused(status); };
  return http;
}

}  // namespace

RestServer::RestServer(const RestOptions& options, Gateway* gateway, MetricsRegistry* registry,
                       const Clock* clock)
    : context_{.gateway = gateway,
               .registry = registry,
               .limits = options.limits,
               .default_timeout = options.default_timeout},
      router_(registry, clock),
      server_(
          MakeHttpOptions(options, &router_),
          [this](const HttpExchangePtr& exchange) { router_.Route(exchange); }, clock) {
  AddServiceRoutes(context_, &router_);
  AddCollectionRoutes(context_, &router_);
  AddPointRoutes(context_, &router_);
  AddPayloadRoutes(context_, &router_);
  AddQueryRoutes(context_, &router_);
  AddUnsupportedRoutes(&router_);
}

RestServer::~RestServer() { Stop(); }

Status RestServer::Start() { return server_.Start(); }

uint16_t RestServer::port() const { return server_.port(); }

void RestServer::Stop() { server_.Stop(); }

}  // namespace vectron::gateway::rest
