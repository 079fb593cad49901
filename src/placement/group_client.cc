#include "placement/group_client.h"

#include <fmt/format.h>

#include <utility>

#include "placement/catalog_codec.h"

namespace vectron::placement {
namespace {

constexpr std::chrono::milliseconds kRetryDelay{10};

Status ShuttingDown() { return MakeError(Reason::kShuttingDown, "placement is shutting down"); }

Status OutcomeUnknown(std::string_view why) {
  return MakeError(Reason::kOutcomeUnknown,
                   fmt::format("it is unknown whether the change was made: {}", why));
}

// A few bytes bring the process up, or make room.
RoomUse RoomUseOf(const Command& command) {
  return std::holds_alternative<CreateCollection>(command.body) ? RoomUse::kGrowth
                                                                : RoomUse::kEssential;
}

}  // namespace

struct GroupClient::ReadCall {
  Deadline deadline;
  Answer<CatalogPtr> answer;
};

struct GroupClient::ChangeCall {
  ChangeCall(const Command& change, Deadline until, Callback<CommandResult> done)
      : command(EncodeCommand(change)),
        room(RoomUseOf(change)),
        deadline(until),
        answer(std::move(done)) {}
  // Dropped between two attempts.
  ~ChangeCall() {
    if (maybe_done && answer.pending()) answer(OutcomeUnknown("placement is shutting down"));
  }

  const std::string command;
  const RoomUse room;
  WriteSession session;
  const Deadline deadline;
  bool maybe_done = false;  // an earlier attempt's outcome is unknown
  Answer<CommandResult> answer;
};

GroupClient::GroupClient(const Environment& environment, uint64_t session)
    : environment_(environment), session_(session) {}

bool GroupClient::IsTransient(const Status& status) const {
  switch (ReasonOf(status)) {
    case Reason::kUnavailable:
    case Reason::kOutcomeUnknown:
      return true;
    case Reason::kNotLeader: {
      const std::optional<NodeId> leader = LeaderHint(status);
      return !leader.has_value() || *leader == environment_.self;
    }
    default:
      return false;
  }
}

void GroupClient::Read(Deadline deadline, Callback<CatalogPtr> done) {
  if (environment_.host->TryReadIndex(kPlacementGroup).has_value()) {
    CatalogPtr catalog = environment_.machine->Current();
    if (!catalog->cluster_id.empty()) return done(std::move(catalog));
  }
  TryRead(std::make_shared<ReadCall>(ReadCall{deadline, Answer(std::move(done))}));
}

void GroupClient::TryRead(const std::shared_ptr<ReadCall>& call) {
  if (stopped_) return call->answer(ShuttingDown());
  environment_.host->ReadIndex(
      kPlacementGroup, call->deadline,
      [self = shared_from_this(), call](const StatusOr<LogIndex>& index) {
        Status status = index.status();
        if (index.ok()) {
          CatalogPtr catalog = self->environment_.machine->Current();
          if (!catalog->cluster_id.empty()) return call->answer(std::move(catalog));
          status = MakeError(Reason::kUnavailable, "the cluster is being initialised");
        }
        const bool in_time = self->environment_.clock->Now() + kRetryDelay < call->deadline;
        if (!self->IsTransient(status) || !in_time) return call->answer(std::move(status));
        self->environment_.timers->RunAfter(kRetryDelay, [self, call] { self->TryRead(call); });
      });
}

void GroupClient::Change(const Command& command, Deadline deadline, Callback<CommandResult> done) {
  auto call = std::make_shared<ChangeCall>(command, deadline, std::move(done));
  {
    MutexLock lock(mutex_);
    call->session = {session_, next_sequence_++, 0};
    outstanding_.insert(call->session.sequence);
  }
  TryChange(call);
}

void GroupClient::TryChange(const std::shared_ptr<ChangeCall>& call) {
  if (stopped_) return Finish(call, ShuttingDown());
  {
    MutexLock lock(mutex_);
    call->session.acked_below = *outstanding_.begin();
  }
  environment_.host->Propose(
      kPlacementGroup, {call->session, call->command, call->room}, call->deadline,
      [self = shared_from_this(), call](const StatusOr<consensus::Applied>& applied) {
        self->OnProposed(call, applied);
      });
}

void GroupClient::OnProposed(const std::shared_ptr<ChangeCall>& call,
                             const StatusOr<consensus::Applied>& applied) {
  if (applied.ok()) return Finish(call, DecodeResult(applied->result));
  const Status& status = applied.status();
  if (IsOutcomeUnknown(status)) call->maybe_done = true;
  const bool in_time = environment_.clock->Now() + kRetryDelay < call->deadline;
  if (IsTransient(status) && in_time) {
    environment_.timers->RunAfter(kRetryDelay,
                                  [self = shared_from_this(), call] { self->TryChange(call); });
    return;
  }
  Finish(call, status);
}

void GroupClient::Finish(const std::shared_ptr<ChangeCall>& call, StatusOr<CommandResult> result) {
  {
    MutexLock lock(mutex_);
    outstanding_.erase(call->session.sequence);
  }
  const Reason reason = result.ok() ? Reason::kNone : ReasonOf(result.status());
  const bool not_done = reason == Reason::kNotLeader || reason == Reason::kUnavailable ||
                        reason == Reason::kOverloaded || reason == Reason::kDiskFull ||
                        reason == Reason::kShuttingDown;
  // The last attempt did nothing, but an earlier one may have.
  if (call->maybe_done && not_done) {
    result = OutcomeUnknown(std::string(result.status().message()));
  }
  call->answer(std::move(result));
}

}  // namespace vectron::placement
