#include "index/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "common/random.h"
#include "index/checkpoint/checkpoint_format.h"
#include "index/testing/fixtures.h"

namespace vectron::index {
namespace {

using testing::ByteVectors;
using testing::ClusteredVectors;
using testing::ConsolidateAll;
using ::testing::HasSubstr;
using testing::LinkAll;
using testing::MakeIndex;
using testing::PutAll;
using testing::ReadFile;
using testing::RecallAt10;
using testing::TempFile;
using testing::Vectors;
using testing::WriteFile;

IndexOptions OptionsOf(uint32_t dimension, Metric metric = Metric::kL2,
                       Quantization quantization = Quantization::kSq8) {
  IndexOptions options;
  options.dimension = dimension;
  options.metric = metric;
  options.quantization = quantization;
  return options;
}

void Write(VectorIndex& index, const std::string& path) {
  const auto watermark = index.Cut();
  ASSERT_TRUE(index.WriteCheckpoint(*watermark, path, 0).ok());
}

std::map<Slot, std::pair<uint64_t, std::vector<float>>> ContentOf(const VectorIndex& index) {
  std::map<Slot, std::pair<uint64_t, std::vector<float>>> content;
  index.ForEachLive([&](Slot slot, uint64_t label) {
    content[slot] = {label, index.GetVector(slot).value()};
  });
  return content;
}

// An index with something of everything: linked, deleted, free and pending slots.
std::unique_ptr<VectorIndex> MixedIndex(const IndexOptions& options, bool bytes) {
  auto index = MakeIndex(options);
  const auto make = [&](size_t count, uint64_t seed) {
    return bytes ? ByteVectors(count, options.dimension, seed)
                 : ClusteredVectors(count, options.dimension, seed);
  };
  auto slots = PutAll(*index, make(1500, 1));
  LinkAll(*index);
  for (size_t i = 0; i < 300; ++i) index->Delete(slots[i * 3]);
  ConsolidateAll(*index);
  EXPECT_EQ(index->Stats().deleted_count, 0u);
  PutAll(*index, make(120, 2));
  index->LinkPending(70);
  for (size_t i = 0; i < 30; ++i) index->Delete(slots[i * 3 + 1]);
  return index;
}

TEST(Checkpoint, GivesBackWhatWasThere) {
  for (const Metric metric : kMetrics) {
    for (const Quantization quantization : {Quantization::kSq8, Quantization::kNone}) {
      for (const bool bytes : {false, true}) {
        const IndexOptions options = OptionsOf(20, metric, quantization);
        const auto index = MixedIndex(options, bytes);
        const TempFile file;
        Write(*index, file.path());
        const auto loaded = VectorIndex::Load(options, file.path());
        ASSERT_TRUE(loaded.ok()) << loaded.status();
        EXPECT_EQ(ContentOf(**loaded), ContentOf(*index));
        const IndexStats before = index->Stats();
        const IndexStats after = (*loaded)->Stats();
        EXPECT_EQ(after.live_count, before.live_count);
        EXPECT_EQ(after.deleted_count, before.deleted_count);
        EXPECT_EQ(after.pending_count, before.pending_count);
        EXPECT_EQ(after.slot_count, before.slot_count);
        const Vectors queries = bytes ? ByteVectors(50, 20, 3) : ClusteredVectors(50, 20, 3);
        EXPECT_NEAR(RecallAt10(**loaded, queries, 64), RecallAt10(*index, queries, 64), 0.01);

        // And it goes on: everything can be linked, deleted and used again.
        LinkAll(**loaded);
        EXPECT_EQ((*loaded)->Stats().pending_count, 0u);
        const auto slot = (*loaded)->Put(queries[0], 5);
        ASSERT_TRUE(slot.ok());
        EXPECT_LT(*slot, before.slot_count);
        LinkAll(**loaded);
        (*loaded)->Delete(*slot);
        EXPECT_GE(RecallAt10(**loaded, queries, 200), 0.97);
      }
    }
  }
}

// Flags, labels, vectors, ranges and links: what is loaded is what was written. (The first file
// may hold links that a reader drops.)
TEST(Checkpoint, WrittenAgainItIsTheSame) {
  for (const Metric metric : kMetrics) {
    for (const bool bytes : {false, true}) {
      const IndexOptions options = OptionsOf(20, metric);
      const TempFile files[3];
      Write(*MixedIndex(options, bytes), files[0].path());
      for (size_t i = 0; i + 1 < 3; ++i) {
        const auto loaded = VectorIndex::Load(options, files[i].path());
        ASSERT_TRUE(loaded.ok()) << loaded.status();
        Write(**loaded, files[i + 1].path());
      }
      EXPECT_EQ(ReadFile(files[1].path()).size(), ReadFile(files[0].path()).size());
      EXPECT_TRUE(ReadFile(files[2].path()) == ReadFile(files[1].path()));
    }
  }
}

TEST(Checkpoint, HoldsTheMomentOfTheCut) {
  const IndexOptions options = OptionsOf(16);
  const auto index = MixedIndex(options, false);
  const auto watermark = index->Cut();
  const auto expected = ContentOf(*index);
  // Everything changes afterwards, over and over.
  std::vector<Slot> slots;
  for (const auto& [slot, content] : expected) slots.push_back(slot);
  for (uint64_t round = 0; round < 3; ++round) {
    for (const Slot slot : slots) index->Delete(slot);
    slots = PutAll(*index, ClusteredVectors(500, 16, 10 + round));
    LinkAll(*index);
    ConsolidateAll(*index);
  }
  const TempFile file;
  ASSERT_TRUE(index->WriteCheckpoint(*watermark, file.path(), 0).ok());
  const auto loaded = VectorIndex::Load(options, file.path());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(ContentOf(**loaded), expected);
  LinkAll(**loaded);
  EXPECT_GE(RecallAt10(**loaded, ClusteredVectors(50, 16, 3), 200), 0.97);
}

TEST(Checkpoint, SlotsAreFreedAfterTheWatermark) {
  const auto index = MakeIndex(OptionsOf(8));
  const auto slots = PutAll(*index, ClusteredVectors(100, 8, 1));
  LinkAll(*index);
  auto watermark = index->Cut();
  for (const Slot slot : slots) index->Delete(slot);
  ConsolidateAll(*index);
  EXPECT_EQ(index->Stats().deleted_count, 100u);
  watermark.reset();
  ConsolidateAll(*index);
  EXPECT_EQ(index->Stats().deleted_count, 0u);
}

// However long a checkpoint takes, what was put and deleted meanwhile is not kept for it.
TEST(Checkpoint, AWatermarkKeepsNothingButItsCut) {
  constexpr size_t kCount = 500;
  const IndexOptions options = OptionsOf(8);
  const auto index = MakeIndex(options);
  std::vector<Slot> slots = PutAll(*index, ClusteredVectors(kCount, 8, 1));
  LinkAll(*index);
  const auto expected = ContentOf(*index);
  auto watermark = index->Cut();
  for (uint64_t round = 0; round < 8; ++round) {
    const Vectors others = ClusteredVectors(kCount, 8, 2 + round);
    for (size_t i = 0; i < kCount; ++i) {
      const auto slot = index->Put(others[i], i);
      ASSERT_TRUE(slot.ok());
      index->Delete(slots[i]);
      slots[i] = *slot;
    }
    LinkAll(*index);
    ConsolidateAll(*index);
  }
  // The cut, what lives, and as much again that is dead or not linked yet.
  EXPECT_LE(index->Stats().slot_count, 4 * kCount);
  const TempFile file;
  ASSERT_TRUE(index->WriteCheckpoint(*watermark, file.path(), 0).ok());
  const auto loaded = VectorIndex::Load(options, file.path());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(ContentOf(**loaded), expected);
  // A second cut holds its own when the first is gone.
  const auto then = ContentOf(*index);
  auto second = index->Cut();
  watermark.reset();
  for (const Slot slot : slots) index->Delete(slot);
  ConsolidateAll(*index);
  EXPECT_EQ(index->Stats().deleted_count, kCount);
  ASSERT_TRUE(index->WriteCheckpoint(*second, file.path(), 0).ok());
  const auto again = VectorIndex::Load(options, file.path());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ContentOf(**again), then);
  second.reset();
  ConsolidateAll(*index);
  EXPECT_EQ(index->Stats().deleted_count, 0u);
}

TEST(Checkpoint, OfAnEmptyIndex) {
  const IndexOptions options = OptionsOf(8);
  const TempFile file;
  Write(*MakeIndex(options), file.path());
  const auto loaded = VectorIndex::Load(options, file.path());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ((*loaded)->Stats().live_count, 0u);
  PutAll(**loaded, ClusteredVectors(100, 8, 1));
  LinkAll(**loaded);
  EXPECT_GE(RecallAt10(**loaded, ClusteredVectors(20, 8, 2), 100), 0.99);
}

TEST(Checkpoint, OfAnIndexThatWasNeverLinked) {
  const IndexOptions options = OptionsOf(8);
  const auto index = MakeIndex(options);
  PutAll(*index, ClusteredVectors(100, 8, 1));
  const TempFile file;
  Write(*index, file.path());
  const auto loaded = VectorIndex::Load(options, file.path());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(ContentOf(**loaded), ContentOf(*index));
  EXPECT_EQ((*loaded)->Stats().pending_count, 100u);
}

TEST(Checkpoint, KeepsToTheRate) {
  const auto index = MakeIndex(OptionsOf(64));
  PutAll(*index, ClusteredVectors(2000, 64, 1));
  const TempFile file;
  const auto watermark = index->Cut();
  const TimePoint start = SystemClock().Now();
  ASSERT_TRUE(index->WriteCheckpoint(*watermark, file.path(), 4'000'000).ok());
  EXPECT_GE(SystemClock().Now() - start, std::chrono::milliseconds(100));
}

TEST(Checkpoint, AFileThatCannotBeWrittenOrReadIsNamed) {
  const auto index = MakeIndex(OptionsOf(8));
  const auto watermark = index->Cut();
  const TempFile file;
  const std::string path = file.path() + "/no/such/folder";
  EXPECT_THAT(std::string(index->WriteCheckpoint(*watermark, path, 0).message()), HasSubstr(path));
  EXPECT_THAT(std::string(VectorIndex::Load(OptionsOf(8), path).status().message()),
              HasSubstr(path));
  EXPECT_EQ(ReasonOf(index->WriteCheckpoint(*watermark, "/dev/full", 0)), Reason::kDiskFull);
}

TEST(Checkpoint, OtherOptionsAreRefusedByName) {
  IndexOptions options = OptionsOf(8);
  const TempFile file;
  Write(*MixedIndex(options, false), file.path());
  const auto error_of = [&](const IndexOptions& other) {
    const auto loaded = VectorIndex::Load(other, file.path());
    EXPECT_EQ(ReasonOf(loaded.status()), Reason::kInvalidArgument);
    return std::string(loaded.status().message());
  };
  EXPECT_THAT(error_of(OptionsOf(9)), HasSubstr("dimension 8"));
  EXPECT_THAT(error_of(OptionsOf(8, Metric::kDot)), HasSubstr("metric"));
  EXPECT_THAT(error_of(OptionsOf(8, Metric::kL2, Quantization::kNone)), HasSubstr("quantization"));
  IndexOptions other = options;
  other.m = 17;
  EXPECT_THAT(error_of(other), HasSubstr("m 16"));
  other = options;
  other.seed = 2;
  EXPECT_THAT(error_of(other), HasSubstr("seed"));
}

class Damage : public ::testing::Test {
 protected:
  Damage() : options_(OptionsOf(6)) {
    Write(*MixedIndex(options_, false), file_.path());
    content_ = ReadFile(file_.path());
    // Where each block begins.
    for (size_t at = sizeof(CheckpointHeader); at < content_.size();) {
      blocks_.push_back(at);
      BlockHeader header;
      std::memcpy(&header, content_.data() + at, sizeof(header));
      at += sizeof(header) + header.payload_bytes;
    }
  }

