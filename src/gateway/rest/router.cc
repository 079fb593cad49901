#include "gateway/rest/router.h"

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "gateway/rest/http/response.h"
#include "gateway/rest/http/url.h"

namespace vectron::gateway::rest {
namespace {

bool IsParam(std::string_view segment) { return segment.starts_with('{'); }

// "application/json", with or without a charset, which must be UTF-8. A request that
// names no type is taken at its word.
bool IsJsonContentType(std::string_view type) {
  if (type.empty()) return true;
  const size_t semicolon = type.find(';');
  std::string_view name = type.substr(0, semicolon);
  while (!name.empty() && name.back() == ' ') name.remove_suffix(1);
  if (!absl::EqualsIgnoreCase({name.data(), name.size()}, "application/json")) return false;
  if (semicolon == std::string_view::npos) return true;
  const std::string parameters(type.substr(semicolon + 1));
  const std::string lower = absl::AsciiStrToLower(parameters);
  return lower.find("charset=") == std::string::npos || lower.find("utf-8") != std::string::npos;
}

}  // namespace

struct Router::Entry {
  std::string method;
  std::string pattern;
  std::vector<std::string> segments;
  RouteBody body = RouteBody::kNone;
  bool offered = true;
  RouteHandler handler;
  std::unique_ptr<RouteMetrics> metrics;

  // The number of literal segments, or -1 if `path` does not match.
  int Match(const std::vector<std::string>& path) const {
    if (path.size() != segments.size()) return -1;
    int literals = 0;
    for (size_t i = 0; i < path.size(); ++i) {
      if (IsParam(segments[i])) continue;
      if (segments[i] != path[i]) return -1;
      ++literals;
    }
    return literals;
  }
};

Router::Router(MetricsRegistry* registry, const Clock* clock)
    : registry_(registry),
      clock_(clock),
      other_(std::make_unique<RouteMetrics>(registry, "other")) {}

Router::~Router() = default;

void Router::Add(std::string_view method, std::string_view pattern, RouteBody body,
                 RouteHandler handler) {
  auto target = ParseTarget(pattern);
  VECTRON_CHECK(target.ok());
  auto entry = std::make_unique<Entry>();
  entry->method = method;
  entry->pattern = pattern;
  entry->segments = std::move(target->segments);
  entry->body = body;
  entry->handler = std::move(handler);
  entry->metrics = std::make_unique<RouteMetrics>(registry_, fmt::format("{} {}", method, pattern));
  entries_.push_back(std::move(entry));
}

void Router::AddUnsupported(std::string_view method, std::string_view pattern) {
  Add(method, pattern, RouteBody::kNone,
      [name = fmt::format("{} {}", method, pattern)](const CallPtr& call) {
        call->SendError(MakeError(Reason::kUnsupported, fmt::format("{} is not supported", name)));
      });
  entries_.back()->offered = false;
}

const Router::Entry* Router::Find(std::string_view method, const std::vector<std::string>& segments,
                                  std::vector<std::string>* allowed) const {
  const Entry* best = nullptr;
  int best_literals = -1;
  for (const auto& entry : entries_) {
    const int literals = entry->Match(segments);
    if (literals < 0) continue;
    if (std::find(allowed->begin(), allowed->end(), entry->method) == allowed->end()) {
      allowed->push_back(entry->method);
    }
    if (entry->method == method && literals > best_literals) {
      best = entry.get();
      best_literals = literals;
    }
  }
  return best;
}

void Router::Reject(const HttpExchangePtr& exchange, HttpResponse response) {
  CountRefused(response.status);
  exchange->Respond(std::move(response));
}

void Router::Route(const HttpExchangePtr& exchange) {
  const HttpRequest& request = exchange->request();
  auto target = ParseTarget(request.target);
  if (!target.ok()) return Reject(exchange, MakeErrorResponse(target.status(), 0));

  const std::string method = request.method == "HEAD" ? "GET" : request.method;
  std::vector<std::string> allowed;
  const Entry* entry = Find(method, target->segments, &allowed);
  if (allowed.empty()) {
    const Status status = MakeError(
        Reason::kUnknownRoute, fmt::format("there is no route {} {}", request.method,
                                           request.target.substr(0, request.target.find('?'))));
    return Reject(exchange, MakeErrorResponse(status, 0));
  }
  if (entry == nullptr) {
    if (std::count(allowed.begin(), allowed.end(), "GET") > 0) allowed.push_back("HEAD");
    allowed.push_back("OPTIONS");
    const std::string list = fmt::format("{}", fmt::join(allowed, ", "));
    HttpResponse response;
    if (method == "OPTIONS") {
      response.status = 204;
    } else {
      response = MakeErrorResponse(
          MakeError(Reason::kMethodNotAllowed,
                    fmt::format("this path takes {}, not {}", list, request.method)),
          0);
    }
    response.headers.emplace_back("Allow", list);
    return Reject(exchange, std::move(response));
  }

  std::vector<std::string> params;
  for (size_t i = 0; i < entry->segments.size(); ++i) {
    if (IsParam(entry->segments[i])) params.push_back(std::move(target->segments[i]));
  }
  const auto call = std::make_shared<Call>(exchange, std::move(params), std::move(target->query),
                                           entry->metrics.get(), clock_);
  if (entry->body == RouteBody::kJson && !IsJsonContentType(request.content_type)) {
    return call->SendError(
        MakeError(Reason::kUnsupportedMediaType,
                  fmt::format("the content type is '{}', it must be application/json in UTF-8",
                              request.content_type)));
  }
  Guarded(call, [&] { entry->handler(call); });
}

std::vector<std::string> Router::Offered() const {
  std::vector<std::string> routes;
  for (const auto& entry : entries_) {
    if (entry->offered) routes.push_back(fmt::format("{} {}", entry->method, entry->pattern));
  }
  return routes;
}

}  // namespace vectron::gateway::rest
