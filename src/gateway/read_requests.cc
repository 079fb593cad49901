#include "gateway/read_requests.h"

#include <absl/container/flat_hash_map.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <memory>

#include "common/validation.h"
#include "gateway/merge.h"

namespace vectron::gateway {
namespace {

// The first part that failed; null if none did.
template <typename Kind>
const Part<Kind>* FirstFailure(const std::vector<Part<Kind>*>& parts) {
  const auto it = std::find_if(parts.begin(), parts.end(),
                               [](const auto* part) { return !part->outcome.ok(); });
  return it == parts.end() ? nullptr : *it;
}

template <typename Kind>
SessionToken TokenOf(const std::vector<Part<Kind>*>& parts) {
  SessionToken token;
  token.seen.reserve(parts.size());
  for (const Part<Kind>* part : parts) {
    if (part->outcome.ok()) token.seen.emplace_back(part->shard->id, part->outcome->seen_index);
  }
  return token;
}

// All that may have shown in `first` is there, so the second look is from a state as new.
RequestOptions AtLeastAsNewAs(const SessionToken& first, const RequestOptions& options) {
  RequestOptions second = options;
  second.consistency = Consistency::kSession;
  second.session = first;
  second.allow_partial = false;
  return second;
}

// What was found in one collection is not to be fetched from another of its name.
struct Found {
  std::string collection;
  CollectionId id;
  std::vector<PointId> ids;
};

void Fetch(Core& core, Found found, const Select& select, RequestOptions options,
           Callback<RecordsReport> done) {
  GetKind get(std::move(found.collection), std::move(found.ids), select, std::move(options),
              std::move(done));
  get.Trust(found.id);
  RunRequest(&core, std::move(get));
}

// Whether what was found may be looked for again, where fetching it ended so. What is wrong
// with the request itself will be wrong again.
bool MayBeginAgain(const Status& status, const RequestOptions& options, const Clock& clock) {
  if (!IsShardFailure(status) || clock.Now() >= options.deadline) return false;
  const Reason reason = ReasonOf(status);
  // The same shard would say the same, unless the answer may go without it.
  const bool is_lasting = reason == Reason::kOverloaded || reason == Reason::kCorruption;
  return !is_lasting || options.allow_partial;
}

Status ResponseTooLarge(const Limits& limits) {
  return MakeError(Reason::kResponseTooLarge,
                   fmt::format("the points asked for have more than {} bytes of payload and "
                               "vectors; ask for fewer at once, or leave out what is not needed",
                               limits.response_bytes_max));
}

// Holds what an answer carries to its limit. A record may be among the results of many
// queries, and counts each time; one alone may be of any size.
class ResponseMeter {
 public:
  explicit ResponseMeter(const Limits& limits) : limits_(limits) {}

  Status Add(const Record& record) {
    bytes_ += ContentBytes(record);
    if (++count_ == 1 || bytes_ <= limits_.response_bytes_max) return OkStatus();
    return ResponseTooLarge(limits_);
  }

