#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "gateway/rest/call_options.h"
#include "gateway/rest/dialect/fields.h"
#include "gateway/rest/dialect/json_writer.h"
#include "gateway/rest/dialect/points_json.h"
#include "gateway/rest/rest_api.h"
#include "gateway/rest/write_report.h"

namespace vectron::gateway::rest {
namespace {

void Upsert(const RestContext& context, const CallPtr& call) {
  VECTRON_ASSIGN_OR_SEND(call, RequestOptions options,
                         ParseCallOptions(*call, kWriteParams, context.default_timeout));
  VECTRON_ASSIGN_OR_SEND(call, UpsertPoints op, ParseUpsert(call->request().body, context.limits));
  context.gateway->Write(call->param(0), std::move(op), std::move(options),
                         Then<WriteReport>(call, [call](const WriteReport& report) {
                           SendWriteReport(call, report);
                         }));
}

void DeletePointsByIds(const RestContext& context, const CallPtr& call) {
  VECTRON_ASSIGN_OR_SEND(call, RequestOptions options,
                         ParseCallOptions(*call, kWriteParams, context.default_timeout));
  VECTRON_ASSIGN_OR_SEND(call, std::vector<PointId> ids,
                         ParsePointSelection(call->request().body, context.limits));
  context.gateway->Write(call->param(0), DeletePoints{std::move(ids)}, std::move(options),
                         Then<WriteReport>(call, [call](const WriteReport& report) {
                           SendWriteReport(call, report);
                         }));
}

void SendRecords(const CallPtr& call, const RecordsReport& report, const PayloadSelector& payload,
                 const VectorSelector& vectors) {
  AddSessionHeader(call, report.token);
  std::string out;
  JsonWriter json(&out);
  json.Begin('[');
  for (const Record& record : report.records) {
    const Status status = WriteRecord(record, payload, vectors, &json);
    if (!status.ok()) return call->SendError(status);
  }
  json.End(']');
  call->SendOk(std::move(out));
}

void Retrieve(const RestContext& context, const CallPtr& call) {
  VECTRON_ASSIGN_OR_SEND(call, RequestOptions options,
                         ParseCallOptions(*call, kReadParams, context.default_timeout));
  VECTRON_ASSIGN_OR_SEND(call, RetrieveRequest request,
                         ParseRetrieve(call->request().body, context.limits));
  if (request.ids.empty()) return SendNothing(context, call, options.deadline);
  const Select select = MakeSelect(request.payload, request.vectors);
  context.gateway->Get(
      call->param(0), std::move(request.ids), select, std::move(options),
      Then<RecordsReport>(
          call, [call, payload = std::move(request.payload), vectors = std::move(request.vectors)](
                    const RecordsReport& report) { SendRecords(call, report, payload, vectors); }));
}

void GetPoint(const RestContext& context, const CallPtr& call) {
  VECTRON_ASSIGN_OR_SEND(call, RequestOptions options,
                         ParseCallOptions(*call, kReadParams, context.default_timeout));
  VECTRON_ASSIGN_OR_SEND(call, PointId id, PointIdFromText(call->param(1)));
  const Select select = MakeSelect(PayloadSelector::All(), VectorSelector::All());
  context.gateway->Get(
      call->param(0), {id}, select, std::move(options),
      Then<RecordsReport>(call, [call, id](const RecordsReport& report) {
        AddSessionHeader(call, report.token);
        if (report.records.empty()) {
          return call->SendError(MakeError(Reason::kPointNotFound,
                                           fmt::format("there is no point {}", id.ToString())));
        }
        std::string out;
        JsonWriter json(&out);
        const Status status = WriteRecord(report.records.front(), PayloadSelector::All(),
                                          VectorSelector::All(), &json);
        status.ok() ? call->SendOk(std::move(out)) : call->SendError(status);
      }));
}

void SendPage(const CallPtr& call, const RecordsReport& report, const ScrollBody& request) {
  AddSessionHeader(call, report.token);
  std::string out;
  JsonWriter json(&out);
  json.Begin('{').Key("points").Begin('[');
  for (const Record& record : report.records) {
    const Status status = WriteRecord(record, request.payload, request.vectors, &json);
    if (!status.ok()) return call->SendError(status);
  }
  json.End(']').Key("next_page_offset");
  report.next.has_value() ? json.Value(*report.next) : json.Null();
  json.End('}');
  call->SendOk(std::move(out));
}

void Scroll(const RestContext& context, const CallPtr& call) {
  VECTRON_ASSIGN_OR_SEND(call, RequestOptions options,
                         ParseCallOptions(*call, kReadParams, context.default_timeout));
  VECTRON_ASSIGN_OR_SEND(call, ScrollBody request, ParseScroll(call->request().body));
  const ScrollQuery query = request.query;
  const Select select = MakeSelect(request.payload, request.vectors);
  context.gateway->Scroll(
      call->param(0), query, select, std::move(options),
      Then<RecordsReport>(call, [call, request = std::move(request)](const RecordsReport& report) {
        SendPage(call, report, request);
      }));
}

void Count(const RestContext& context, const CallPtr& call) {
  VECTRON_ASSIGN_OR_SEND(call, RequestOptions options,
                         ParseCallOptions(*call, kReadParams, context.default_timeout));
  if (const Status status = ParseCount(call->request().body); !status.ok()) {
    return call->SendError(status);
  }
  context.gateway->Count(call->param(0), std::move(options),
                         Then<uint64_t>(call, [call](uint64_t count) {
                           call->SendOk(fmt::format("{{\"count\":{}}}", count));
                         }));
}

}  // namespace

void AddPointRoutes(const RestContext& context, Router* router) {
  const auto add = [&](const char* method, const char* pattern, RouteBody body,
                       void (*handler)(const RestContext&, const CallPtr&)) {
    router->Add(method, pattern, body,
                [&context, handler](const CallPtr& call) { handler(context, call); });
  };
  add("PUT", "/collections/{collection_name}/points", RouteBody::kJson, Upsert);
  add("POST", "/collections/{collection_name}/points", RouteBody::kJson, Retrieve);
  add("GET", "/collections/{collection_name}/points/{id}", RouteBody::kNone, GetPoint);
  add("POST", "/collections/{collection_name}/points/delete", RouteBody::kJson, DeletePointsByIds);
  add("POST", "/collections/{collection_name}/points/scroll", RouteBody::kJson, Scroll);
  add("POST", "/collections/{collection_name}/points/count", RouteBody::kJson, Count);
}

}  // namespace vectron::gateway::rest
