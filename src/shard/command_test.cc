#include "shard/command.h"

#include <gtest/gtest.h>

#include "vectron/internal/shard.pb.h"

namespace vectron::shard {
namespace {

WriteOp RoundTrip(const WriteOp& op) {
  const auto decoded = DecodeCommand(EncodeCommand(op));
  EXPECT_TRUE(decoded.ok()) << decoded.status();
  return decoded->op;
}

TEST(CommandTest, EveryWriteComesBackAsItWas) {
  const std::vector<PointId> ids = {PointId(0), PointId(~uint64_t{0}), PointId("\xc3\xa4"),
                                    PointId(std::string("a\0b", 3))};
  UpsertPoints upsert;
  upsert.points = {{ids[0], {{"", {1.5f, -0.0f}}, {"other", {3}}}, "{\"a\":1}"},
                   {ids[3], {}, ""},
                   {ids[2], {{"", {}}}, "{}"}};
  EXPECT_EQ(std::get<UpsertPoints>(RoundTrip(upsert)).points, upsert.points);
  EXPECT_EQ(std::get<DeletePoints>(RoundTrip(DeletePoints{ids})).ids, ids);
  const auto set = std::get<SetPayload>(RoundTrip(SetPayload{ids, "{\"x\":2}"}));
  EXPECT_EQ(set.ids, ids);
  EXPECT_EQ(set.payload, "{\"x\":2}");
  const auto overwrite = std::get<OverwritePayload>(RoundTrip(OverwritePayload{ids, "{}"}));
  EXPECT_EQ(overwrite.ids, ids);
  EXPECT_EQ(overwrite.payload, "{}");
  const auto keys = std::get<DeletePayloadKeys>(RoundTrip(DeletePayloadKeys{ids, {"k", ""}}));
  EXPECT_EQ(keys.ids, ids);
  EXPECT_EQ(keys.keys, (std::vector<std::string>{"k", ""}));
  EXPECT_EQ(std::get<ClearPayload>(RoundTrip(ClearPayload{ids})).ids, ids);
}

Reason DecodeReason(const vectron::internal::ShardCommand& command) {
  return ReasonOf(DecodeCommand(command.SerializeAsString()).status());
}

TEST(CommandTest, WhatIsNoCommandIsCorruption) {
  EXPECT_EQ(ReasonOf(DecodeCommand("").status()), Reason::kCorruption);
  EXPECT_EQ(ReasonOf(DecodeCommand("\xff\x01garbage").status()), Reason::kCorruption);
  const std::string whole = EncodeCommand(DeletePoints{{PointId("abcdef")}});
  EXPECT_FALSE(DecodeCommand(std::string_view(whole).substr(0, whole.size() - 3)).ok());

  vectron::internal::ShardCommand command;
  command.set_format(1);
  EXPECT_EQ(DecodeReason(command), Reason::kCorruption);
  command.mutable_upsert_points()->add_points()->set_vector("123");
  EXPECT_EQ(DecodeReason(command), Reason::kCorruption);  // no id
  command.mutable_upsert_points()->mutable_points(0)->set_number(1);
  EXPECT_EQ(DecodeReason(command), Reason::kCorruption);  // three bytes of floats
  command.mutable_upsert_points()->mutable_points(0)->set_vector("1234");
  EXPECT_EQ(DecodeReason(command), Reason::kNone);
  command.mutable_upsert_points()->mutable_points(0)->add_named_vectors();
  EXPECT_EQ(DecodeReason(command), Reason::kCorruption);  // no name
  command.mutable_delete_points()->add_ids()->set_text(std::string(kPointIdBytesMax + 1, 'x'));
  EXPECT_EQ(DecodeReason(command), Reason::kCorruption);
}

TEST(CommandTest, ANewerFormatIsNotCorruption) {
  vectron::internal::ShardCommand command;
  command.set_format(4);
  EXPECT_EQ(DecodeReason(command), Reason::kIncompatibleFormat);
}

TEST(CommandTest, WhatAPayloadMayGrowToTravelsWithTheEntry) {
  vectron::internal::ShardCommand command;
  for (const WriteOp& op :
       {WriteOp(SetPayload{{PointId(1)}, "{}"}), WriteOp(OverwritePayload{{PointId(1)}, "{}"})}) {
    const std::string encoded = EncodeCommand(op, 4 << 20);
    EXPECT_EQ(DecodeCommand(encoded)->payload_bytes_max, 4u << 20);
    ASSERT_TRUE(command.ParseFromString(encoded));
    EXPECT_EQ(command.format(), 3u);  // who does not know the fields must not apply it
  }
  // An entry of before.
  command.set_format(1);
  command.clear_payload_bytes_max();
  command.clear_change_bytes_max();
  EXPECT_EQ(DecodeCommand(command.SerializeAsString())->payload_bytes_max, 1u << 20);
  // Others are as they were.
  ASSERT_TRUE(command.ParseFromString(EncodeCommand(DeletePoints{{PointId(1)}}, 4 << 20)));
  EXPECT_EQ(command.format(), 1u);
  EXPECT_FALSE(command.has_payload_bytes_max());
}

TEST(CommandTest, WhatAChangeMayWriteTravelsWithTheEntry) {
  vectron::internal::ShardCommand command;
  for (const WriteOp& op :
       {WriteOp(SetPayload{{PointId(1)}, "{}"}), WriteOp(OverwritePayload{{PointId(1)}, "{}"}),
        WriteOp(DeletePayloadKeys{{PointId(1)}, {"k"}})}) {
    const std::string encoded = EncodeCommand(op, 1000, 5000);
    EXPECT_EQ(DecodeCommand(encoded)->change_bytes_max, 5000u);
    ASSERT_TRUE(command.ParseFromString(encoded));
    EXPECT_EQ(command.format(), 3u);
    // An entry of before is applied as it was then.
    command.set_format(2);
    command.clear_change_bytes_max();
    EXPECT_EQ(DecodeCommand(command.SerializeAsString())->change_bytes_max, ~uint64_t{0});
  }
  ASSERT_TRUE(command.ParseFromString(EncodeCommand(ClearPayload{{PointId(1)}}, 1000, 5000)));
  EXPECT_EQ(command.format(), 1u);
}

TEST(CommandTest, OutcomesComeBack) {
  EXPECT_EQ(*DecodeOutcome(EncodeOutcome(123456789)), 123456789u);
  EXPECT_EQ(ReasonOf(DecodeOutcome("abc").status()), Reason::kCorruption);
}

}  // namespace
}  // namespace vectron::shard
