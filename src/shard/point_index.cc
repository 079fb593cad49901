#include "shard/point_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/atomic_file.h"
#include "common/check.h"
#include "common/string_map.h"

namespace vectron::shard {
namespace {

using index::kNoSlot;
using index::Slot;
using index::VectorIndex;

constexpr std::string_view kIdsMagic = "VTRNKEYS";
constexpr uint32_t kIdsFormat = 1;
constexpr std::string_view kIdsFile = "ids";

std::string FileOf(size_t number) { return fmt::format("{}.hnsw", number); }

index::IndexOptions IndexOptionsOf(const VectorConfig& config) {
  index::IndexOptions options;
  options.dimension = config.dimension;
  options.metric = config.metric;
  options.quantization = config.quantization;
  options.m = config.hnsw.m;
  options.ef_construction = config.hnsw.ef_construction;
  return options;
}

const NamedVector* FindVector(std::span<const NamedVector> vectors, std::string_view name) {
  for (const NamedVector& vector : vectors) {
    if (vector.name == name) return &vector;
  }
  return nullptr;
}

// A point that was replaced while the search ran may be there twice, by its old
// vector and its new one. Keeps the nearer.
bool DropRepeated(std::vector<index::Hit>* hits) {
  absl::flat_hash_set<uint64_t> seen;
  seen.reserve(hits->size());
  const auto repeated = [&](const index::Hit& hit) { return !seen.insert(hit.label).second; };
  const auto end = std::remove_if(hits->begin(), hits->end(), repeated);
  const bool any = end != hits->end();
  hits->erase(end, hits->end());
  return any;
}

bool HasRepeated(const std::vector<index::Hit>& hits) {
  // Few hits, nearly always: comparing all pairs beats hashing.
  constexpr size_t kPairwiseMax = 32;
  if (hits.size() > kPairwiseMax) {
    std::vector<uint64_t> labels;
    labels.reserve(hits.size());
    for (const index::Hit& hit : hits) labels.push_back(hit.label);
    std::sort(labels.begin(), labels.end());
    return std::adjacent_find(labels.begin(), labels.end()) != labels.end();
  }
  for (size_t i = 1; i < hits.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (hits[i].label == hits[j].label) return true;
    }
  }
  return false;
}

}  // namespace

class PointIndex::Cut {
 public:
  Cut(KeyPool* pool, uint64_t frozen) : frozen_keys(frozen), pool_(pool) {}
  ~Cut() { pool_->Thaw(); }
  Cut(const Cut&) = delete;
  Cut& operator=(const Cut&) = delete;

  std::vector<std::unique_ptr<VectorIndex::Watermark>> watermarks;  // by vector number
  const uint64_t frozen_keys;

 private:
  KeyPool* const pool_;
};

void PointIndex::CutDeleter::operator()(Cut* cut) const { delete cut; }

PointIndex::~PointIndex() = default;

StatusOr<std::unique_ptr<PointIndex>> PointIndex::Create(const Schema& schema, ReaderGate* gate) {
  return Load(schema, gate, "", {});
}

StatusOr<std::unique_ptr<PointIndex>> PointIndex::Load(const Schema& schema, ReaderGate* gate,
                                                       const std::string& dir,
                                                       std::span<const std::string> files) {
  std::unique_ptr<PointIndex> loaded(new PointIndex(schema, gate));
  loaded->fields_.resize(schema.size());
  const auto has = [&](std::string_view name) {
    return std::find(files.begin(), files.end(), name) != files.end();
  };
  struct Pooled {
    size_t number;
    Slot slot;
    uint64_t label;
  };
  std::vector<Pooled> pooled;
  for (size_t number = 0; number < schema.size(); ++number) {
    Field& field = loaded->fields_[number];
    const index::IndexOptions options = IndexOptionsOf(schema.vector(number));
    if (!has(FileOf(number))) {
      VECTRON_ASSIGN_OR_RETURN(field.index, VectorIndex::Create(options));
      continue;
    }
    VECTRON_ASSIGN_OR_RETURN(field.index, VectorIndex::Load(options, dir + "/" + FileOf(number)));
    field.ids.Reserve(field.index->Stats().live_count);
    field.index->ForEachLive([&](Slot slot, uint64_t label) {
      if (KeyPool::IsPooledLabel(label)) {
        pooled.push_back({number, slot, label});
      } else {
        field.ids.Insert(IdTable::HashOf(PointId(label)), slot);
      }
    });
  }
  if (!has(kIdsFile)) return loaded;
  const std::string path = dir + "/" + std::string(kIdsFile);
  VECTRON_ASSIGN_OR_RETURN(const std::optional<std::string> file, ReadWholeFile(path));
  if (!file.has_value()) return Corruption(fmt::format("{} is missing", path));
  VECTRON_ASSIGN_OR_RETURN(const std::string_view keys,
                           UnwrapChecked(kIdsMagic, kIdsFormat, *file, path));
  std::vector<uint64_t> labels;
  labels.reserve(pooled.size());
  for (const Pooled& entry : pooled) labels.push_back(entry.label);
  VECTRON_RETURN_IF_ERROR(loaded->pool_.Load(keys, std::move(labels)));
  for (const Pooled& entry : pooled) {
    const PointId id = loaded->pool_.Resolve(entry.label);
    loaded->fields_[entry.number].ids.Insert(IdTable::HashOf(id), entry.slot);
  }
  return loaded;
}

