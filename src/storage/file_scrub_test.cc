#include "storage/file_scrub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "storage/testing/temp_dir.h"

namespace vectron::storage {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

constexpr Family kMeta = 0;
constexpr Family kRecords = 1;
constexpr Family kVectors = 2;
constexpr int kKeyCount = 300;
constexpr size_t kVectorBytes = 2000;

std::string KeyOf(int i) { return "key" + std::to_string(1000 + i); }

// A database with tables and blob files, closed and opened again around the damage.
class FileScrubTest : public ::testing::Test {
 protected:
  FileScrubTest() : resources_(std::make_shared<SharedResources>(SharedResources::Options())) {
    options_.dir = dir_.Join("db");
    options_.durability = Durability::kFlush;
    options_.families = {{"meta", FamilyProfile::kMeta, 1 << 20},
                         {"records", FamilyProfile::kRecords, 4 << 20},
                         {"vectors", FamilyProfile::kVectors, 4 << 20}};
    options_.families[kVectors].blob_bytes_min = 256;
    EXPECT_TRUE(TryOpen().ok());
    Fill('a');
  }

  Status TryOpen() {
    database_.reset();
    auto opened = Database::Open(options_, resources_);
    if (opened.ok()) database_ = *std::move(opened);
    return opened.status();
  }

  void Fill(char content) {
    WriteBatch batch(*database_);
    batch.Put(kMeta, "state", std::string(1, content));
    for (int i = 0; i < kKeyCount; ++i) {
      batch.Put(kRecords, KeyOf(i), "record" + std::to_string(i));
      batch.Put(kVectors, KeyOf(i), std::string(kVectorBytes, content));
    }
    ASSERT_TRUE(database_->Write(batch).ok());
    ASSERT_TRUE(database_->Flush().ok());
  }

  std::vector<StoredFile> Files() const {
    auto files = database_->ListFiles();
    EXPECT_TRUE(files.ok()) << files.status();
    return *files;
  }
  StoredFile BlobFile() const {
    for (const StoredFile& file : Files()) {
      if (file.is_blob) return file;
    }
    ADD_FAILURE() << "no blob file";
    return {};
  }

  void Flip(const std::string& path, uint64_t offset) const {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const char byte = static_cast<char>(file.get());
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(byte ^ 0x40));
    ASSERT_TRUE(file.good()) << path;
  }

  testing::TempDir dir_;
  DatabaseOptions options_;
  std::shared_ptr<SharedResources> resources_;
  std::unique_ptr<Database> database_;
};

TEST_F(FileScrubTest, IntactFilesAreReadOnceAndInBoundedPieces) {
  uint64_t total = 0;
  for (const StoredFile& file : Files()) {
    EXPECT_EQ(file.size_bytes, fs::file_size(file.path));
    total += file.size_bytes;
  }
  EXPECT_GT(total, kKeyCount * kVectorBytes);
  auto scrub = FileScrub::Begin(*database_);
  ASSERT_TRUE(scrub.ok()) << scrub.status();
  EXPECT_EQ((*scrub)->total_bytes(), total);
  uint64_t read_bytes = 0;
  int piece_count = 0;
  for (bool is_last = false; !is_last; ++piece_count) {
    const auto piece = (*scrub)->Step(1);
    ASSERT_TRUE(piece.ok()) << piece.status();
    EXPECT_LE(piece->read_bytes, 1u << 20);
    read_bytes += piece->read_bytes;
    is_last = piece->is_last;
  }
  EXPECT_EQ(read_bytes, total);
  EXPECT_GE(piece_count, 4);  // a file at least each
  EXPECT_TRUE(VerifyFiles(*database_).ok());
}

TEST_F(FileScrubTest, AFlippedByteAnywhereIsFoundAndTheFileNamed) {
  for (const StoredFile& file : Files()) {
    for (uint64_t at = 0; at < file.size_bytes; at += 1 + file.size_bytes / 25) {
      Flip(file.path, at);
      const Status status = VerifyFiles(*database_);
      EXPECT_EQ(ReasonOf(status), Reason::kCorruption) << at << ": " << status;
      EXPECT_THAT(std::string(status.message()), HasSubstr(file.path));
      Flip(file.path, at);
    }
  }
  EXPECT_TRUE(VerifyFiles(*database_).ok());
}

