#include "rpc/status.h"

#include <google/rpc/error_details.pb.h>
#include <gtest/gtest.h>

#include "rpc/channel.h"
#include "rpc/grpc_server.h"

namespace vectron::rpc {
namespace {

TEST(GrpcStatusTest, KeepsReasonMessageAndDetails) {
  const Status status = MakeError(Reason::kOverloaded, "too many", {{"retry_after_ms", "50"}});
  const grpc::Status wire = ToGrpcStatus(status);
  EXPECT_EQ(wire.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(wire.error_message(), "too many");
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(FindDetail(wire, &info));
  EXPECT_EQ(info.reason(), "OVERLOADED");
  EXPECT_EQ(info.domain(), "vectron");

  const Status back = FromGrpcStatus(wire);
  EXPECT_EQ(ReasonOf(back), Reason::kOverloaded);
  EXPECT_EQ(back.message(), "too many");
  EXPECT_EQ(DetailsOf(back), (ErrorDetails{{"retry_after_ms", "50"}}));
  EXPECT_TRUE(ToGrpcStatus(OkStatus()).ok());
  EXPECT_TRUE(FromGrpcStatus(grpc::Status::OK).ok());
}

TEST(GrpcStatusTest, EveryReasonComesBack) {
  for (int i = 1; i <= static_cast<int>(Reason::kInternal); ++i) {
    const Status status = MakeError(static_cast<Reason>(i), "m");
    EXPECT_EQ(ReasonOf(FromGrpcStatus(ToGrpcStatus(status))), static_cast<Reason>(i));
  }
}

TEST(GrpcStatusTest, TakesStatusesOfOthers) {
  const Status plain = FromGrpcStatus({grpc::StatusCode::UNAVAILABLE, "connection lost"});
  EXPECT_EQ(plain.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(plain), Reason::kNone);
  EXPECT_EQ(FromGrpcStatus({grpc::StatusCode::INTERNAL, "m", "\xff garbage"}).code(),
            absl::StatusCode::kInternal);
}

TEST(GrpcStatusTest, StaysWithinATrailer) {
  std::string text(2000, 'x');
  text.replace(1023, 2, "\xc3\xa9");  // a character across the cut
  const grpc::Status cut = ToGrpcStatus(InvalidArgument(text));
  EXPECT_EQ(cut.error_message(), std::string(1023, 'x') + "...");
  const grpc::Status large =
      ToGrpcStatus(MakeError(Reason::kInternal, "m", {{"k", std::string(10'000, 'x')}}));
  EXPECT_LT(large.error_details().size(), 5000u);
  EXPECT_EQ(large.error_code(), grpc::StatusCode::INTERNAL);
}

TEST(GrpcServerTest, NamesAnAddressThatCannotBeListenedOn) {
  auto first = GrpcServer::Start({.listen = "127.0.0.1:0"}, {});
  ASSERT_TRUE(first.ok()) << first.status();
  auto second = GrpcServer::Start({.listen = (*first)->address()}, {});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(ReasonOf(second.status()), Reason::kUnavailable);
  EXPECT_NE(second.status().message().find((*first)->address()), std::string::npos);
  EXPECT_EQ(ReasonOf(GrpcServer::Start({.listen = "nowhere"}, {}).status()),
            Reason::kInvalidArgument);
}

}  // namespace
}  // namespace vectron::rpc