  Reason LoadOf(const std::string& content) {
    WriteFile(file_.path(), content);
    return ReasonOf(VectorIndex::Load(options_, file_.path()).status());
  }

  // Changes a block and makes its hashes right again.
  std::string Forged(size_t block, const std::function<void(BlockHeader*, char* payload)>& change) {
    std::string content = content_;
    BlockHeader header;
    char* at = content.data() + blocks_[block];
    std::memcpy(&header, at, sizeof(header));
    char* payload = at + sizeof(header);
    const size_t payload_bytes = header.payload_bytes;
    change(&header, payload);
    header.payload_hash = XXH3_64bits(payload, payload_bytes);
    header.header_hash = XXH3_64bits(&header, offsetof(BlockHeader, header_hash));
    std::memcpy(at, &header, sizeof(header));
    return content;
  }

  const IndexOptions options_;
  TempFile file_;
  std::string content_;
  std::vector<size_t> blocks_;
};

TEST_F(Damage, NoneIsLoadable) { EXPECT_EQ(LoadOf(content_), Reason::kNone); }

TEST_F(Damage, AnyTruncationIsDetected) {
  std::vector<size_t> lengths = {0, 1, 8, sizeof(CheckpointHeader) - 1, content_.size() - 1};
  for (const size_t block : blocks_) {
    for (const size_t offset :
         {size_t{0}, size_t{1}, sizeof(BlockHeader), sizeof(BlockHeader) + 1}) {
      lengths.push_back(block + offset);
    }
  }
  for (size_t length = 100; length < content_.size(); length += 997) lengths.push_back(length);
  for (const size_t length : lengths) {
    if (length >= content_.size()) continue;
    EXPECT_EQ(LoadOf(content_.substr(0, length)), Reason::kCorruption) << length;
  }
  EXPECT_EQ(LoadOf(content_ + "x"), Reason::kCorruption);
}

TEST_F(Damage, AnyFlippedBitIsDetected) {
  Random random(1);
  std::vector<size_t> places;
  for (size_t i = 0; i < sizeof(CheckpointHeader); ++i) places.push_back(i);
  for (const size_t block : blocks_) {
    for (size_t i = 0; i < sizeof(BlockHeader) + 4 && block + i < content_.size(); ++i) {
      places.push_back(block + i);
    }
  }
  for (int i = 0; i < 200; ++i) places.push_back(random.Below(content_.size()));
  for (const size_t place : places) {
    std::string flipped = content_;
    flipped[place] = static_cast<char>(flipped[place] ^ (1 << random.Below(8)));
    EXPECT_EQ(LoadOf(flipped), Reason::kCorruption) << place;
  }
}

TEST_F(Damage, AMissingOrRepeatedBlockIsDetected) {
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const size_t begin = blocks_[i];
    const size_t end = i + 1 < blocks_.size() ? blocks_[i + 1] : content_.size();
    EXPECT_EQ(LoadOf(content_.substr(0, begin) + content_.substr(end)), Reason::kCorruption) << i;
    EXPECT_EQ(LoadOf(content_.substr(0, end) + content_.substr(begin)), Reason::kCorruption) << i;
  }
}

