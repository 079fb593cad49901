#include "storage/database.h"

#include <fmt/format.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/listener.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <limits>

#include "common/check.h"
#include "common/logging.h"
#include "common/mutex.h"
#include "storage/database_options.h"
#include "storage/file_damage.h"
#include "storage/rocks_status.h"

namespace vectron::storage {
namespace {

rocksdb::Slice ToSlice(std::string_view s) { return {s.data(), s.size()}; }
std::string_view ToView(const rocksdb::Slice& s) { return {s.data(), s.size()}; }

uint64_t IntProperty(rocksdb::DB* db, rocksdb::ColumnFamilyHandle* handle,
                     const std::string& name) {
  uint64_t value = 0;
  return db->GetIntProperty(handle, name, &value) ? value : 0;
}

}  // namespace

// Hears from RocksDB's background threads; shared with them.
class Database::Listener : public rocksdb::EventListener {
 public:
  explicit Listener(std::string dir) : dir_(std::move(dir)) {}

  void OnFlushCompleted(rocksdb::DB*, const rocksdb::FlushJobInfo&) override {
    flush_count_.fetch_add(1, std::memory_order_release);
    changed_.NotifyAll();
  }

  void OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status* status) override {
    const Status error = FromRocksStatus(*status, dir_);
    VECTRON_LOG_ERROR("{}; writes are refused until it is resolved",
                      std::string_view(error.message().data(), error.message().size()));
    MutexLock lock(mutex_);
    error_ = error;
    changed_.NotifyAll();
  }

  void OnErrorRecoveryEnd(const rocksdb::BackgroundErrorRecoveryInfo& info) override {
    if (!info.new_bg_error.ok()) return;
    VECTRON_LOG_INFO("database {}: accepts writes again", dir_);
    ClearError();
  }

  void ClearError() {
    MutexLock lock(mutex_);
    error_ = OkStatus();
  }

  Status error() const {
    MutexLock lock(mutex_);
    return error_;
  }

  uint64_t flush_count() const { return flush_count_.load(std::memory_order_acquire); }

  // Until a flush was completed, something failed, or a moment passed.
  void WaitForChange() {
    MutexLock lock(mutex_);
    changed_.WaitFor(mutex_, std::chrono::milliseconds(5));
  }

 private:
  const std::string dir_;
  std::atomic<uint64_t> flush_count_{0};
  mutable Mutex mutex_;
  CondVar changed_;
  Status error_ ABSL_GUARDED_BY(mutex_);
};

Snapshot::~Snapshot() { db_->ReleaseSnapshot(snapshot_); }

// RocksDB keeps pointers to the bounds.
struct Iterator::Bounds {
  std::string lower;
  std::string upper;
  rocksdb::Slice lower_slice;
  rocksdb::Slice upper_slice;
};

Iterator::Iterator(std::string dir, std::unique_ptr<Bounds> bounds)
    : dir_(std::move(dir)), bounds_(std::move(bounds)) {}
Iterator::~Iterator() = default;
void Iterator::SeekToFirst() { iterator_->SeekToFirst(); }
void Iterator::SeekToLast() { iterator_->SeekToLast(); }
void Iterator::Seek(std::string_view key) { iterator_->Seek(ToSlice(key)); }
void Iterator::SeekForPrev(std::string_view key) { iterator_->SeekForPrev(ToSlice(key)); }
void Iterator::Next() { iterator_->Next(); }
void Iterator::Prev() { iterator_->Prev(); }
bool Iterator::Valid() const { return iterator_->Valid(); }
std::string_view Iterator::key() const { return ToView(iterator_->key()); }
std::string_view Iterator::value() const { return ToView(iterator_->value()); }
Status Iterator::status() const { return FromRocksStatus(iterator_->status(), dir_); }

WriteBatch::WriteBatch(const Database& database, size_t reserved_bytes)
    : database_(database), batch_(std::make_unique<rocksdb::WriteBatch>(reserved_bytes)) {}
WriteBatch::~WriteBatch() = default;
WriteBatch::WriteBatch(WriteBatch&&) noexcept = default;

WriteBatch::ValuePlace WriteBatch::Put(Family family, std::string_view key,
                                       std::string_view value) {
  return Put(family, key, std::span<const std::string_view>(&value, 1));
}

