#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "shard/shard.h"
#include "shard/shard_state.h"

// Reads of a shard. None of them takes a lock.

namespace vectron::shard {
namespace {

float ScoreOf(Metric metric, float distance) {
  switch (metric) {
    case Metric::kL2:
      return std::sqrt(std::max(distance, 0.0f));
    case Metric::kCosine:
      return 1.0f - distance;
    case Metric::kDot:
      return -distance;
  }
  return distance;
}

bool PassesThreshold(Metric metric, float score, float threshold) {
  return metric == Metric::kL2 ? score <= threshold : score >= threshold;
}

bool SelectsAnything(const Select& select) { return select.payload || select.vectors; }

}  // namespace

Status Shard::CheckServeable(const State& state) const {
  VECTRON_RETURN_IF_ERROR(state.Damage());
  if (state.serveable()) return OkStatus();
  return MakeError(
      Reason::kUnavailable,
      fmt::format("shard {} is replaying its log (at {} of {})", options_.shard.value(),
                  state.applied().value(), state.serveable_from.value()));
}

Status Shard::Noted(const State& state, Status status) const {
  if (ReasonOf(status) != Reason::kCorruption) return status;
  status = Annotate(status, fmt::format("shard {}", options_.shard.value()));
  state.SetDamage(status);
  return state.Damage();
}

StatusOr<std::vector<ScoredRecord>> Shard::Search(const SearchQuery& query, const Select& select,
                                                  Deadline deadline) const {
  const auto guard = gate_.Enter();
  const State& state = CurrentState();
  VECTRON_RETURN_IF_ERROR(CheckServeable(state));
  auto results = SearchIn(state, query, select, deadline);
  if (!results.ok()) return Noted(state, results.status());
  return results;
}

StatusOr<std::vector<ScoredRecord>> Shard::SearchIn(const State& state, const SearchQuery& query,
                                                    const Select& select, Deadline deadline) const {
  const Schema& schema = state.store->schema();
  VECTRON_ASSIGN_OR_RETURN(const size_t number, schema.Require(query.vector_name));
  const VectorConfig& config = schema.vector(number);
  index::SearchOptions options;
  options.k = query.k;
  options.ef = query.ef != 0 ? query.ef : config.hnsw.ef_search;
  options.exact = query.exact;
  options.deadline = deadline;

  // A winner may be deleted before its payload is read. Then there would be one
  // result too few for any moment, so the search is done again; the index follows
  // the store at once, so this ends.
  constexpr int kAttemptCountMax = 3;
  for (int attempt = 1;; ++attempt) {
    VECTRON_ASSIGN_OR_RETURN(auto neighbours, state.index->Search(number, query.vector, options));
    std::vector<ScoredRecord> results;
    results.reserve(neighbours.size());
    for (PointIndex::Neighbour& neighbour : neighbours) {
      const float score = ScoreOf(config.metric, neighbour.distance);
      if (query.score_threshold.has_value() &&
          !PassesThreshold(config.metric, score, *query.score_threshold)) {
        break;  // the rest is worse
      }
      ScoredRecord& result = results.emplace_back();
      result.record.id = std::move(neighbour.id);
      result.score = score;
    }
    if (!SelectsAnything(select) || results.empty()) return results;
    VECTRON_ASSIGN_OR_RETURN(const bool complete, FillRecords(state, select, &results));
    if (complete || attempt == kAttemptCountMax) return results;
  }
}

StatusOr<bool> Shard::FillRecords(const State& state, const Select& select,
                                  std::vector<ScoredRecord>* results) const {
  const std::unique_ptr<storage::Snapshot> snapshot =
      select.vectors ? state.store->database().NewSnapshot() : nullptr;
  std::vector<std::string> keys;
  keys.reserve(results->size());
  for (const ScoredRecord& result : *results) keys.push_back(result.record.id.Key());
  VECTRON_ASSIGN_OR_RETURN(const auto records, state.store->ReadRecords(keys, snapshot.get()));
  size_t kept = 0;
  for (size_t i = 0; i < results->size(); ++i) {
    if (!records[i].has_value()) continue;
    ScoredRecord& result = (*results)[i];
    VECTRON_ASSIGN_OR_RETURN(
        Record record, state.store->MakeRecord(std::move(result.record.id), keys[i], *records[i],
                                               select, snapshot.get()));
    (*results)[kept++] = {std::move(record), result.score};
  }
  const bool complete = kept == results->size();
  results->resize(kept);
  return complete;
}

StatusOr<std::vector<Record>> Shard::Get(std::span<const PointId> ids, const Select& select) const {
  const auto guard = gate_.Enter();
  const State& state = CurrentState();
  VECTRON_RETURN_IF_ERROR(CheckServeable(state));
  auto records = GetFrom(state, ids, select);
  if (!records.ok()) return Noted(state, records.status());
  return records;
}

StatusOr<std::vector<Record>> Shard::GetFrom(const State& state, std::span<const PointId> ids,
                                             const Select& select) const {
  const auto snapshot = state.store->database().NewSnapshot();
  std::vector<std::string> keys;
  keys.reserve(ids.size());
  for (const PointId& id : ids) keys.push_back(id.Key());
  VECTRON_ASSIGN_OR_RETURN(const auto records, state.store->ReadRecords(keys, snapshot.get()));
  std::vector<Record> found;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!records[i].has_value()) continue;
    VECTRON_ASSIGN_OR_RETURN(Record record, state.store->MakeRecord(ids[i], keys[i], *records[i],
                                                                    select, snapshot.get()));
    found.push_back(std::move(record));
  }
  return found;
}

