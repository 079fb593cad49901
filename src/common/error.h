#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/ids.h"

// The one place where errors of our own kinds are built and read. An error is
// an absl::Status whose code is the gRPC code it becomes, with a machine-readable
// reason and key/value details attached; rpc/ and gateway/ map it onto the wire
// (google.rpc.ErrorInfo; HTTP code and JSON body).

namespace vectron {

using absl::OkStatus;
using absl::Status;
using absl::StatusOr;

enum class Reason {
  kNone = 0,         // a status without a reason
  kInvalidArgument,  // the request is wrong by itself; repeating it is useless
  kUnsupported,      // a field or route that is known, but not offered
  kCollectionNotFound,
  kCollectionExists,
  kPointNotFound,
  kLimitExceeded,       // a named limit (dimension, batch, k, payload, body ...)
  kNotLeader,           // details: "leader" = node id, where known
  kStaleEpoch,          // the routing the request was sent by is outdated
  kShardNotFound,       // this worker does not host the shard
  kUnavailable,         // nobody can answer now; nothing was done
  kOutcomeUnknown,      // a write may or may not have been, or still be, applied
  kOutcomeForgotten,    // the same, for good: no retry will tell what became of it
  kOverloaded,          // refused before anything was done; details: "retry_after_ms"
  kDiskFull,            // refused before anything was done
  kTooManyShards,       // the workers can take no further shards
  kDeadlineExceeded,    // nothing was done (reads); writes use kOutcomeUnknown
  kCancelled,           // the caller went away; nothing was done (reads)
  kResponseTooLarge,    // the answer would have more bytes than are allowed; ask for less
  kCorruption,          // stored data failed a check; says what and where
  kIncompatibleFormat,  // stored data of another version
  kStarting,            // not yet: the process replays its logs
  kShuttingDown,
  kTooManyConnections,
  // Of a request that was refused before it was understood.
  kUnknownRoute,      // no such path or gRPC method
  kMethodNotAllowed,  // the path takes other HTTP methods
  kRequestTooLarge,
  kHeaderTooLarge,
  kRequestTimeout,  // it came too slowly
  kUnsupportedMediaType,
  kExpectationFailed,  // an HTTP Expect other than 100-continue
  kInternal,
};

// The reason's name on the wire, e.g. "COLLECTION_NOT_FOUND".
std::string_view ReasonName(Reason reason);
// kNone for a name that is not one of ours.
Reason ReasonFromName(std::string_view name);

// The canonical code of a reason (e.g. kOverloaded is RESOURCE_EXHAUSTED).
absl::StatusCode CodeOf(Reason reason);

using ErrorDetails = std::vector<std::pair<std::string, std::string>>;

// An error of `reason`'s canonical code.
Status MakeError(Reason reason, std::string_view message, const ErrorDetails& details = {});

// kNone if `status` is OK or was not built by MakeError.
Reason ReasonOf(const Status& status);
// Empty if there are none.
ErrorDetails DetailsOf(const Status& status);

// kOutcomeUnknown or kOutcomeForgotten.
bool IsOutcomeUnknown(const Status& status);

// `status` with `context` and ": " before its message; reason and details kept.
Status Annotate(const Status& status, std::string_view context);

// Shorthands for what is common.
Status InvalidArgument(std::string_view message);
Status Corruption(std::string_view message);
Status Internal(std::string_view message);
Status NotLeader(GroupId group, std::optional<NodeId> leader);
// Empty unless `status` is kNotLeader and names the leader.
std::optional<NodeId> LeaderHint(const Status& status);

// 200 for OK, else what Qdrant's dialect and HTTP give for such an error.
int HttpCodeOf(const Status& status);

}  // namespace vectron

#define VECTRON_RETURN_IF_ERROR(expression)            \
  do {                                                 \
    ::absl::Status vectron_status_ = (expression);     \
    if (!vectron_status_.ok()) return vectron_status_; \
  } while (false)

#define VECTRON_CONCAT_INNER(a, b) a##b
#define VECTRON_CONCAT(a, b) VECTRON_CONCAT_INNER(a, b)

// VECTRON_ASSIGN_OR_RETURN(auto x, F()): x = *F(), or return F()'s error.
#define VECTRON_ASSIGN_OR_RETURN(lhs, expression) \
  VECTRON_ASSIGN_OR_RETURN_IMPL(VECTRON_CONCAT(vectron_statusor_, __LINE__), lhs, expression)
#define VECTRON_ASSIGN_OR_RETURN_IMPL(statusor, lhs, expression) \
  auto statusor = (expression);                                  \
  if (!statusor.ok()) return std::move(statusor).status();       \
  lhs = std::move(statusor).value()