WriteBatch::ValuePlace WriteBatch::Put(Family family, std::string_view key,
                                       std::span<const std::string_view> value_parts) {
  constexpr size_t kPartsMax = 8;
  VECTRON_CHECK(value_parts.size() <= kPartsMax);
  rocksdb::Slice parts[kPartsMax];
  size_t size = 0;
  for (size_t i = 0; i < value_parts.size(); ++i) {
    parts[i] = ToSlice(value_parts[i]);
    size += value_parts[i].size();
  }
  const rocksdb::Slice key_slice = ToSlice(key);
  VECTRON_CHECK_OK(batch_->Put(database_.Handle(family), rocksdb::SliceParts(&key_slice, 1),
                               rocksdb::SliceParts(parts, static_cast<int>(value_parts.size()))));
  // A batch is the records of its changes, one after the other, and a record ends with the
  // value as it is (rocksdb/db/write_batch.cc).
  return {batch_->GetDataSize() - size, size};
}

std::string_view WriteBatch::ValueAt(const ValuePlace& place) const {
  const std::string_view data = batch_->Data();
  VECTRON_CHECK(place.offset <= data.size() && place.size <= data.size() - place.offset);
  return data.substr(place.offset, place.size);
}

void WriteBatch::SetSavePoint() { batch_->SetSavePoint(); }
void WriteBatch::RollBackToSavePoint() { VECTRON_CHECK_OK(batch_->RollbackToSavePoint()); }
void WriteBatch::DropSavePoint() { VECTRON_CHECK_OK(batch_->PopSavePoint()); }

void WriteBatch::Delete(Family family, std::string_view key) {
  VECTRON_CHECK_OK(batch_->Delete(database_.Handle(family), ToSlice(key)));
}

void WriteBatch::DeleteRange(Family family, std::string_view begin, std::string_view end) {
  VECTRON_CHECK_OK(batch_->DeleteRange(database_.Handle(family), ToSlice(begin), ToSlice(end)));
}

void WriteBatch::Clear() { batch_->Clear(); }
bool WriteBatch::empty() const { return batch_->Count() == 0; }
size_t WriteBatch::size_bytes() const { return batch_->GetDataSize(); }

Database::Database(DatabaseOptions options, std::shared_ptr<SharedResources> resources)
    : options_(std::move(options)),
      resources_(std::move(resources)),
      listener_(std::make_shared<Listener>(options_.dir)) {}

StatusOr<std::unique_ptr<Database>> Database::Open(const DatabaseOptions& options,
                                                   std::shared_ptr<SharedResources> resources) {
  VECTRON_CHECK(resources != nullptr && !options.families.empty());
  std::unique_ptr<Database> database(new Database(options, std::move(resources)));
  const SharedResources& shared = *database->resources_;

  rocksdb::DBOptions rocks = ToRocksOptions(options);
  rocks.env = shared.env_;
  rocks.max_open_files = std::min(rocks.max_open_files, shared.open_files_max_);
  rocks.write_buffer_manager = shared.write_buffers_;
  rocks.rate_limiter = shared.rate_limiter_;
  rocks.statistics = shared.statistics_;
  rocks.listeners.push_back(database->listener_);

  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (const FamilyOptions& family : options.families) {
    families.emplace_back(families.empty() ? rocksdb::kDefaultColumnFamilyName : family.name,
                          ToRocksOptions(family, shared.block_cache_));
  }
  if (options.create_if_missing) {
    const rocksdb::Status made = shared.env_->CreateDirIfMissing(options.dir);
    if (!made.ok()) return FromRocksStatus(made, options.dir);
  }
  // RocksDB would make the directory before it finds that there is nothing in it.
  if (!options.create_if_missing &&
      shared.env_->FileExists(options.dir + "/CURRENT").IsNotFound()) {
    return absl::NotFoundError(fmt::format("{}/CURRENT is missing", options.dir));
  }
  rocksdb::DB* db = nullptr;
  const rocksdb::Status opened =
      rocksdb::DB::Open(rocks, options.dir, families, &database->handles_, &db);
  database->db_.reset(db);
  if (opened.ok()) {
    VECTRON_RETURN_IF_ERROR(database->CheckFiles());
    return database;
  }
  if (opened.IsInvalidArgument()) {
    const bool missing = opened.ToString().find("does not exist") != std::string::npos;
    return missing ? Status(absl::StatusCode::kNotFound,
                            fmt::format("there is no database in {}", options.dir))
                   : MakeError(Reason::kIncompatibleFormat,
                               fmt::format("database {}: {}", options.dir, opened.ToString()));
  }
  // A file that another one names: its name is in the message.
  if (opened.IsPathNotFound()) {
    return Corruption(
        fmt::format("database {}: a file is missing: {}", options.dir, opened.ToString()));
  }
  const Status status = FromRocksStatus(opened, options.dir);
  if (ReasonOf(status) != Reason::kCorruption) return status;
  std::string message(status.message());
  // The name that tables had in LevelDB: where there is no table, RocksDB looks for that
  // last, and then names it.
  for (size_t at; (at = message.find(".ldb")) != std::string::npos;) message.replace(at, 4, ".sst");
  return Corruption(message + DescribeBadTables(options.dir, shared.env_));
}

