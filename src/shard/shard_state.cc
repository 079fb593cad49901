#include "shard/shard_state.h"

#include <fmt/format.h>

#include <utility>

#include "common/atomic_file.h"
#include "common/logging.h"
#include "shard/record.h"
#include "storage/files.h"

namespace vectron::shard {

StatusOr<std::shared_ptr<Shard::State>> Shard::State::Open(const std::string& path, Mode mode,
                                                           const ShardOptions& options,
                                                           const ShardEnvironment& environment,
                                                           ReaderGate* gate) {
  if (mode == Mode::kCreate) VECTRON_RETURN_IF_ERROR(MakeDirectories(path));
  Store::Options store_options;
  store_options.create_if_missing = mode == Mode::kCreate;
  store_options.dir = path + "/store";
  store_options.vectors = options.vectors;
  store_options.write_buffer_bytes = options.write_buffer_bytes;
  OpenTimes times;
  times.begun = environment.clock->Now();
  VECTRON_ASSIGN_OR_RETURN(std::unique_ptr<Store> store,
                           Store::Open(store_options, environment.resources));
  auto state = std::make_shared<State>(path, std::move(store), options, times.begun);
  VECTRON_RETURN_IF_ERROR(state->VerifyStore(mode));
  VECTRON_ASSIGN_OR_RETURN(const StoreState stored, state->store->ReadState());
  VECTRON_ASSIGN_OR_RETURN(state->sessions, state->store->ReadSessions());
  state->serveable_from = stored.applied();
  state->Publish(stored);
  const TimePoint store_opened = environment.clock->Now();
  VECTRON_RETURN_IF_ERROR(state->OpenIndex(gate, store_opened));
  times.store = store_opened - times.begun;
  times.opened = environment.clock->Now();
  times.index = times.opened - store_opened;
  state->open_times = times;
  state->replay_from = LogIndex(state->index_applied.load());
  return state;
}

Shard::State::~State() {
  index.reset();
  store.reset();
  if (!replaced) return;
  const Status removed = storage::RemoveTree(path);
  if (!removed.ok()) VECTRON_LOG_WARN("{}", removed.ToString());
}

Status Shard::State::VerifyStore(Mode mode) {
  VECTRON_ASSIGN_OR_RETURN(const std::optional<std::string> mark, ReadWholeFile(DamageMarkPath()));
  if (!mark.has_value() && mode != Mode::kAdopt) return OkStatus();
  VECTRON_RETURN_IF_ERROR(storage::VerifyFiles(store->database()));
  if (!mark.has_value()) return OkStatus();
  VECTRON_LOG_WARN("{}: was damaged, and all of its files are intact again", path);
  return storage::RemoveTree(DamageMarkPath());
}

Status Shard::State::Damage() const {
  if (!is_damaged_.load(std::memory_order_acquire)) return OkStatus();
  MutexLock lock(damage_mutex_);
  return damage_;
}

void Shard::State::SetDamage(const Status& damage) const {
  MutexLock lock(damage_mutex_);
  if (is_damaged_.load(std::memory_order_relaxed)) return;
  damage_ = damage;
  is_damaged_.store(true, std::memory_order_release);
  const std::string message(damage.message().data(), damage.message().size());
  VECTRON_LOG_ERROR("{}; the shard does not serve any more", message);
  // The next Open sees only what it reads: it is told to read all.
  const Status marked = WriteFileAtomically(DamageMarkPath(), message + "\n");
  if (!marked.ok()) VECTRON_LOG_WARN("{}", marked.ToString());
}

void Shard::State::Publish(const StoreState& state) {
  store_state = state;
  point_count.store(state.hash.point_count, std::memory_order_relaxed);
  store_reach.store(state.applied().value(), std::memory_order_release);
  store_applied.store(state.applied().value(), std::memory_order_release);
  MutexLock lock(hash_mutex);
  published_hash = state.hash;
}

Status Shard::State::OpenIndex(ReaderGate* gate, TimePoint now) {
  VECTRON_ASSIGN_OR_RETURN(auto loaded,
                           checkpoints.Load(store->schema(), gate, store_state.applied()));
  if (!loaded.has_value()) return BuildIndex(gate);
  index = std::move(loaded->index);
  index_applied.store(loaded->applied.value());
  checkpoint_applied.store(loaded->applied.value());
  checkpoint_policy.SetCheckpoint(index->Observe(), now);
  return OkStatus();
}

Status Shard::State::BuildIndex(ReaderGate* gate) {
  if (store_state.hash.point_count > 0) {
    VECTRON_LOG_WARN("{}: no checkpoint of the index is of use; it is built from {} points", path,
                     store_state.hash.point_count);
  }
  VECTRON_ASSIGN_OR_RETURN(index, PointIndex::Create(store->schema(), gate));
  for (size_t number = 0; number < store->schema().size(); ++number) {
    storage::IterateOptions options;
    options.read.fill_cache = false;
    options.lower = VectorKey(number, "");
    options.upper = VectorKey(number + 1, "");
    options.readahead_bytes = 1 << 20;
    const auto it = store->database().NewIterator(Store::kVectors, std::move(options));
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      VECTRON_ASSIGN_OR_RETURN(const PointId id, PointId::FromKey(it->key().substr(1)));
      VECTRON_ASSIGN_OR_RETURN(const std::vector<float> vector,
                               DecodeVector(it->value(), store->schema().vector(number).dimension));
      VECTRON_RETURN_IF_ERROR(index->Put(number, id, vector));
    }
    VECTRON_RETURN_IF_ERROR(it->status());
  }
  index_applied.store(store_state.applied().value());
  return OkStatus();
}

}  // namespace vectron::shard
