#include "shard/testing/shard_fixture.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>
#include <variant>

#include "common/json_object.h"
#include "common/mutex.h"
#include "shard/command.h"

namespace vectron::shard {
namespace {

struct ModelWriter {
  std::map<PointId, Model::Stored>* points;
  uint64_t version;

  template <typename Change>
  StatusOr<uint64_t> ChangePayloads(const std::vector<PointId>& ids, const Change& change) const {
    for (const PointId& id : ids) {
      if (!points->contains(id)) return MakeError(Reason::kPointNotFound, id.ToString());
    }
    std::map<PointId, bool> seen;
    for (const PointId& id : ids) {
      if (!seen.try_emplace(id).second) continue;
      Model::Stored& stored = points->at(id);
      stored.point.payload = change(stored.point.payload);
      stored.version = version;
    }
    return seen.size();
  }

  StatusOr<uint64_t> operator()(const UpsertPoints& op) const {
    std::map<PointId, bool> seen;
    for (const Point& point : op.points) {
      (*points)[point.id] = {point, version};
      seen[point.id] = true;
    }
    return seen.size();
  }
  StatusOr<uint64_t> operator()(const DeletePoints& op) const {
    uint64_t count = 0;
    for (const PointId& id : op.ids) count += points->erase(id);
    return count;
  }
  StatusOr<uint64_t> operator()(const SetPayload& op) const {
    return ChangePayloads(
        op.ids, [&](const std::string& old) { return *MergeJsonObjects(old, op.payload); });
  }
  StatusOr<uint64_t> operator()(const OverwritePayload& op) const {
    return ChangePayloads(op.ids, [&](const std::string&) { return op.payload; });
  }
  StatusOr<uint64_t> operator()(const DeletePayloadKeys& op) const {
    return ChangePayloads(op.ids, [&](const std::string& old) {
      return old.empty() ? old : *RemoveJsonKeys(old, op.keys);
    });
  }
  StatusOr<uint64_t> operator()(const ClearPayload& op) const {
    return ChangePayloads(op.ids, [](const std::string&) { return std::string(); });
  }
};

std::vector<NamedVector> Sorted(std::vector<NamedVector> vectors) {
  std::sort(vectors.begin(), vectors.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return vectors;
}

float SquaredL2(const std::vector<float>& a, const std::vector<float>& b) {
  float sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

}  // namespace

StatusOr<uint64_t> Model::Apply(LogIndex index, const WriteOp& op) {
  return std::visit(ModelWriter{&points_, index.value()}, op);
}

ShardFixture::ShardFixture()
    : background_({.name = "shard-test", .thread_count = 1, .queue_count_max = 16}) {
  storage::SharedResources::Options resources;
  resources.env = disk_.env();
  resources_ = std::make_shared<storage::SharedResources>(resources);
  options_.shard = ShardId(17);
  options_.dir = dir_.Join("shard");
  options_.vectors.resize(2);
  options_.vectors[0].dimension = 8;
  options_.vectors[1].name = "small";
  options_.vectors[1].dimension = 3;
  options_.vectors[1].metric = Metric::kCosine;
  options_.checkpoint_changed_min = 1;
  options_.checkpoint_changed_fraction = 0;
  options_.checkpoint_wait_max = std::chrono::milliseconds(0);  // nobody may be linking
}

ShardFixture::~ShardFixture() {
  shard_.reset();
  background_.Stop();
}

ShardEnvironment ShardFixture::Environment() {
  return {.clock = &SystemClock(), .resources = resources_, .background = &background_};
}

Status ShardFixture::TryStart() {
  StatusOr<std::shared_ptr<Shard>> opened = Shard::Open(options_, Environment());
  if (!opened.ok()) return opened.status();
  shard_ = *std::move(opened);
  return OkStatus();
}

void ShardFixture::Start() {
  const Status opened = TryStart();
  ASSERT_TRUE(opened.ok()) << opened;
  Replay();
}

void ShardFixture::Replay() {
  // A few entries at a time, as a host would.
  while (shard_->AppliedIndex() < last()) {
    const uint64_t first = shard_->AppliedIndex().value() + 1;
    const auto applied = ApplyLog(first, std::min<uint64_t>(first + 6, last().value()));
    ASSERT_TRUE(applied.ok()) << applied.status();
  }
  EXPECT_TRUE(shard_->Serveable());
}

void ShardFixture::LosePower() {
  disk_.CutPower();
  shard_.reset();
  disk_.RestorePower();
}

StatusOr<std::vector<consensus::ApplyResult>> ShardFixture::ApplyLog(uint64_t first,
                                                                     uint64_t last) {
  std::vector<consensus::CommittedEntry> entries;
  for (uint64_t index = first; index <= last; ++index) {
    const LoggedEntry& entry = log_[index - 1];
    entries.push_back({LogIndex(index), Term(1), entry.session, entry.command});
  }
  return shard_->Apply(entries);
}

StatusOr<uint64_t> ShardFixture::Write(const WriteOp& op, const WriteSession& session) {
  log_.push_back({session, EncodeCommand(op)});
  model_.Apply(last(), op).status().IgnoreError();
  auto applied = ApplyLog(last().value(), last().value());
  if (!applied.ok()) return applied.status();
  if (!applied->front().ok()) return applied->front().status();
  return DecodeOutcome(*applied->front());
}

std::vector<StatusOr<uint64_t>> ShardFixture::WriteTogether(const std::vector<WriteOp>& ops) {
  const uint64_t first = last().value() + 1;
  for (const WriteOp& op : ops) {
    log_.push_back({{}, EncodeCommand(op)});
    model_.Apply(last(), op).status().IgnoreError();
  }
  std::vector<StatusOr<uint64_t>> outcomes;
  const auto applied = ApplyLog(first, last().value());
  EXPECT_TRUE(applied.ok()) << applied.status();
  if (!applied.ok()) return outcomes;
  for (const consensus::ApplyResult& result : *applied) {
    if (result.ok()) {
      outcomes.push_back(DecodeOutcome(*result));
    } else {
      outcomes.push_back(result.status());
    }
  }
  return outcomes;
}

void ShardFixture::MakeDurable() {
  const LogIndex applied = shard_->AppliedIndex();
  Mutex mutex;
  CondVar never;
  MutexLock lock(mutex);
  for (int i = 0; i < 2000 && shard_->DurableIndex() < applied; ++i) {
    shard_->RequestFlush();
    never.WaitFor(mutex, std::chrono::milliseconds(5));
  }
  ASSERT_GE(shard_->DurableIndex(), applied);
}

void ShardFixture::LinkAll() {
  while (shard_->Stats().pending_count > 0) shard_->DoIndexWork(64);
}

std::vector<Record> ShardFixture::ScrollAll(const Shard& shard) const {
  std::vector<Record> records;
  ScrollQuery query;
  query.limit = 7;
  while (true) {
    StatusOr<ScrollPage> page = shard.Scroll(query, kAll);
    EXPECT_TRUE(page.ok()) << page.status();
    if (!page.ok()) return records;
    for (Record& record : page->records) records.push_back(std::move(record));
    if (!page->next.has_value()) return records;
    query.from = page->next;
  }
}

void ShardFixture::ExpectEqualToModel(const Shard& shard) const {
  const std::vector<Record> records = ScrollAll(shard);
  ASSERT_EQ(records.size(), model_.points().size());
  EXPECT_EQ(shard.Stats().point_count, model_.points().size());
  auto expected = model_.points().begin();
  for (const Record& record : records) {
    ASSERT_EQ(record.id, expected->first);
    EXPECT_EQ(record.version, expected->second.version) << record.id.ToString();
    EXPECT_EQ(record.payload, expected->second.point.payload) << record.id.ToString();
    EXPECT_EQ(Sorted(record.vectors), Sorted(expected->second.point.vectors))
        << record.id.ToString();
    ++expected;
  }
  const StateHash kept = shard.CurrentStateHash();
  const StatusOr<StateHash> computed = shard.ComputeStateHash();
  ASSERT_TRUE(computed.ok()) << computed.status();
  EXPECT_EQ(kept, *computed);

  // The index: an exact search finds the same points, at the right distances.
  SearchQuery query;
  query.exact = true;
  query.k = static_cast<uint32_t>(model_.points().size()) + 10;
  query.vector.assign(options_.vectors[0].dimension, 0.25f);
  const auto found = shard.Search(query, {});
  ASSERT_TRUE(found.ok()) << found.status();
  std::map<PointId, float> distances;
  for (const auto& [id, stored] : model_.points()) {
    for (const NamedVector& vector : stored.point.vectors) {
      if (vector.name.empty()) distances[id] = SquaredL2(vector.values, query.vector);
    }
  }
  ASSERT_EQ(found->size(), distances.size());
  for (const ScoredRecord& hit : *found) {
    ASSERT_TRUE(distances.contains(hit.record.id)) << hit.record.id.ToString();
    EXPECT_NEAR(hit.score, std::sqrt(distances[hit.record.id]), 1e-4 * (1 + hit.score));
    distances.erase(hit.record.id);
  }
}

Point ShardFixture::MakePoint(PointId id, Random* random) const {
  Point point;
  point.id = std::move(id);
  const auto vector = [&](const VectorConfig& config) {
    NamedVector made{config.name, {}};
    for (uint32_t i = 0; i < config.dimension; ++i) {
      made.values.push_back(static_cast<float>(random->Uniform()) + 0.01f);
    }
    return made;
  };
  if (random->Below(10) != 0) point.vectors.push_back(vector(options_.vectors[0]));
  if (random->Below(3) == 0) point.vectors.push_back(vector(options_.vectors[1]));
  if (random->Below(2) == 0) {
    point.payload = "{\"n\":" + std::to_string(random->Below(1000)) + ", \"s\" : \"x\"}";
  }
  return point;
}

std::string ShardFixture::StateDir() const {
  std::string found;
  for (const auto& entry : std::filesystem::directory_iterator(options_.dir)) {
    if (entry.is_directory()) found = entry.path().string();
  }
  return found;
}

}  // namespace vectron::shard
