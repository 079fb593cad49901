#include "shard/shard.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/check.h"
#include "common/logging.h"
#include "shard/command.h"
#include "shard/shard_state.h"
#include "shard/write_stage.h"
#include "storage/files.h"

namespace vectron::shard {
namespace {

using consensus::ApplyResult;
using consensus::CommittedEntry;

// Entries are applied together, by one batch, until they hold this much: what is stored of
// their points may be many times what they have in the log.
constexpr size_t kStageBytes = 32 << 20;

// Files of a snapshot that are never written to once they are there.
bool IsMutable(const std::string& name) {
  return !name.ends_with(".sst") && !name.ends_with(".blob") && !name.ends_with(".hnsw");
}

// The points whose state a write may change.
std::vector<PointId> TouchedIds(const WriteOp& op) {
  if (const auto* upsert = std::get_if<UpsertPoints>(&op)) {
    std::vector<PointId> ids;
    ids.reserve(upsert->points.size());
    for (const Point& point : upsert->points) ids.push_back(point.id);
    return ids;
  }
  // Payload is no part of the index.
  if (const auto* remove = std::get_if<DeletePoints>(&op)) return remove->ids;
  return {};
}

}  // namespace

Shard::Shard(ShardOptions options, ShardEnvironment environment, StateDirectory directory)
    : options_(std::move(options)),
      environment_(std::move(environment)),
      directory_(std::move(directory)),
      last_garbage_check_(environment_.clock->Now()) {}

StatusOr<std::shared_ptr<Shard>> Shard::Open(const ShardOptions& options,
                                             const ShardEnvironment& environment) {
  VECTRON_CHECK(environment.clock != nullptr && environment.resources != nullptr &&
                environment.background != nullptr);
  VECTRON_ASSIGN_OR_RETURN(StateDirectory directory,
                           StateDirectory::Open(options.dir, options.must_exist));
  std::shared_ptr<Shard> shard(new Shard(options, environment, directory));
  const bool is_new = directory.is_new();
  std::string path = directory.current();
  if (is_new) {
    VECTRON_ASSIGN_OR_RETURN(path, directory.PrepareNext());
  }
  VECTRON_ASSIGN_OR_RETURN(
      auto state, State::Open(path, is_new ? State::Mode::kCreate : State::Mode::kOpen, options,
                              environment, &shard->gate_));
  if (is_new) VECTRON_RETURN_IF_ERROR(directory.SwitchToNext());
  VECTRON_RETURN_IF_ERROR(directory.RemoveOthers());
  if (!is_new && state->serveable()) shard->SayServeable(*state);
  shard->SetState(std::move(state));
  {
    MutexLock lock(shard->apply_mutex_);
    shard->directory_ = std::move(directory);
  }
  return shard;
}

Shard::~Shard() {
  // None if Open failed.
  if (const auto state = SharedState()) state->store->database().CancelManualCompactions();
  MutexLock lock(background_mutex_);
  closing_ = true;
  while (background_running_) background_done_.Wait(background_mutex_);
}

std::shared_ptr<Shard::State> Shard::SharedState() const {
  MutexLock lock(state_mutex_);
  return state_;
}

void Shard::SetState(std::shared_ptr<State> state) {
  MutexLock lock(state_mutex_);
  current_.store(state.get(), std::memory_order_release);
  state_ = std::move(state);
}

LogIndex Shard::AppliedIndex() const {
  const auto guard = gate_.Enter();
  return CurrentState().applied();
}

LogIndex Shard::StoredIndex() const {
  const auto guard = gate_.Enter();
  return CurrentState().stored();
}

LogIndex Shard::SeenIndex() const {
  const auto guard = gate_.Enter();
  return LogIndex(CurrentState().store_reach.load(std::memory_order_acquire));
}

LogIndex Shard::ServeableIndex() const {
  const auto guard = gate_.Enter();
  return CurrentState().serveable_from;
}

LogIndex Shard::DurableIndex() const {
  const auto guard = gate_.Enter();
  const State& state = CurrentState();
  return std::min(state.store->DurableApplied(),
                  LogIndex(state.checkpoint_applied.load(std::memory_order_acquire)));
}

StatusOr<std::vector<ApplyResult>> Shard::Apply(std::span<const CommittedEntry> entries) {
  MutexLock lock(apply_mutex_);
  const std::shared_ptr<State> state = SharedState();
  VECTRON_RETURN_IF_ERROR(state->Damage());
  VECTRON_RETURN_IF_ERROR(state->failure);
  std::vector<ApplyResult> results;
  if (entries.empty()) return results;
  VECTRON_CHECK(entries.front().index <= Next(state->applied()));
  // The disk ran full in the middle of an earlier call with these entries.
  while (!entries.empty() && entries.front().index <= state->applied()) {
    const auto before = unreported_.find(entries.front().index);
    results.push_back(before == unreported_.end() ? ApplyResult(std::string()) : before->second);
    entries = entries.subspan(1);
  }

  const auto is_new = [&](const CommittedEntry& entry) {
    return entry.index > state->store_state.applied();
  };
  const auto first_new = std::find_if(entries.begin(), entries.end(), is_new);
  const auto old_count = static_cast<size_t>(first_new - entries.begin());
  if (old_count > 0) {
    VECTRON_RETURN_IF_ERROR(Replay(*state, entries.first(old_count)));
    results.insert(results.end(), old_count, ApplyResult(std::string()));
    if (state->serveable()) SayServeable(*state);
  }
  for (entries = entries.subspan(old_count); !entries.empty();) {
    StatusOr<std::vector<ApplyResult>> some = ApplySome(*state, entries);
    if (!some.ok()) {
      uint64_t index = entries.front().index.value() - results.size();
      for (ApplyResult& result : results) unreported_[LogIndex(index++)] = std::move(result);
      return some.status();
    }
    entries = entries.subspan(some->size());
    std::move(some->begin(), some->end(), std::back_inserter(results));
  }
  unreported_.clear();
  state->index->Reclaim();
  return results;
}

void Shard::SayServeable(const State& state) const {
  const auto ms = [](Duration duration) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
  };
  const TimePoint now = environment_.clock->Now();
  const State::OpenTimes& times = state.open_times;
  VECTRON_LOG_INFO(
      "shard {} with {} points serves after {} ms: store {} ms, index {} ms, replay from log index "
      "{} to {} {} ms",
      options_.shard.value(), state.point_count.load(), ms(now - times.begun), ms(times.store),
      ms(times.index), state.replay_from.value(), state.serveable_from.value(),
      ms(now - times.opened));
}