Database::~Database() {
  if (db_ == nullptr) return;
  rocksdb::CancelAllBackgroundWork(db_.get(), /*wait=*/true);
  for (rocksdb::ColumnFamilyHandle* handle : handles_) {
    VECTRON_CHECK_OK(db_->DestroyColumnFamilyHandle(handle));
  }
  const rocksdb::Status closed = db_->Close();
  if (!closed.ok()) VECTRON_LOG_WARN("database {}: {}", options_.dir, closed.ToString());
}

rocksdb::ColumnFamilyHandle* Database::Handle(Family family) const {
  VECTRON_CHECK(family < handles_.size());
  return handles_[family];
}

Status Database::FromRocks(const rocksdb::Status& status) const {
  return FromRocksStatus(status, options_.dir);
}

Status Database::Write(WriteBatch& batch, Sync sync) {
  const bool logged = options_.durability == Durability::kWriteAheadLog;
  VECTRON_CHECK(logged || sync == Sync::kNo);
  rocksdb::WriteOptions options;
  options.sync = sync == Sync::kYes;
  options.disableWAL = !logged;
  return FromRocks(db_->Write(options, batch.batch_.get()));
}

Status Database::SyncWal() { return FromRocks(db_->SyncWAL()); }

namespace {

rocksdb::ReadOptions ToRocks(const ReadOptions& options, const rocksdb::Snapshot* snapshot) {
  rocksdb::ReadOptions rocks;
  rocks.snapshot = snapshot;
  rocks.fill_cache = options.fill_cache;
  if (options.durable_only) rocks.read_tier = rocksdb::kPersistedTier;
  return rocks;
}

}  // namespace

StatusOr<bool> Database::Get(Family family, std::string_view key, PinnedValue* value,
                             const ReadOptions& options) const {
  const auto* snapshot = options.snapshot == nullptr ? nullptr : options.snapshot->snapshot_;
  const rocksdb::Status got =
      db_->Get(ToRocks(options, snapshot), Handle(family), ToSlice(key), value);
  if (got.IsNotFound()) return false;
  if (!got.ok()) return FromRocks(got);
  return true;
}

StatusOr<std::optional<std::string>> Database::Get(Family family, std::string_view key,
                                                   const ReadOptions& options) const {
  PinnedValue value;
  VECTRON_ASSIGN_OR_RETURN(const bool found, Get(family, key, &value, options));
  if (!found) return std::optional<std::string>();
  return std::optional<std::string>(value.ToString());
}

StatusOr<std::vector<bool>> Database::MultiGet(Family family,
                                               std::span<const std::string_view> keys,
                                               std::span<PinnedValue> values,
                                               const ReadOptions& options) const {
  VECTRON_CHECK(keys.size() == values.size());
  const auto* snapshot = options.snapshot == nullptr ? nullptr : options.snapshot->snapshot_;
  std::vector<rocksdb::Slice> slices;
  slices.reserve(keys.size());
  for (const std::string_view key : keys) slices.push_back(ToSlice(key));
  std::vector<rocksdb::Status> statuses(keys.size());
  db_->MultiGet(ToRocks(options, snapshot), Handle(family), keys.size(), slices.data(),
                values.data(), statuses.data());
  std::vector<bool> found(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    if (!statuses[i].ok() && !statuses[i].IsNotFound()) return FromRocks(statuses[i]);
    found[i] = statuses[i].ok();
  }
  return found;
}

std::unique_ptr<Iterator> Database::NewIterator(Family family, IterateOptions options) const {
  VECTRON_CHECK(!options.read.durable_only);
  const auto* snapshot =
      options.read.snapshot == nullptr ? nullptr : options.read.snapshot->snapshot_;
  rocksdb::ReadOptions rocks = ToRocks(options.read, snapshot);
  rocks.readahead_size = options.readahead_bytes;
  auto bounds = std::make_unique<Iterator::Bounds>();
  bounds->lower = std::move(options.lower);
  bounds->upper = std::move(options.upper);
  bounds->lower_slice = ToSlice(bounds->lower);
  bounds->upper_slice = ToSlice(bounds->upper);
  if (!bounds->lower.empty()) rocks.iterate_lower_bound = &bounds->lower_slice;
  if (!bounds->upper.empty()) rocks.iterate_upper_bound = &bounds->upper_slice;
  std::unique_ptr<Iterator> iterator(new Iterator(options_.dir, std::move(bounds)));
  iterator->iterator_.reset(db_->NewIterator(rocks, Handle(family)));
  return iterator;
}

