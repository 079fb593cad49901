#include "rpc/status.h"

#include <google/protobuf/message.h>
#include <google/rpc/error_details.pb.h>

#include <string>
#include <utility>

namespace vectron::rpc {
namespace {

constexpr char kDomain[] = "vectron";
constexpr size_t kMessageBytesMax = 1024;
// What is left of 8 KiB for a field that is sent in base64, beside the message and
// the headers.
constexpr size_t kDetailsBytesMax = 4800;

// Cuts between two characters.
std::string CutUtf8(std::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max) return std::string(text);
  size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "...";
}

}  // namespace

grpc::Status ToGrpcStatus(const Status& status, const google::protobuf::Message* extra) {
  if (status.ok()) return grpc::Status::OK;
  const auto code = static_cast<grpc::StatusCode>(status.raw_code());
  const std::string message =
      CutUtf8({status.message().data(), status.message().size()}, kMessageBytesMax);

  google::rpc::Status wire;
  wire.set_code(status.raw_code());
  wire.set_message(message);
  const Reason reason = ReasonOf(status);
  if (reason != Reason::kNone) {
    google::rpc::ErrorInfo info;
    info.set_reason(std::string(ReasonName(reason)));
    info.set_domain(kDomain);
    for (auto& [key, value] : DetailsOf(status)) (*info.mutable_metadata())[key] = value;
    wire.add_details()->PackFrom(info);
  }
  if (extra != nullptr) wire.add_details()->PackFrom(*extra);
  while (wire.details_size() > 0 && wire.ByteSizeLong() > kDetailsBytesMax) {
    wire.mutable_details()->RemoveLast();
  }
  return grpc::Status(code, message, wire.SerializeAsString());
}

Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return OkStatus();
  google::rpc::Status wire;
  if (wire.ParseFromString(status.error_details())) {
    for (const google::protobuf::Any& detail : wire.details()) {
      google::rpc::ErrorInfo info;
      if (!detail.UnpackTo(&info) || info.domain() != kDomain) continue;
      const Reason reason = ReasonFromName(info.reason());
      if (reason == Reason::kNone) continue;
      const ErrorDetails details(info.metadata().begin(), info.metadata().end());
      return MakeError(reason, status.error_message(), details);
    }
  }
  return Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

bool FindDetail(const grpc::Status& status, google::protobuf::Message* extra) {
  google::rpc::Status wire;
  if (!wire.ParseFromString(status.error_details())) return false;
  for (const google::protobuf::Any& detail : wire.details()) {
    if (detail.UnpackTo(extra)) return true;
  }
  return false;
}

}  // namespace vectron::rpc