bool PointIndex::IsLabelOf(uint64_t label, const PointId& id) const {
  if (!KeyPool::IsPooledLabel(label)) return id.is_number() && id.number() == label;
  if (!KeyPool::IsPooled(id)) return false;
  return pool_.Key(label) == id.Key();
}

Slot PointIndex::FindSlot(const Field& field, const PointId& id, uint32_t hash) const {
  return field.ids.Find(hash, [&](Slot slot) { return IsLabelOf(field.index->Label(slot), id); });
}

bool PointIndex::Contains(const PointId& id) const {
  const uint32_t hash = IdTable::HashOf(id);
  for (const Field& field : fields_) {
    if (FindSlot(field, id, hash) != kNoSlot) return true;
  }
  return false;
}

StatusOr<uint64_t> PointIndex::LabelFor(const PointId& id, uint32_t hash) {
  if (!KeyPool::IsPooled(id)) return id.number();
  for (const Field& field : fields_) {
    const Slot slot = FindSlot(field, id, hash);
    if (slot != kNoSlot) return field.index->Label(slot);
  }
  return pool_.Add(id);
}

void PointIndex::RetireIfGone(const PointId& id, uint32_t hash, uint64_t label) {
  if (!KeyPool::IsPooledLabel(label)) return;
  for (const Field& field : fields_) {
    if (FindSlot(field, id, hash) != kNoSlot) return;
  }
  pool_.Retire(label, gate_->Epoch());
}

void PointIndex::Erase(Field& field, uint32_t hash, Slot slot) {
  field.ids.Erase(hash, slot);
  field.index->Delete(slot);
  change_count_.fetch_add(1, std::memory_order_relaxed);
}

Status PointIndex::Replace(Field& field, uint32_t hash, Slot old, uint64_t label,
                           std::span<const float> vector) {
  VECTRON_ASSIGN_OR_RETURN(const Slot slot, field.index->Put(vector, label));
  change_count_.fetch_add(1, std::memory_order_relaxed);
  if (old == kNoSlot) {
    field.ids.Insert(hash, slot);
  } else {
    // After Put: a search sees the old one or the new one, never neither.
    field.ids.Replace(hash, old, slot);
    field.index->Delete(old);
  }
  return OkStatus();
}

Status PointIndex::Set(const PointId& id, std::span<const NamedVector> vectors) {
  if (vectors.empty()) {
    Remove(id);
    return OkStatus();
  }
  const uint32_t hash = IdTable::HashOf(id);
  VECTRON_ASSIGN_OR_RETURN(const uint64_t label, LabelFor(id, hash));
  for (size_t number = 0; number < fields_.size(); ++number) {
    Field& field = fields_[number];
    const Slot old = FindSlot(field, id, hash);
    const NamedVector* vector = FindVector(vectors, schema_.vector(number).name);
    if (vector != nullptr) {
      VECTRON_RETURN_IF_ERROR(Replace(field, hash, old, label, vector->values));
    } else if (old != kNoSlot) {
      Erase(field, hash, old);
    }
  }
  return OkStatus();
}

void PointIndex::Remove(const PointId& id) {
  const uint32_t hash = IdTable::HashOf(id);
  uint64_t label = 0;
  for (Field& field : fields_) {
    const Slot slot = FindSlot(field, id, hash);
    if (slot == kNoSlot) continue;
    label = field.index->Label(slot);
    Erase(field, hash, slot);
  }
  RetireIfGone(id, hash, label);
}