TEST_F(Damage, AnotherVersionIsRefusedAsSuch) {
  std::string other = content_;
  CheckpointHeader header;
  std::memcpy(&header, other.data(), sizeof(header));
  header.version = kCheckpointVersion + 1;
  header.hash = XXH3_64bits(&header, offsetof(CheckpointHeader, hash));
  std::memcpy(other.data(), &header, sizeof(header));
  EXPECT_EQ(LoadOf(other), Reason::kIncompatibleFormat);
}

// With hashes that are right, nothing protects the reader but its own checks.
TEST_F(Damage, ForgedContentIsRefused) {
  const auto refused = [&](size_t block, const std::function<void(BlockHeader*, char*)>& change) {
    EXPECT_EQ(LoadOf(Forged(block, change)), Reason::kCorruption) << block;
  };
  constexpr size_t kRanges = 0;
  constexpr size_t kVectors = 1;
  constexpr size_t kLinks = 2;
  for (size_t block = 0; block < blocks_.size(); ++block) {
    refused(block, [](BlockHeader* header, char*) { header->type = BlockType{77}; });
    refused(block, [](BlockHeader* header, char*) { header->payload_bytes = ~uint64_t{0}; });
  }
  refused(kRanges, [](BlockHeader*, char* payload) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(payload + sizeof(RangesPrefix), &nan, sizeof(nan));
  });
  for (const uint64_t count : {uint64_t{0}, uint64_t{1} << 40, ~uint64_t{0}}) {
    for (const size_t block : {kVectors, kLinks}) {
      refused(block, [&](BlockHeader* header, char*) { header->slot_count = count; });
    }
  }
  refused(kVectors, [](BlockHeader* header, char*) { header->first_slot = 1; });
  for (const int flags : {2, 3 + 4 + 8, 1, 4, 0}) {
    refused(kVectors, [&](BlockHeader*, char* payload) { payload[1] = static_cast<char>(flags); });
  }
  refused(kVectors, [](BlockHeader* header, char* payload) {
    const float infinity = std::numeric_limits<float>::infinity();
    std::memcpy(payload + header->payload_bytes - sizeof(infinity), &infinity, sizeof(infinity));
  });
}

