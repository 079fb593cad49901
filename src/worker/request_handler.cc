#include "worker/request_handler.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/answer.h"
#include "common/validation.h"
#include "shard/command.h"

namespace vectron::worker {
namespace {

Status ShuttingDown() { return MakeError(Reason::kShuttingDown, "the worker is shutting down"); }

std::string ToString(const Epoch& epoch) {
  return fmt::format("{}.{}", epoch.version, epoch.conf_version);
}

// Calls `visit` with every id that `op` touches until it returns false.
template <typename Visit>
bool ForEachId(const WriteOp& op, const Visit& visit) {
  return std::visit(
      [&](const auto& body) {
        if constexpr (requires { body.points; }) {
          for (const Point& point : body.points) {
            if (!visit(point.id)) return false;
          }
        } else {
          for (const PointId& id : body.ids) {
            if (!visit(id)) return false;
          }
        }
        return true;
      },
      op);
}

template <typename Ids>
Status OutOfRange(const Ids& id, const HostedShard& hosted) {
  return MakeError(Reason::kStaleEpoch, fmt::format("point {} does not belong to shard {}",
                                                    id.ToString(), hosted.info.id.value()));
}

Status CheckRange(const WriteOp& op, const HostedShard& hosted) {
  if (hosted.info.range == HashRange{}) return OkStatus();
  const PointId* stranger = nullptr;
  ForEachId(op, [&](const PointId& id) {
    if (hosted.info.range.Contains(id.RingHash())) return true;
    stranger = &id;
    return false;
  });
  return stranger == nullptr ? OkStatus() : OutOfRange(*stranger, hosted);
}

Status CheckRange(const std::vector<PointId>& ids, const HostedShard& hosted) {
  for (const PointId& id : ids) {
    if (!hosted.info.range.Contains(id.RingHash())) return OutOfRange(id, hosted);
  }
  return OkStatus();
}

Status ValidateSearches(const CollectionConfig& config, const rpc::SearchRequest& request,
                        const Limits& limits) {
  if (request.queries.empty()) return InvalidArgument("a search needs at least one query");
  if (request.queries.size() > limits.batch_queries_max) {
    return MakeError(Reason::kLimitExceeded,
                     fmt::format("{} queries in one request, the limit is {}",
                                 request.queries.size(), limits.batch_queries_max));
  }
  for (size_t i = 0; i < request.queries.size(); ++i) {
    const Status status = ValidateSearch(config, request.queries[i], limits);
    if (status.ok()) continue;
    return request.queries.size() == 1 ? status : Annotate(status, fmt::format("query {}", i));
  }
  return OkStatus();
}

// Requests that may take longer than a millisecond do not run on their caller's
// thread: those are few, others wait for them, and one that searches cannot notice that
// its client has gone.
constexpr uint64_t kSmallSearchNodes = 1'024;
constexpr size_t kSmallReadPoints = 256;

bool IsSmall(const rpc::SearchRequest& request, const CollectionConfig& collection) {
  uint64_t nodes = 0;
  for (const SearchQuery& query : request.queries) {
    if (query.exact) return false;
    nodes += std::max(query.k, query.ef);
    if (query.ef != 0) continue;
    const auto vector = FindVectorConfig(collection, query.vector_name);
    if (vector.ok()) nodes += (*vector)->hnsw.ef_search;
  }
  return nodes <= kSmallSearchNodes;
}
bool IsSmall(const rpc::GetRequest& request, const CollectionConfig&) {
  return request.ids.size() <= kSmallReadPoints;
}
bool IsSmall(const rpc::ScrollRequest& request, const CollectionConfig&) {
  return request.query.limit <= kSmallReadPoints;
}
bool IsSmall(const rpc::CountRequest&, const CollectionConfig&) { return true; }

// Up to where the shard shows every entry to such a read, now. What a search has found is
// fetched without waiting for the index.
LogIndex ServedIndex(const shard::Shard& shard, const rpc::GetRequest&) {
  return shard.StoredIndex();
}
LogIndex ServedIndex(const shard::Shard& shard, const rpc::ScrollRequest&) {
  return shard.StoredIndex();
}
template <typename Request>
LogIndex ServedIndex(const shard::Shard& shard, const Request&) {
  return shard.AppliedIndex();
}

bool IsCancelled(const rpc::ReadOptions& read) {
  return read.cancelled != nullptr && read.cancelled->load(std::memory_order_relaxed);
}

// Why a read is not begun.
Status WhyNotNow(const rpc::ReadOptions& read, TimePoint now) {
  if (IsCancelled(read)) return MakeError(Reason::kCancelled, "the caller has gone");
  if (now < read.deadline) return OkStatus();
  return MakeError(Reason::kDeadlineExceeded, "the request's turn came after its deadline");
}

shard::ReadLimits LimitsOf(const rpc::ReadOptions& read, size_t bytes_max) {
  return {.deadline = read.deadline, .cancelled = read.cancelled, .bytes_max = bytes_max};
}

RoomUse RoomUseOf(const WriteOp& op) {
  const bool removes = std::holds_alternative<DeletePoints>(op) ||
                       std::holds_alternative<DeletePayloadKeys>(op) ||
                       std::holds_alternative<ClearPayload>(op);
  return removes ? RoomUse::kRemoval : RoomUse::kGrowth;
}

// What a write keeps in memory while it waits, about.
size_t BytesOf(const WriteOp& op) {
  const auto* upsert = std::get_if<UpsertPoints>(&op);
  if (upsert == nullptr) return sizeof(op);
  size_t bytes = 0;
  for (const Point& point : upsert->points) {
    bytes += sizeof(Point) + point.payload.size();
    for (const NamedVector& vector : point.vectors) bytes += vector.values.size() * sizeof(float);
  }
  return bytes;
}

}  // namespace

struct RequestHandler::WriteCall {
  rpc::WriteRequest request;
  HostedShardPtr hosted;
  Answer<WriteResult> answer;
};

// In the order of destruction: nothing is answered after the ticket is gone.
template <typename Request, typename Response>
struct RequestHandler::ReadCall {
  RequestTracker::Ticket ticket;
  Request request;
  HostedShardPtr hosted;
  Answer<Response> answer;
};

StatusOr<HostedShardPtr> RequestHandler::FindShard(const rpc::ShardRoute& route) const {
  HostedShardPtr hosted = environment_.table->Find(route.shard);
  if (hosted == nullptr) return environment_.lifecycle->WhyNotServing(route.shard);
  if (hosted->info.epoch != route.epoch) {
    return MakeError(
        Reason::kStaleEpoch,
        fmt::format("shard {} is at epoch {}, the request was routed by {}", route.shard.value(),
                    ToString(hosted->info.epoch), ToString(route.epoch)));
  }
  return hosted;
}

Status RequestHandler::WhyDropped(const Status& status, ShardId shard) const {
  if (ReasonOf(status) != Reason::kShuttingDown) return status;
  if (environment_.table->Find(shard) != nullptr) return status;
  return environment_.lifecycle->WhyNotServing(shard);
}

void RequestHandler::Write(rpc::WriteRequest request, Callback<WriteResult> done) {
  const TimePoint begin = environment_.clock->Now();
  RequestTracker::Ticket entered = environment_.tracker->Enter();
  const bool is_open = static_cast<bool>(entered);
  // Measures, and keeps the request counted until it was answered.
  Callback<WriteResult> finish = [self = shared_from_this(), begin, ticket = std::move(entered),
                                  done = std::move(done)](StatusOr<WriteResult> result) mutable {
    self->environment_.metrics->OnRequest(Operation::kWrite, result.status(),
                                          self->environment_.clock->Now() - begin);
    done(std::move(result));
    ticket = {};
  };
  if (!is_open) return finish(ShuttingDown());
  StatusOr<HostedShardPtr> hosted = FindShard(request.route);
  if (!hosted.ok()) return finish(hosted.status());
  Status status = ValidateWrite(*(*hosted)->collection, request.op, limits_);
  if (status.ok()) status = CheckRange(request.op, **hosted);
  if (!status.ok()) return finish(std::move(status));
  const StatusOr<Duration> delay = Admit(request.op, **hosted, request.deadline);
  if (!delay.ok()) return finish(delay.status());

  auto call = std::make_shared<WriteCall>(
      WriteCall{std::move(request), *std::move(hosted), Answer(std::move(finish))});
  if (*delay <= Duration::zero()) return Propose(call);
  const Status queued =
      environment_.gate->RunLater(*delay, BytesOf(call->request.op),
                                  [self = shared_from_this(), call] { self->Propose(call); });
  if (!queued.ok()) call->answer(queued);
}

StatusOr<Duration> RequestHandler::Admit(const WriteOp& op, const HostedShard& hosted,
                                         Deadline deadline) const {
  VECTRON_RETURN_IF_ERROR(environment_.gate->CheckRoom(RoomUseOf(op)));
  VECTRON_RETURN_IF_ERROR(hosted.shard->StoreHealth());
  // Only inserts make the tail longer.
  if (!std::holds_alternative<UpsertPoints>(op)) return Duration::zero();
  return environment_.gate->DelayOf(hosted.shard->TailFill(), deadline);
}

void RequestHandler::Propose(const std::shared_ptr<WriteCall>& call) {
  consensus::Proposal proposal{
      call->request.session,
      shard::EncodeCommand(call->request.op, limits_.payload_bytes_max, limits_.request_bytes_max),
      RoomUseOf(call->request.op)};
  call->request.op = WriteOp();  // its memory
  environment_.host->Propose(
      call->hosted->group(), std::move(proposal), call->request.deadline,
      [self = shared_from_this(), call](StatusOr<consensus::Applied> applied) {
        if (!applied.ok()) {
          return call->answer(self->WhyDropped(applied.status(), call->hosted->info.id));
        }
        self->environment_.index_threads->Notify();
        const StatusOr<uint64_t> changed = shard::DecodeOutcome(applied->result);
        if (!changed.ok()) return call->answer(changed.status());
        call->answer(WriteResult{applied->index, *changed});
      });
}

template <typename Request>
std::optional<LogIndex> RequestHandler::ReadPointNow(const HostedShard& hosted,
                                                     const Request& request) const {
  if (request.read.consistency == Consistency::kLinearizable) {
    return environment_.host->TryReadIndex(hosted.group());
  }
  const LogIndex served = ServedIndex(*hosted.shard, request);
  if (request.read.consistency == Consistency::kSession && served < request.read.min_index) {
    return std::nullopt;
  }
  return served;
}

void RequestHandler::AwaitReadPoint(const HostedShard& hosted, const rpc::ReadOptions& read,
                                    Callback<LogIndex> done) {
  if (read.consistency == Consistency::kSession) {
    environment_.host->WaitApplied(hosted.group(), read.min_index, read.deadline, std::move(done));
  } else {
    environment_.host->ReadIndex(hosted.group(), read.deadline, std::move(done));
  }
}

template <typename Request, typename Response, typename Validate, typename Execute>
void RequestHandler::Read(Operation operation, Request request, Callback<Response> done,
                          Validate validate, Execute execute) {
  const TimePoint begin = environment_.clock->Now();
  RequestTracker::Ticket ticket = environment_.tracker->Enter();
  const auto report = [this, operation, begin](const Status& status) {
    environment_.metrics->OnRequest(operation, status, environment_.clock->Now() - begin);
  };
  const auto refuse = [&](Status status) {
    report(status);
    done(std::move(status));
  };
  if (!ticket) return refuse(ShuttingDown());
  StatusOr<HostedShardPtr> found = FindShard(request.route);
  if (!found.ok()) return refuse(found.status());
  const HostedShardPtr hosted = *std::move(found);
  Status status = validate(*hosted, request);
  if (!status.ok()) return refuse(std::move(status));
  status = WhyNotNow(request.read, begin);
  if (!status.ok()) return refuse(std::move(status));

  const std::optional<LogIndex> now = ReadPointNow(*hosted, request);
  if (now.has_value() && !request.read.caller_is_wanted && IsSmall(request, *hosted->collection)) {
    // The fast path: no other thread, no allocation of ours.
    if (const SearchExecutor::Slot slot = environment_.executor->TryEnter()) {
      StatusOr<Response> response = execute(*hosted->shard, request, *now);
      report(response.status());
      return done(std::move(response));
    }
  }
  Callback<Response> finish = [self = shared_from_this(), operation, begin,
                               done = std::move(done)](StatusOr<Response> result) mutable {
    self->environment_.metrics->OnRequest(operation, result.status(),
                                          self->environment_.clock->Now() - begin);
    done(std::move(result));
  };
  using Call = ReadCall<Request, Response>;
  auto call = std::make_shared<Call>(
      Call{std::move(ticket), std::move(request), hosted, Answer(std::move(finish))});
  const auto run_at = [self = shared_from_this(), call, execute](LogIndex index) {
    const bool queued = self->environment_.executor->TryEnqueue([self, call, execute, index] {
      Status status = WhyNotNow(call->request.read, self->environment_.clock->Now());
      if (!status.ok()) return call->answer(std::move(status));
      call->answer(execute(*call->hosted->shard, call->request, index));
    });
    if (queued) return;
    call->answer(MakeError(Reason::kOverloaded, "too many searches wait on this worker",
                           {{"retry_after_ms", "50"}}));
  };
  if (now.has_value()) return run_at(*now);
  AwaitReadPoint(*hosted, call->request.read,
                 [self = shared_from_this(), call, run_at](const StatusOr<LogIndex>& index) {
                   if (!index.ok()) {
                     return call->answer(self->WhyDropped(index.status(), call->hosted->info.id));
                   }
                   run_at(*index);
                 });
}

void RequestHandler::Search(rpc::SearchRequest request, Callback<rpc::SearchResponse> done) {
  const auto validate = [this](const HostedShard& hosted, const rpc::SearchRequest& r) {
    const Status status = ValidateSearches(*hosted.collection, r, limits_);
    return status.ok() ? ValidateSelect(*hosted.collection, r.select) : status;
  };
  const auto execute = [bytes_max = limits_.response_bytes_max](
                           const shard::Shard& shard, const rpc::SearchRequest& r,
                           LogIndex index) -> StatusOr<rpc::SearchResponse> {
    rpc::SearchResponse response;
    response.read_index = index;
    response.results.reserve(r.queries.size());
    shard::ReadLimits limits = LimitsOf(r.read, bytes_max);
    for (const SearchQuery& query : r.queries) {
      VECTRON_ASSIGN_OR_RETURN(auto hits, shard.Search(query, r.select, limits));
      for (const ScoredRecord& hit : hits) {
        limits.bytes_max -= std::min(limits.bytes_max, ContentBytes(hit.record));
        limits.one_in_any_case = false;
      }
      response.results.push_back(std::move(hits));
    }
    response.seen_index = r.select.anything() ? shard.SeenIndex() : shard.StoredIndex();
    return response;
  };
  Read<rpc::SearchRequest, rpc::SearchResponse>(Operation::kSearch, std::move(request),
                                                std::move(done), validate, execute);
}

void RequestHandler::Get(rpc::GetRequest request, Callback<rpc::GetResponse> done) {
  const auto validate = [this](const HostedShard& hosted, const rpc::GetRequest& r) {
    VECTRON_RETURN_IF_ERROR(ValidateFetch(r.ids, limits_));
    VECTRON_RETURN_IF_ERROR(ValidateSelect(*hosted.collection, r.select));
    return CheckRange(r.ids, hosted);
  };
  const auto execute = [bytes_max = limits_.response_bytes_max](
                           const shard::Shard& shard, const rpc::GetRequest& r,
                           LogIndex index) -> StatusOr<rpc::GetResponse> {
    VECTRON_ASSIGN_OR_RETURN(auto records, shard.Get(r.ids, r.select, LimitsOf(r.read, bytes_max)));
    return rpc::GetResponse{index, shard.SeenIndex(), std::move(records)};
  };
  Read<rpc::GetRequest, rpc::GetResponse>(Operation::kGet, std::move(request), std::move(done),
                                          validate, execute);
}

void RequestHandler::Scroll(rpc::ScrollRequest request, Callback<rpc::ScrollResponse> done) {
  const auto validate = [this](const HostedShard& hosted, const rpc::ScrollRequest& r) {
    const Status status = ValidateScroll(r.query, limits_);
    return status.ok() ? ValidateSelect(*hosted.collection, r.select) : status;
  };
  const auto execute = [bytes_max = limits_.response_bytes_max](
                           const shard::Shard& shard, const rpc::ScrollRequest& r,
                           LogIndex index) -> StatusOr<rpc::ScrollResponse> {
    VECTRON_ASSIGN_OR_RETURN(auto page,
                             shard.Scroll(r.query, r.select, LimitsOf(r.read, bytes_max)));
    return rpc::ScrollResponse{index, shard.SeenIndex(), std::move(page)};
  };
  Read<rpc::ScrollRequest, rpc::ScrollResponse>(Operation::kScroll, std::move(request),
                                                std::move(done), validate, execute);
}

void RequestHandler::Count(rpc::CountRequest request, Callback<rpc::CountResponse> done) {
  const auto validate = [](const HostedShard&, const rpc::CountRequest&) { return OkStatus(); };
  const auto execute = [](const shard::Shard& shard, const rpc::CountRequest&,
                          LogIndex index) -> StatusOr<rpc::CountResponse> {
    if (!shard.Serveable()) {
      return MakeError(Reason::kUnavailable, "the shard is being replayed");
    }
    const ShardStats stats = shard.Stats();
    return rpc::CountResponse{index, shard.SeenIndex(), stats};
  };
  Read<rpc::CountRequest, rpc::CountResponse>(Operation::kCount, request, std::move(done), validate,
                                              execute);
}

}  // namespace vectron::worker
