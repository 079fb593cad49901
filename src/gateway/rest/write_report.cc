#include "gateway/rest/write_report.h"

#include <algorithm>
#include <string>

#include "gateway/rest/call_options.h"
#include "gateway/rest/dialect/json_writer.h"

namespace vectron::gateway::rest {
namespace {

void WriteIds(std::string_view key, const std::vector<PointId>& ids, JsonWriter* json) {
  json->Key(key).Begin('[');
  for (const PointId& id : ids) json->Value(id);
  json->End(']');
}

}  // namespace

void AddSessionHeader(const CallPtr& call, const SessionToken& token) {
  if (!token.seen.empty()) call->AddHeader("Vectron-Session", FormatSessionToken(token));
}

void SendWriteReport(const CallPtr& call, const WriteReport& report) {
  AddSessionHeader(call, report.token);
  std::string out;
  JsonWriter json(&out);
  json.Begin('{');
  if (!report.status.ok()) {
    WriteIds("done", report.done, &json);
    WriteIds("not_done", report.not_done, &json);
    WriteIds("unknown", report.unknown, &json);
    json.End('}');
    return call->SendError(report.status, out);
  }
  uint64_t operation = 0;
  for (const auto& [shard, index] : report.token.seen) {
    operation = std::max(operation, index.value());
  }
  json.Key("operation_id").Value(operation).Key("status").Value("completed").End('}');
  call->SendOk(std::move(out));
}

}  // namespace vectron::gateway::rest
