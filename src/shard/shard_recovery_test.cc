#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "common/atomic_file.h"
#include "common/random.h"
#include "shard/store.h"
#include "shard/testing/shard_fixture.h"

namespace vectron::shard {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

std::string Message(const Status& status) { return std::string(status.message()); }

class ShardRecoveryTest : public ShardFixture {
 protected:
  PointId SomeId(Random* random) const {
    const uint64_t number = random->Below(60);
    return number < 40 ? PointId(number) : PointId("id-" + std::to_string(number));
  }

  std::vector<PointId> SomeIds(Random* random) const {
    std::vector<PointId> ids;
    for (uint64_t i = 0; i <= random->Below(5); ++i) ids.push_back(SomeId(random));
    return ids;
  }

  WriteOp SomeWrite(Random* random) const {
    switch (random->Below(8)) {
      case 0:
        return DeletePoints{SomeIds(random)};
      case 1:
        return SetPayload{SomeIds(random), "{\"k\":" + std::to_string(random->Below(9)) + "}"};
      case 2:
        return OverwritePayload{SomeIds(random), "{\"o\":[]}"};
      case 3:
        return random->Below(2) == 0 ? WriteOp(ClearPayload{SomeIds(random)})
                                     : WriteOp(DeletePayloadKeys{SomeIds(random), {"n", "k"}});
      default: {
        UpsertPoints op;
        for (const PointId& id : SomeIds(random)) op.points.push_back(MakePoint(id, random));
        return op;
      }
    }
  }

  void WriteMany(int count, Random* random) {
    for (int i = 0; i < count; ++i) {
      const auto written = Write(SomeWrite(random));
      ASSERT_TRUE(written.ok() || ReasonOf(written.status()) == Reason::kPointNotFound)
          << written.status();
    }
  }

  void FlipByte(const fs::path& path, size_t offset) const {
    // In a copy: the file may be linked to from elsewhere.
    fs::copy_file(path, path.string() + ".copy");
    fs::rename(path.string() + ".copy", path);
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const char byte = static_cast<char>(file.get());
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(byte ^ 0x40));
    ASSERT_TRUE(file.good()) << path;
  }

  uint64_t PendingCount() const { return shard_->Stats().pending_count; }

  std::vector<fs::path> FilesEnding(const std::string& dir, const std::string& ending) const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(dir)) {
      if (entry.path().string().ends_with(ending)) found.push_back(entry.path());
    }
    return found;
  }
};

// The heart of it: at any moment of any workload the process or the machine may
// end, and after a replay everything is as if it had not.
class ShardCrashTest : public ShardRecoveryTest, public ::testing::WithParamInterface<int> {};

