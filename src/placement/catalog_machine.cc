#include "placement/catalog_machine.h"

#include <fmt/format.h>

#include <utility>

#include "common/atomic_file.h"
#include "common/logging.h"

namespace vectron::placement {
namespace {

constexpr std::string_view kMagic = "VTRNCATL";
constexpr uint32_t kFormat = 1;
constexpr std::string_view kFileName = "/catalog";

StatusOr<CheckpointState> ParseCheckpointFile(std::string_view content, const std::string& path) {
  VECTRON_ASSIGN_OR_RETURN(const std::string_view payload,
                           UnwrapChecked(kMagic, kFormat, content, path));
  StatusOr<CheckpointState> state = DecodeCheckpoint(payload);
  if (!state.ok()) return Annotate(state.status(), path);
  return state;
}

std::string CheckpointFile(const CheckpointState& state) {
  return WrapWithChecksum(kMagic, kFormat, EncodeCheckpoint(state));
}

}  // namespace

StatusOr<std::shared_ptr<CatalogMachine>> CatalogMachine::Open(Options options) {
  VECTRON_RETURN_IF_ERROR(MakeDirectories(options.dir));
  std::shared_ptr<CatalogMachine> machine(new CatalogMachine(std::move(options)));
  VECTRON_ASSIGN_OR_RETURN(const std::optional<std::string> content, ReadWholeFile(machine->path_));
  if (content.has_value()) {
    VECTRON_ASSIGN_OR_RETURN(CheckpointState state, ParseCheckpointFile(*content, machine->path_));
    const LogIndex applied = state.applied;
    VECTRON_RETURN_IF_ERROR(machine->Load(std::move(state)));
    machine->durable_ = applied.value();
  }
  return machine;
}

CatalogMachine::CatalogMachine(Options options)
    : options_(std::move(options)),
      path_(options_.dir + std::string(kFileName)),
      catalog_(std::make_shared<Catalog>()),
      map_(std::make_shared<rpc::ClusterMap>()),
      flush_pool_({.name = "catalog-flush", .thread_count = 1, .queue_count_max = 1}) {}

CatalogMachine::~CatalogMachine() = default;

LogIndex CatalogMachine::AppliedIndex() const {
  MutexLock lock(mutex_);
  return applied_;
}

LogIndex CatalogMachine::DurableIndex() const { return LogIndex(durable_.load()); }

CatalogPtr CatalogMachine::Current() const {
  MutexLock lock(mutex_);
  return catalog_;
}

rpc::ClusterMapPtr CatalogMachine::Map() const {
  MutexLock lock(mutex_);
  return map_;
}

StatusOr<std::vector<consensus::ApplyResult>> CatalogMachine::Apply(
    std::span<const consensus::CommittedEntry> entries) {
  std::vector<consensus::ApplyResult> results;
  results.reserve(entries.size());
  rpc::ClusterMapPtr changed;
  uint64_t not_durable = 0;
  {
    MutexLock lock(mutex_);
    Catalog next = *catalog_;
    for (const consensus::CommittedEntry& entry : entries) {
      results.push_back(ApplyEntry(entry, &next));
      applied_ = entry.index;
    }
    if (next.map_version != catalog_->map_version) {
      map_ = changed = MakeClusterMap(next);
      catalog_ = std::make_shared<const Catalog>(std::move(next));
    }
    not_durable = applied_.value() - durable_.load();
  }
  if (changed != nullptr && options_.on_map) options_.on_map(changed);
  if (not_durable >= options_.checkpoint_entries) RequestFlush();
  return results;
}

consensus::ApplyResult CatalogMachine::ApplyEntry(const consensus::CommittedEntry& entry,
                                                  Catalog* next) {
  if (entry.command.empty()) return std::string();
  if (auto before = sessions_.Find(entry.session)) return *std::move(before);
  consensus::ApplyResult result = std::string();
  const StatusOr<Command> command = DecodeCommand(entry.command);
  if (!command.ok()) {
    result = command.status();
  } else if (const auto applied = ApplyCommand(*command, next); applied.ok()) {
    result = EncodeResult(*applied);
  } else {
    result = applied.status();
  }
  std::vector<consensus::SessionChange> changes;  // the checkpoint has the whole table
  sessions_.Record(entry.session, entry.index, result, &changes);
  return result;
}

void CatalogMachine::RequestFlush() {
  if (flush_queued_.exchange(true)) return;
  const bool queued = flush_pool_.TrySubmit([this] {
    flush_queued_ = false;
    const Status status = WriteCheckpoint();
    // The log keeps what the checkpoint lacks; the next request tries again.
    if (!status.ok()) VECTRON_LOG_WARN("placement: {}", status.ToString());
  });
  if (!queued) flush_queued_ = false;
}

Status CatalogMachine::WriteCheckpoint() {
  MutexLock lock(file_mutex_);
  const CheckpointState state = Save();
  VECTRON_RETURN_IF_ERROR(WriteFileAtomically(path_, CheckpointFile(state)));
  durable_ = state.applied.value();
  return OkStatus();
}

StatusOr<LogIndex> CatalogMachine::SaveSnapshot(const std::string& dir) {
  const CheckpointState state = Save();
  VECTRON_RETURN_IF_ERROR(MakeDirectories(dir));
  VECTRON_RETURN_IF_ERROR(WriteFileAtomically(dir + std::string(kFileName), CheckpointFile(state)));
  return state.applied;
}

Status CatalogMachine::RestoreSnapshot(const std::string& dir) {
  const std::string path = dir + std::string(kFileName);
  VECTRON_ASSIGN_OR_RETURN(const std::optional<std::string> content, ReadWholeFile(path));
  if (!content.has_value()) return Corruption(fmt::format("the snapshot lacks {}", path));
  VECTRON_ASSIGN_OR_RETURN(CheckpointState state, ParseCheckpointFile(*content, path));
  const LogIndex applied = state.applied;
  MutexLock lock(file_mutex_);
  VECTRON_RETURN_IF_ERROR(WriteFileAtomically(path_, *content));
  VECTRON_RETURN_IF_ERROR(Load(std::move(state)));
  durable_ = applied.value();
  if (options_.on_map) options_.on_map(Map());
  return OkStatus();
}

Status CatalogMachine::Load(CheckpointState state) {
  MutexLock lock(mutex_);
  sessions_.Clear();
  for (const consensus::SessionChange& change : state.sessions) {
    VECTRON_RETURN_IF_ERROR(Annotate(sessions_.Load(change.key, *change.value), path_));
  }
  VECTRON_RETURN_IF_ERROR(Annotate(sessions_.FinishLoad(), path_));
  applied_ = state.applied;
  map_ = MakeClusterMap(state.catalog);
  catalog_ = std::make_shared<const Catalog>(std::move(state.catalog));
  return OkStatus();
}

CheckpointState CatalogMachine::Save() const {
  MutexLock lock(mutex_);
  return {applied_, *catalog_, sessions_.Dump()};
}

}  // namespace vectron::placement
