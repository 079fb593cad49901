#include "common/error.h"

#include <absl/strings/cord.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace vectron {
namespace {

struct ReasonInfo {
  Reason reason;
  std::string_view name;
  absl::StatusCode code;
  int http_code;
};

using absl::StatusCode;

constexpr std::array kReasons = {
    ReasonInfo{Reason::kNone, "NONE", StatusCode::kUnknown, 500},
    ReasonInfo{Reason::kInvalidArgument, "INVALID_ARGUMENT", StatusCode::kInvalidArgument, 400},
    ReasonInfo{Reason::kUnsupported, "UNSUPPORTED", StatusCode::kUnimplemented, 400},
    ReasonInfo{Reason::kCollectionNotFound, "COLLECTION_NOT_FOUND", StatusCode::kNotFound, 404},
    ReasonInfo{Reason::kCollectionExists, "COLLECTION_EXISTS", StatusCode::kAlreadyExists, 409},
    ReasonInfo{Reason::kPointNotFound, "POINT_NOT_FOUND", StatusCode::kNotFound, 404},
    ReasonInfo{Reason::kLimitExceeded, "LIMIT_EXCEEDED", StatusCode::kInvalidArgument, 400},
    ReasonInfo{Reason::kNotLeader, "NOT_LEADER", StatusCode::kUnavailable, 503},
    ReasonInfo{Reason::kStaleEpoch, "STALE_EPOCH", StatusCode::kAborted, 503},
    ReasonInfo{Reason::kShardNotFound, "SHARD_NOT_FOUND", StatusCode::kUnavailable, 503},
    ReasonInfo{Reason::kUnavailable, "UNAVAILABLE", StatusCode::kUnavailable, 503},
    ReasonInfo{Reason::kOutcomeUnknown, "OUTCOME_UNKNOWN", StatusCode::kDeadlineExceeded, 504},
    ReasonInfo{Reason::kOutcomeForgotten, "OUTCOME_FORGOTTEN", StatusCode::kFailedPrecondition,
               409},
    ReasonInfo{Reason::kOverloaded, "OVERLOADED", StatusCode::kResourceExhausted, 429},
    ReasonInfo{Reason::kDiskFull, "DISK_FULL", StatusCode::kResourceExhausted, 507},
    ReasonInfo{Reason::kTooManyShards, "TOO_MANY_SHARDS", StatusCode::kResourceExhausted, 507},
    ReasonInfo{Reason::kDeadlineExceeded, "DEADLINE_EXCEEDED", StatusCode::kDeadlineExceeded, 504},
    ReasonInfo{Reason::kCancelled, "CANCELLED", StatusCode::kCancelled, 499},
    ReasonInfo{Reason::kResponseTooLarge, "RESPONSE_TOO_LARGE", StatusCode::kResourceExhausted,
               400},
    ReasonInfo{Reason::kCorruption, "CORRUPTION", StatusCode::kDataLoss, 500},
    ReasonInfo{Reason::kIncompatibleFormat, "INCOMPATIBLE_FORMAT", StatusCode::kFailedPrecondition,
               500},
    ReasonInfo{Reason::kStarting, "STARTING", StatusCode::kUnavailable, 503},
    ReasonInfo{Reason::kShuttingDown, "SHUTTING_DOWN", StatusCode::kUnavailable, 503},
    ReasonInfo{Reason::kTooManyConnections, "TOO_MANY_CONNECTIONS", StatusCode::kUnavailable, 503},
    ReasonInfo{Reason::kUnknownRoute, "UNKNOWN_ROUTE", StatusCode::kUnimplemented, 404},
    ReasonInfo{Reason::kMethodNotAllowed, "METHOD_NOT_ALLOWED", StatusCode::kUnimplemented, 405},
    ReasonInfo{Reason::kRequestTooLarge, "REQUEST_TOO_LARGE", StatusCode::kResourceExhausted, 413},
    ReasonInfo{Reason::kHeaderTooLarge, "HEADER_TOO_LARGE", StatusCode::kResourceExhausted, 431},
    ReasonInfo{Reason::kRequestTimeout, "REQUEST_TIMEOUT", StatusCode::kDeadlineExceeded, 408},
    ReasonInfo{Reason::kUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE",
               StatusCode::kInvalidArgument, 415},
    ReasonInfo{Reason::kExpectationFailed, "EXPECTATION_FAILED", StatusCode::kInvalidArgument, 417},
    ReasonInfo{Reason::kInternal, "INTERNAL", StatusCode::kInternal, 500},
};

const ReasonInfo& InfoOf(Reason reason) {
  for (const ReasonInfo& info : kReasons) {
    if (info.reason == reason) return info;
  }
  return kReasons[0];
}

constexpr char kReasonUrl[] = "vectron/reason";
// Payload urls of details are this prefix and the key.
constexpr std::string_view kDetailPrefix = "vectron/detail/";

absl::string_view ToAbsl(std::string_view s) { return {s.data(), s.size()}; }
std::string_view ToStd(absl::string_view s) { return {s.data(), s.size()}; }

}  // namespace