 private:
  const Limits& limits_;
  size_t bytes_ = 0;
  size_t count_ = 0;
};

Status CheckSize(const std::vector<std::vector<ScoredRecord>>& results, const Limits& limits) {
  ResponseMeter meter(limits);
  for (const auto& result : results) {
    for (const ScoredRecord& hit : result) VECTRON_RETURN_IF_ERROR(meter.Add(hit.record));
  }
  return OkStatus();
}

// Puts the records that were fetched into the results, which hold up to where each hit's shard
// had been read. False if a record is gone or was written since: its score is another's.
StatusOr<bool> FillResults(const std::vector<Record>& fetched, const Limits& limits,
                           std::vector<std::vector<ScoredRecord>>* results) {
  absl::flat_hash_map<PointId, const Record*> records;
  for (const Record& record : fetched) records.emplace(record.id, &record);
  for (const auto& result : *results) {
    for (const ScoredRecord& hit : result) {
      const auto it = records.find(hit.record.id);
      if (it == records.end() || it->second->version > hit.record.version) return false;
    }
  }
  ResponseMeter meter(limits);
  for (auto& result : *results) {
    for (ScoredRecord& hit : result) {
      hit.record = *records.find(hit.record.id)->second;
      VECTRON_RETURN_IF_ERROR(meter.Add(hit.record));
    }
  }
  return true;
}

// A page of a scroll over several shards, whose ids are known.
struct PageFetch {
  Found found;
  ScrollQuery query;
  Select select;
  RequestOptions options;  // of the scroll
  int attempt = 1;         // of the scroll
  RecordsReport report;
  Reply<RecordsReport> reply;
};

// Fetches the records of as many of them as one answer may hold.
void FetchPage(Core& core, const std::shared_ptr<PageFetch>& page) {
  Fetch(core, page->found, page->select, AtLeastAsNewAs(page->report.token, page->options),
        [&core, page](StatusOr<RecordsReport> fetched) {
          if (fetched.ok()) {
            page->report.records = std::move(fetched->records);
            AddSeen(fetched->token, &page->report.token);
            return page->reply(std::move(page->report));
          }
          std::vector<PointId>& ids = page->found.ids;
          if (ReasonOf(fetched.status()) == Reason::kResponseTooLarge && ids.size() > 1) {
            const size_t half = ids.size() / 2;
            page->report.next = ids[half];
            ids.resize(half);
            return FetchPage(core, page);
          }
          if (!MayBeginAgain(fetched.status(), page->options, core.clock())) {
            return page->reply(Annotate(fetched.status(), "fetching the page"));
          }
          RunRequest(&core, ScrollKind(std::move(page->found.collection), std::move(page->query),
                                       page->select, page->options, std::move(page->reply),
                                       page->attempt + 1));
        });
}

}  // namespace

std::vector<std::pair<const rpc::ShardInfo*, Everything>> ToEveryShard(
    const ShardPointers& shards) {
  std::vector<std::pair<const rpc::ShardInfo*, Everything>> parts;
  parts.reserve(shards.size());
  for (const rpc::ShardInfo* shard : shards) parts.emplace_back(shard, Everything{});
  return parts;
}

rpc::ReadOptions ReadFor(ShardId shard, const RequestOptions& options, Deadline deadline) {
  rpc::ReadOptions read{.consistency = options.consistency,
                        .deadline = deadline,
                        .cancelled = options.cancelled,
                        .caller_is_wanted = options.caller_is_wanted};
  if (options.consistency != Consistency::kSession) return read;
  bool found = false;
  for (const auto& [seen, index] : options.session.seen) {
    if (seen != shard) continue;
    read.min_index = std::max(read.min_index, index);
    found = true;
  }
  // A token that knows other shards, but not this one: it may be half of one that
  // was split since, and have what the client saw there.
  if (!found && !options.session.seen.empty()) read.consistency = Consistency::kLinearizable;
  return read;
}

SearchKind::SearchKind(std::string collection, std::vector<SearchQuery> queries, Select select,
                       RequestOptions options, Reply<SearchReport> reply)
    : RequestBase{std::move(collection), std::move(options)},
      queries_(std::move(queries)),
      select_(std::move(select)),
      reply_(std::move(reply)) {}

Status SearchKind::Validate(const rpc::CollectionInfo& info, const Limits& limits) const {
  const CollectionConfig& config = info.config;
  if (queries_.empty()) return InvalidArgument("the request has no queries");
  if (queries_.size() > limits.batch_queries_max) {
    return MakeError(Reason::kLimitExceeded,
                     fmt::format("the number of queries is {}, the limit is {}", queries_.size(),
                                 limits.batch_queries_max));
  }
  VECTRON_RETURN_IF_ERROR(ValidateSelect(config, select_));
  uint64_t results = 0;
  for (size_t i = 0; i < queries_.size(); ++i) {
    Status status = ValidateSearch(config, queries_[i], limits);
    if (!status.ok()) {
      return queries_.size() == 1 ? status : Annotate(status, fmt::format("query {}", i));
    }
    results += queries_[i].k;
  }
  if (results > limits.batch_results_max) {
    return MakeError(Reason::kLimitExceeded,
                     fmt::format("the queries' k add up to {}, the limit is {}", results,
                                 limits.batch_results_max));
  }
  return OkStatus();
}

void SearchKind::Begin(Core&, const CollectionView& collection) {
  fetch_winners_ =
      collection->shards.size() > 1 && select_.anything() && attempt_ < kAttemptCountMax;
}

void SearchKind::Send(rpc::WorkerApi& worker, const Part<SearchKind>& part, Deadline deadline,
                      Callback<rpc::SearchResponse> done) const {
  worker.Search({part.Route(), ReadFor(part.shard->id, options, deadline), queries_,
                 fetch_winners_ ? Select{} : select_},
                std::move(done));
}

void SearchKind::Finish(Core& core, const std::vector<Part<SearchKind>*>& parts) {
  SearchReport report;
  const Part<SearchKind>* answered = nullptr;
  const Part<SearchKind>* failed = nullptr;
  for (const Part<SearchKind>* part : parts) {
    if (part->outcome.ok()) {
      answered = part;
      continue;
    }
    const Status& status = part->outcome.status();
    if (!options.allow_partial || !IsShardFailure(status)) return reply_(status);
    report.missing_shards.push_back(part->shard->id);
    failed = part;
  }
  if (answered == nullptr) return reply_(failed->outcome.status());
  if (failed != nullptr) core.metrics().AnsweredPartially();
  report.token = TokenOf(parts);
  Merge(parts, &report);
  if (fetch_winners_) return FetchWinners(core, answered->collection->id, std::move(report));
  // Each shard has held its own part to the limit.
  const Status fits = parts.size() > 1 ? CheckSize(report.results, core.limits()) : OkStatus();
  if (!fits.ok()) return reply_(fits);
  reply_(std::move(report));
}

void SearchKind::Merge(const std::vector<Part<SearchKind>*>& parts, SearchReport* report) const {
  if (parts.size() == 1) {
    report->results = std::move(parts[0]->outcome->results);
    return;
  }
  if (fetch_winners_) {
    for (Part<SearchKind>* part : parts) {
      if (!part->outcome.ok()) continue;
      for (auto& result : part->outcome->results) {
        for (ScoredRecord& hit : result) hit.record.version = part->outcome->read_index.value();
      }
    }
  }
  report->results.resize(queries_.size());
  const CollectionConfig& config = parts[0]->collection->config;
  std::vector<std::vector<ScoredRecord>*> lists;
  for (size_t i = 0; i < queries_.size(); ++i) {
    lists.clear();
    for (Part<SearchKind>* part : parts) {
      if (part->outcome.ok()) lists.push_back(&part->outcome->results[i]);
    }
    const VectorConfig& vector = **FindVectorConfig(config, queries_[i].vector_name);
    report->results[i] = MergeTopK(lists, queries_[i].k, vector.metric);
  }
}

void SearchKind::FetchWinners(Core& core, CollectionId id, SearchReport report) {
  std::vector<PointId> ids;
  for (const auto& result : report.results) {
    for (const ScoredRecord& hit : result) ids.push_back(hit.record.id);
  }
  ids = WithoutRepetitions(std::move(ids));
  if (ids.empty()) return reply_(std::move(report));
  RequestOptions second = AtLeastAsNewAs(report.token, options);
  if (options.allow_partial) {
    // Leaves time to begin again without the shard that does not answer.
    const TimePoint now = core.clock().Now();
    second.deadline = now + (options.deadline - now) / 2;
  }
  Found found{collection, id, std::move(ids)};
  const Select select = select_;
  Fetch(core, std::move(found), select, std::move(second),
        [&core, report = std::move(report),
         self = std::move(*this)](StatusOr<RecordsReport> fetched) mutable {
          self.OnFetched(core, std::move(report), std::move(fetched));
        });
}

void SearchKind::OnFetched(Core& core, SearchReport report, StatusOr<RecordsReport> fetched) {
  if (!fetched.ok()) {
    if (!MayBeginAgain(fetched.status(), options, core.clock())) {
      return reply_(Annotate(fetched.status(), "fetching the points found"));
    }
    const bool is_overloaded = ReasonOf(fetched.status()) == Reason::kOverloaded;
    return is_overloaded ? BeginAgainLater(core) : BeginAgain(core);
  }
  const StatusOr<bool> complete = FillResults(fetched->records, core.limits(), &report.results);
  if (!complete.ok()) return reply_(complete.status());
  if (!*complete) return BeginAgain(core);
  reply_(std::move(report));
}

void SearchKind::BeginAgain(Core& core) {
  ++attempt_;
  RunRequest(&core, std::move(*this));
}

void SearchKind::BeginAgainLater(Core& core) {
  const TimePoint when = core.clock().Now() + core.Backoff(static_cast<uint32_t>(attempt_));
  core.timers().RunAt(when, [&core, self = std::make_shared<SearchKind>(std::move(*this))] {
    self->BeginAgain(core);
  });
}

void SearchKind::Fail(Core&, Status status) { reply_(std::move(status)); }

GetKind::GetKind(std::string collection, std::vector<PointId> ids, Select select,
                 RequestOptions options, Callback<RecordsReport> done)
    : RequestBase{std::move(collection), std::move(options)},
      ids_(std::move(ids)),
      select_(std::move(select)),
      done_(std::move(done)) {}

Status GetKind::Validate(const rpc::CollectionInfo& info, const Limits& limits) const {
  if (trusted_.has_value()) {
    if (info.id == *trusted_) return OkStatus();
    return MakeError(Reason::kUnavailable,
                     fmt::format("collection '{}' was replaced while it was read", collection));
  }
  VECTRON_RETURN_IF_ERROR(ValidateSelect(info.config, select_));
  return ValidateIds(ids_, limits);
}

std::vector<PointId> GetKind::TakeWhole() {
  ids_ = WithoutRepetitions(std::move(ids_));
  return ids_;
}

std::vector<std::pair<const rpc::ShardInfo*, std::vector<PointId>>> GetKind::Split(
    std::vector<PointId> ids, const ShardPointers& shards) const {
  return SplitIds(std::move(ids), shards);
}

void GetKind::Send(rpc::WorkerApi& worker, const Part<GetKind>& part, Deadline deadline,
                   Callback<rpc::GetResponse> done) const {
  worker.Get({part.Route(), ReadFor(part.shard->id, options, deadline), part.cargo, select_},
             std::move(done));
}

void GetKind::Finish(Core& core, const std::vector<Part<GetKind>*>& parts) {
  if (const auto* failed = FirstFailure(parts)) return done_(failed->outcome.status());
  RecordsReport report;
  report.token = TokenOf(parts);
  if (parts.size() == 1) {
    report.records = std::move(parts[0]->outcome->records);
  } else {
    std::vector<Record> found;
    ResponseMeter meter(core.limits());
    for (Part<GetKind>* part : parts) {
      auto& records = part->outcome->records;
      for (const Record& record : records) {
        Status fits = meter.Add(record);
        if (!fits.ok()) return done_(std::move(fits));
      }
      std::move(records.begin(), records.end(), std::back_inserter(found));
    }
    report.records = OrderByIds(ids_, std::move(found));
  }
  done_(std::move(report));
}

ScrollKind::ScrollKind(std::string collection, ScrollQuery query, Select select,
                       RequestOptions options, Reply<RecordsReport> reply, int attempt)
    : RequestBase{std::move(collection), std::move(options)},
      query_(std::move(query)),
      select_(std::move(select)),
      reply_(std::move(reply)),
      attempt_(attempt) {}

Status ScrollKind::Validate(const rpc::CollectionInfo& info, const Limits& limits) const {
  VECTRON_RETURN_IF_ERROR(ValidateSelect(info.config, select_));
  return ValidateScroll(query_, limits);
}

void ScrollKind::Begin(Core&, const CollectionView& collection) {
  fetch_records_ =
      collection->shards.size() > 1 && select_.anything() && attempt_ < kAttemptCountMax;
}

void ScrollKind::Send(rpc::WorkerApi& worker, const Part<ScrollKind>& part, Deadline deadline,
                      Callback<rpc::ScrollResponse> done) const {
  worker.Scroll({part.Route(), ReadFor(part.shard->id, options, deadline), query_,
                 fetch_records_ ? Select{} : select_},
                std::move(done));
}

void ScrollKind::Finish(Core& core, const std::vector<Part<ScrollKind>*>& parts) {
  if (const auto* failed = FirstFailure(parts)) return reply_(failed->outcome.status());
  RecordsReport report;
  report.token = TokenOf(parts);
  std::vector<ScrollPage*> pages;
  for (Part<ScrollKind>* part : parts) pages.push_back(&part->outcome->page);
  ScrollPage page = pages.size() == 1 ? std::move(*pages[0]) : MergePages(pages, query_.limit);
  // Each shard has held its own part to the limit.
  if (pages.size() > 1) CutPage(core.limits().response_bytes_max, &page);
  report.next = std::move(page.next);
  if (!fetch_records_ || page.records.empty()) {
    report.records = std::move(page.records);
    return reply_(std::move(report));
  }
  std::vector<PointId> ids;
  ids.reserve(page.records.size());
  for (Record& record : page.records) ids.push_back(std::move(record.id));
  Found found{collection, parts[0]->collection->id, std::move(ids)};
  FetchPage(core,
            std::make_shared<PageFetch>(PageFetch{std::move(found), query_, select_, options,
                                                  attempt_, std::move(report), std::move(reply_)}));
}

StatsKind::StatsKind(std::string collection, RequestOptions options,
                     Callback<CollectionReport> done)
    : RequestBase{std::move(collection), std::move(options)}, done_(std::move(done)) {}

void StatsKind::Send(rpc::WorkerApi& worker, const Part<StatsKind>& part, Deadline deadline,
                     Callback<rpc::CountResponse> done) const {
  worker.Count({part.Route(), ReadFor(part.shard->id, options, deadline)}, std::move(done));
}

void StatsKind::Finish(Core&, const std::vector<Part<StatsKind>*>& parts) {
  CollectionReport report;
  report.info = *parts[0]->collection.info;
  for (const Part<StatsKind>* part : parts) {
    if (const Status& status = part->outcome.status(); !status.ok()) {
      // What lasts is part of the answer.
      const Reason reason = ReasonOf(status);
      if (reason != Reason::kCorruption && reason != Reason::kIncompatibleFormat) {
        return done_(status);
      }
      report.failed_shards.emplace_back(part->shard->id, status);
      continue;
    }
    const ShardStats& stats = part->outcome->stats;
    report.stats.point_count += stats.point_count;
    report.stats.linked_count += stats.linked_count;
    report.stats.pending_count += stats.pending_count;
    report.stats.index_bytes += stats.index_bytes;
    report.stats.store_bytes += stats.store_bytes;
  }
  done_(std::move(report));
}

}  // namespace vectron::gateway