TEST_F(FileScrubTest, ThePlaceOfTheDamageIsNamed) {
  const StoredFile blob = BlobFile();
  // Behind the file's header, each value has a header of 32 bytes, and its key.
  constexpr uint64_t kFileHeader = 30;
  const uint64_t record_bytes = 32 + KeyOf(0).size() + kVectorBytes;
  const uint64_t third = kFileHeader + 2 * record_bytes;
  Flip(blob.path, third + 500);
  EXPECT_THAT(std::string(VerifyFiles(*database_).message()),
              HasSubstr("in the value at offset " + std::to_string(third)));
  Flip(blob.path, third + 500);
  Flip(blob.path, third + 9);  // its length
  EXPECT_THAT(std::string(VerifyFiles(*database_).message()),
              HasSubstr("in the header of the value at offset " + std::to_string(third)));
  Flip(blob.path, third + 9);
  for (const StoredFile& file : Files()) {
    if (file.is_blob) continue;
    Flip(file.path, 5);
    EXPECT_THAT(std::string(VerifyFiles(*database_).message()), HasSubstr("offset 0"));
    Flip(file.path, 5);
  }
}

TEST_F(FileScrubTest, AReadOfWhatIsDamagedIsCorruptionAndOfTheRestIsNot) {
  const StoredFile blob = BlobFile();
  Flip(blob.path, 30 + 100);  // the first value
  ASSERT_TRUE(TryOpen().ok());
  const auto damaged = database_->Get(kVectors, KeyOf(0));
  EXPECT_EQ(ReasonOf(damaged.status()), Reason::kCorruption) << damaged.status();
  EXPECT_THAT(std::string(damaged.status().message()), HasSubstr(options_.dir));
  EXPECT_EQ(**database_->Get(kVectors, KeyOf(1)), std::string(kVectorBytes, 'a'));
  for (const StoredFile& file : Files()) {
    if (!file.is_blob) Flip(file.path, 5);  // in the first block, and there is but one
  }
  ASSERT_TRUE(TryOpen().ok());
  EXPECT_EQ(ReasonOf(database_->Get(kRecords, KeyOf(7)).status()), Reason::kCorruption);
}

TEST_F(FileScrubTest, OpenRefusesFilesThatAreMissingCutOffOrWithoutAnEnd) {
  for (const StoredFile& file : Files()) {
    const auto expect_refused = [&] {
      const Status status = TryOpen();
      EXPECT_EQ(ReasonOf(status), Reason::kCorruption) << status;
      EXPECT_THAT(std::string(status.message()),
                  AllOf(HasSubstr(options_.dir), HasSubstr(fs::path(file.path).stem())));
    };
    database_.reset();
    const std::string away = dir_.Join("away");
    fs::copy_file(file.path, away, fs::copy_options::overwrite_existing);
    fs::resize_file(file.path, file.size_bytes - 1);
    expect_refused();
    fs::resize_file(file.path, file.size_bytes + 1);
    expect_refused();
    fs::remove(file.path);
    expect_refused();
    fs::copy_file(away, file.path);
    if (!file.is_blob) {
      Flip(file.path, file.size_bytes - 3);  // the footer's magic number
      expect_refused();
      Flip(file.path, file.size_bytes - 3);
    }
    ASSERT_TRUE(TryOpen().ok());
  }
}

TEST_F(FileScrubTest, FilesThatAreDeletedMeanwhileAreNotMissed) {
  auto scrub = FileScrub::Begin(*database_);
  ASSERT_TRUE(scrub.ok()) << scrub.status();
  Fill('b');
  for (const Family family : {kMeta, kRecords, kVectors}) {
    ASSERT_TRUE(database_->CompactRange(family, "", "").ok());
  }
  ASSERT_TRUE(database_->CollectGarbage(kVectors, 0).ok());
  while (true) {
    const auto piece = (*scrub)->Step(1 << 20);
    ASSERT_TRUE(piece.ok()) << piece.status();
    if (piece->is_last) break;
  }
  EXPECT_TRUE(VerifyFiles(*database_).ok());
}

TEST_F(FileScrubTest, AFileThatIsMissingAndInUseIsCorruption) {
  auto scrub = FileScrub::Begin(*database_);
  ASSERT_TRUE(scrub.ok()) << scrub.status();
  const std::string blob = BlobFile().path;
  fs::remove(blob);
  Status status;
  for (bool is_last = false; !is_last && status.ok();) {
    const auto piece = (*scrub)->Step(1 << 20);
    status = piece.status();
    is_last = piece.ok() && piece->is_last;
  }
  EXPECT_EQ(ReasonOf(status), Reason::kCorruption) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(blob + " is missing"));
}

}  // namespace
}  // namespace vectron::storage
