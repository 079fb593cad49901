#include "consensus/log/log_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "common/logging.h"
#include "consensus/testing/log_disk.h"
#include "storage/testing/temp_dir.h"

namespace vectron::consensus {
namespace {

using testing::LogDisk;

constexpr GroupId kA{3};
constexpr GroupId kB{4};

std::string Block(Term term, const std::vector<std::string>& data) {
  std::string block;
  for (const std::string& d : data) {
    PutFixed64(term.value(), &block);
    block.push_back(0);
    PutFixed32(0, &block);
    PutFixed32(static_cast<uint32_t>(d.size()), &block);
    block += d;
  }
  return block;
}

class LogStoreTest : public ::testing::Test {
 protected:
  LogStoreTest() {
    options_.dir = "/log";
    EXPECT_TRUE(SetUpLogging("off").ok());
  }
  ~LogStoreTest() override { EXPECT_TRUE(SetUpLogging("warn").ok()); }

  Status TryOpen() {
    store_.reset();
    auto store = LogStore::Open(options_, &disk_);
    if (!store.ok()) return store.status();
    store_ = std::move(*store);
    return OkStatus();
  }

  void Open() {
    const Status opened = TryOpen();
    ASSERT_TRUE(opened.ok()) << opened;
  }

  void Write(LogBatch batch, bool sync = true) {
    if (sync) batch.RequireSync();
    const Status status = store_->Write(batch);
    ASSERT_TRUE(status.ok()) << status;
  }

  // While syncs fail for that reason, and when they no longer do.
  void ExpectAFailedSyncEndsTheLog(Reason reason) {
    LogBatch batch;
    batch.Append(kA, LogIndex(2), Block(Term(1), {"b"}));
    batch.RequireSync();
    disk_.FailSyncs(true, reason);
    EXPECT_EQ(ReasonOf(store_->Write(batch)), Reason::kInternal);
    disk_.FailSyncs(false);
    EXPECT_EQ(ReasonOf(store_->Write(batch)), Reason::kInternal);
  }

  void Append(GroupId group, uint64_t first, uint64_t term, std::vector<std::string> data,
              bool sync = true) {
    LogBatch batch;
    batch.Append(group, LogIndex(first), Block(Term(term), data));
    Write(std::move(batch), sync);
  }

  // The data of entries `first` to `last`, joined by spaces.
  std::string Read(GroupId group, uint64_t first, uint64_t last) {
    std::string result;
    LogIndex next(first);
    while (next <= LogIndex(last)) {
      const auto block = store_->Read(group, next, LogIndex(last), 1);
      if (!block.ok()) return std::string(block.status().message());
      EntryReader reader(block->first, block->bytes);
      while (const auto entry = reader.Next()) {
        result += (result.empty() ? "" : " ") + std::string(entry->data);
      }
      next = Next(block->last);
    }
    return result;
  }

  // Paths, in order.
  std::vector<std::string> Segments() {
    std::vector<std::string> paths = disk_.Files();
    std::erase_if(paths, [](const std::string& path) { return !path.ends_with(".log"); });
    return paths;
  }
  // The only file of the log, or its last one.
  std::string LastFile() { return Segments().back(); }

  LogDisk disk_;
  LogStore::Options options_;
  std::unique_ptr<LogStore> store_;
};

TEST_F(LogStoreTest, EntriesAndStateSurviveReopening) {
  Open();
  Append(kA, 1, 1, {"a", "b", "c"});
  LogBatch batch;
  batch.Append(kB, LogIndex(1), Block(Term(2), {"x"}) + Block(Term(3), {"y", "z"}));
  batch.SetHardState(kB, {Term(3), ReplicaId(2), LogIndex(2)});
  batch.SetMembership(kB, LogIndex(0), "members");
  Write(std::move(batch));
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(store_->Groups(), ::testing::ElementsAre(kA, kB));
    EXPECT_EQ(Read(kA, 1, 3), "a b c");
    EXPECT_EQ(Read(kA, 2, 2), "b");
    EXPECT_EQ(Read(kB, 1, 3), "x y z");
    const auto state = store_->GetState(kB);
    EXPECT_EQ(state->hard_state, (HardState{Term(3), ReplicaId(2), LogIndex(2)}));
    EXPECT_EQ(state->membership, "members");
    EXPECT_EQ(state->last_index, LogIndex(3));
    EXPECT_THAT(state->term_runs, ::testing::ElementsAre(TermRun{LogIndex(1), Term(2)},
                                                         TermRun{LogIndex(2), Term(3)}));
    Open();
  }
  EXPECT_FALSE(store_->GetState(GroupId(9)).has_value());
}

TEST_F(LogStoreTest, AppendReplacesAConflictingSuffix) {
  Open();
  Append(kA, 1, 1, {"a", "b", "c", "d"});
  Append(kA, 3, 2, {"C"});
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(store_->GetState(kA)->last_index, LogIndex(3));
    EXPECT_EQ(Read(kA, 1, 3), "a b C");
    Open();
  }
  Append(kA, 2, 3, {"B"});
  Open();
  EXPECT_EQ(Read(kA, 1, 2), "a B");
}

