#include "worker/shard_lifecycle.h"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>
#include <system_error>
#include <utility>

#include "common/check.h"
#include "common/logging.h"

namespace vectron::worker {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kDirectoryPrefix = "shard-";
constexpr std::chrono::milliseconds kInUseDelay{20};
constexpr size_t kTaskCountMax = 1 << 20;  // one a shard

std::optional<ShardId> ShardOfDirectory(std::string_view name) {
  if (name.substr(0, kDirectoryPrefix.size()) != kDirectoryPrefix) return std::nullopt;
  name.remove_prefix(kDirectoryPrefix.size());
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), value);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  if (value < kFirstShardId.value()) return std::nullopt;
  return ShardId(value);
}

// Time does not heal it.
bool IsPermanent(const Status& status) {
  const Reason reason = ReasonOf(status);
  return reason == Reason::kCorruption || reason == Reason::kIncompatibleFormat;
}

}  // namespace

ShardLifecycle::ShardLifecycle(Options options, const Environment& environment)
    : options_(std::move(options)),
      environment_(environment),
      pool_({.name = "shard-open",
             .thread_count = options_.thread_count,
             .queue_count_max = kTaskCountMax}) {}

Status ShardLifecycle::Scan() {
  std::error_code error;
  MutexLock lock(mutex_);
  for (const fs::directory_entry& item : fs::directory_iterator(options_.dir, error)) {
    if (!item.is_directory(error)) continue;
    const std::string name = item.path().filename().string();
    const std::optional<ShardId> shard = ShardOfDirectory(name);
    if (!shard.has_value()) {
      return InvalidArgument(
          fmt::format("{} is no shard's directory: not ours?", item.path().string()));
    }
    entries_.emplace(*shard, Entry{});
  }
  if (error) return Internal(fmt::format("cannot list {}: {}", options_.dir, error.message()));
  return OkStatus();
}

void ShardLifecycle::Apply(const rpc::ClusterMapPtr& map) {
  MutexLock lock(mutex_);
  if (stopping_ || map->version <= map_version_) return;
  for (auto& [shard, entry] : entries_) entry.wanted.reset();
  for (const auto& [name, collection] : map->collections) {
    auto config = std::make_shared<const CollectionConfig>(collection.config);
    for (const rpc::ShardInfo& info : collection.shards) {
      for (const rpc::ShardReplica& replica : info.replicas) {
        if (replica.node != options_.node) continue;
        entries_[info.id].wanted = Wanted{info, replica.replica, config};
      }
    }
  }
  map_version_ = map->version;
  for (auto& [shard, entry] : entries_) Advance(shard, &entry);
}

void ShardLifecycle::Advance(ShardId shard, Entry* entry) {
  if (stopping_) return;
  const bool is_wanted = entry->wanted.has_value();
  if (entry->state == State::kServing && is_wanted) {
    const HostedShardPtr now = environment_.table->Find(shard);
    VECTRON_CHECK(now != nullptr);
    if (now->info != entry->wanted->info) {
      environment_.table->Put(std::make_shared<const HostedShard>(
          HostedShard{entry->wanted->info, now->replica, entry->wanted->collection, now->shard}));
    }
    return;
  }
  if (is_wanted && entry->state == State::kOnDisk) {
    entry->state = State::kOpening;
    Submit([this, shard, wanted = *entry->wanted] { Open(shard, wanted); });
    return;
  }
  const bool is_idle = entry->state == State::kServing || entry->state == State::kOnDisk ||
                       entry->state == State::kFailed;
  if (!is_wanted && is_idle) {
    if (const HostedShardPtr hosted = environment_.table->Find(shard)) {
      leaving_[shard] = hosted->shard;
      environment_.table->Remove(shard);
    }
    entry->state = State::kDestroying;
    Submit([this, shard] { Destroy(shard); });
  }
}

void ShardLifecycle::Submit(std::function<void()> task) {
  // Refused only once the pool has stopped: then nothing is to be done any more.
  if (!pool_.TrySubmit(std::move(task))) VECTRON_LOG_DEBUG("worker: a task came after the end");
}

void ShardLifecycle::Open(ShardId shard, const Wanted& wanted) {
  StatusOr<HostedShardPtr> hosted = OpenAndStart(wanted);
  MutexLock lock(mutex_);
  Entry& entry = entries_.at(shard);
  if (hosted.ok()) {
    entry.failure = OkStatus();
    entry.state = State::kServing;
    environment_.table->Put(*std::move(hosted));
  } else {
    entry.failure = hosted.status();
    entry.state = State::kFailed;
    VECTRON_LOG_ERROR("worker: shard {} of collection '{}' cannot serve: {}", shard.value(),
                      wanted.collection->name, hosted.status().ToString());
    if (!IsPermanent(entry.failure)) RetryLater(shard);
  }
  Advance(shard, &entry);  // the map may have moved on meanwhile
}

