#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gateway/merge.h"
#include "gateway/rest/call_options.h"
#include "gateway/rest/dialect/fields.h"
#include "gateway/rest/dialect/json_writer.h"
#include "gateway/rest/dialect/query_json.h"
#include "gateway/rest/rest_api.h"
#include "gateway/rest/write_report.h"

// Searches. All routes come down to a list of queries: vectors of points that were named
// by id are looked up first, then all queries go to the gateway as one search.

namespace vectron::gateway::rest {
namespace {

// How a route wants its answer.
enum class Shape {
  kPoints,      // query: {"points":[...]}
  kPointsEach,  // query/batch: [{"points":[...]}, ...]
  kList,        // search: [...]
  kListEach,    // search/batch: [[...], ...]
};

class QueryRun : public std::enable_shared_from_this<QueryRun> {
 public:
  QueryRun(const RestContext& context, CallPtr call, RequestOptions options,
           std::vector<ParsedQuery> queries, Shape shape)
      : context_(context),
        call_(std::move(call)),
        options_(std::move(options)),
        queries_(std::move(queries)),
        shape_(shape) {}

  void Start() {
    std::vector<PointId> ids;
    Select select{.vectors = true};
    for (const ParsedQuery& query : queries_) {
      if (!query.id.has_value()) continue;
      if (std::find(ids.begin(), ids.end(), *query.id) == ids.end()) ids.push_back(*query.id);
      select.vector_names.push_back(query.search.vector_name);
    }
    if (ids.empty()) return Search();
    std::sort(select.vector_names.begin(), select.vector_names.end());
    select.vector_names.erase(std::unique(select.vector_names.begin(), select.vector_names.end()),
                              select.vector_names.end());
    context_.gateway->Get(
        call_->param(0), std::move(ids), std::move(select), options_,
        Then<RecordsReport>(call_, [self = shared_from_this()](const RecordsReport& report) {
          self->looked_up_ = report.token;
          const Status status = self->TakeVectors(report);
          status.ok() ? self->Search() : self->call_->SendError(status);
        }));
  }

 private:
  // Puts the vectors of the points named by id into their queries.
  Status TakeVectors(const RecordsReport& report) {
    for (ParsedQuery& query : queries_) {
      if (!query.id.has_value()) continue;
      const auto record =
          std::find_if(report.records.begin(), report.records.end(),
                       [&](const Record& candidate) { return candidate.id == *query.id; });
      if (record == report.records.end()) {
        return MakeError(Reason::kPointNotFound,
                         fmt::format("there is no point {}", query.id->ToString()));
      }
      const auto vector = std::find_if(
          record->vectors.begin(), record->vectors.end(),
          [&](const NamedVector& named) { return named.name == query.search.vector_name; });
      if (vector == record->vectors.end()) {
        return InvalidArgument(fmt::format("point {} has no vector '{}'", query.id->ToString(),
                                           query.search.vector_name));
      }
      query.search.vector = vector->values;
      // The point itself will be among its neighbours, and is left out.
      query.search.k = std::min(query.search.k + 1, context_.limits.k_max);
    }
    return OkStatus();
  }

  // What the answers to all queries together need.
  Select UnionOfSelects() const {
    Select all;
    bool every_vector = false;
    for (const ParsedQuery& query : queries_) {
      all.payload |= query.payload.enabled();
      if (!query.vectors.enabled) continue;
      all.vectors = true;
      every_vector |= query.vectors.names.empty();
      all.vector_names.insert(all.vector_names.end(), query.vectors.names.begin(),
                              query.vectors.names.end());
    }
    if (every_vector) all.vector_names.clear();
    std::sort(all.vector_names.begin(), all.vector_names.end());
    all.vector_names.erase(std::unique(all.vector_names.begin(), all.vector_names.end()),
                           all.vector_names.end());
    return all;
  }

  void Search() {
    std::vector<SearchQuery> searches;
    searches.reserve(queries_.size());
    for (ParsedQuery& query : queries_) searches.push_back(std::move(query.search));
    context_.gateway->Search(
        call_->param(0), std::move(searches), UnionOfSelects(), options_,
        Then<SearchReport>(call_, [self = shared_from_this()](const SearchReport& report) {
          self->Send(report);
        }));
  }