std::unique_ptr<Snapshot> Database::NewSnapshot() const {
  return std::unique_ptr<Snapshot>(new Snapshot(db_.get(), db_->GetSnapshot()));
}

StatusOr<std::vector<StoredFile>> Database::ListFiles() const {
  rocksdb::LiveFilesStorageInfoOptions options;
  options.include_checksum_info = true;
  options.wal_size_for_flush = std::numeric_limits<uint64_t>::max();  // flushes nothing
  std::vector<rocksdb::LiveFileStorageInfo> infos;
  const rocksdb::Status listed = db_->GetLiveFilesStorageInfo(options, &infos);
  if (!listed.ok()) return FromRocks(listed);
  std::vector<StoredFile> files;
  for (rocksdb::LiveFileStorageInfo& info : infos) {
    if (info.file_type != rocksdb::kTableFile && info.file_type != rocksdb::kBlobFile) continue;
    StoredFile& file = files.emplace_back();
    file.number = info.file_number;
    file.path = fmt::format("{}/{}", info.directory, info.relative_filename);
    file.is_blob = info.file_type == rocksdb::kBlobFile;
    file.size_bytes = info.size;
    file.checksum = std::move(info.file_checksum);
  }
  std::sort(files.begin(), files.end(),
            [](const StoredFile& a, const StoredFile& b) { return a.number < b.number; });
  return files;
}

namespace {

// What is listed stays there: a compaction, which an opening begins at once, may take it out of
// use, but not away.
class DeletionPause {
 public:
  explicit DeletionPause(rocksdb::DB* db) : db_(db), status_(db->DisableFileDeletions()) {}
  ~DeletionPause() {
    if (!status_.ok()) return;
    const rocksdb::Status enabled = db_->EnableFileDeletions(/*force=*/false);
    if (!enabled.ok()) VECTRON_LOG_WARN("database {}: {}", db_->GetName(), enabled.ToString());
  }
  DeletionPause(const DeletionPause&) = delete;
  DeletionPause& operator=(const DeletionPause&) = delete;

  const rocksdb::Status& status() const { return status_; }

 private:
  rocksdb::DB* const db_;
  const rocksdb::Status status_;
};

}  // namespace

// What can be held to the manifest without reading the files through. RocksDB looks
// at the sizes of tables by itself, not at those of blob files.
Status Database::CheckFiles() const {
  const DeletionPause pause(db_.get());
  if (!pause.status().ok()) return FromRocks(pause.status());
  VECTRON_ASSIGN_OR_RETURN(const std::vector<StoredFile> files, ListFiles());
  for (const StoredFile& file : files) {
    uint64_t size_bytes = 0;
    const rocksdb::Status got = db_->GetEnv()->GetFileSize(file.path, &size_bytes);
    if (got.IsNotFound() || got.IsPathNotFound()) {
      return Corruption(fmt::format("database {}: {} is missing", options_.dir, file.path));
    }
    if (!got.ok()) return FromRocks(got);
    if (size_bytes != file.size_bytes) {
      return Corruption(fmt::format("database {}: {} has {} bytes, not {}", options_.dir, file.path,
                                    size_bytes, file.size_bytes));
    }
  }
  // Footers, and the blocks that they lead to.
  for (rocksdb::ColumnFamilyHandle* handle : handles_) {
    rocksdb::TablePropertiesCollection properties;
    const rocksdb::Status read = db_->GetPropertiesOfAllTables(handle, &properties);
    if (!read.ok()) return FromRocks(read);
  }
  return OkStatus();
}

Status Database::Flush() {
  rocksdb::FlushOptions options;
  options.wait = true;
  options.allow_write_stall = true;
  const rocksdb::Status flushed = db_->Flush(options, handles_);
  if (!flushed.ok()) return FromRocks(flushed);
  // After it has recovered from an error once, RocksDB 7.8 no longer waits for
  // the flush that it began (it takes the old error for one of this flush). What
  // it has yet to write is then in memtables that take no more writes.
  while (HasImmutableMemtables()) {
    VECTRON_RETURN_IF_ERROR(listener_->error());
    listener_->WaitForChange();
  }
  return OkStatus();
}