// The store has these entries, and maybe some after them; the index does not, or not
// all. Instead of doing again what each entry did (which would need the sessions
// and the points as they were then), every point that an entry may have touched is
// made in the index what it is in the store now. When the last entry that the store
// has is replayed, every point that differed was visited, so both agree. Before
// that, the index is at no particular log index: hence ServeableIndex.
Status Shard::Replay(State& state, std::span<const CommittedEntry> entries) {
  for (const CommittedEntry& entry : entries) {
    if (entry.command.empty()) continue;
    const StatusOr<Command> command = DecodeCommand(entry.command);
    if (!command.ok()) {
      return Annotate(command.status(), fmt::format("shard {}, log index {}",
                                                    options_.shard.value(), entry.index.value()));
    }
    VECTRON_RETURN_IF_ERROR(Noted(state, ReconcileIndex(state, TouchedIds(command->op))));
  }
  state.index_applied.store(entries.back().index.value(), std::memory_order_release);
  return OkStatus();
}

Status Shard::ReconcileIndex(State& state, std::span<const PointId> ids) {
  std::vector<std::string> keys;
  for (size_t first = 0; first < ids.size(); first += kRecordsPerRead) {
    const auto some = ids.subspan(first, std::min(kRecordsPerRead, ids.size() - first));
    keys.clear();
    for (const PointId& id : some) keys.push_back(id.Key());
    VECTRON_ASSIGN_OR_RETURN(const auto records, state.store->ReadRecords(keys, nullptr));
    for (size_t i = 0; i < some.size(); ++i) {
      if (!records[i].has_value()) {
        state.index->Remove(some[i]);
        continue;
      }
      VECTRON_ASSIGN_OR_RETURN(const RecordView view, DecodeRecord(*records[i]));
      VECTRON_ASSIGN_OR_RETURN(const std::vector<NamedVector> vectors,
                               state.store->ReadVectors(keys[i], view.header, {}, nullptr));
      VECTRON_RETURN_IF_ERROR(state.index->Reconcile(some[i], vectors));
    }
  }
  return OkStatus();
}