// A list that shrinks while it is dumped is read with its old end.
TEST_F(Damage, LinksAfterTheEndOfAListAreDropped) {
  const std::string forged = Forged(2, [](BlockHeader* header, char* payload) {
    for (size_t at = 0; at + sizeof(Slot) <= header->payload_bytes; at += sizeof(Slot)) {
      Slot link = kNoSlot;
      std::memcpy(&link, payload + at, sizeof(link));
      if (link != kNoSlot || at % (3 * sizeof(Slot)) == 0) continue;
      link = 0x3fffffff;
      std::memcpy(payload + at, &link, sizeof(link));
    }
  });
  WriteFile(file_.path(), forged);
  const auto loaded = VectorIndex::Load(options_, file_.path());
  ASSERT_TRUE(loaded.ok());
  PutAll(**loaded, ClusteredVectors(200, 6, 5));
  LinkAll(**loaded);
  EXPECT_GE(RecallAt10(**loaded, ClusteredVectors(50, 6, 3), 200), 0.95);
}

TEST_F(Damage, LinksToNowhereAreDropped) {
  const std::string forged = Forged(2, [](BlockHeader* header, char* payload) {
    Random random(1);
    for (size_t at = 0; at + sizeof(Slot) <= header->payload_bytes; at += sizeof(Slot)) {
      if (random.Below(4) != 0) continue;
      const auto link = static_cast<Slot>(random.Next());
      std::memcpy(payload + at, &link, sizeof(link));
    }
  });
  WriteFile(file_.path(), forged);
  const auto loaded = VectorIndex::Load(options_, file_.path());
  ASSERT_TRUE(loaded.ok());
  LinkAll(**loaded);
  EXPECT_GE(RecallAt10(**loaded, ClusteredVectors(50, 6, 3), 200), 0.95);
}

}  // namespace
}  // namespace vectron::index
