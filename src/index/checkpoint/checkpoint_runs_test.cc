#include <gtest/gtest.h>
#include <xxhash.h>

#include <cstring>
#include <functional>

#include "common/random.h"
#include "index/checkpoint/checkpoint.h"
#include "index/checkpoint/checkpoint_format.h"
#include "index/testing/fixtures.h"

// Checkpoints of many runs of slots, large enough to be read on several threads.

namespace vectron::index {
namespace {

using testing::ByteVectors;
using testing::LinkAll;
using testing::MakeIndex;
using testing::PutAll;
using testing::ReadFile;
using testing::RecallAt10;
using testing::TempFile;
using testing::Vectors;
using testing::WriteFile;

struct Block {
  BlockHeader header;
  std::string payload;
};

struct Parts {
  CheckpointHeader header;
  std::vector<Block> blocks;
};

Parts PartsOf(const std::string& file) {
  Parts parts;
  std::memcpy(&parts.header, file.data(), sizeof(parts.header));
  for (size_t at = sizeof(parts.header); at < file.size();) {
    Block block;
    std::memcpy(&block.header, file.data() + at, sizeof(block.header));
    at += sizeof(block.header);
    block.payload = file.substr(at, block.header.payload_bytes);
    at += block.payload.size();
    parts.blocks.push_back(std::move(block));
  }
  return parts;
}

// With hashes and sizes that are right, so that only the order and what the blocks say can be
// wrong.
std::string FileOf(Parts parts) {
  parts.header.hash = XXH3_64bits(&parts.header, offsetof(CheckpointHeader, hash));
  std::string file(reinterpret_cast<const char*>(&parts.header), sizeof(parts.header));
  for (Block& block : parts.blocks) {
    block.header.payload_bytes = block.payload.size();
    block.header.payload_hash = XXH3_64bits(block.payload.data(), block.payload.size());
    block.header.header_hash = XXH3_64bits(&block.header, offsetof(BlockHeader, header_hash));
    file.append(reinterpret_cast<const char*>(&block.header), sizeof(block.header));
    file += block.payload;
  }
  return file;
}

// 512 slots a run; floats, one of which is no whole number, so that no block is of bytes.
constexpr uint32_t kDimension = 2048;
constexpr size_t kRunSlots = 512;
constexpr size_t kRuns = 6;

class CheckpointRuns : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    vectors_ = new Vectors(ByteVectors(kRunSlots * kRuns - 100, kDimension, 1));
    for (auto& vector : *vectors_) vector[0] += 0.5f;
    index_ = MakeIndex(Options()).release();
    const std::vector<Slot> slots = PutAll(*index_, *vectors_);
    index_->LinkPending(1500);
    for (size_t i = 0; i < slots.size(); i += 7) index_->Delete(slots[i]);
    const TempFile file;
    ASSERT_TRUE(index_->WriteCheckpoint(*index_->Cut(), file.path(), 0).ok());
    content_ = new std::string(ReadFile(file.path()));
  }
  static void TearDownTestSuite() {
    delete vectors_;
    delete index_;
    delete content_;
  }

  static IndexOptions Options() {
    IndexOptions options;
    options.dimension = kDimension;
    options.m = 8;
    options.ef_construction = 32;
    return options;
  }

  static size_t VectorsOf(size_t run) { return 1 + 2 * run; }
  static size_t LinksOf(size_t run) { return 2 + 2 * run; }

  StatusOr<std::unique_ptr<VectorIndex>> Load(const std::string& content) {
    WriteFile(file_.path(), content);
    return VectorIndex::Load(Options(), file_.path());
  }

  void ExpectCorrupt(const std::function<void(Parts*)>& change) {
    Parts parts = PartsOf(*content_);
    change(&parts);
    EXPECT_EQ(ReasonOf(Load(FileOf(std::move(parts))).status()), Reason::kCorruption);
  }

  static Vectors* vectors_;
  static VectorIndex* index_;
  static std::string* content_;
  TempFile file_;
};

Vectors* CheckpointRuns::vectors_ = nullptr;
VectorIndex* CheckpointRuns::index_ = nullptr;
std::string* CheckpointRuns::content_ = nullptr;

TEST_F(CheckpointRuns, AreAsTheTestsSuppose) {
  const Parts parts = PartsOf(*content_);
  ASSERT_EQ(parts.blocks.size(), 1 + 2 * kRuns + 1);
  EXPECT_EQ(parts.blocks[0].header.type, BlockType::kRanges);
  for (size_t run = 0; run < kRuns; ++run) {
    EXPECT_EQ(parts.blocks[VectorsOf(run)].header.type, BlockType::kFloats);
    EXPECT_EQ(parts.blocks[LinksOf(run)].header.type, BlockType::kLinks);
  }
  EXPECT_TRUE(FileOf(parts) == *content_);
}

TEST_F(CheckpointRuns, AreAllLoaded) {
  const auto index = Load(*content_);
  ASSERT_TRUE(index.ok()) << index.status();
  for (size_t i = 0; i < vectors_->size(); ++i) {
    const auto vector = (*index)->GetVector(static_cast<Slot>(i));
    ASSERT_EQ(vector.ok(), i % 7 != 0) << i;
    if (vector.ok()) {
      EXPECT_EQ(*vector, (*vectors_)[i]) << i;
    }
  }
  EXPECT_EQ((*index)->Stats().pending_count, index_->Stats().pending_count);
  const Vectors queries = ByteVectors(100, kDimension, 2);
  EXPECT_GE(RecallAt10(**index, queries, 64), RecallAt10(*index_, queries, 64) - 0.03);
  LinkAll(**index);
  LinkAll(*index_);
  EXPECT_GE(RecallAt10(**index, queries, 64), RecallAt10(*index_, queries, 64) - 0.03);
}