TEST_P(ShardCrashTest, AfterAnyCrashTheReplayedShardIsAsBefore) {
  Random random(static_cast<uint64_t>(GetParam()));
  Start();
  for (int life = 0; life < 6; ++life) {
    const uint64_t step_count = 1 + random.Below(25);
    for (uint64_t step = 0; step < step_count; ++step) {
      WriteMany(1 + static_cast<int>(random.Below(4)), &random);
      switch (random.Below(6)) {
        case 0:
          shard_->RequestFlush();
          break;
        case 1:
          shard_->DoIndexWork(1 + random.Below(10));
          break;
        case 2:
          if (random.Below(4) == 0) MakeDurable();
          break;
        default:
          break;
      }
    }
    const LogIndex durable = shard_->DurableIndex();
    const StateHash hash = shard_->CurrentStateHash();
    switch (random.Below(3)) {
      case 0:
        Kill();
        break;
      case 1:
        LosePower();
        break;
      case 2:
        ASSERT_TRUE(shard_->Close().ok());
        Kill();
        break;
    }
    const Status opened = TryStart();
    ASSERT_TRUE(opened.ok()) << opened;
    EXPECT_GE(shard_->AppliedIndex(), durable);
    EXPECT_LE(shard_->AppliedIndex(), last());
    Replay();
    EXPECT_EQ(shard_->CurrentStateHash(), hash);
    ExpectEqualToModel();
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, ShardCrashTest, ::testing::Range(1, 9));

TEST_F(ShardRecoveryTest, AClosedShardHasNothingToReplay) {
  Random random(1);
  Start();
  WriteMany(30, &random);
  ASSERT_TRUE(shard_->Close().ok());
  EXPECT_EQ(shard_->DurableIndex(), last());
  LosePower();
  ASSERT_EQ(TryStart(), OkStatus());
  EXPECT_EQ(shard_->AppliedIndex(), last());
  ExpectEqualToModel();
}

TEST_F(ShardRecoveryTest, NothingIsDurableBeforeItIsFlushedAndCheckpointed) {
  Random random(2);
  Start();
  WriteMany(10, &random);
  EXPECT_EQ(shard_->DurableIndex(), LogIndex(0));
  MakeDurable();
  EXPECT_EQ(shard_->DurableIndex(), LogIndex(10));
  WriteMany(5, &random);
  EXPECT_EQ(shard_->DurableIndex(), LogIndex(10));
}

TEST_F(ShardRecoveryTest, ReadsWaitUntilTheIndexHasCaughtUp) {
  Random random(3);
  options_.checkpoint_changed_min = 1'000'000;  // the first checkpoint stays the only one
  Start();
  WriteMany(10, &random);
  MakeDurable();
  WriteMany(20, &random);
  shard_->RequestFlush();  // flushes the store
  background_.Stop();
  Kill();
  ASSERT_EQ(TryStart(), OkStatus());
  EXPECT_EQ(shard_->AppliedIndex(), LogIndex(10));
  EXPECT_EQ(shard_->ServeableIndex(), LogIndex(30));
  EXPECT_FALSE(shard_->Serveable());
  SearchQuery query;
  query.vector.assign(8, 0);
  EXPECT_EQ(ReasonOf(shard_->Search(query, {}).status()), Reason::kUnavailable);
  EXPECT_EQ(ReasonOf(shard_->Scroll({}, {}).status()), Reason::kUnavailable);
  EXPECT_EQ(ReasonOf(shard_->Get(std::vector<PointId>{PointId(1)}, {}).status()),
            Reason::kUnavailable);
  ASSERT_TRUE(ApplyLog(11, 29).ok());
  EXPECT_FALSE(shard_->Serveable());
  ASSERT_TRUE(ApplyLog(30, 30).ok());
  ExpectEqualToModel();
}

TEST_F(ShardRecoveryTest, ADamagedIndexCheckpointIsBuiltAgainFromTheStore) {
  Random random(4);
  Start();
  WriteMany(60, &random);
  ASSERT_TRUE(shard_->Close().ok());
  Kill();
  for (const char* name : {".hnsw", "ids", "MANIFEST"}) {
    const auto files = FilesEnding(StateDir() + "/index", name);
    ASSERT_FALSE(files.empty()) << name;
    for (const fs::path& file : files) FlipByte(file, fs::file_size(file) / 2);
    ASSERT_EQ(TryStart(), OkStatus()) << name;
    EXPECT_EQ(shard_->AppliedIndex(), last());
    ExpectEqualToModel();
    WriteMany(5, &random);
    ASSERT_TRUE(shard_->Close().ok());
    Kill();
  }
  fs::remove_all(StateDir() + "/index");
  ASSERT_EQ(TryStart(), OkStatus());
  EXPECT_EQ(shard_->AppliedIndex(), last());
  ExpectEqualToModel();
}

// What a start reads, it checks.
TEST_F(ShardRecoveryTest, AStoreWhoseStateTablesOrSizesAreDamagedIsRefusedByName) {
  Random random(5);
  options_.vectors[0].dimension = 100;  // kept in blob files
  Start();
  WriteMany(60, &random);
  ASSERT_TRUE(shard_->Close().ok());
  Kill();
  const auto expect_refused = [&](const fs::path& file) {
    const Status status = TryStart();
    EXPECT_EQ(ReasonOf(status), Reason::kCorruption) << file << ": " << status;
    EXPECT_THAT(Message(status), HasSubstr(file.string()));
  };
  const std::string store = StateDir() + "/store";
  for (const fs::path& table : FilesEnding(store, ".sst")) {
    const uint64_t size = fs::file_size(table);
    FlipByte(table, size - 5);
    expect_refused(table);
    FlipByte(table, size - 5);
  }
  for (const fs::path& blob : FilesEnding(store, ".blob")) {
    const uint64_t size = fs::file_size(blob);
    fs::resize_file(blob, size + 1);
    expect_refused(blob);
    fs::resize_file(blob, size);
  }
  // The shard's own state is in one of the tables, near its begin.
  for (const fs::path& table : FilesEnding(store, ".sst")) FlipByte(table, 3);
  const Status status = TryStart();
  EXPECT_EQ(ReasonOf(status), Reason::kCorruption) << status;
  EXPECT_THAT(Message(status), HasSubstr(store));
  for (const fs::path& table : FilesEnding(store, ".sst")) FlipByte(table, 3);
  Start();
  ExpectEqualToModel();
}

// What it does not read is found behind it.
TEST_F(ShardRecoveryTest, ScrubFindsDamageAndTheShardServesNoMore) {
  Random random(13);
  options_.vectors[0].dimension = 100;
  Start();
  WriteMany(60, &random);
  ASSERT_TRUE(shard_->Close().ok());
  const auto scrub_all = [&]() -> Status {
    while (true) {
      VECTRON_ASSIGN_OR_RETURN(const Shard::ScrubPiece piece, shard_->Scrub(1));
      if (piece.is_last) return OkStatus();
    }
  };
  EXPECT_TRUE(scrub_all().ok());
  EXPECT_TRUE(scrub_all().ok());
  Kill();
  const fs::path blob = FilesEnding(StateDir() + "/store", ".blob").front();
  FlipByte(blob, 30 + 200);  // in the first value
  Start();
  SearchQuery query;
  query.vector.assign(100, 0);
  EXPECT_TRUE(shard_->Search(query, {}).ok());
  EXPECT_TRUE(shard_->Damage().ok());

  const auto expect_damage = [&](const Status& status) {
    EXPECT_EQ(ReasonOf(status), Reason::kCorruption) << status;
    EXPECT_THAT(Message(status), HasSubstr(blob.string()));
    EXPECT_THAT(Message(status), HasSubstr("at offset 30"));
  };
  expect_damage(scrub_all());
  expect_damage(shard_->Damage());
  expect_damage(shard_->Scrub(1).status());
  expect_damage(shard_->Search(query, {}).status());
  expect_damage(shard_->Get(std::vector<PointId>{PointId(1)}, kAll).status());
  expect_damage(shard_->Scroll({}, {}).status());
  expect_damage(shard_->SaveSnapshot(dir_.Join("snapshot")).status());
  expect_damage(shard_->Close());
  const std::string command = log_[0].command;
  const consensus::CommittedEntry entry{Next(last()), Term(1), {}, command};
  expect_damage(shard_->Apply({&entry, 1}).status());

  // Nor in its next life, before the file is whole again.
  Kill();
  expect_damage(TryStart());
  expect_damage(TryStart());
  FlipByte(blob, 30 + 200);
  Start();
  EXPECT_TRUE(scrub_all().ok());
  ExpectEqualToModel();
}

TEST_F(ShardRecoveryTest, AReadThatMeetsDamageIsCorruptionAndEndsTheService) {
  options_.vectors[0].dimension = 100;
  Start();
  for (uint64_t id = 0; id < 20; ++id) {
    ASSERT_TRUE(
        Upsert({{PointId(id), {{"", std::vector<float>(100, static_cast<float>(id) + 1)}}, ""}})
            .ok());
  }
  ASSERT_TRUE(shard_->Close().ok());
  Kill();
  FlipByte(FilesEnding(StateDir() + "/store", ".blob").front(), 30 + 200);  // of id 0
  Start();
  const auto get = [&](uint64_t id) {
    return shard_->Get(std::vector<PointId>{PointId(id)}, kAll).status();
  };
  EXPECT_TRUE(get(1).ok());
  EXPECT_EQ(ReasonOf(get(0)), Reason::kCorruption) << get(0);
  EXPECT_THAT(Message(get(0)), HasSubstr(StateDir() + "/store"));
  EXPECT_EQ(ReasonOf(get(1)), Reason::kCorruption);
  EXPECT_EQ(ReasonOf(shard_->Damage()), Reason::kCorruption);
  Kill();
  EXPECT_EQ(ReasonOf(TryStart()), Reason::kCorruption);
}

TEST_F(ShardRecoveryTest, ASnapshotIsVerifiedWholeBeforeItIsAdopted) {
  options_.vectors[0].dimension = 100;
  Random random(15);
  Start();
  WriteMany(40, &random);
  ASSERT_TRUE(shard_->SaveSnapshot(dir_.Join("snapshot")).ok());
  FlipByte(FilesEnding(dir_.Join("snapshot"), ".blob").front(), 30 + 200);
  const Status status = shard_->RestoreSnapshot(dir_.Join("snapshot"));
  EXPECT_EQ(ReasonOf(status), Reason::kCorruption) << status;
  EXPECT_THAT(Message(status), HasSubstr("at offset 30"));
  ExpectEqualToModel();
}

TEST_F(ShardRecoveryTest, AMissingStoreIsNotTakenForAnEmptyOne) {
  Random random(12);
  Start();
  WriteMany(5, &random);
  ASSERT_TRUE(shard_->Close().ok());
  Kill();
  const std::string current = options_.dir + "/CURRENT";
  fs::rename(current, current + ".away");
  EXPECT_EQ(ReasonOf(TryStart()), Reason::kCorruption);
  fs::rename(current + ".away", current);
  const std::string store = StateDir() + "/store";
  fs::rename(store, store + ".away");
  const Status status = TryStart();
  EXPECT_EQ(ReasonOf(status), Reason::kCorruption) << status;
  EXPECT_THAT(Message(status), HasSubstr(store + "/CURRENT is missing"));
  fs::remove_all(store);
  fs::rename(store + ".away", store);
  Start();
  ExpectEqualToModel();
}

TEST_F(ShardRecoveryTest, AShardThatMustExistIsNotMade) {
  Random random(13);
  Start();
  WriteMany(5, &random);
  ASSERT_TRUE(shard_->Close().ok());
  Kill();
  options_.must_exist = true;
  // All of it, what says which state is the present one, or that state.
  for (const std::string& path : {options_.dir, options_.dir + "/CURRENT", StateDir()}) {
    const std::string away = dir_.Join("away");
    fs::rename(path, away);
    for (int i = 0; i < 2; ++i) {
      const Status status = TryStart();
      EXPECT_EQ(ReasonOf(status), Reason::kCorruption) << status;
      EXPECT_THAT(Message(status), HasSubstr(path + " is missing"));
    }
    EXPECT_FALSE(fs::exists(path));
    fs::rename(away, path);
  }
  Start();
  ExpectEqualToModel();
  Kill();
  // As a crash before the first state was there leaves it.
  options_.dir = dir_.Join("new");
  options_.must_exist = false;
  Start();
  Kill();
  fs::remove_all(options_.dir + "/state-1");
  options_.must_exist = true;
  EXPECT_EQ(ReasonOf(TryStart()), Reason::kCorruption);
}

TEST_F(ShardRecoveryTest, ADirectoryOfANewerFormatIsRefused) {
  Start();
  Kill();
  ASSERT_TRUE(
      WriteFileAtomically(options_.dir + "/CURRENT", WrapWithChecksum("VTRNSHRD", 2, "1")).ok());
  EXPECT_EQ(ReasonOf(TryStart()), Reason::kIncompatibleFormat);
}

TEST_F(ShardRecoveryTest, AStoreOfANewerFormatIsRefused) {
  Start();
  const std::string dir = StateDir() + "/store";
  Kill();
  {
    auto store = Store::Open({dir, options_.vectors, 1 << 20}, resources_);
    ASSERT_TRUE(store.ok()) << store.status();
    storage::WriteBatch batch((*store)->database());
    batch.Put(Store::kMeta, "format", std::string("\x02\0\0\0\0\0\0\0", 8));
    ASSERT_TRUE((*store)->database().Write(batch).ok());
    ASSERT_TRUE((*store)->database().Flush().ok());
  }
  const Status status = TryStart();
  EXPECT_EQ(ReasonOf(status), Reason::kIncompatibleFormat) << status;
  EXPECT_THAT(Message(status), HasSubstr(dir));
}

TEST_F(ShardRecoveryTest, VectorsMayBeAddedButNotAltered) {
  Random random(6);
  Start();
  WriteMany(20, &random);
  MakeDurable();
  Kill();
  const ShardOptions original = options_;
  options_.vectors[1].dimension = 4;
  Status status = TryStart();
  EXPECT_EQ(ReasonOf(status), Reason::kIncompatibleFormat);
  EXPECT_THAT(Message(status), HasSubstr("\"small\""));
  options_ = original;
  options_.vectors.pop_back();
  EXPECT_EQ(ReasonOf(TryStart()), Reason::kIncompatibleFormat);

  options_ = original;
  options_.vectors.insert(options_.vectors.begin(), {.name = "new", .dimension = 2});
  ASSERT_EQ(TryStart(), OkStatus());
  Replay();
  std::swap(options_.vectors[0], options_.vectors[1]);  // ExpectEqualToModel looks at the first
  ExpectEqualToModel();
  ASSERT_TRUE(Upsert({{PointId(1), {{"new", {1, 2}}, {"small", {1, 1, 1}}}, ""}}).ok());
  Kill();
  Start();
  ExpectEqualToModel();
}

TEST_F(ShardRecoveryTest, AShardIsOpenOnlyOnce) {
  Start();
  const auto second = Shard::Open(options_, Environment());
  EXPECT_EQ(ReasonOf(second.status()), Reason::kUnavailable) << second.status();
}

TEST_F(ShardRecoveryTest, AFullDiskRefusesWritesKeepsReadsAndResumes) {
  Random random(7);
  Start();
  WriteMany(20, &random);
  MakeDurable();
  WriteMany(10, &random);
  disk_.SetFull(true);
  shard_->RequestFlush();
  Mutex mutex;
  CondVar never;
  MutexLock lock(mutex);
  while (shard_->StoreHealth().ok()) never.WaitFor(mutex, std::chrono::milliseconds(5));
  EXPECT_EQ(ReasonOf(shard_->StoreHealth()), Reason::kDiskFull);
  // The entry is committed; it fails as a whole, and is applied when there is room.
  const WriteSession session{.session = 5, .sequence = 1};
  Point point = MakePoint(PointId(1), &random);
  EXPECT_EQ(ReasonOf(Write(UpsertPoints{{point}}, session).status()), Reason::kDiskFull);
  EXPECT_EQ(shard_->AppliedIndex(), LogIndex(30));
  EXPECT_EQ(shard_->SeenIndex(), LogIndex(30));
  EXPECT_EQ(shard_->DurableIndex(), LogIndex(20));
  EXPECT_TRUE(shard_->Scroll({}, kAll).ok());

  disk_.SetFull(false);
  while (!shard_->StoreHealth().ok()) {
    shard_->Tick();
    never.WaitFor(mutex, std::chrono::milliseconds(20));
  }
  const auto applied = ApplyLog(31, 31);
  ASSERT_TRUE(applied.ok()) << applied.status();
  EXPECT_TRUE(applied->front().ok());
  MakeDurable();
  ExpectEqualToModel();
  Kill();
  Start();
  ExpectEqualToModel();
}

TEST_F(ShardRecoveryTest, ASnapshotMakesAnotherShardTheSame) {
  Random random(8);
  Start();
  WriteMany(80, &random);
  LinkAll();
  const auto saved = shard_->SaveSnapshot(dir_.Join("snapshot"));
  ASSERT_TRUE(saved.ok()) << saved.status();
  EXPECT_EQ(*saved, LogIndex(80));
  WriteMany(10, &random);

  ShardOptions options = options_;
  options.dir = dir_.Join("other");
  auto other = Shard::Open(options, Environment());
  ASSERT_TRUE(other.ok()) << other.status();
  // It had a state of its own.
  const std::string command = log_[0].command;
  const consensus::CommittedEntry entry{LogIndex(1), Term(1), {}, command};
  ASSERT_TRUE((*other)->Apply({&entry, 1}).ok());
  const Status restored = (*other)->RestoreSnapshot(dir_.Join("snapshot"));
  ASSERT_TRUE(restored.ok()) << restored;
  EXPECT_EQ((*other)->AppliedIndex(), LogIndex(80));
  EXPECT_EQ((*other)->DurableIndex(), LogIndex(80));
  EXPECT_TRUE(fs::exists(dir_.Join("snapshot")));
  EXPECT_FALSE(fs::exists(options.dir + "/state-1"));

  std::vector<consensus::CommittedEntry> entries;
  for (uint64_t index = 81; index <= 90; ++index) {
    entries.push_back({LogIndex(index), Term(1), {}, log_[index - 1].command});
  }
  ASSERT_TRUE((*other)->Apply(entries).ok());
  EXPECT_EQ((*other)->CurrentStateHash(), shard_->CurrentStateHash());
  ExpectEqualToModel(**other);
  // The original is not disturbed, and the copy lives on without it.
  ExpectEqualToModel();
  ASSERT_TRUE((*other)->Close().ok());
  other->reset();
  fs::remove_all(dir_.Join("snapshot"));
  other = Shard::Open(options, Environment());
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ((*other)->AppliedIndex(), LogIndex(90));
  ExpectEqualToModel(**other);
}

TEST_F(ShardRecoveryTest, ABadSnapshotLeavesTheShardAsItWas) {
  Random random(9);
  Start();
  WriteMany(20, &random);
  EXPECT_FALSE(shard_->RestoreSnapshot(dir_.Join("nothing")).ok());
  ExpectEqualToModel();
  ASSERT_TRUE(shard_->SaveSnapshot(dir_.Join("snapshot")).ok());
  for (const fs::path& file : FilesEnding(dir_.Join("snapshot"), ".sst")) {
    FlipByte(file, fs::file_size(file) - 5);
  }
  const Status status = shard_->RestoreSnapshot(dir_.Join("snapshot"));
  EXPECT_EQ(ReasonOf(status), Reason::kCorruption) << status;
  WriteMany(5, &random);
  ExpectEqualToModel();
  Kill();
  Start();
  ExpectEqualToModel();
}

TEST_F(ShardRecoveryTest, AnInterruptedRestoreOrCheckpointIsCleanedUp) {
  Random random(10);
  Start();
  WriteMany(20, &random);
  ASSERT_TRUE(shard_->Close().ok());
  const std::string state = StateDir();
  Kill();
  fs::create_directories(options_.dir + "/state-2/store");
  std::ofstream(options_.dir + "/state-2/store/CURRENT") << "half";
  fs::create_directories(state + "/index/unfinished");
  std::ofstream(state + "/index/unfinished/0.hnsw") << "half";
  Start();
  EXPECT_FALSE(fs::exists(options_.dir + "/state-2"));
  EXPECT_FALSE(fs::exists(state + "/index/unfinished"));
  ExpectEqualToModel();
}

// A checkpoint in the middle of a load would have few links.
TEST_F(ShardRecoveryTest, ACheckpointWaitsForVectorsToBeLinked) {
  Random random(16);
  options_.checkpoint_wait_max = std::chrono::hours(1);
  Start();
  WriteMany(60, &random);
  shard_->RequestFlush();
  shard_->Tick();
  background_.Stop();
  EXPECT_EQ(shard_->DurableIndex(), LogIndex(0));
  // Nothing was lost by that.
  Kill();
  Start();
  EXPECT_GT(PendingCount(), 0u);
  ExpectEqualToModel();
}

TEST_F(ShardRecoveryTest, LinksThatACheckpointLacksMakeANewOne) {
  Random random(17);
  options_.checkpoint_interval = std::chrono::hours(1);
  Start();
  WriteMany(60, &random);
  const uint64_t pending_count = PendingCount();
  ASSERT_GT(pending_count, 10u);
  MakeDurable();
  Kill();
  Start();
  EXPECT_EQ(PendingCount(), pending_count);
  LinkAll();
  // No vector has changed, but many were linked.
  shard_->Tick();
  background_.Stop();
  Kill();
  Start();
  EXPECT_EQ(PendingCount(), 0u);
  ExpectEqualToModel();
}

TEST_F(ShardRecoveryTest, ClosingKeepsLinksThatTheCheckpointLacks) {
  Random random(18);
  Start();
  WriteMany(60, &random);
  MakeDurable();
  LinkAll();
  ASSERT_TRUE(shard_->Close().ok());
  Kill();
  Start();
  EXPECT_EQ(PendingCount(), 0u);
  ExpectEqualToModel();
}

TEST_F(ShardRecoveryTest, OldCheckpointsAreRemovedAndRareChangesDoNotMakeNewOnes) {
  Random random(11);
  options_.checkpoint_changed_min = 10;
  options_.checkpoint_changed_fraction = 0.5;
  Start();
  WriteMany(40, &random);
  MakeDurable();
  WriteMany(1, &random);
  ASSERT_TRUE(Upsert({MakePoint(PointId(1), &random)}).ok());
  for (int i = 0; i < 20; ++i) shard_->RequestFlush();
  background_.Stop();
  EXPECT_EQ(shard_->DurableIndex(), LogIndex(40));
  ASSERT_TRUE(shard_->Close().ok());
  EXPECT_EQ(shard_->DurableIndex(), LogIndex(42));
  EXPECT_EQ(FilesEnding(StateDir() + "/index", "MANIFEST").size(), 1u);
}

}  // namespace
}  // namespace vectron::shard
