#include "shard/store.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "common/logging.h"

namespace vectron::shard {
namespace {

// Raised when what is stored changes its meaning; older versions then refuse it.
constexpr uint64_t kStoreFormat = 1;

constexpr std::string_view kFormatKey = "format";
constexpr std::string_view kSchemaKey = "schema";
constexpr std::string_view kStateKey = "state";
constexpr std::string_view kSessionPrefix = "session/";

// Vectors from this size on are not rewritten by compaction.
constexpr size_t kVectorBlobBytesMin = 256;
constexpr size_t kPayloadBlobBytesMin = 4 << 10;

std::string EncodeNumbers(std::span<const uint64_t> numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size_bytes()};
}

template <size_t kCount>
StatusOr<std::array<uint64_t, kCount>> DecodeNumbers(std::string_view value,
                                                     const std::string& dir) {
  std::array<uint64_t, kCount> numbers;
  if (value.size() != sizeof(numbers)) {
    return Corruption(fmt::format("database {}: its state is malformed", dir));
  }
  std::memcpy(numbers.data(), value.data(), sizeof(numbers));
  return numbers;
}

StatusOr<StoreState> DecodeState(std::string_view value, const std::string& dir) {
  VECTRON_ASSIGN_OR_RETURN(const auto numbers, DecodeNumbers<5>(value, dir));
  StoreState state;
  state.hash = {LogIndex(numbers[0]), numbers[1], numbers[2], numbers[3]};
  state.vectorless_count = numbers[4];
  return state;
}

storage::DatabaseOptions DatabaseOptionsOf(const Store::Options& options) {
  using storage::FamilyProfile;
  storage::DatabaseOptions database;
  database.dir = options.dir;
  database.durability = storage::Durability::kFlush;
  database.create_if_missing = options.create_if_missing;
  database.families.resize(3);
  database.families[Store::kMeta] = {"meta", FamilyProfile::kMeta, 1 << 20};
  database.families[Store::kPoints] = {"points", FamilyProfile::kRecords, 8 << 20};
  database.families[Store::kPoints].blob_bytes_min = kPayloadBlobBytesMin;
  database.families[Store::kVectors] = {"vectors", FamilyProfile::kVectors,
                                        options.write_buffer_bytes};
  database.families[Store::kVectors].blob_bytes_min = kVectorBlobBytesMin;
  return database;
}

// `status` of something read from `dir`, which its message may not name.
Status At(const std::string& dir, const Status& status) {
  const bool named = std::string_view(status.message().data(), status.message().size()).find(dir) !=
                     std::string_view::npos;
  return named ? status : Annotate(status, fmt::format("database {}", dir));
}

}  // namespace

StatusOr<std::unique_ptr<Store>> Store::Open(const Options& options,
                                             std::shared_ptr<storage::SharedResources> resources) {
  std::unique_ptr<Store> store(new Store());
  auto database = storage::Database::Open(DatabaseOptionsOf(options), std::move(resources));
  if (absl::IsNotFound(database.status())) {
    return Corruption(std::string(database.status().message()));
  }
  if (!database.ok()) return database.status();
  store->database_ = *std::move(database);
  const Status read = store->ReadOrWriteMeta(options);
  if (!read.ok()) return At(options.dir, read);
  return store;
}

Status Store::ReadOrWriteMeta(const Options& options) {
  VECTRON_ASSIGN_OR_RETURN(const auto format, database_->Get(kMeta, kFormatKey));
  VECTRON_ASSIGN_OR_RETURN(const auto stored_schema, database_->Get(kMeta, kSchemaKey));
  VECTRON_ASSIGN_OR_RETURN(const auto state, database_->Get(kMeta, kStateKey));
  if (!format.has_value() && !options.create_if_missing) {
    return Corruption("the shard's format is missing");
  }
  if (format.has_value()) {
    VECTRON_ASSIGN_OR_RETURN(const auto number, DecodeNumbers<1>(*format, options.dir));
    if (number[0] != kStoreFormat) {
      return MakeError(Reason::kIncompatibleFormat,
                       fmt::format("the shard is stored in format {}, this version knows {}",
                                   number[0], kStoreFormat));
    }
    if (!stored_schema.has_value() || !state.has_value()) {
      return Corruption("the shard's state is missing");
    }
  }
  VECTRON_ASSIGN_OR_RETURN(schema_, Schema::Make(stored_schema.value_or(""), options.vectors));
  const std::string schema = schema_->EncodeStored();
  if (format.has_value() && schema == *stored_schema) return OkStatus();

  storage::WriteBatch batch(*database_);
  batch.Put(kMeta, kFormatKey, EncodeNumbers({{kStoreFormat}}));
  batch.Put(kMeta, kSchemaKey, schema);
  if (!state.has_value()) PutState(StoreState{}, &batch);
  VECTRON_RETURN_IF_ERROR(database_->Write(batch));
  // So that numbers of vectors are never given anew after a crash.
  return database_->Flush();
}

StatusOr<StoreState> Store::ReadState() const {
  VECTRON_ASSIGN_OR_RETURN(const auto value, database_->Get(kMeta, kStateKey));
  return DecodeState(value.value_or(""), database_->dir());
}

void Store::PutState(const StoreState& state, storage::WriteBatch* batch) {
  batch->Put(kMeta, kStateKey,
             EncodeNumbers({{state.hash.index.value(), state.hash.point_count, state.hash.low,
                             state.hash.high, state.vectorless_count}}));
}