TEST_F(LogStoreTest, TruncatedEntriesAreGone) {
  Open();
  Append(kA, 1, 1, {"a", "b", "c", "d"});
  LogBatch batch;
  batch.Truncate(kA, LogIndex(2), Term(1));
  Write(std::move(batch));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(store_->GetState(kA)->truncated_index, LogIndex(2));
    EXPECT_EQ(Read(kA, 3, 4), "c d");
    EXPECT_EQ(store_->Read(kA, LogIndex(2), LogIndex(4), 100).status().code(),
              absl::StatusCode::kNotFound);
    Open();
  }
}

TEST_F(LogStoreTest, SnapshotReplacesTheLog) {
  Open();
  Append(kA, 1, 1, {"a", "b"});
  const PendingSnapshot snapshot{LogIndex(50), Term(4), "new members"};
  LogBatch batch;
  batch.SetPendingSnapshot(kA, snapshot);
  Write(std::move(batch));
  Open();
  EXPECT_EQ(store_->GetState(kA)->pending_snapshot, snapshot);
  EXPECT_EQ(Read(kA, 1, 2), "a b");
  LogBatch install;
  install.InstallSnapshot(kA, snapshot);
  Write(std::move(install));
  Append(kA, 51, 4, {"c"});
  Open();
  const auto state = store_->GetState(kA);
  EXPECT_FALSE(state->pending_snapshot.has_value());
  EXPECT_EQ(state->truncated_index, LogIndex(50));
  EXPECT_EQ(state->truncated_term, Term(4));
  EXPECT_EQ(state->membership, "new members");
  EXPECT_EQ(Read(kA, 51, 51), "c");
}

