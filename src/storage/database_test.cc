#include "storage/database.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "common/mutex.h"
#include "storage/testing/faulty_disk.h"
#include "storage/testing/temp_dir.h"

namespace vectron::storage {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using vectron::testing::FaultyDisk;
using vectron::testing::TempDir;

constexpr Family kMeta = 0;
constexpr Family kRecords = 1;
constexpr Family kVectors = 2;

class DatabaseTest : public ::testing::Test {
 protected:
  DatabaseOptions Options(Durability durability) const {
    DatabaseOptions options;
    options.dir = dir_.Join("db");
    options.durability = durability;
    options.families = {{"meta", FamilyProfile::kMeta, 1 << 20},
                        {"records", FamilyProfile::kRecords, 4 << 20},
                        {"vectors", FamilyProfile::kVectors, 4 << 20}};
    options.families[kVectors].blob_bytes_min = 256;
    return options;
  }

  std::shared_ptr<SharedResources> Resources() {
    SharedResources::Options options;
    options.env = disk_.env();
    return std::make_shared<SharedResources>(options);
  }

  std::unique_ptr<Database> Open(Durability durability) {
    auto opened = Database::Open(Options(durability), Resources());
    EXPECT_TRUE(opened.ok()) << opened.status();
    return opened.ok() ? std::move(*opened) : nullptr;
  }

  static Status Put(Database& db, Family family, std::string_view key, std::string_view value,
                    Sync sync = Sync::kNo) {
    WriteBatch batch(db);
    batch.Put(family, key, value);
    return db.Write(batch, sync);
  }

  static std::string Read(Database& db, Family family, std::string_view key,
                          const ReadOptions& options = {}) {
    auto got = db.Get(family, key, options);
    EXPECT_TRUE(got.ok()) << got.status();
    return got->value_or("<none>");
  }

  static void Wait(std::chrono::milliseconds time) {
    Mutex mutex;
    CondVar never;
    MutexLock lock(mutex);
    never.WaitFor(mutex, time);
  }

