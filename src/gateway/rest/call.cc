#include "gateway/rest/call.h"

#include "gateway/rest/http/response.h"
#include "gateway/rest/rest_metrics.h"

namespace vectron::gateway::rest {

double Call::SecondsSinceReceived() const {
  return std::chrono::duration<double>(clock_->Now() - request().received_at).count();
}

void Call::SendOk(std::string result, std::string_view extra) {
  Send(MakeOkResponse(std::move(result), SecondsSinceReceived(), extra));
}

void Call::SendError(const Status& status, std::string_view result) {
  Send(MakeErrorResponse(status, SecondsSinceReceived(), result));
}

void Call::Send(HttpResponse response) {
  for (auto& header : headers_) response.headers.push_back(std::move(header));
  headers_.clear();
  metrics_->Observe(response.status, SecondsSinceReceived());
  exchange_->Respond(std::move(response));
}

void Call::AddHeader(std::string name, std::string value) {
  headers_.emplace_back(std::move(name), std::move(value));
}

}  // namespace vectron::gateway::rest