StatusOr<std::vector<ApplyResult>> Shard::ApplySome(State& state,
                                                    std::span<const CommittedEntry> entries) {
  WriteStage stage(*state.store, *state.index, state.store_state);
  StatusOr<std::vector<ApplyResult>> results = StageSome(state, entries, &stage);
  Status status = results.status();
  if (status.ok()) {
    state.store_reach.store(stage.state().applied().value(), std::memory_order_release);
    status = state.store->database().Write(stage.batch());
  }
  if (!status.ok()) {
    // Nothing was changed but the sessions in memory.
    state.store_reach.store(state.stored().value(), std::memory_order_release);
    StatusOr<consensus::SessionTable> sessions = state.store->ReadSessions();
    if (!sessions.ok()) return state.failure = sessions.status();
    state.sessions = *std::move(sessions);
    return status;
  }
  state.Publish(stage.state());
  state.failure = ApplyToIndex(state, stage);
  if (!state.failure.ok()) return state.failure;
  return results;
}

StatusOr<std::vector<ApplyResult>> Shard::StageSome(State& state,
                                                    std::span<const CommittedEntry> entries,
                                                    WriteStage* stage) {
  std::vector<ApplyResult> results;
  std::vector<consensus::SessionChange> session_changes;
  for (const CommittedEntry& entry : entries) {
    if (stage->held_bytes() >= kStageBytes) break;
    if (entry.command.empty()) {
      results.emplace_back(std::string());
      continue;
    }
    if (std::optional<ApplyResult> before = state.sessions.Find(entry.session)) {
      results.push_back(*std::move(before));
      continue;
    }
    StatusOr<Command> command = DecodeCommand(entry.command);
    if (!command.ok()) {
      return Annotate(command.status(), fmt::format("shard {}, log index {}",
                                                    options_.shard.value(), entry.index.value()));
    }
    ApplyResult result;
    VECTRON_RETURN_IF_ERROR(Noted(state, stage->Apply(entry.index, *std::move(command), &result)));
    state.sessions.Record(entry.session, entry.index, result, &session_changes);
    results.push_back(std::move(result));
  }
  stage->SetApplied(entries[results.size() - 1].index);
  Store::PutState(stage->state(), &stage->batch());
  Store::PutSessionChanges(session_changes, &stage->batch());
  return results;
}

// After the store: a crash in between is repaired by Replay, which follows the store.
Status Shard::ApplyToIndex(State& state, const WriteStage& stage) {
  PointIndex& index = *state.index;
  const Status status = stage.ForEachChange([&](const WriteStage::Change& change) {
    if (!change.vectors_changed) return OkStatus();
    if (change.exists) return index.Set(change.id, change.vectors);
    index.Remove(change.id);
    return OkStatus();
  });
  if (!status.ok()) {
    return Annotate(
        status, fmt::format("shard {}: its index lags behind its store", options_.shard.value()));
  }
  state.index_applied.store(stage.state().applied().value(), std::memory_order_release);
  return OkStatus();
}

Status Shard::RestoreSnapshot(const std::string& dir) {
  MutexLock lock(apply_mutex_);
  VECTRON_ASSIGN_OR_RETURN(const std::string next, directory_.PrepareNext());
  Status status = storage::CloneTree(dir, next, IsMutable);
  StatusOr<std::shared_ptr<State>> restored =
      status.ok() ? State::Open(next, State::Mode::kAdopt, options_, environment_, &gate_)
                  : std::move(status);
  status = restored.ok() ? directory_.SwitchToNext() : restored.status();
  if (!status.ok()) {
    restored = status;  // closes it
    storage::RemoveTree(next).IgnoreError();
    return Annotate(status, fmt::format("shard {}: snapshot {}", options_.shard.value(), dir));
  }
  std::shared_ptr<State> old = SharedState();
  SetState(*std::move(restored));
  // Two epochs on, nobody reads the old state.
  const uint64_t epoch = gate_.Epoch();
  Mutex mutex;
  CondVar never;
  MutexLock wait_lock(mutex);
  while (gate_.TryAdvance() < epoch + 2) never.WaitFor(mutex, std::chrono::milliseconds(1));
  old->replaced = true;
  old->store->database().CancelManualCompactions();
  return OkStatus();
}

}  // namespace vectron::shard
