#include "gateway/write_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "common/validation.h"
#include "gateway/merge.h"

namespace vectron::gateway {
namespace {

Status ValidateSession(const WriteSession& session) {
  if (session.session == 0) {
    if (session.sequence == 0 && session.acked_below == 0) return OkStatus();
    return InvalidArgument("a write session's number is 0; it must be chosen at random, not 0");
  }
  if (session.sequence == 0) {
    return InvalidArgument("a write session's sequence is 0, it must be at least 1");
  }
  if (session.acked_below > session.sequence) {
    return InvalidArgument(
        fmt::format("a write session's acked_below is {}, it must be at most its sequence, {}",
                    session.acked_below, session.sequence));
  }
  return OkStatus();
}

// "point 3", "points 3, "a", 17 and 4 more".
std::string Describe(const std::vector<PointId>& ids) {
  constexpr size_t kShown = 5;
  std::string text = ids.size() == 1 ? "point " : "points ";
  for (size_t i = 0; i < std::min(ids.size(), kShown); ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : ", ", ids[i].ToString());
  }
  if (ids.size() > kShown) text += fmt::format(" and {} more", ids.size() - kShown);
  return text;
}

// `worst` is the failure to report; the lists are complete.
Status Summarize(const WriteReport& report, const Status& worst) {
  const bool mixed = !report.done.empty() || (!report.not_done.empty() && !report.unknown.empty());
  if (!mixed) return worst;
  const auto& failed = IsOutcomeUnknown(worst) ? report.unknown : report.not_done;
  const size_t total = report.done.size() + report.not_done.size() + report.unknown.size();
  return Annotate(worst, fmt::format("{} of {} points are done, {} not done, {} unknown; {}",
                                     report.done.size(), total, report.not_done.size(),
                                     report.unknown.size(), Describe(failed)));
}

}  // namespace

WriteKind::WriteKind(std::string collection, WriteOp op, RequestOptions options,
                     Reply<WriteReport> reply)
    : RequestBase{std::move(collection), std::move(options)},
      op_(std::move(op)),
      reply_(std::move(reply)) {}

Status WriteKind::Validate(const rpc::CollectionInfo& info, const Limits& limits) const {
  VECTRON_RETURN_IF_ERROR(ValidateSession(options.write_session));
  return ValidateWrite(info.config, op_, limits);
}

void WriteKind::Begin(Core& core, const CollectionView&) {
  session_ = options.write_session;
  if (session_.session != 0) return;
  ticket_ = core.sessions().Begin();
  session_ = ticket_.identity;
}

std::vector<std::pair<const rpc::ShardInfo*, WriteOp>> WriteKind::Split(
    WriteOp op, const ShardPointers& shards) const {
  return SplitWrite(std::move(op), shards);
}

void WriteKind::Send(rpc::WorkerApi& worker, const Part<WriteKind>& part, Deadline deadline,
                     Callback<WriteResult> done) const {
  // A copy goes, because it may have to go again.
  worker.Write({part.Route(), session_, part.cargo, deadline}, std::move(done));
}

void WriteKind::Finish(Core& core, const std::vector<Part<WriteKind>*>& parts) {
  if (ticket_.identity.session != 0) core.sessions().End(ticket_);
  WriteReport report;
  const Status* worst = nullptr;
  for (const Part<WriteKind>* part : parts) {
    if (part->outcome.ok()) {
      report.changed_count += part->outcome->changed_count;
      report.token.seen.emplace_back(part->shard->id, part->outcome->index);
    } else if (worst == nullptr ||
               (IsOutcomeUnknown(part->outcome.status()) && !IsOutcomeUnknown(*worst))) {
      worst = &part->outcome.status();
    }
  }
  if (worst != nullptr) {
    for (const Part<WriteKind>* part : parts) {
      auto& list = part->outcome.ok()                         ? report.done
                   : IsOutcomeUnknown(part->outcome.status()) ? report.unknown
                                                              : report.not_done;
      std::vector<PointId> ids = IdsOf(part->cargo);
      std::move(ids.begin(), ids.end(), std::back_inserter(list));
    }
    report.status = Summarize(report, *worst);
  }
  const Status outcome = report.status;
  reply_.Answer(std::move(report), outcome);
}

void WriteKind::Fail(Core&, Status status) { reply_(std::move(status)); }

}  // namespace vectron::gateway
