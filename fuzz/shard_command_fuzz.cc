#include <cmath>

#include "common/check.h"
#include "fuzz_target.h"
#include "shard/command.h"

// A log entry that decodes must encode to something that decodes to the same.

using vectron::NamedVector;
using vectron::Point;
using vectron::PointId;
using vectron::shard::DecodeCommand;
using vectron::shard::EncodeCommand;

void FuzzOne(std::string_view input) {
  const auto command = DecodeCommand(input);
  if (command.ok()) {
    const std::string encoded =
        EncodeCommand(command->op, command->payload_bytes_max, command->change_bytes_max);
    const auto again = DecodeCommand(encoded);
    VECTRON_CHECK(again.ok());
    VECTRON_CHECK(again->op.index() == command->op.index());
    VECTRON_CHECK(EncodeCommand(again->op, again->payload_bytes_max, again->change_bytes_max) ==
                  encoded);
  }
  // Returns a value or an error; either is fine.
  const auto outcome = vectron::shard::DecodeOutcome(input);
  VECTRON_CHECK(outcome.ok() || !outcome.status().message().empty());
}

std::vector<std::string> FuzzSeeds() {
  const PointId number(uint64_t{42});
  const PointId text(std::string("3f0c1c1e-0000-4000-8000-000000000001"));
  return {
      EncodeCommand(vectron::UpsertPoints{
          {Point{number, {NamedVector{"", {1, 2, 3}}}, R"({"a":1})"},
           Point{text, {NamedVector{"image", {0.5f}}, NamedVector{"text", {-1, 1}}}, ""}}}),
      EncodeCommand(vectron::DeletePoints{{number, text}}),
      EncodeCommand(vectron::SetPayload{{number}, R"({"a":{"b":[1]}})"}),
      EncodeCommand(vectron::OverwritePayload{{text}, "{}"}),
      EncodeCommand(vectron::DeletePayloadKeys{{number}, {"a", "b"}}),
      EncodeCommand(vectron::ClearPayload{{number, text}}),
      vectron::shard::EncodeOutcome(1000),
  };
}
