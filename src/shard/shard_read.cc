#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "shard/record.h"
#include "shard/shard.h"
#include "shard/shard_state.h"

// Reads of a shard. None of them takes a lock.

namespace vectron::shard {
namespace {

bool PassesThreshold(Metric metric, float score, float threshold) {
  return !IsBetterScore(metric, threshold, score);
}

bool IsBetter(Metric metric, const ScoredRecord& a, const ScoredRecord& b) {
  if (a.score != b.score) return IsBetterScore(metric, a.score, b.score);
  return a.record.id < b.record.id;
}

// How many hits more than wanted an attempt at a search looks for.
uint32_t SparesOf(int attempt) { return attempt == 1 ? 0 : 16u << (2 * (attempt - 2)); }

// Holds a read to its limits.
class ReadMeter {
 public:
  ReadMeter(const ReadLimits& limits, const Clock& clock) : limits_(limits), clock_(clock) {}

  // Whether it may go on. Looks at the clock now and then.
  Status Check() {
    if (limits_.cancelled != nullptr && limits_.cancelled->load(std::memory_order_relaxed)) {
      return MakeError(Reason::kCancelled, "the read was cancelled");
    }
    constexpr size_t kChecksPerLook = 64;
    if (checks_++ % kChecksPerLook != 0 || limits_.deadline == kNoDeadline) return OkStatus();
    if (clock_.Now() < limits_.deadline) return OkStatus();
    return MakeError(Reason::kDeadlineExceeded, "the read's deadline passed");
  }

  bool full() const { return bytes_ >= limits_.bytes_max; }
  void Add(const Record& record) {
    bytes_ += ContentBytes(record);
    ++records_;
  }
  // The same where a record too many is an error.
  Status AddOrFail(const Record& record) {
    Add(record);
    if (bytes_ <= limits_.bytes_max) return OkStatus();
    if (records_ == 1 && limits_.one_in_any_case) return OkStatus();
    return MakeError(Reason::kResponseTooLarge,
                     fmt::format("the points asked for have more than {} bytes of payload and "
                                 "vectors; ask for fewer at once, or leave out what is not needed",
                                 limits_.bytes_max));
  }