TEST_F(CheckpointRuns, InAnotherOrderAreRefused) {
  for (size_t run = 0; run + 1 < kRuns; ++run) {
    ExpectCorrupt([&](Parts* parts) {
      std::swap(parts->blocks[VectorsOf(run)], parts->blocks[VectorsOf(run + 1)]);
      std::swap(parts->blocks[LinksOf(run)], parts->blocks[LinksOf(run + 1)]);
    });
    ExpectCorrupt([&](Parts* parts) {
      std::swap(parts->blocks[LinksOf(run)], parts->blocks[LinksOf(run + 1)]);
    });
    ExpectCorrupt([&](Parts* parts) {
      std::swap(parts->blocks[VectorsOf(run)], parts->blocks[LinksOf(run)]);
    });
  }
}

TEST_F(CheckpointRuns, ThatLieAboutTheirSlotsAreRefused) {
  for (const size_t run : {size_t{0}, kRuns / 2, kRuns - 1}) {
    for (const int64_t by : {-1, 1}) {
      for (const bool vectors : {false, true}) {
        ExpectCorrupt([&](Parts* parts) {
          parts->blocks[vectors ? VectorsOf(run) : LinksOf(run)].header.first_slot +=
              static_cast<uint64_t>(by);
        });
        ExpectCorrupt([&](Parts* parts) {
          parts->blocks[vectors ? VectorsOf(run) : LinksOf(run)].header.slot_count +=
              static_cast<uint64_t>(by);
        });
      }
    }
  }
  // A slot goes from one run to the next, as far as the headers say.
  for (size_t run = 0; run + 1 < kRuns; ++run) {
    for (const int64_t by : {-1, 1}) {
      ExpectCorrupt([&](Parts* parts) {
        for (const size_t block : {VectorsOf(run), LinksOf(run)}) {
          parts->blocks[block].header.slot_count += static_cast<uint64_t>(by);
        }
        for (const size_t block : {VectorsOf(run + 1), LinksOf(run + 1)}) {
          parts->blocks[block].header.first_slot += static_cast<uint64_t>(by);
          parts->blocks[block].header.slot_count -= static_cast<uint64_t>(by);
        }
      });
    }
  }
}

TEST_F(CheckpointRuns, TooFewOrTooManyAreRefused) {
  for (const size_t run : {size_t{0}, kRuns / 2, kRuns - 1}) {
    const auto at = static_cast<std::ptrdiff_t>(VectorsOf(run));
    ExpectCorrupt([&](Parts* parts) {
      parts->blocks.erase(parts->blocks.begin() + at, parts->blocks.begin() + at + 2);
    });
    ExpectCorrupt([&](Parts* parts) {
      const std::vector<Block> again(parts->blocks.begin() + at, parts->blocks.begin() + at + 2);
      parts->blocks.insert(parts->blocks.begin() + at, again.begin(), again.end());
    });
  }
  ExpectCorrupt([](Parts* parts) { ++parts->header.slot_count; });
  ExpectCorrupt([](Parts* parts) { --parts->header.slot_count; });
  ExpectCorrupt([](Parts* parts) { ++parts->header.live_count; });
  for (size_t number = 0; number < sizeof(EndPayload) / sizeof(uint64_t); ++number) {
    for (const int64_t by : {-1, 1}) {
      ExpectCorrupt([&](Parts* parts) {
        char* at = parts->blocks.back().payload.data() + number * sizeof(uint64_t);
        uint64_t value = 0;
        std::memcpy(&value, at, sizeof(value));
        value += static_cast<uint64_t>(by);
        std::memcpy(at, &value, sizeof(value));
      });
    }
  }
}

// Whichever thread meets it: the others end, and the error is told.
TEST_F(CheckpointRuns, DamageInAnyOfThemIsDetected) {
  Random random(1);
  size_t at = sizeof(CheckpointHeader);
  for (const Block& block : PartsOf(*content_).blocks) {
    at += sizeof(BlockHeader);
    std::string flipped = *content_;
    const size_t place = at + random.Below(block.payload.size());
    flipped[place] = static_cast<char>(flipped[place] ^ (1 << random.Below(8)));
    EXPECT_EQ(ReasonOf(Load(flipped).status()), Reason::kCorruption) << place;
    at += block.payload.size();
  }
  // In all of them at once.
  ExpectCorrupt([](Parts* parts) {
    for (size_t run = 0; run < kRuns; ++run) parts->blocks[VectorsOf(run)].payload[0] = 77;
  });
}

// Links lead from each run to each other.
TEST_F(CheckpointRuns, LinksAreLookedAtWhenAllVectorsAreThere) {
  uint64_t forward_count = 0;
  uint64_t backward_count = 0;
  const Block block = PartsOf(*content_).blocks[LinksOf(1)];
  for (size_t at = 0; at < block.payload.size(); at += sizeof(Slot)) {
    Slot link = kNoSlot;
    std::memcpy(&link, block.payload.data() + at, sizeof(link));
    if (link == kNoSlot) continue;
    forward_count += link >= 2 * kRunSlots;
    backward_count += link < kRunSlots;
  }
  EXPECT_GT(forward_count, 0u);
  EXPECT_GT(backward_count, 0u);
  // All of them are in what is written again.
  const auto index = Load(*content_);
  ASSERT_TRUE(index.ok()) << index.status();
  ASSERT_TRUE((*index)->WriteCheckpoint(*(*index)->Cut(), file_.path(), 0).ok());
  EXPECT_TRUE(PartsOf(ReadFile(file_.path())).blocks[LinksOf(1)].payload == block.payload);
}

}  // namespace
}  // namespace vectron::index