std::string_view ReasonName(Reason reason) { return InfoOf(reason).name; }

Reason ReasonFromName(std::string_view name) {
  for (const ReasonInfo& info : kReasons) {
    if (info.name == name) return info.reason;
  }
  return Reason::kNone;
}

StatusCode CodeOf(Reason reason) { return InfoOf(reason).code; }

Status MakeError(Reason reason, std::string_view message, const ErrorDetails& details) {
  const ReasonInfo& info = InfoOf(reason);
  Status status(info.code, ToAbsl(message));
  status.SetPayload(kReasonUrl, absl::Cord(ToAbsl(info.name)));
  for (const auto& [key, value] : details) {
    status.SetPayload(std::string(kDetailPrefix) + key, absl::Cord(value));
  }
  return status;
}

Reason ReasonOf(const Status& status) {
  const auto payload = status.GetPayload(kReasonUrl);
  return payload.has_value() ? ReasonFromName(std::string(*payload)) : Reason::kNone;
}

ErrorDetails DetailsOf(const Status& status) {
  ErrorDetails details;
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    const std::string_view name = ToStd(url);
    if (name.substr(0, kDetailPrefix.size()) != kDetailPrefix) return;
    details.emplace_back(name.substr(kDetailPrefix.size()), std::string(payload));
  });
  return details;
}

bool IsOutcomeUnknown(const Status& status) {
  const Reason reason = ReasonOf(status);
  return reason == Reason::kOutcomeUnknown || reason == Reason::kOutcomeForgotten;
}

Status Annotate(const Status& status, std::string_view context) {
  if (status.ok()) return status;
  Status annotated(status.code(), ToAbsl(fmt::format("{}: {}", context, ToStd(status.message()))));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    annotated.SetPayload(url, payload);
  });
  return annotated;
}

Status InvalidArgument(std::string_view message) {
  return MakeError(Reason::kInvalidArgument, message);
}

Status Corruption(std::string_view message) { return MakeError(Reason::kCorruption, message); }

Status Internal(std::string_view message) { return MakeError(Reason::kInternal, message); }

Status NotLeader(GroupId group, std::optional<NodeId> leader) {
  const std::string message = fmt::format("not the leader of group {}", group.value());
  if (!leader.has_value()) return MakeError(Reason::kNotLeader, message);
  return MakeError(Reason::kNotLeader, message, {{"leader", std::to_string(leader->value())}});
}

std::optional<NodeId> LeaderHint(const Status& status) {
  if (ReasonOf(status) != Reason::kNotLeader) return std::nullopt;
  for (const auto& [key, value] : DetailsOf(status)) {
    uint64_t node = 0;
    if (key != "leader") continue;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), node);
    if (error == std::errc() && end == value.data() + value.size()) return NodeId(node);
  }
  return std::nullopt;
}

int HttpCodeOf(const Status& status) {
  if (status.ok()) return 200;
  const Reason reason = ReasonOf(status);
  if (reason != Reason::kNone) return InfoOf(reason).http_code;
  switch (status.code()) {
    case StatusCode::kInvalidArgument:
    case StatusCode::kOutOfRange:
    case StatusCode::kUnimplemented:
      return 400;
    case StatusCode::kNotFound:
      return 404;
    case StatusCode::kAlreadyExists:
      return 409;
    case StatusCode::kResourceExhausted:
      return 429;
    case StatusCode::kUnavailable:
    case StatusCode::kAborted:
      return 503;
    case StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

}  // namespace vectron
