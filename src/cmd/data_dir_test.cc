#include "cmd/data_dir.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace vectron::cmd {
namespace {

class DataDirTest : public testing::Test {
 protected:
  DataDirTest() {
    std::string name = (std::filesystem::temp_directory_path() / "data_dir_test.XXXXXX").string();
    root_ = mkdtemp(name.data());
    dir_ = root_ + "/a/b";
  }
  ~DataDirTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(dir_ + "/" + name) << text;
  }

  Status OpenStatus() { return DataDir::Open(dir_).status(); }

  std::string root_;
  std::string dir_;
};

TEST_F(DataDirTest, IsMadeWhenMissingAndOpensAgain) {
  ASSERT_TRUE(OpenStatus().ok()) << OpenStatus();
  ASSERT_TRUE(OpenStatus().ok()) << OpenStatus();
  EXPECT_TRUE(std::filesystem::exists(dir_ + "/FORMAT"));
}

TEST_F(DataDirTest, OneProcessAtATimeAndTheErrorNamesIt) {
  auto first = DataDir::Open(dir_);
  ASSERT_TRUE(first.ok());
  const Status second = OpenStatus();
  EXPECT_TRUE(IsDataDirInUse(second)) << second;
  EXPECT_NE(second.message().find("pid " + std::to_string(getpid())), absl::string_view::npos);
  first->reset();
  EXPECT_TRUE(OpenStatus().ok());
}

TEST_F(DataDirTest, RefusesNewerAndMalformedFormats) {
  ASSERT_TRUE(OpenStatus().ok());
  Write("FORMAT", "vectron data, format 2\n");
  EXPECT_EQ(ReasonOf(OpenStatus()), Reason::kIncompatibleFormat);
  for (const char* text : {"", "vectron data, format ", "vectron data, format 1x\n",
                           "vectron data, format 0\n", "something else\n"}) {
    Write("FORMAT", text);
    EXPECT_EQ(ReasonOf(OpenStatus()), Reason::kCorruption) << text;
  }
  Write("FORMAT", "vectron data, format 1\n");
  EXPECT_TRUE(OpenStatus().ok());
}

TEST_F(DataDirTest, DoesNotTouchADirectoryOfSomebodyElse) {
  std::filesystem::create_directories(dir_);
  Write("thesis.tex", "\\documentclass");
  EXPECT_EQ(ReasonOf(OpenStatus()), Reason::kInvalidArgument);
  EXPECT_FALSE(std::filesystem::exists(dir_ + "/FORMAT"));
}

TEST_F(DataDirTest, AMissingFormatIsNamedWhereTheRestIsThere) {
  std::filesystem::create_directories(dir_ + "/raft");
  EXPECT_EQ(ReasonOf(OpenStatus()), Reason::kInvalidArgument);  // might be anybody's
  std::filesystem::create_directories(dir_ + "/shards");
  std::filesystem::create_directories(dir_ + "/placement");
  Write("ports.json", "{}");
  const Status status = OpenStatus();
  EXPECT_EQ(ReasonOf(status), Reason::kCorruption) << status;
  EXPECT_NE(status.message().find("/a/b/FORMAT is missing"), absl::string_view::npos) << status;
  EXPECT_FALSE(std::filesystem::exists(dir_ + "/FORMAT"));
}

TEST_F(DataDirTest, SaysWhyADirectoryCannotBeMade) {
  std::ofstream(root_ + "/a") << "a file";
  EXPECT_NE(OpenStatus().message().find(root_), absl::string_view::npos) << OpenStatus();
}

TEST_F(DataDirTest, PortsAreReplacedWhole) {
  auto dir = DataDir::Open(dir_);
  ASSERT_TRUE(dir.ok());
  ASSERT_TRUE((*dir)->WritePorts("{\"first\": 1, \"long\": true}").ok());
  ASSERT_TRUE((*dir)->WritePorts("{}").ok());
  std::stringstream text;
  text << std::ifstream(dir_ + "/ports.json").rdbuf();
  EXPECT_EQ(text.str(), "{}");
}

}  // namespace
}  // namespace vectron::cmd
