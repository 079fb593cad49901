#include "gateway/rest/http/response.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <iterator>
#include <optional>

#include "common/json_object.h"

namespace vectron::gateway::rest {
namespace {

// When to come back, in whole seconds and at least one: 429 always says it, 503 where
// it is known.
std::optional<std::string> RetryAfterSeconds(int http_code, const ErrorDetails& details) {
  if (http_code != 429 && http_code != 503) return std::nullopt;
  for (const auto& [key, value] : details) {
    if (key != "retry_after_ms") continue;
    uint64_t ms = 0;
    std::from_chars(value.data(), value.data() + value.size(), ms);
    return std::to_string(std::max<uint64_t>(1, (ms + 999) / 1000));
  }
  if (http_code == 429) return "1";
  return std::nullopt;
}

void AppendErrorStatus(const Status& status, const ErrorDetails& details, std::string* out) {
  out->append("{\"error\":");
  AppendJsonString({status.message().data(), status.message().size()}, out);
  if (const Reason reason = ReasonOf(status); reason != Reason::kNone) {
    out->append(",\"reason\":");
    AppendJsonString(ReasonName(reason), out);
  }
  if (!details.empty()) {
    out->append(",\"details\":{");
    for (const auto& [key, value] : details) {
      if (out->back() != '{') out->push_back(',');
      AppendJsonString(key, out);
      out->push_back(':');
      AppendJsonString(value, out);
    }
    out->push_back('}');
  }
  out->push_back('}');
}

}  // namespace

HttpResponse MakeOkResponse(std::string result, double seconds, std::string_view extra) {
  HttpResponse response;
  response.body.reserve(result.size() + extra.size() + 64);
  response.body = "{\"result\":";
  response.body.append(result);
  response.body.append(",\"status\":\"ok\"");
  if (!extra.empty()) {
    response.body.push_back(',');
    response.body.append(extra);
  }
  response.body.append(",\"time\":");
  AppendJsonNumber(seconds, &response.body);
  response.body.push_back('}');
  return response;
}

HttpResponse MakeErrorResponse(const Status& status, double seconds, std::string_view result) {
  const ErrorDetails details = DetailsOf(status);
  HttpResponse response;
  response.status = HttpCodeOf(status);
  response.body = "{\"result\":";
  response.body.append(result);
  response.body.append(",\"status\":");
  AppendErrorStatus(status, details, &response.body);
  response.body.append(",\"time\":");
  AppendJsonNumber(seconds, &response.body);
  response.body.push_back('}');
  if (auto seconds_to_wait = RetryAfterSeconds(response.status, details)) {
    response.headers.emplace_back("Retry-After", *std::move(seconds_to_wait));
  }
  return response;
}

std::string_view HttpStatusText(int status) {
  struct Text {
    int status;
    std::string_view text;
  };
  constexpr Text kTexts[] = {
      {200, "OK"},
      {204, "No Content"},
      {400, "Bad Request"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {413, "Payload Too Large"},
      {415, "Unsupported Media Type"},
      {417, "Expectation Failed"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
      {507, "Insufficient Storage"},
  };
  const auto* found = std::find_if(std::begin(kTexts), std::end(kTexts),
                                   [&](const Text& text) { return text.status == status; });
  return found == std::end(kTexts) ? "Unknown" : found->text;
}

}  // namespace vectron::gateway::rest
