#include "rpc/reflection_service.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <set>
#include <utility>

#include "grpc/reflection/v1/reflection.pb.h"

namespace vectron::rpc {
namespace {

namespace reflection = ::grpc::reflection::v1;
using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using Request = reflection::ServerReflectionRequest;
using Response = reflection::ServerReflectionResponse;

void AddWithImports(const FileDescriptor& file, std::set<const FileDescriptor*>* seen,
                    reflection::FileDescriptorResponse* out) {
  if (!seen->insert(&file).second) return;
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  out->add_file_descriptor_proto(proto.SerializeAsString());
  for (int i = 0; i < file.dependency_count(); ++i) AddWithImports(*file.dependency(i), seen, out);
}

void FillError(std::string what, Response* out) {
  out->mutable_error_response()->set_error_code(grpc::StatusCode::NOT_FOUND);
  out->mutable_error_response()->set_error_message(std::move(what));
}

void FillFile(const FileDescriptor* file, const std::string& what, Response* out) {
  if (file == nullptr) return FillError(fmt::format("'{}' is not known", what), out);
  std::set<const FileDescriptor*> seen;
  AddWithImports(*file, &seen, out->mutable_file_descriptor_response());
}

}  // namespace

// Answers one question after another.
class ReflectionService::Stream final : public StreamCall<Request, Response> {
 public:
  explicit Stream(const std::vector<std::string>* services) : services_(*services) {}

  void OnBegin() override { StartRead(&request_); }

  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    Response response;
    response.set_valid_host(request_.host());
    *response.mutable_original_request() = request_;
    Answer(&response);
    StartWrite(response);
  }

  void OnWritten(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    request_.Clear();
    StartRead(&request_);
  }

 private:
  void Answer(Response* out) const {
    const DescriptorPool& pool = *DescriptorPool::generated_pool();
    switch (request_.message_request_case()) {
      case Request::kListServices:
        for (const std::string& name : services_) {
          out->mutable_list_services_response()->add_service()->set_name(name);
        }
        return;
      case Request::kFileByFilename:
        return FillFile(pool.FindFileByName(request_.file_by_filename()),
                        request_.file_by_filename(), out);
      case Request::kFileContainingSymbol:
        return FillFile(pool.FindFileContainingSymbol(request_.file_containing_symbol()),
                        request_.file_containing_symbol(), out);
      case Request::kAllExtensionNumbersOfType:
        // We have no extensions.
        if (pool.FindMessageTypeByName(request_.all_extension_numbers_of_type()) != nullptr) {
          out->mutable_all_extension_numbers_response()->set_base_type_name(
              request_.all_extension_numbers_of_type());
          return;
        }
        return FillError(fmt::format("'{}' is not known", request_.all_extension_numbers_of_type()),
                         out);
      case Request::kFileContainingExtension:
        return FillError("there are no extensions", out);
      case Request::MESSAGE_REQUEST_NOT_SET:
        out->mutable_error_response()->set_error_code(grpc::StatusCode::INVALID_ARGUMENT);
        out->mutable_error_response()->set_error_message("nothing was asked");
        return;
    }
  }

  const std::vector<std::string>& services_;
  Request request_;
};

ReflectionService::ReflectionService(std::vector<std::string> services)
    : Service("grpc.reflection.v1.ServerReflection"), services_(std::move(services)) {
  services_.push_back(name());
  // The messages are the same, and older clients know only the older name.
  for (const char* service : {name().c_str(), "grpc.reflection.v1alpha.ServerReflection"}) {
    AddMethodOf(service, "ServerReflectionInfo",
                [this] { return std::make_shared<Stream>(&services_); });
  }
}

}  // namespace vectron::rpc