StatusOr<HostedShardPtr> ShardLifecycle::OpenAndStart(const Wanted& wanted) {
  const ShardId id = wanted.info.id;
  shard::ShardOptions options;
  options.shard = id;
  options.dir = DirectoryOf(id);
  options.vectors = wanted.collection->vectors;
  options.tail_scan_max = options_.tail_scan_max;
  // The log is the last to know of a shard and the first to forget it (see the class
  // comment): what it knows of was there.
  options.must_exist = environment_.host->HasLog(GroupOf(id));
  // A new one waits for room as everything new does.
  if (!options.must_exist) {
    VECTRON_RETURN_IF_ERROR(Annotate(environment_.check_growth(), "a new shard"));
  }
  VECTRON_ASSIGN_OR_RETURN(std::shared_ptr<shard::Shard> shard,
                           shard::Shard::Open(options, environment_.shard));
  consensus::GroupOptions group;
  group.group = GroupOf(id);
  group.self = wanted.replica;
  // A replica that was added later learns the members from its leader.
  if (wanted.info.epoch.conf_version == 1) {
    for (const rpc::ShardReplica& replica : wanted.info.replicas) {
      group.initial_members.push_back({replica.replica, replica.node, false});
    }
  }
  VECTRON_RETURN_IF_ERROR(environment_.host->StartGroup(group, shard));
  return std::make_shared<const HostedShard>(
      HostedShard{wanted.info, wanted.replica, wanted.collection, std::move(shard)});
}

void ShardLifecycle::Fail(ShardId shard, const Status& damage) {
  MutexLock lock(mutex_);
  const auto found = entries_.find(shard);
  if (stopping_ || found == entries_.end() || found->second.state != State::kServing) return;
  const HostedShardPtr hosted = environment_.table->Find(shard);
  VECTRON_CHECK(hosted != nullptr);
  VECTRON_LOG_ERROR("worker: shard {} of collection '{}' serves no more: {}", shard.value(),
                    hosted->collection->name, damage.ToString());
  found->second.state = State::kFailed;
  found->second.failure = damage;
  leaving_[shard] = hosted->shard;
  environment_.table->Remove(shard);
  Submit([this, group = hosted->group()] {
    const Status stopped = environment_.host->StopGroup(group);
    if (!stopped.ok()) VECTRON_LOG_WARN("worker: stopping a group: {}", stopped.ToString());
  });
}

void ShardLifecycle::RetryLater(ShardId shard) {
  environment_.timers->RunAfter(options_.retry_delay, [weak = weak_from_this(), shard] {
    const std::shared_ptr<ShardLifecycle> self = weak.lock();
    if (self == nullptr) return;
    MutexLock lock(self->mutex_);
    const auto entry = self->entries_.find(shard);
    if (entry == self->entries_.end() || entry->second.state != State::kFailed) return;
    entry->second.state = State::kOnDisk;
    self->Advance(shard, &entry->second);
  });
}

void ShardLifecycle::Destroy(ShardId shard) {
  const Status status = environment_.host->DestroyGroup(GroupOf(shard));
  // SHARD_NOT_FOUND: an earlier life of the process got as far.
  if (!status.ok() && ReasonOf(status) != Reason::kShardNotFound) {
    VECTRON_LOG_WARN("worker: destroying shard {}: {}", shard.value(), status.ToString());
    environment_.timers->RunAfter(options_.retry_delay, [weak = weak_from_this(), shard] {
      if (const auto self = weak.lock()) self->Submit([self, shard] { self->Destroy(shard); });
    });
    return;
  }
  DeleteFiles(shard);
}

void ShardLifecycle::DeleteFiles(ShardId shard) {
  bool in_use = false;
  {
    MutexLock lock(mutex_);
    const auto leaving = leaving_.find(shard);
    in_use = leaving != leaving_.end() && !leaving->second.expired();
    if (!in_use) leaving_.erase(shard);
  }
  // Nobody else touches the files of a shard that is being destroyed.
  const Status status = in_use ? OkStatus() : RemoveDirectory(shard);
  if (!status.ok()) {
    VECTRON_LOG_WARN("worker: deleting shard {}: {}", shard.value(), status.ToString());
  }
  if (in_use || !status.ok()) {
    const Duration delay = in_use ? kInUseDelay : options_.retry_delay;
    environment_.timers->RunAfter(delay, [weak = weak_from_this(), shard] {
      if (const auto self = weak.lock()) self->Submit([self, shard] { self->DeleteFiles(shard); });
    });
    return;
  }
  MutexLock lock(mutex_);
  Entry& entry = entries_.at(shard);
  if (!entry.wanted.has_value()) {
    entries_.erase(shard);
    return;
  }
  entry.state = State::kOnDisk;  // it moved away and came back meanwhile
  Advance(shard, &entry);
}