TEST_F(LogStoreTest, DeadSegmentsAreDeletedAndBytesAreWrittenOnce) {
  options_.segment_bytes = 100'000;
  Open();
  const std::string data(10'000, 'x');
  for (uint64_t i = 1; i <= 500; ++i) {
    Append(kA, i, 1, {data});
    if (i % 50 != 0) continue;
    LogBatch batch;
    batch.Truncate(kA, LogIndex(i), Term(1));
    Write(std::move(batch));
  }
  EXPECT_LE(store_->segment_count(), 2u);
  EXPECT_EQ(store_->segment_count(), Segments().size());
  EXPECT_LT(store_->bytes_written(), 500 * 10'000 * 1.02);
}

TEST_F(LogStoreTest, ALogThatFallsSilentAfterATruncationIsSmallAtOnce) {
  options_.segment_bytes = 100'000;
  Open();
  Append(kB, 1, 1, {"old", "older"});
  const std::string data(10'000, 'x');
  for (uint64_t i = 1; i <= 95; ++i) Append(kA, i, 1, {data});
  EXPECT_GT(store_->disk_bytes(), 950'000u);
  // Truncations are not synced for themselves.
  LogBatch batch;
  batch.Truncate(kA, LogIndex(95), Term(1));
  Write(std::move(batch));
  EXPECT_LE(store_->disk_bytes(), 100'000u);
  EXPECT_EQ(store_->segment_count(), Segments().size());
  Open();
  EXPECT_EQ(Read(kB, 1, 2), "old older");
  EXPECT_EQ(store_->GetState(kA)->truncated_index, LogIndex(95));
}

TEST_F(LogStoreTest, FewOldEntriesDoNotKeepManySegments) {
  options_.segment_bytes = 100'000;
  Open();
  Append(kB, 1, 1, {"old", "older"});
  const std::string data(10'000, 'x');
  for (uint64_t i = 1; i <= 300; ++i) {
    LogBatch batch;
    batch.Append(kA, LogIndex(i), Block(Term(1), {data}));
    if (i > 5) batch.Truncate(kA, LogIndex(i - 5), Term(1));
    Write(std::move(batch));
  }
  EXPECT_LE(store_->segment_count(), 6u);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Read(kB, 1, 2), "old older");
    EXPECT_EQ(Read(kA, 300, 300), data);
    Open();
  }
  Append(kB, 2, 2, {"new"});
  Open();
  EXPECT_EQ(Read(kB, 1, 2), "old new");
}

TEST_F(LogStoreTest, DestroyedGroupIsForgotten) {
  Open();
  Append(kA, 1, 1, {"a"});
  LogBatch batch;
  batch.Destroy(kA);
  Write(std::move(batch));
  Open();
  EXPECT_TRUE(store_->Groups().empty());
  Append(kA, 1, 5, {"again"});
  Open();
  EXPECT_EQ(Read(kA, 1, 1), "again");
}

TEST_F(LogStoreTest, UnsyncedRecordsMayBeLostAndSyncedOnesNever) {
  // Every length that the file may have after the power went.
  Open();
  Append(kA, 1, 1, {"first"});
  const uint64_t synced = disk_.SizeOf(LastFile());
  Append(kA, 2, 1, {std::string(3000, 'x')}, false);
  const uint64_t written = disk_.SizeOf(LastFile());
  const auto image = disk_.Copy();
  for (uint64_t size = synced; size <= written; size += 7) {
    disk_.Restore(image);
    disk_.Cut(LastFile(), size);
    Open();
    EXPECT_EQ(Read(kA, 1, 1), "first");
    const LogIndex last = store_->GetState(kA)->last_index;
    EXPECT_EQ(last, LogIndex(size == written ? 2 : 1));
    Append(kA, last.value() + 1, 2, {"next"});
    Open();
    EXPECT_EQ(Read(kA, last.value() + 1, last.value() + 1), "next");
  }
}

TEST_F(LogStoreTest, PartlyWrittenLastRecordIsDropped) {
  Open();
  Append(kA, 1, 1, {"first"});
  const uint64_t synced = disk_.SizeOf(LastFile());
  Append(kA, 2, 1, {std::string(5000, 'x')}, false);
  // A sector in its middle never reached the disk.
  disk_.Overwrite(LastFile(), (synced / 512 + 3) * 512, std::string(512, '\0'));
  Open();
  EXPECT_EQ(store_->GetState(kA)->last_index, LogIndex(1));
}

TEST_F(LogStoreTest, EveryFlippedByteOfASyncedRecordIsFound) {
  Open();
  Append(kA, 1, 1, {"first entry", "second entry"});
  Append(kB, 1, 1, {"other"});
  const auto image = disk_.Copy();
  const std::string file = LastFile();
  for (uint64_t at = 0; at < disk_.SizeOf(file); ++at) {
    disk_.Restore(image);
    disk_.Flip(file, at);
    const Status status = TryOpen();
    ASSERT_FALSE(status.ok()) << "byte " << at;
    const Reason reason = ReasonOf(status);
    EXPECT_TRUE(reason == Reason::kCorruption) << at << ": " << status;
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(file));
  }
}

TEST_F(LogStoreTest, AFlipInTheLastRecordIsFoundAlsoWhereTheDataIsZeros) {
  // In each of its sectors, the part of a sector at its end too, for several lengths.
  for (const size_t bytes : {5000, 5001, 5120, 5330, 5336, 5341, 5400}) {
    disk_.Restore({});
    Open();
    Append(kA, 1, 1, {"first"});
    const std::string file = LastFile();
    const uint64_t start = disk_.SizeOf(file);
    Append(kA, 2, 1, {std::string(bytes, '\0')});
    const uint64_t end = disk_.SizeOf(file);
    const auto image = disk_.Copy();
    const auto expect_found = [&](uint64_t at) {
      disk_.Restore(image);
      disk_.Flip(file, at);
      const Status status = TryOpen();
      ASSERT_EQ(ReasonOf(status), Reason::kCorruption) << "byte " << at << " of " << end;
      EXPECT_THAT(std::string(status.message()),
                  ::testing::AllOf(::testing::HasSubstr(file),
                                   ::testing::HasSubstr("offset " + std::to_string(start))));
    };
    for (uint64_t at = start; at < end; at += 100) expect_found(at);
    expect_found(end - 1);
  }
}

TEST_F(LogStoreTest, ARecordOfZerosThatWasTornIsDropped) {
  Open();
  Append(kA, 1, 1, {"first"});
  const uint64_t synced = disk_.SizeOf(LastFile());
  Append(kA, 2, 1, {std::string(5000, '\0')}, false);
  const auto image = disk_.Copy();
  for (uint64_t sector = synced / 512 + 1; sector <= (synced + 5000) / 512; ++sector) {
    disk_.Restore(image);
    const uint64_t size = disk_.SizeOf(LastFile());
    disk_.Overwrite(LastFile(), sector * 512,
                    std::string(std::min<uint64_t>(512, size - sector * 512), '\0'));
    Open();
    EXPECT_EQ(store_->GetState(kA)->last_index, LogIndex(1));
  }
}

TEST_F(LogStoreTest, CorruptionNamesFilePlaceAndGroup) {
  Open();
  Append(kA, 1, 1, {"first entry"});
  const uint64_t start = disk_.SizeOf(LastFile());
  Append(kA, 2, 1, {"second entry"});
  Append(kB, 1, 1, {"other"});
  disk_.Flip(LastFile(), start + kRecordHeaderBytes + 70);
  const Status status = TryOpen();
  EXPECT_EQ(ReasonOf(status), Reason::kCorruption);
  EXPECT_THAT(std::string(status.message()),
              ::testing::AllOf(::testing::HasSubstr(LastFile()),
                               ::testing::HasSubstr("offset " + std::to_string(start)),
                               ::testing::HasSubstr("entries 2 to 2 of group 3")));
}

TEST_F(LogStoreTest, DamageWhileOpenIsFoundByReading) {
  Open();
  Append(kA, 1, 1, {"first entry"});
  disk_.Flip(LastFile(), disk_.SizeOf(LastFile()) - 12);
  const auto block = store_->Read(kA, LogIndex(1), LogIndex(1), 100);
  EXPECT_EQ(ReasonOf(block.status()), Reason::kCorruption);
  EXPECT_THAT(std::string(block.status().message()), ::testing::HasSubstr("group 3"));
}

TEST_F(LogStoreTest, MissingSegmentIsCorruption) {
  options_.segment_bytes = 1000;
  Open();
  for (uint64_t i = 1; i <= 10; ++i) Append(kA, i, 1, {std::string(600, 'x')});
  const auto files = Segments();
  ASSERT_GE(files.size(), 4u);
  ASSERT_TRUE(disk_.Remove(files[1]).ok());
  EXPECT_EQ(ReasonOf(TryOpen()), Reason::kCorruption);
}

TEST_F(LogStoreTest, LostFirstSegmentIsAHole) {
  options_.segment_bytes = 1000;
  Open();
  for (uint64_t i = 1; i <= 10; ++i) Append(kA, i, 1, {std::string(600, 'x')});
  ASSERT_TRUE(disk_.Remove(Segments()[0]).ok());
  const Status status = TryOpen();
  EXPECT_EQ(ReasonOf(status), Reason::kCorruption);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("group 3"));
}

TEST_F(LogStoreTest, CommittedEntriesThatAreMissingAreCorruption) {
  Open();
  LogBatch batch;
  batch.SetHardState(kA, {Term(1), ReplicaId(1), LogIndex(5)});
  Write(std::move(batch));
  const Status status = TryOpen();
  EXPECT_EQ(ReasonOf(status), Reason::kCorruption);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("were committed"));
}

TEST_F(LogStoreTest, OtherFormatIsRefused) {
  Open();
  const std::string header = EncodeSegmentHeader(1);
  std::string other = header.substr(0, 8);
  PutFixed32(kLogFormatVersion + 1, &other);
  other += header.substr(12, 12);
  PutFixed64(ChecksumOf(other), &other);
  disk_.Overwrite(LastFile(), 0, other);
  EXPECT_EQ(ReasonOf(TryOpen()), Reason::kIncompatibleFormat);
}

TEST_F(LogStoreTest, FullDiskIsSaidAndNothingIsLost) {
  Open();
  Append(kA, 1, 1, {"a"});
  LogBatch batch;
  batch.Append(kA, LogIndex(2), Block(Term(1), {std::string(10'000, 'x')}));
  batch.RequireSync();
  disk_.SetRoom(5000);
  EXPECT_EQ(ReasonOf(store_->Write(batch)), Reason::kDiskFull);
  EXPECT_EQ(ReasonOf(store_->Write(batch)), Reason::kDiskFull);
  EXPECT_EQ(Read(kA, 1, 1), "a");
  EXPECT_EQ(store_->GetState(kA)->last_index, LogIndex(1));
  disk_.SetRoom(1 << 20);
  EXPECT_TRUE(store_->Write(batch).ok());
  Open();
  EXPECT_EQ(store_->GetState(kA)->last_index, LogIndex(2));
}

TEST_F(LogStoreTest, FullDiskAtASegmentsEndIsSaid) {
  options_.segment_bytes = 1000;
  Open();
  Append(kA, 1, 1, {std::string(2000, 'x')});
  LogBatch batch;
  batch.Append(kA, LogIndex(2), Block(Term(1), {"b"}));
  batch.RequireSync();
  // The last ones are enough for the segment, but not for its note.
  for (const uint64_t room : {0, 10, 40, 100, 180, 0, 10}) {
    disk_.SetRoom(room);
    EXPECT_EQ(ReasonOf(store_->Write(batch)), Reason::kDiskFull) << room;
  }
  EXPECT_EQ(Segments().size(), 2u);
  disk_.SetRoom(1 << 20);
  EXPECT_TRUE(store_->Write(batch).ok());
  Open();
  EXPECT_EQ(Read(kA, 2, 2), "b");
}

TEST_F(LogStoreTest, FailedSyncEndsTheLog) {
  Open();
  Append(kA, 1, 1, {"a"});
  ExpectAFailedSyncEndsTheLog(Reason::kInternal);
  EXPECT_EQ(Read(kA, 1, 1), "a");
}

// A file system that finds no room only when it syncs may have dropped the pages: the next
// sync says nothing of them.
TEST_F(LogStoreTest, ASyncThatFindsNoRoomEndsTheLogToo) {
  Open();
  Append(kA, 1, 1, {"a"});
  ExpectAFailedSyncEndsTheLog(Reason::kDiskFull);
  EXPECT_EQ(Read(kA, 1, 1), "a");
}

TEST_F(LogStoreTest, ASyncOfAFullSegmentThatFindsNoRoomEndsTheLogToo) {
  options_.segment_bytes = 1000;
  Open();
  Append(kA, 1, 1, {std::string(2000, 'x')}, /*sync=*/false);
  ExpectAFailedSyncEndsTheLog(Reason::kDiskFull);
  EXPECT_EQ(Segments().size(), 1u);
}

TEST_F(LogStoreTest, APartOfARecordThatCannotBeRemovedEndsTheLog) {
  Open();
  Append(kA, 1, 1, {"a"});
  LogBatch batch;
  batch.Append(kA, LogIndex(2), Block(Term(1), {std::string(10'000, 'x')}));
  batch.RequireSync();
  disk_.SetRoom(5000);
  disk_.FailTruncations(true);
  EXPECT_EQ(ReasonOf(store_->Write(batch)), Reason::kInternal);
  disk_.SetRoom(1 << 20);
  disk_.FailTruncations(false);
  EXPECT_EQ(ReasonOf(store_->Write(batch)), Reason::kInternal);
  // The next start drops it.
  Open();
  EXPECT_EQ(Read(kA, 1, 1), "a");
  EXPECT_EQ(store_->GetState(kA)->last_index, LogIndex(1));
}

TEST_F(LogStoreTest, EveryOpeningHasAnIncarnationOfItsOwn) {
  Open();
  const uint64_t first = store_->incarnation();
  Open();
  const uint64_t second = store_->incarnation();
  Open();
  EXPECT_LT(first, second);
  EXPECT_LT(second, store_->incarnation());
}

TEST_F(LogStoreTest, LargeEntryIsReadBack) {
  testing::TempDir dir;
  options_.dir = dir.Join("log");
  auto store = LogStore::Open(options_, &SystemLogFileSystem());
  ASSERT_TRUE(store.ok()) << store.status();
  const std::string large(64 << 20, 'y');
  LogBatch batch;
  batch.Append(kA, LogIndex(1), Block(Term(1), {large, "small"}));
  batch.RequireSync();
  ASSERT_TRUE((*store)->Write(batch).ok());
  store->reset();
  store = LogStore::Open(options_, &SystemLogFileSystem());
  ASSERT_TRUE(store.ok()) << store.status();
  const auto block = (*store)->Read(kA, LogIndex(1), LogIndex(2), 1);
  ASSERT_TRUE(block.ok());
  EXPECT_EQ(EntryReader(LogIndex(1), block->bytes).Next()->data, large);
  EXPECT_EQ(block->last, LogIndex(1));
}

}  // namespace
}  // namespace vectron::consensus
