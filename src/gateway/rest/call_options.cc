#include "gateway/rest/call_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace vectron::gateway::rest {
namespace {

constexpr uint64_t kTimeoutSecondsMax = 24 * 3600;

std::optional<QueryParam> ParamFromName(std::string_view name) {
  if (name == "timeout") return QueryParam::kTimeout;
  if (name == "consistency") return QueryParam::kConsistency;
  if (name == "allow_partial") return QueryParam::kAllowPartial;
  if (name == "wait") return QueryParam::kWait;
  if (name == "ordering") return QueryParam::kOrdering;
  return std::nullopt;
}

std::optional<uint64_t> ParseUint(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

Status WrongValue(std::string_view name, std::string_view value, std::string_view accepted) {
  return InvalidArgument(
      fmt::format("parameter '{}' is '{}', it must be {}", name, value.substr(0, 64), accepted));
}

StatusOr<bool> ParseBool(std::string_view name, std::string_view value) {
  if (value == "true") return true;
  if (value == "false") return false;
  return WrongValue(name, value, "true or false");
}

StatusOr<Consistency> ParseConsistency(std::string_view value) {
  // The dialect's levels all ask for less than what a linearizable read gives.
  for (std::string_view weaker : {"", "linearizable", "majority", "quorum", "all"}) {
    if (value == weaker) return Consistency::kLinearizable;
  }
  if (const auto count = ParseUint(value); count.has_value() && *count >= 1) {
    return Consistency::kLinearizable;
  }
  if (value == "session") return Consistency::kSession;
  if (value == "eventual") return Consistency::kEventual;
  return WrongValue("consistency", value,
                    "linearizable, session, eventual, majority, quorum, all or a number");
}

Status Apply(QueryParam param, const std::string& name, const std::string& value,
             TimePoint received_at, RequestOptions* options) {
  switch (param) {
    case QueryParam::kTimeout: {
      const auto seconds = ParseUint(value);
      if (!seconds.has_value() || *seconds == 0) {
        return WrongValue(name, value, "a number of seconds, at least 1");
      }
      options->deadline =
          received_at + std::chrono::seconds(std::min(*seconds, kTimeoutSecondsMax));
      return OkStatus();
    }
    case QueryParam::kConsistency: {
      VECTRON_ASSIGN_OR_RETURN(options->consistency, ParseConsistency(value));
      return OkStatus();
    }
    case QueryParam::kAllowPartial: {
      VECTRON_ASSIGN_OR_RETURN(options->allow_partial, ParseBool(name, value));
      return OkStatus();
    }
    case QueryParam::kWait:
      // Every answer waits until the write is applied on a majority's log.
      return ParseBool(name, value).status();
    case QueryParam::kOrdering:
      // The writes of one point have one order, whatever is asked for.
      if (value == "weak" || value == "medium" || value == "strong") return OkStatus();
      return WrongValue(name, value, "weak, medium or strong");
  }
  return OkStatus();
}

}  // namespace

StatusOr<RequestOptions> ParseCallOptions(const Call& call,
                                          std::initializer_list<QueryParam> allowed,
                                          Duration default_timeout) {
  RequestOptions options;
  options.deadline = call.request().received_at + default_timeout;
  options.cancelled = call.exchange().client_gone();
  std::vector<QueryParam> seen;
  for (const auto& [name, value] : call.query()) {
    const auto param = ParamFromName(name);
    if (!param.has_value() || std::find(allowed.begin(), allowed.end(), *param) == allowed.end()) {
      return InvalidArgument(fmt::format("unknown parameter '{}'", name.substr(0, 64)));
    }
    if (std::find(seen.begin(), seen.end(), *param) != seen.end()) {
      return InvalidArgument(fmt::format("parameter '{}' appears twice", name));
    }
    seen.push_back(*param);
    VECTRON_RETURN_IF_ERROR(Apply(*param, name, value, call.request().received_at, &options));
  }
  if (options.consistency == Consistency::kSession) {
    if (call.request().session_token.empty()) {
      return InvalidArgument("consistency 'session' needs the header Vectron-Session");
    }
    VECTRON_ASSIGN_OR_RETURN(options.session, ParseSessionToken(call.request().session_token));
  }
  return options;
}

std::string FormatSessionToken(const SessionToken& token) {
  std::string text;
  for (const auto& [shard, index] : token.seen) {
    if (!text.empty()) text.push_back(',');
    text += fmt::format("{}:{}", shard.value(), index.value());
  }
  return text;
}

StatusOr<SessionToken> ParseSessionToken(std::string_view text) {
  SessionToken token;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view pair = text.substr(0, comma);
    const size_t colon = pair.find(':');
    const auto shard = ParseUint(pair.substr(0, colon));
    const auto index =
        colon == std::string_view::npos ? std::nullopt : ParseUint(pair.substr(colon + 1));
    if (!shard.has_value() || !index.has_value()) {
      return InvalidArgument("the header Vectron-Session is malformed");
    }
    token.seen.emplace_back(ShardId(*shard), LogIndex(*index));
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  return token;
}

}  // namespace vectron::gateway::rest
