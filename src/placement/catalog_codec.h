#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "common/ids.h"
#include "consensus/session_table.h"
#include "placement/catalog.h"

namespace vectron::placement {

// The stored forms (proto/vectron/internal/placement.proto). Decoding checks what the
// rest relies on; CORRUPTION says what is wrong.

std::string EncodeCommand(const Command& command);
StatusOr<Command> DecodeCommand(std::string_view bytes);

std::string EncodeResult(const CommandResult& result);
StatusOr<CommandResult> DecodeResult(std::string_view bytes);

struct CheckpointState {
  LogIndex applied;
  Catalog catalog;
  std::vector<consensus::SessionChange> sessions;  // of SessionTable::Dump
};

std::string EncodeCheckpoint(const CheckpointState& state);
StatusOr<CheckpointState> DecodeCheckpoint(std::string_view bytes);

}  // namespace vectron::placement
