#include "rpc/grpc_wire.h"

#include <gtest/gtest.h>

#include <string>

#include "rpc/testing/http2_peer.h"

namespace vectron::rpc {
namespace {

using State = MessageAssembler::State;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using vectron::testing::Framed;

TEST(GrpcTimeoutTest, HasADigitAtLeastAndAUnit) {
  EXPECT_EQ(ParseGrpcTimeout("1H"), hours(1));
  EXPECT_EQ(ParseGrpcTimeout("2M"), seconds(120));
  EXPECT_EQ(ParseGrpcTimeout("30S"), seconds(30));
  EXPECT_EQ(ParseGrpcTimeout("99999999m"), milliseconds(99'999'999));
  EXPECT_EQ(ParseGrpcTimeout("5u"), Duration(5'000));
  EXPECT_EQ(ParseGrpcTimeout("0n"), Duration(0));
  for (const char* text : {"", "m", "1", "1x", "-1m", "1.5S", " 1m", "123456789m", "1mm"}) {
    EXPECT_EQ(ParseGrpcTimeout(text), std::nullopt) << text;
  }
  // Would overflow the clock.
  EXPECT_EQ(ParseGrpcTimeout("99999999H"), std::nullopt);
}

TEST(GrpcMessageTest, ShowsPrintableAsciiAsItIs) {
  EXPECT_EQ(EncodeGrpcMessage("plain ~ text"), "plain ~ text");
  EXPECT_EQ(EncodeGrpcMessage("100%\n\xc3\xa9"), "100%25%0A%C3%A9");
  EXPECT_EQ(EncodeGrpcMessage(""), "");
}

TEST(BinaryHeaderTest, HasNoPadding) {
  EXPECT_EQ(EncodeBinaryHeader(""), "");
  EXPECT_EQ(EncodeBinaryHeader("a"), "YQ");
  EXPECT_EQ(EncodeBinaryHeader("ab"), "YWI");
  EXPECT_EQ(EncodeBinaryHeader("abc"), "YWJj");
}

TEST(MessageAssemblerTest, PutsMessagesTogetherHoweverTheyAreCut) {
  const std::string bytes = Framed("first") + Framed("") + Framed(std::string(300, 'x'));
  for (size_t step = 1; step <= bytes.size(); ++step) {
    MessageAssembler assembler(300);
    std::vector<std::string> messages;
    for (size_t at = 0; at < bytes.size();) {
      at += assembler.Feed(std::string_view(bytes).substr(at, step));
      if (assembler.state() == State::kComplete) messages.push_back(assembler.Take());
    }
    ASSERT_EQ(messages.size(), 3u) << step;
    EXPECT_EQ(messages[0], "first");
    EXPECT_EQ(messages[1], "");
    EXPECT_EQ(messages[2], std::string(300, 'x'));
    EXPECT_TRUE(assembler.is_empty());
  }
}

TEST(MessageAssemblerTest, TakesNothingBehindACompleteMessage) {
  MessageAssembler assembler(10);
  EXPECT_EQ(assembler.Feed(Framed("one") + "more"), 8u);
  EXPECT_EQ(assembler.Feed("more"), 0u);
  EXPECT_EQ(assembler.Take(), "one");
  EXPECT_TRUE(assembler.is_empty());
  assembler.Feed(std::string_view("\0", 1));
  EXPECT_FALSE(assembler.is_empty());
}

TEST(MessageAssemblerTest, StopsAtWhatItCannotTake) {
  MessageAssembler small(10);
  EXPECT_EQ(small.Feed(Framed("eleven bytes")), kMessagePrefixBytes);
  EXPECT_EQ(small.state(), State::kTooLarge);
  EXPECT_EQ(small.message_bytes(), 12u);
  EXPECT_EQ(small.bytes(), 0u);
  MessageAssembler other(10);
  EXPECT_EQ(other.Feed(std::string("\1\0\0\0\1x", 6)), kMessagePrefixBytes);
  EXPECT_EQ(other.state(), State::kCompressed);
}

}  // namespace
}  // namespace vectron::rpc