StatusOr<consensus::SessionTable> Store::ReadSessions() const {
  consensus::SessionTable sessions;
  storage::IterateOptions options;
  options.lower = kSessionPrefix;
  options.upper = options.lower;
  ++options.upper.back();
  const auto it = database_->NewIterator(kMeta, std::move(options));
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    const Status loaded = sessions.Load(it->key().substr(kSessionPrefix.size()), it->value());
    if (!loaded.ok()) return At(database_->dir(), loaded);
  }
  VECTRON_RETURN_IF_ERROR(it->status());
  const Status finished = sessions.FinishLoad();
  if (!finished.ok()) return At(database_->dir(), finished);
  return sessions;
}

void Store::PutSessionChanges(std::span<const consensus::SessionChange> changes,
                              storage::WriteBatch* batch) {
  std::string key(kSessionPrefix);
  for (const consensus::SessionChange& change : changes) {
    key.resize(kSessionPrefix.size());
    key += change.key;
    if (change.value.has_value()) {
      batch->Put(kMeta, key, *change.value);
    } else {
      batch->Delete(kMeta, key);
    }
  }
}

LogIndex Store::DurableApplied() const {
  MutexLock lock(durable_mutex_);
  // Before the read: a flush in between makes the next call read again.
  const uint64_t flush_count = database_->flush_count();
  if (flush_count == durable_flush_count_) return durable_applied_;
  const auto value = database_->Get(kMeta, kStateKey, {.durable_only = true});
  // What cannot be read is not called durable; the last answer still holds.
  if (!value.ok()) return durable_applied_;
  const auto state = DecodeState(value->value_or(""), database_->dir());
  if (!state.ok()) return durable_applied_;
  durable_flush_count_ = flush_count;
  durable_applied_ = std::max(durable_applied_, state->applied());
  return durable_applied_;
}

StatusOr<std::vector<std::optional<std::string>>> Store::ReadRecords(
    std::span<const std::string> keys, const storage::Snapshot* snapshot) const {
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  std::vector<storage::PinnedValue> values(keys.size());
  VECTRON_ASSIGN_OR_RETURN(const std::vector<bool> found,
                           database_->MultiGet(kPoints, views, values, {.snapshot = snapshot}));
  std::vector<std::optional<std::string>> records(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    if (found[i]) records[i] = values[i].ToString();
  }
  return records;
}

StatusOr<std::vector<NamedVector>> Store::ReadVectors(std::string_view key,
                                                      const RecordHeader& header,
                                                      std::span<const std::string> names,
                                                      const storage::Snapshot* snapshot) const {
  std::vector<NamedVector> vectors;
  for (size_t number = 0; number < schema_->size(); ++number) {
    const VectorConfig& config = schema_->vector(number);
    if (!header.Has(number)) continue;
    if (!names.empty() && std::find(names.begin(), names.end(), config.name) == names.end()) {
      continue;
    }
    storage::PinnedValue value;
    VECTRON_ASSIGN_OR_RETURN(const bool found, database_->Get(kVectors, VectorKey(number, key),
                                                              &value, {.snapshot = snapshot}));
    if (!found) {
      return Corruption(fmt::format("database {}: a point lacks its vector \"{}\"",
                                    database_->dir(), config.name));
    }
    auto values = DecodeVector({value.data(), value.size()}, config.dimension);
    if (!values.ok()) return At(database_->dir(), values.status());
    vectors.push_back({config.name, *std::move(values)});
  }
  return vectors;
}

StatusOr<Record> Store::MakeRecord(PointId id, std::string_view key, std::string_view record,
                                   const Select& select, const storage::Snapshot* snapshot) const {
  const auto view = DecodeRecord(record);
  if (!view.ok()) return At(database_->dir(), view.status());
  Record made;
  made.id = std::move(id);
  made.version = view->header.version;
  if (select.payload) made.payload = view->payload;
  if (select.vectors) {
    VECTRON_ASSIGN_OR_RETURN(made.vectors,
                             ReadVectors(key, view->header, select.vector_names, snapshot));
  }
  return made;
}

StatusOr<StateHash> Store::ComputeHash() const {
  const auto snapshot = database_->NewSnapshot();
  VECTRON_ASSIGN_OR_RETURN(const auto value,
                           database_->Get(kMeta, kStateKey, {.snapshot = snapshot.get()}));
  VECTRON_ASSIGN_OR_RETURN(const StoreState state,
                           DecodeState(value.value_or(""), database_->dir()));
  StateHash hash;
  hash.index = state.applied();
  const auto it =
      database_->NewIterator(kPoints, {.read = {.snapshot = snapshot.get(), .fill_cache = false}});
  std::string record;
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    const auto view = DecodeRecord(it->value());
    if (!view.ok()) return At(database_->dir(), view.status());
    VECTRON_ASSIGN_OR_RETURN(const std::vector<NamedVector> vectors,
                             ReadVectors(it->key(), view->header, {}, snapshot.get()));
    RecordHeader header = view->header;
    header.vectors_hash = HashVectors(vectors);
    const EncodedRecordHeader encoded = EncodeRecordHeader(header);
    record.assign(encoded.data(), encoded.size());
    record.append(view->payload);
    hash.Add(HashPoint(it->key(), record));
  }
  VECTRON_RETURN_IF_ERROR(it->status());
  return hash;
}

}  // namespace vectron::shard
