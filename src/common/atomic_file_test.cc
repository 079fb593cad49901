#include "common/atomic_file.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace vectron {
namespace {

constexpr std::string_view kMagic = "VTRNTEST";

class AtomicFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = ::testing::TempDir() + "atomic_file_test";
    std::filesystem::remove_all(dir_);
    ASSERT_TRUE(MakeDirectories(dir_ + "/a/b").ok());
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  std::string dir_;
};

TEST_F(AtomicFileTest, ReplacesTheWholeContent) {
  const std::string path = dir_ + "/a/b/value";
  EXPECT_EQ(ReadWholeFile(path).value(), std::nullopt);
  ASSERT_TRUE(WriteFileAtomically(path, std::string(200'000, 'x')).ok());
  ASSERT_TRUE(WriteFileAtomically(path, "short").ok());
  EXPECT_EQ(ReadWholeFile(path).value(), "short");
  EXPECT_FALSE(std::filesystem::exists(path + ".tmp"));
}

TEST_F(AtomicFileTest, MakesAllMissingDirectoriesHoweverTheyAreWritten) {
  for (const std::string name : {"/c/d/e", "/f/g/", "/a/b", "/h"}) {
    ASSERT_TRUE(MakeDirectories(dir_ + name).ok()) << name;
    ASSERT_TRUE(MakeDirectories(dir_ + name).ok()) << name << ", again";
    EXPECT_TRUE(std::filesystem::is_directory(dir_ + name)) << name;
  }
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(dir_);
  EXPECT_TRUE(MakeDirectories("relative").ok());
  EXPECT_TRUE(MakeDirectories("i/j").ok());
  std::filesystem::current_path(before);
  EXPECT_TRUE(std::filesystem::is_directory(dir_ + "/i/j"));
  EXPECT_FALSE(MakeDirectories("").ok());
}

TEST_F(AtomicFileTest, SaysWhichDirectoryCannotBeMade) {
  ASSERT_TRUE(WriteFileAtomically(dir_ + "/a/file", "x").ok());
  const Status status = MakeDirectories(dir_ + "/a/file/b/c");
  EXPECT_NE(status.ToString().find("/a/file/b/c"), std::string::npos) << status;
}

TEST_F(AtomicFileTest, NamesThePathThatFails) {
  const Status status = WriteFileAtomically(dir_ + "/missing/value", "x");
  EXPECT_EQ(ReasonOf(status), Reason::kInternal);
  EXPECT_NE(status.ToString().find("/missing/value"), std::string::npos);
}

TEST_F(AtomicFileTest, FindsEveryAlteredByte) {
  const std::string file = WrapWithChecksum(kMagic, 3, "payload");
  EXPECT_EQ(UnwrapChecked(kMagic, 3, file, "f").value(), "payload");
  for (size_t i = 0; i < file.size(); ++i) {
    std::string altered = file;
    altered[i] ^= 1;
    EXPECT_FALSE(UnwrapChecked(kMagic, 3, altered, "f").ok()) << i;
  }
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_EQ(ReasonOf(UnwrapChecked(kMagic, 3, file.substr(0, size), "f").status()),
              Reason::kCorruption);
  }
  EXPECT_EQ(ReasonOf(UnwrapChecked(kMagic, 4, file, "f").status()), Reason::kIncompatibleFormat);
}

}  // namespace
}  // namespace vectron