StatusOr<ScrollPage> Shard::Scroll(const ScrollQuery& query, const Select& select) const {
  const auto guard = gate_.Enter();
  const State& state = CurrentState();
  VECTRON_RETURN_IF_ERROR(CheckServeable(state));
  auto page = ScrollIn(state, query, select);
  if (!page.ok()) return Noted(state, page.status());
  return page;
}

StatusOr<ScrollPage> Shard::ScrollIn(const State& state, const ScrollQuery& query,
                                     const Select& select) const {
  const auto snapshot = state.store->database().NewSnapshot();
  storage::IterateOptions options;
  options.read.snapshot = snapshot.get();
  if (query.from.has_value()) options.lower = query.from->Key();
  const auto it = state.store->database().NewIterator(Store::kPoints, std::move(options));
  ScrollPage page;
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    VECTRON_ASSIGN_OR_RETURN(PointId id, PointId::FromKey(it->key()));
    if (page.records.size() == query.limit) {
      page.next = std::move(id);
      return page;
    }
    VECTRON_ASSIGN_OR_RETURN(
        Record record,
        state.store->MakeRecord(std::move(id), it->key(), it->value(), select, snapshot.get()));
    page.records.push_back(std::move(record));
  }
  VECTRON_RETURN_IF_ERROR(it->status());
  return page;
}

ShardStats Shard::Stats() const {
  const auto guard = gate_.Enter();
  const State& state = CurrentState();
  ShardStats stats;
  stats.applied = state.applied();
  stats.point_count = state.point_count.load(std::memory_order_relaxed);
  for (size_t number = 0; number < state.store->schema().size(); ++number) {
    const index::IndexStats index = state.index->Stats(number);
    stats.pending_count += index.pending_count;
    stats.linked_count += index.live_count - std::min(index.live_count, index.pending_count);
    stats.index_bytes += index.memory_bytes;
  }
  stats.store_bytes = state.store->database().Stats().disk_bytes;
  return stats;
}

storage::DatabaseStats Shard::StoreStats() const {
  const auto guard = gate_.Enter();
  return CurrentState().store->database().Stats();
}

Status Shard::StoreHealth() const {
  const auto guard = gate_.Enter();
  return CurrentState().store->database().BackgroundError();
}

Status Shard::Damage() const {
  const auto guard = gate_.Enter();
  return CurrentState().Damage();
}

// DESIGN: 4 ns for the 128 bytes of an 8-bit code at 128 dimensions; floats have four
// times the bytes.
uint64_t Shard::TailCountMax(const VectorConfig& config) const {
  constexpr double kNanosecondsPerByte = 4.0 / 128;
  const double bytes_per_value = config.quantization == Quantization::kSq8 ? 1 : sizeof(float);
  const double scan_ns =
      std::max(1.0, kNanosecondsPerByte * bytes_per_value * static_cast<double>(config.dimension));
  const auto budget = std::chrono::duration_cast<std::chrono::nanoseconds>(options_.tail_scan_max);
  return std::max<uint64_t>(1,
                            static_cast<uint64_t>(static_cast<double>(budget.count()) / scan_ns));
}

double Shard::TailFill() const {
  const auto guard = gate_.Enter();
  const State& state = CurrentState();
  double fill = 0;
  for (size_t number = 0; number < state.store->schema().size(); ++number) {
    const auto pending = static_cast<double>(state.index->Stats(number).pending_count);
    const auto most = static_cast<double>(TailCountMax(state.store->schema().vector(number)));
    fill = std::max(fill, pending / most);
  }
  return fill;
}

StateHash Shard::CurrentStateHash() const {
  const auto guard = gate_.Enter();
  return CurrentState().hash();
}

StatusOr<StateHash> Shard::ComputeStateHash() const { return SharedState()->store->ComputeHash(); }

}  // namespace vectron::shard
