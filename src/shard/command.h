#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/data_ops.h"
#include "common/error.h"
#include "common/limits.h"

// What a shard's log entries and their results hold (vectron/internal/shard.proto).

namespace vectron::shard {

struct Command {
  WriteOp op;
  // What a payload may grow to by a SetPayload or OverwritePayload.
  uint64_t payload_bytes_max;
  // What the payloads of several points may have together after a SetPayload,
  // OverwritePayload or DeletePayloadKeys.
  uint64_t change_bytes_max;
};

// The log entry of a write that was validated.
std::string EncodeCommand(const WriteOp& op,
                          uint64_t payload_bytes_max = Limits{}.payload_bytes_max,
                          uint64_t change_bytes_max = Limits{}.request_bytes_max);

// CORRUPTION for what EncodeCommand cannot have made, INCOMPATIBLE_FORMAT for what a
// newer version made.
StatusOr<Command> DecodeCommand(std::string_view command);

// The result of applying a write: how many points changed.
std::string EncodeOutcome(uint64_t changed_count);
StatusOr<uint64_t> DecodeOutcome(std::string_view outcome);

}  // namespace vectron::shard