  void Send(const SearchReport& report) {
    // The vectors that were looked up show in the scores.
    SessionToken shown = report.token;
    AddSeen(looked_up_, &shown);
    AddSessionHeader(call_, shown);
    std::string out;
    JsonWriter json(&out);
    const bool many = shape_ == Shape::kPointsEach || shape_ == Shape::kListEach;
    if (many) json.Begin('[');
    for (size_t i = 0; i < queries_.size() && i < report.results.size(); ++i) {
      const Status status = WriteHits(queries_[i], report.results[i], &json);
      if (!status.ok()) return call_->SendError(status);
    }
    if (many) json.End(']');
    std::string extra;
    if (options_.allow_partial) {
      JsonWriter more(&extra);
      more.Key("missing_shards").Begin('[');
      for (const ShardId shard : report.missing_shards) more.Value(shard.value());
      more.End(']');
    }
    call_->SendOk(std::move(out), extra);
  }

  Status WriteHits(const ParsedQuery& query, const std::vector<ScoredRecord>& hits,
                   JsonWriter* json) const {
    const bool wrapped = shape_ == Shape::kPoints || shape_ == Shape::kPointsEach;
    if (wrapped) json->Begin('{').Key("points");
    json->Begin('[');
    uint32_t place = 0;  // among the hits that count
    for (const ScoredRecord& hit : hits) {
      if (query.id.has_value() && hit.record.id == *query.id) continue;
      if (place >= query.offset && place - query.offset < query.limit) {
        VECTRON_RETURN_IF_ERROR(WriteScoredRecord(hit, query.payload, query.vectors, json));
      }
      ++place;
    }
    json->End(']');
    if (wrapped) json->End('}');
    return OkStatus();
  }

  const RestContext& context_;
  const CallPtr call_;
  const RequestOptions options_;
  std::vector<ParsedQuery> queries_;
  SessionToken looked_up_;
  const Shape shape_;
};

using ParseOne = StatusOr<ParsedQuery> (*)(std::string_view, const Limits&);
using ParseMany = StatusOr<std::vector<ParsedQuery>> (*)(std::string_view, const Limits&);

void Run(const RestContext& context, const CallPtr& call, StatusOr<std::vector<ParsedQuery>> parsed,
         Shape shape) {
  VECTRON_ASSIGN_OR_SEND(call, RequestOptions options,
                         ParseCallOptions(*call, kSearchParams, context.default_timeout));
  VECTRON_ASSIGN_OR_SEND(call, std::vector<ParsedQuery> queries, std::move(parsed));
  if (queries.empty()) return SendNothing(context, call, options.deadline);
  std::make_shared<QueryRun>(context, call, std::move(options), std::move(queries), shape)->Start();
}

}  // namespace

void AddQueryRoutes(const RestContext& context, Router* router) {
  const auto add_one = [&](const char* pattern, ParseOne parse, Shape shape) {
    router->Add("POST", pattern, RouteBody::kJson, [=, &context](const CallPtr& call) {
      auto query = parse(call->request().body, context.limits);
      if (!query.ok()) return call->SendError(query.status());
      std::vector<ParsedQuery> queries;
      queries.push_back(*std::move(query));
      Run(context, call, std::move(queries), shape);
    });
  };
  const auto add_many = [&](const char* pattern, ParseMany parse, Shape shape) {
    router->Add("POST", pattern, RouteBody::kJson, [=, &context](const CallPtr& call) {
      Run(context, call, parse(call->request().body, context.limits), shape);
    });
  };
  add_one("/collections/{collection_name}/points/query", ParseQuery, Shape::kPoints);
  add_many("/collections/{collection_name}/points/query/batch", ParseQueryBatch,
           Shape::kPointsEach);
  add_one("/collections/{collection_name}/points/search", ParseSearch, Shape::kList);
  add_many("/collections/{collection_name}/points/search/batch", ParseSearchBatch,
           Shape::kListEach);
}

}  // namespace vectron::gateway::rest
