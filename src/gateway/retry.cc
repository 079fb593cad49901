#include "gateway/retry.h"

#include <fmt/format.h>

namespace vectron::gateway {
namespace {

std::string_view MessageOf(const Status& status) {
  return {status.message().data(), status.message().size()};
}

}  // namespace

Verdict Judge(const Status& status, bool is_write, size_t replica_count) {
  switch (ReasonOf(status)) {
    case Reason::kNotLeader:
    case Reason::kUnavailable:
      return Verdict::kRetry;
    case Reason::kStaleEpoch:
    case Reason::kShardNotFound:
      return Verdict::kReroute;
    case Reason::kOutcomeUnknown:
      // The session makes it safe: what was done once is not done again.
      return is_write ? Verdict::kRetry : Verdict::kFinal;
    case Reason::kShuttingDown:
      // Another replica may go on; the last one will not.
      return replica_count > 1 ? Verdict::kRetry : Verdict::kFinal;
    case Reason::kNone:
      // From the transport. (A stub says OUTCOME_UNKNOWN of a write that it sent.)
      return status.code() == absl::StatusCode::kUnavailable ? Verdict::kRetry : Verdict::kFinal;
    default:
      return Verdict::kFinal;
  }
}

bool IsShardFailure(const Status& status) {
  switch (ReasonOf(status)) {
    case Reason::kNotLeader:
    case Reason::kUnavailable:
    case Reason::kStaleEpoch:
    case Reason::kShardNotFound:
    case Reason::kShuttingDown:
    case Reason::kOverloaded:
    case Reason::kDeadlineExceeded:
    case Reason::kCorruption:
      return true;
    case Reason::kNone:
      return status.code() == absl::StatusCode::kUnavailable ||
             status.code() == absl::StatusCode::kDeadlineExceeded;
    default:
      return false;
  }
}

Status GiveUp(const rpc::ShardInfo& shard, const Status& last, bool is_write, bool maybe_done) {
  if (is_write && maybe_done && ReasonOf(last) == Reason::kCollectionNotFound) {
    return MakeError(Reason::kOutcomeUnknown,
                     fmt::format("shard {}: the write may or may not have been done before its "
                                 "collection was dropped ({})",
                                 shard.id.value(), MessageOf(last)));
  }
  if (is_write && maybe_done && ReasonOf(last) != Reason::kOutcomeForgotten) {
    return MakeError(Reason::kOutcomeUnknown,
                     fmt::format("shard {}: the write may or may not have been done; a retry under "
                                 "the same session and sequence is safe (last error: {})",
                                 shard.id.value(), MessageOf(last)));
  }
  switch (ReasonOf(last)) {
    case Reason::kNotLeader:
    case Reason::kStaleEpoch:
    case Reason::kShardNotFound:
    case Reason::kUnavailable:
    case Reason::kNone:
      return MakeError(Reason::kUnavailable, fmt::format("shard {} could not answer in time: {}",
                                                         shard.id.value(), MessageOf(last)));
    default:
      return Annotate(last, fmt::format("shard {}", shard.id.value()));
  }
}

}  // namespace vectron::gateway