  TempDir dir_;
  FaultyDisk disk_;
};

TEST_F(DatabaseTest, ABatchIsVisibleAsAWholeAndSurvivesAReopenWhenSynced) {
  auto db = Open(Durability::kWriteAheadLog);
  WriteBatch batch(*db);
  EXPECT_TRUE(batch.empty());
  const std::string_view parts[] = {"va", "lu", "e"};
  batch.Put(kMeta, "a", "1");
  batch.Put(kRecords, "b", parts);
  ASSERT_TRUE(db->Write(batch, Sync::kYes).ok());
  EXPECT_EQ(Read(*db, kRecords, "b"), "value");
  disk_.CutPower();
  db.reset();
  disk_.RestorePower();

  db = Open(Durability::kWriteAheadLog);
  EXPECT_EQ(Read(*db, kMeta, "a"), "1");
  EXPECT_EQ(Read(*db, kRecords, "b"), "value");
  EXPECT_EQ(Read(*db, kRecords, "a"), "<none>");
}

TEST_F(DatabaseTest, ABatchTellsWhatWasPutAndCanBeTakenBackToASavePoint) {
  auto db = Open(Durability::kFlush);
  WriteBatch batch(*db);
  const std::string large(100'000, 'l');
  const auto one = batch.Put(kMeta, "one", "1");
  const auto empty = batch.Put(kRecords, "empty", "");
  const std::string_view parts[] = {"a", large, "", "z"};
  const auto parted = batch.Put(kVectors, std::string(300, 'k'), parts);
  batch.SetSavePoint();
  batch.SetSavePoint();
  const auto again = batch.Put(kMeta, "one", "2");
  batch.Delete(kRecords, "empty");
  EXPECT_EQ(batch.ValueAt(again), "2");
  batch.DropSavePoint();
  batch.RollBackToSavePoint();
  batch.SetSavePoint();
  batch.RollBackToSavePoint();
  EXPECT_EQ(batch.ValueAt(one), "1");
  EXPECT_EQ(batch.ValueAt(empty), "");
  EXPECT_EQ(batch.ValueAt(parted), "a" + large + "z");
  const auto last = batch.Put(kMeta, "last", "9");
  EXPECT_EQ(batch.ValueAt(last), "9");
  ASSERT_TRUE(db->Write(batch).ok());
  EXPECT_EQ(Read(*db, kMeta, "one"), "1");
  EXPECT_EQ(Read(*db, kRecords, "empty"), "");
  EXPECT_EQ(Read(*db, kMeta, "last"), "9");
}

TEST_F(DatabaseTest, WithoutALogOnlyWhatWasFlushedSurvivesAndInAllFamiliesAlike) {
  auto db = Open(Durability::kFlush);
  for (const char* value : {"1", "2"}) {
    WriteBatch batch(*db);
    batch.Put(kMeta, "applied", value);
    batch.Put(kRecords, "record", value);
    batch.Put(kVectors, "vector", std::string(1000, *value));
    ASSERT_TRUE(db->Write(batch).ok());
    if (*value == '1') {
      EXPECT_EQ(Read(*db, kMeta, "applied", {.durable_only = true}), "<none>");
      const uint64_t flushes = db->flush_count();
      ASSERT_TRUE(db->Flush().ok());
      EXPECT_GT(db->flush_count(), flushes);
    }
  }
  EXPECT_EQ(Read(*db, kMeta, "applied"), "2");
  EXPECT_EQ(Read(*db, kMeta, "applied", {.durable_only = true}), "1");
  db.reset();
  db = Open(Durability::kFlush);
  EXPECT_EQ(Read(*db, kMeta, "applied"), "1");
  EXPECT_EQ(Read(*db, kRecords, "record"), "1");
  EXPECT_EQ(Read(*db, kVectors, "vector"), std::string(1000, '1'));
}

TEST_F(DatabaseTest, IteratorsKeepToTheirBoundsAndSnapshotsToTheirTime) {
  auto db = Open(Durability::kFlush);
  for (char c = 'a'; c <= 'f'; ++c) {
    ASSERT_TRUE(Put(*db, kRecords, std::string(1, c), std::string(2, c)).ok());
  }
  const auto snapshot = db->NewSnapshot();
  WriteBatch batch(*db);
  batch.Delete(kRecords, "c");
  batch.DeleteRange(kRecords, "d", "f");
  ASSERT_TRUE(db->Write(batch).ok());

  const auto keys = [&](IterateOptions options) {
    std::string found;
    const auto it = db->NewIterator(kRecords, std::move(options));
    for (it->SeekToFirst(); it->Valid(); it->Next()) found += it->key();
    EXPECT_TRUE(it->status().ok());
    return found;
  };
  EXPECT_EQ(keys({}), "abf");
  EXPECT_EQ(keys({.lower = "b"}), "bf");
  EXPECT_EQ(keys({.lower = "b", .upper = "f"}), "b");
  EXPECT_EQ(keys({.read = {.snapshot = snapshot.get()}, .upper = "e"}), "abcd");

  const auto it = db->NewIterator(kRecords);
  it->SeekForPrev("e");
  ASSERT_TRUE(it->Valid());
  EXPECT_EQ(it->key(), "b");
  EXPECT_EQ(it->value(), "bb");
}

TEST_F(DatabaseTest, MultiGetTellsWhichKeysThereAre) {
  auto db = Open(Durability::kFlush);
  ASSERT_TRUE(Put(*db, kVectors, "x", std::string(300, 'x')).ok());
  ASSERT_TRUE(db->Flush().ok());
  ASSERT_TRUE(Put(*db, kVectors, "z", "small").ok());
  const std::string_view keys[] = {"z", "y", "x"};
  std::vector<PinnedValue> values(3);
  const auto found = db->MultiGet(kVectors, keys, values);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(*found, ::testing::ElementsAre(true, false, true));
  EXPECT_EQ(values[0].ToString(), "small");
  EXPECT_EQ(values[2].ToString(), std::string(300, 'x'));
}

TEST_F(DatabaseTest, ACheckpointIsADatabaseOfItsOwn) {
  auto db = Open(Durability::kFlush);
  ASSERT_TRUE(Put(*db, kVectors, "k", std::string(500, 'a')).ok());
  ASSERT_TRUE(db->Checkpoint(dir_.Join("copy")).ok());
  ASSERT_TRUE(Put(*db, kVectors, "k", std::string(500, 'b')).ok());
  ASSERT_TRUE(db->Flush().ok());

  DatabaseOptions options = Options(Durability::kFlush);
  options.dir = dir_.Join("copy");
  auto copy = Database::Open(options, Resources());
  ASSERT_TRUE(copy.ok()) << copy.status();
  EXPECT_EQ(Read(**copy, kVectors, "k"), std::string(500, 'a'));
  EXPECT_EQ(Read(*db, kVectors, "k"), std::string(500, 'b'));
}

TEST_F(DatabaseTest, ASecondOpenIsRefusedWithAClearError) {
  auto db = Open(Durability::kFlush);
  const auto second = Database::Open(Options(Durability::kFlush), Resources());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(ReasonOf(second.status()), Reason::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("in use by another process"));
}

TEST_F(DatabaseTest, AMissingDatabaseAndUnknownFamiliesAreToldApart) {
  DatabaseOptions options = Options(Durability::kFlush);
  options.create_if_missing = false;
  EXPECT_TRUE(absl::IsNotFound(Database::Open(options, Resources()).status()));
  Open(Durability::kFlush).reset();
  options.families.pop_back();
  const auto opened = Database::Open(options, Resources());
  EXPECT_EQ(ReasonOf(opened.status()), Reason::kIncompatibleFormat) << opened.status();
}

TEST_F(DatabaseTest, DamageIsReportedAsCorruptionOfTheDirectory) {
  auto db = Open(Durability::kFlush);
  ASSERT_TRUE(Put(*db, kRecords, "k", "v").ok());
  ASSERT_TRUE(db->Flush().ok());
  db.reset();
  for (const auto& file : std::filesystem::directory_iterator(dir_.Join("db"))) {
    if (file.path().extension() != ".sst") continue;
    std::fstream stream(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    for (int i = 0; i < 8; ++i) stream.put('!');
  }
  auto opened = Database::Open(Options(Durability::kFlush), Resources());
  Status status = opened.status();
  if (opened.ok()) status = (*opened)->Get(kRecords, "k").status();
  EXPECT_EQ(ReasonOf(status), Reason::kCorruption) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(dir_.Join("db")));
}

// A start compacts what the last one left, beside its own look at the files.
TEST_F(DatabaseTest, FilesThatACompactionTakesAwayAreNotMissing) {
  disk_.SetBeforeSize([opener = std::this_thread::get_id()](const std::string& path) {
    if (std::this_thread::get_id() != opener || !path.ends_with(".sst")) return;
    for (int i = 0; i < 10 && std::filesystem::exists(path); ++i) Wait(10ms);
  });
  for (int i = 0; i < 6; ++i) {
    auto db = Open(Durability::kWriteAheadLog);  // makes a table of the log
    ASSERT_NE(db, nullptr) << "start " << i;
    for (const char* key : {"a", "b"}) ASSERT_TRUE(Put(*db, kRecords, key, "value").ok());
  }
  disk_.SetBeforeSize(nullptr);
  auto db = Open(Durability::kWriteAheadLog);
  EXPECT_EQ(Read(*db, kRecords, "b"), "value");
}

TEST_F(DatabaseTest, AFullDiskRefusesWritesNotReadsAndResumes) {
  auto db = Open(Durability::kFlush);
  ASSERT_TRUE(Put(*db, kRecords, "before", "1").ok());
  disk_.SetFull(true);
  const Status flushed = db->Flush();
  EXPECT_EQ(ReasonOf(flushed), Reason::kDiskFull) << flushed;
  EXPECT_EQ(ReasonOf(db->BackgroundError()), Reason::kDiskFull);
  const Status refused = Put(*db, kRecords, "during", "2");
  EXPECT_EQ(ReasonOf(refused), Reason::kDiskFull) << refused;
  EXPECT_EQ(Read(*db, kRecords, "before"), "1");
  EXPECT_EQ(*db->FreeBytes(), 0u);

  disk_.SetFull(false);
  // RocksDB may be about to try by itself: then it is busy, and soon done.
  Status resumed;
  for (int i = 0; i < 2000 && !(resumed = db->Resume()).ok(); ++i) Wait(10ms);
  ASSERT_TRUE(resumed.ok()) << resumed;
  EXPECT_TRUE(db->BackgroundError().ok());
  EXPECT_TRUE(Put(*db, kRecords, "after", "3").ok());
  // (RocksDB 7.8 itself would return before the flush is done here.)
  ASSERT_TRUE(db->Flush().ok());
  EXPECT_EQ(Read(*db, kRecords, "after", {.durable_only = true}), "3");
  db.reset();
  db = Open(Durability::kFlush);
  EXPECT_EQ(Read(*db, kRecords, "before"), "1");
  EXPECT_EQ(Read(*db, kRecords, "after"), "3");
}

TEST_F(DatabaseTest, BlobFilesAreRewrittenOnlyOnceGarbageDominates) {
  auto db = Open(Durability::kFlush);
  const auto write_all = [&](char fill) {
    for (int i = 0; i < 200; ++i) {
      ASSERT_TRUE(Put(*db, kVectors, "key" + std::to_string(i), std::string(1000, fill)).ok());
    }
    ASSERT_TRUE(db->Flush().ok());
  };
  write_all('a');
  EXPECT_FALSE(*db->CollectGarbage(kVectors, 0.5));
  for (const char fill : {'b', 'c'}) {
    write_all(fill);
    ASSERT_TRUE(db->CompactRange(kVectors, "", "").ok());
  }
  EXPECT_LT(db->Stats().blob_bytes, 300'000u);  // whole files of garbage are gone
  for (int i = 0; i < 150; ++i) {
    WriteBatch batch(*db);
    batch.Delete(kVectors, "key" + std::to_string(i));
    ASSERT_TRUE(db->Write(batch).ok());
  }
  ASSERT_TRUE(db->Flush().ok());
  ASSERT_TRUE(db->CompactRange(kVectors, "", "").ok());
  EXPECT_GT(db->Stats().blob_garbage_bytes, 140'000u);
  EXPECT_TRUE(*db->CollectGarbage(kVectors, 0.5));
  EXPECT_LT(db->Stats().blob_bytes, 60'000u);
  EXPECT_EQ(Read(*db, kVectors, "key199"), std::string(1000, 'c'));
  EXPECT_EQ(Read(*db, kVectors, "key0"), "<none>");
}

TEST_F(DatabaseTest, SharedResourcesCountWhatIsWritten) {
  const auto resources = Resources();
  auto db = *Database::Open(Options(Durability::kFlush), resources);
  ASSERT_TRUE(Put(*db, kVectors, "k", std::string(100'000, 'a')).ok());
  ASSERT_TRUE(Put(*db, kRecords, "k", "v").ok());
  EXPECT_GT(resources->GetStats().write_buffer_bytes, 100'000u);
  EXPECT_EQ(resources->GetStats().blob_written_bytes, 0u);
  ASSERT_TRUE(db->Flush().ok());
  EXPECT_GE(resources->GetStats().blob_written_bytes, 100'000u);
  EXPECT_GT(resources->GetStats().flush_written_bytes, 0u);
  EXPECT_EQ(resources->GetStats().wal_written_bytes, 0u);
  EXPECT_GE(db->Stats().disk_bytes, 100'000u);
}

}  // namespace
}  // namespace vectron::storage