bool PointIndex::HoldsExactly(const PointId& id, uint32_t hash,
                              std::span<const NamedVector> vectors) const {
  for (size_t number = 0; number < fields_.size(); ++number) {
    const Field& field = fields_[number];
    const Slot slot = FindSlot(field, id, hash);
    const NamedVector* vector = FindVector(vectors, schema_.vector(number).name);
    if ((vector != nullptr) != (slot != kNoSlot)) return false;
    if (vector == nullptr) continue;
    const StatusOr<std::vector<float>> held = field.index->GetVector(slot);
    // Bit for bit: -0 and 0 are different contents.
    if (!held.ok() || held->size() != vector->values.size() ||
        std::memcmp(held->data(), vector->values.data(), held->size() * sizeof(float)) != 0) {
      return false;
    }
  }
  return true;
}

Status PointIndex::Reconcile(const PointId& id, std::span<const NamedVector> vectors) {
  if (HoldsExactly(id, IdTable::HashOf(id), vectors)) return OkStatus();
  return Set(id, vectors);
}

Status PointIndex::Put(size_t number, const PointId& id, std::span<const float> vector) {
  const uint32_t hash = IdTable::HashOf(id);
  VECTRON_ASSIGN_OR_RETURN(const uint64_t label, LabelFor(id, hash));
  return Replace(fields_[number], hash, kNoSlot, label, vector);
}

void PointIndex::Reclaim() {
  if (pool_.HasRetired()) pool_.Reclaim(gate_->TryAdvance());
}

PointIndex::CutPtr PointIndex::MakeCut() {
  CutPtr cut(new Cut(&pool_, pool_.Freeze()));
  for (const Field& field : fields_) cut->watermarks.push_back(field.index->Cut());
  return cut;
}

// The order of PointId: numbers, then strings; large numbers and strings have keys.
bool PointIndex::LabelLess(uint64_t a, uint64_t b) const {
  if (KeyPool::IsPooledLabel(a) && KeyPool::IsPooledLabel(b)) return pool_.Key(a) < pool_.Key(b);
  return a < b;
}

StatusOr<std::vector<PointIndex::Neighbour>> PointIndex::Search(
    size_t number, std::span<const float> query, index::SearchOptions options) const {
  const VectorIndex& index = *fields_[number].index;
  options.label_less = [this](uint64_t a, uint64_t b) { return LabelLess(a, b); };
  VECTRON_ASSIGN_OR_RETURN(std::vector<index::Hit> hits, index.Search(query, options));
  if (HasRepeated(hits)) {
    // Rare: looks for more, so that enough are left.
    const uint32_t k = options.k;
    options.k = k * 2;
    VECTRON_ASSIGN_OR_RETURN(hits, index.Search(query, options));
    DropRepeated(&hits);
    if (hits.size() > k) hits.resize(k);
  }
  std::vector<Neighbour> neighbours;
  neighbours.reserve(hits.size());
  for (const index::Hit& hit : hits) {
    neighbours.push_back(
        {pool_.Resolve(hit.label), index::ScoreOf(index.options().metric, hit.distance)});
  }
  return neighbours;
}

StatusOr<float> PointIndex::Score(size_t number, std::span<const float> query,
                                  std::span<const float> vector) const {
  const VectorIndex& index = *fields_[number].index;
  VECTRON_ASSIGN_OR_RETURN(const float distance, index.Distance(query, vector));
  return index::ScoreOf(index.options().metric, distance);
}

CheckpointPolicy::Observed PointIndex::Observe() const {
  CheckpointPolicy::Observed observed;
  observed.change_count = change_count_.load(std::memory_order_relaxed);
  for (const Field& field : fields_) {
    const index::IndexStats stats = field.index->Stats();
    observed.vector_count += stats.live_count;
    observed.pending_count += stats.pending_count;
  }
  return observed;
}

bool PointIndex::DoWork(size_t count_max) {
  bool worked = false;
  for (Field& field : fields_) {
    worked = field.index->LinkPending(count_max) > 0 || worked;
    worked = field.index->Consolidate() || worked;
  }
  return worked;
}

StatusOr<std::vector<std::string>> PointIndex::WriteFiles(const Cut& cut, const std::string& dir,
                                                          uint64_t bytes_per_second_max) const {
  std::vector<std::string> files;
  for (size_t number = 0; number < fields_.size(); ++number) {
    files.push_back(FileOf(number));
    VECTRON_RETURN_IF_ERROR(fields_[number].index->WriteCheckpoint(
        *cut.watermarks[number], dir + "/" + files.back(), bytes_per_second_max));
  }
  files.emplace_back(kIdsFile);
  VECTRON_RETURN_IF_ERROR(WriteFileAtomically(
      dir + "/" + files.back(),
      WrapWithChecksum(kIdsMagic, kIdsFormat, pool_.Serialize(cut.frozen_keys))));
  return files;
}

}  // namespace vectron::shard