bool Database::HasImmutableMemtables() const {
  for (rocksdb::ColumnFamilyHandle* handle : handles_) {
    if (IntProperty(db_.get(), handle, rocksdb::DB::Properties::kNumImmutableMemTable) > 0) {
      return true;
    }
  }
  return false;
}

uint64_t Database::flush_count() const { return listener_->flush_count(); }

Status Database::Checkpoint(const std::string& dir) {
  // CreateCheckpoint flushes too, but see Flush.
  VECTRON_RETURN_IF_ERROR(Flush());
  rocksdb::Checkpoint* checkpoint = nullptr;
  const rocksdb::Status created = rocksdb::Checkpoint::Create(db_.get(), &checkpoint);
  if (!created.ok()) return FromRocks(created);
  const std::unique_ptr<rocksdb::Checkpoint> owner(checkpoint);
  return FromRocks(owner->CreateCheckpoint(dir, /*log_size_for_flush=*/0));
}

Status Database::DropFilesInRange(Family family, std::string_view begin, std::string_view end) {
  const rocksdb::Slice begin_slice = ToSlice(begin);
  const rocksdb::Slice end_slice = ToSlice(end);
  return FromRocks(rocksdb::DeleteFilesInRange(db_.get(), Handle(family), &begin_slice, &end_slice,
                                               /*include_end=*/false));
}

Status Database::CompactRange(Family family, std::string_view begin, std::string_view end) {
  const rocksdb::Slice begin_slice = ToSlice(begin);
  const rocksdb::Slice end_slice = ToSlice(end);
  return FromRocks(db_->CompactRange({}, Handle(family), begin.empty() ? nullptr : &begin_slice,
                                     end.empty() ? nullptr : &end_slice));
}

StatusOr<bool> Database::CollectGarbage(Family family, double garbage_fraction) {
  const uint64_t total =
      IntProperty(db_.get(), Handle(family), rocksdb::DB::Properties::kLiveBlobFileSize);
  const uint64_t garbage =
      IntProperty(db_.get(), Handle(family), rocksdb::DB::Properties::kLiveBlobFileGarbageSize);
  if (static_cast<double>(garbage) <= garbage_fraction * static_cast<double>(total)) return false;
  rocksdb::CompactRangeOptions options;
  // Only keys and references to blobs are compacted; live blobs are copied out of
  // all files, old and new, which then go.
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
  options.blob_garbage_collection_policy = rocksdb::BlobGarbageCollectionPolicy::kForce;
  options.blob_garbage_collection_age_cutoff = 1.0;
  const rocksdb::Status done = db_->CompactRange(options, Handle(family), nullptr, nullptr);
  if (!done.ok()) return FromRocks(done);
  return true;
}

void Database::CancelManualCompactions() { db_->DisableManualCompaction(); }

Status Database::BackgroundError() const { return listener_->error(); }

Status Database::Resume() {
  const rocksdb::Status resumed = db_->Resume();
  if (!resumed.ok()) return FromRocks(resumed);
  listener_->ClearError();
  return OkStatus();
}

StatusOr<uint64_t> Database::FreeBytes() const {
  uint64_t free_bytes = 0;
  const rocksdb::Status got = db_->GetEnv()->GetFreeSpace(options_.dir, &free_bytes);
  if (!got.ok()) return FromRocks(got);
  return free_bytes;
}

DatabaseStats Database::Stats() const {
  using Properties = rocksdb::DB::Properties;
  DatabaseStats stats;
  for (rocksdb::ColumnFamilyHandle* handle : handles_) {
    const auto sum = [&](const std::string& name) { return IntProperty(db_.get(), handle, name); };
    const uint64_t blobs = sum(Properties::kTotalBlobFileSize);
    stats.blob_bytes += blobs;
    stats.disk_bytes += sum(Properties::kTotalSstFilesSize) + blobs;
    stats.blob_garbage_bytes += sum(Properties::kLiveBlobFileGarbageSize);
    stats.memtable_bytes += sum(Properties::kSizeAllMemTables);
    stats.table_reader_bytes += sum(Properties::kEstimateTableReadersMem);
    stats.pending_compaction_bytes += sum(Properties::kEstimatePendingCompactionBytes);
    stats.key_count_estimate += sum(Properties::kEstimateNumKeys);
  }
  return stats;
}

}  // namespace vectron::storage