Status ShardLifecycle::RemoveDirectory(ShardId shard) const {
  std::error_code error;
  fs::remove_all(DirectoryOf(shard), error);
  if (error) return Internal(error.message());
  return OkStatus();
}

std::string ShardLifecycle::DirectoryOf(ShardId shard) const {
  return fmt::format("{}/{}{}", options_.dir, kDirectoryPrefix, shard.value());
}

uint64_t ShardLifecycle::map_version() const {
  MutexLock lock(mutex_);
  return map_version_;
}

Status ShardLifecycle::WhyNotServing(ShardId shard) const {
  MutexLock lock(mutex_);
  const auto entry = entries_.find(shard);
  if (stopping_) return MakeError(Reason::kShuttingDown, "the worker is shutting down");
  if (entry == entries_.end() || !entry->second.wanted.has_value()) {
    // Before the first map nothing is known: the caller may try again.
    if (map_version_ == 0) {
      return MakeError(Reason::kUnavailable, "the worker has not seen the cluster map yet");
    }
    return MakeError(Reason::kShardNotFound,
                     fmt::format("shard {} is not on this worker", shard.value()));
  }
  if (entry->second.state != State::kFailed) {
    return MakeError(Reason::kUnavailable, fmt::format("shard {} is being opened", shard.value()));
  }
  const std::string context = fmt::format("shard {} cannot serve", shard.value());
  if (IsPermanent(entry->second.failure)) return Annotate(entry->second.failure, context);
  return MakeError(Reason::kUnavailable,
                   fmt::format("{}: {}", context, std::string(entry->second.failure.message())));
}

Status ShardLifecycle::Ready() const { return Missing(/*without_room_too=*/true); }

Status ShardLifecycle::Settled() const { return Missing(/*without_room_too=*/false); }

Status ShardLifecycle::Missing(bool without_room_too) const {
  MutexLock lock(mutex_);
  if (map_version_ == 0) {
    return MakeError(Reason::kUnavailable, "the worker has not seen the cluster map yet");
  }
  for (const auto& [shard, entry] : entries_) {
    if (!entry.wanted.has_value() || entry.state == State::kServing) continue;
    if (!entry.failure.ok()) {
      if (ReasonOf(entry.failure) == Reason::kDiskFull && !without_room_too) continue;
      return Annotate(entry.failure, fmt::format("shard {} cannot serve", shard.value()));
    }
    return MakeError(Reason::kUnavailable, fmt::format("shard {} is being opened", shard.value()));
  }
  return OkStatus();
}

std::vector<ShardLifecycle::Failure> ShardLifecycle::Failures() const {
  MutexLock lock(mutex_);
  std::vector<Failure> failures;
  for (const auto& [shard, entry] : entries_) {
    if (entry.state != State::kFailed || !entry.wanted.has_value()) continue;
    failures.push_back({shard, entry.wanted->replica, entry.failure});
  }
  return failures;
}

ShardLifecycle::Counts ShardLifecycle::Count() const {
  MutexLock lock(mutex_);
  Counts counts;
  for (const auto& [shard, entry] : entries_) {
    counts.opening += entry.state == State::kOpening ? 1 : 0;
    counts.failed += entry.state == State::kFailed ? 1 : 0;
    counts.destroying += entry.state == State::kDestroying ? 1 : 0;
  }
  return counts;
}

void ShardLifecycle::Stop(StopMode mode) {
  {
    MutexLock lock(mutex_);
    if (std::exchange(stopping_, true)) return;
  }
  // Tasks that are queued still run (a shard that is being opened is closed below); what
  // waits for a timer does not, and is done after the next start.
  const auto close = [this, mode](const HostedShardPtr& hosted) {
    environment_.table->Remove(hosted->info.id);
    Status status = environment_.host->StopGroup(hosted->group());
    if (status.ok() && mode == StopMode::kMakeDurable) status = hosted->shard->Close();
    if (!status.ok()) {
      VECTRON_LOG_WARN("worker: closing shard {}: {}", hosted->info.id.value(), status.ToString());
    }
  };
  for (const HostedShardPtr& hosted : environment_.table->All()) {
    Submit([close, hosted] { close(hosted); });
  }
  pool_.Stop();
  for (const HostedShardPtr& hosted : environment_.table->All()) close(hosted);
}

}  // namespace vectron::worker