 private:
  const ReadLimits& limits_;
  const Clock& clock_;
  size_t checks_ = 0;
  size_t bytes_ = 0;
  size_t records_ = 0;
};

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
                                                  const ReadLimits& limits) const {
  const auto guard = gate_.Enter();
  const State& state = CurrentState();
  VECTRON_RETURN_IF_ERROR(CheckServeable(state));
  auto results = SearchIn(state, query, select, limits);
  if (!results.ok()) return Noted(state, results.status());
  return results;
}

StatusOr<std::vector<ScoredRecord>> Shard::SearchIn(const State& state, const SearchQuery& query,
                                                    const Select& select,
                                                    const ReadLimits& limits) const {
  const Schema& schema = state.store->schema();
  VECTRON_ASSIGN_OR_RETURN(const size_t number, schema.Require(query.vector_name));
  const VectorConfig& config = schema.vector(number);
  index::SearchOptions options;
  options.k = query.k;
  options.ef = query.ef != 0 ? query.ef : config.hnsw.ef_search;
  options.exact = query.exact;
  options.deadline = limits.deadline;
  options.cancelled = limits.cancelled;

  // A winner may be deleted or moved away before its payload is read. Then another
  // point may belong in its place, so the search is done again, with some to spare: what
  // is lost of those is lost without harm, as long as the k-th that is left is no
  // worse than the last that was found.
  constexpr int kAttemptCountMax = 4;
  for (int attempt = 1;; ++attempt) {
    const LogIndex seen = state.applied();
    options.k = query.k + SparesOf(attempt);
    VECTRON_ASSIGN_OR_RETURN(auto neighbours, state.index->Search(number, query.vector, options));
    // Whatever else there is, it is not wanted.
    bool is_all = neighbours.size() < options.k;
    std::vector<ScoredRecord> results;
    results.reserve(neighbours.size());
    for (PointIndex::Neighbour& neighbour : neighbours) {
      if (query.score_threshold.has_value() &&
          !PassesThreshold(config.metric, neighbour.score, *query.score_threshold)) {
        is_all = true;  // the rest is worse
        break;
      }
      ScoredRecord& result = results.emplace_back();
      result.record.id = std::move(neighbour.id);
      result.score = neighbour.score;
    }
    if (!select.anything() || results.empty()) return results;
    const float last_score = results.back().score;
    VECTRON_ASSIGN_OR_RETURN(const bool complete,
                             FillRecords(state, query, seen, select, limits, &results));
    const bool enough = results.size() >= query.k &&
                        !IsBetterScore(config.metric, last_score, results[query.k - 1].score);
    if (results.size() > query.k) results.resize(query.k);
    if (complete || is_all || enough || attempt == kAttemptCountMax) return results;
  }
}

StatusOr<bool> Shard::FillRecords(const State& state, const SearchQuery& query, LogIndex seen,
                                  const Select& select, const ReadLimits& limits,
                                  std::vector<ScoredRecord>* results) const {
  const Schema& schema = state.store->schema();
  VECTRON_ASSIGN_OR_RETURN(const size_t number, schema.Require(query.vector_name));
  const Metric metric = schema.vector(number).metric;
  // Of the records and the vectors that belong to them.
  const std::unique_ptr<storage::Snapshot> snapshot = state.store->database().NewSnapshot();
  ReadMeter meter(limits, *environment_.clock);
  std::vector<std::string> keys;
  keys.reserve(results->size());
  for (const ScoredRecord& result : *results) keys.push_back(result.record.id.Key());
  std::vector<ScoredRecord> filled;
  filled.reserve(results->size());
  bool complete = true;
  bool measured_again = false;
  for (size_t first = 0; first < keys.size(); first += kRecordsPerRead) {
    const size_t count = std::min(kRecordsPerRead, keys.size() - first);
    const auto some = std::span(keys).subspan(first, count);
    VECTRON_ASSIGN_OR_RETURN(const auto records, state.store->ReadRecords(some, snapshot.get()));
    for (size_t i = first; i < first + count; ++i) {
      const std::optional<std::string>& record = records[i - first];
      if (!record.has_value()) {
        complete = false;
        continue;
      }
      VECTRON_RETURN_IF_ERROR(meter.Check());
      ScoredRecord& result = (*results)[i];
      VECTRON_ASSIGN_OR_RETURN(const RecordView view, DecodeRecord(*record));
      // The store is written before the index, so a record that is no newer than what
      // the index had when the search began is the one whose vector was found.
      if (view.header.version > seen.value()) {
        measured_again = true;
        VECTRON_ASSIGN_OR_RETURN(const std::optional<float> score,
                                 ScoreNow(state, query, keys[i], view.header, *snapshot));
        const bool passes =
            score.has_value() && (!query.score_threshold.has_value() ||
                                  PassesThreshold(metric, *score, *query.score_threshold));
        const float before = std::exchange(result.score, score.value_or(0));
        if (!passes || IsBetterScore(metric, before, *score)) {
          complete = false;
        }
        if (!passes) continue;
      }
      VECTRON_ASSIGN_OR_RETURN(result.record,
                               state.store->MakeRecord(PointId(result.record.id), keys[i], *record,
                                                       select, snapshot.get()));
      VECTRON_RETURN_IF_ERROR(meter.AddOrFail(result.record));
      filled.push_back(std::move(result));
    }
  }
  if (measured_again) {
    std::sort(filled.begin(), filled.end(), [metric](const ScoredRecord& a, const ScoredRecord& b) {
      return IsBetter(metric, a, b);
    });
  }
  *results = std::move(filled);
  return complete;
}

StatusOr<std::optional<float>> Shard::ScoreNow(const State& state, const SearchQuery& query,
                                               std::string_view key, const RecordHeader& header,
                                               const storage::Snapshot& snapshot) const {
  const Schema& schema = state.store->schema();
  VECTRON_ASSIGN_OR_RETURN(const size_t number, schema.Require(query.vector_name));
  VECTRON_ASSIGN_OR_RETURN(
      const std::vector<NamedVector> vectors,
      state.store->ReadVectors(key, header, std::vector<std::string>{query.vector_name},
                               &snapshot));
  if (vectors.empty()) return std::optional<float>();
  VECTRON_ASSIGN_OR_RETURN(const float score,
                           state.index->Score(number, query.vector, vectors.front().values));
  return std::optional<float>(score);
}

StatusOr<std::vector<Record>> Shard::Get(std::span<const PointId> ids, const Select& select,
                                         const ReadLimits& limits) const {
  const auto guard = gate_.Enter();
  const State& state = CurrentState();
  VECTRON_RETURN_IF_ERROR(CheckServeable(state));
  auto records = GetFrom(state, ids, select, limits);
  if (!records.ok()) return Noted(state, records.status());
  return records;
}

StatusOr<std::vector<Record>> Shard::GetFrom(const State& state, std::span<const PointId> ids,
                                             const Select& select, const ReadLimits& limits) const {
  const auto snapshot = state.store->database().NewSnapshot();
  ReadMeter meter(limits, *environment_.clock);
  std::vector<Record> found;
  std::vector<std::string> keys;
  for (size_t first = 0; first < ids.size(); first += kRecordsPerRead) {
    const auto some = ids.subspan(first, std::min(kRecordsPerRead, ids.size() - first));
    keys.clear();
    for (const PointId& id : some) keys.push_back(id.Key());
    VECTRON_ASSIGN_OR_RETURN(const auto records, state.store->ReadRecords(keys, snapshot.get()));
    for (size_t i = 0; i < some.size(); ++i) {
      if (!records[i].has_value()) continue;
      VECTRON_RETURN_IF_ERROR(meter.Check());
      VECTRON_ASSIGN_OR_RETURN(Record record, state.store->MakeRecord(some[i], keys[i], *records[i],
                                                                      select, snapshot.get()));
      VECTRON_RETURN_IF_ERROR(meter.AddOrFail(record));
      found.push_back(std::move(record));
    }
  }
  return found;
}

StatusOr<ScrollPage> Shard::Scroll(const ScrollQuery& query, const Select& select,
                                   const ReadLimits& limits) const {
  const auto guard = gate_.Enter();
  const State& state = CurrentState();
  VECTRON_RETURN_IF_ERROR(CheckServeable(state));
  auto page = ScrollIn(state, query, select, limits);
  if (!page.ok()) return Noted(state, page.status());
  return page;
}

StatusOr<ScrollPage> Shard::ScrollIn(const State& state, const ScrollQuery& query,
                                     const Select& select, const ReadLimits& limits) const {
  const auto snapshot = state.store->database().NewSnapshot();
  storage::IterateOptions options;
  options.read.snapshot = snapshot.get();
  if (query.from.has_value()) options.lower = query.from->Key();
  const auto it = state.store->database().NewIterator(Store::kPoints, std::move(options));
  ReadMeter meter(limits, *environment_.clock);
  ScrollPage page;
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    VECTRON_ASSIGN_OR_RETURN(PointId id, PointId::FromKey(it->key()));
    if (page.records.size() == query.limit || meter.full()) {
      page.next = std::move(id);
      return page;
    }
    VECTRON_RETURN_IF_ERROR(meter.Check());
    VECTRON_ASSIGN_OR_RETURN(
        Record record,
        state.store->MakeRecord(std::move(id), it->key(), it->value(), select, snapshot.get()));
    meter.Add(record);
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
