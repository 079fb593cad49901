#include "consensus/log/ballast.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "consensus/testing/log_disk.h"

namespace vectron::consensus {
namespace {

using vectron::testing::LogDisk;

constexpr uint64_t kMiB = 1 << 20;

TEST(BallastTest, IsTakenOnceFoundAgainAndGivenUp) {
  LogDisk disk;
  disk.SetRoom(100 * kMiB);
  Ballast ballast("log/ballast", 128 * kMiB, &disk);
  EXPECT_FALSE(ballast.held());
  ballast.Take();
  ballast.Take();
  EXPECT_TRUE(ballast.held());
  EXPECT_EQ(disk.GetSpace("log")->free_bytes, 96 * kMiB);

  Ballast reopened("log/ballast", 128 * kMiB, &disk);
  EXPECT_TRUE(reopened.held());
  reopened.ReleaseIfFull();
  EXPECT_TRUE(reopened.held());
  disk.SetRoom(1);
  reopened.ReleaseIfFull();
  EXPECT_FALSE(reopened.held());
  EXPECT_EQ(disk.GetSpace("log")->free_bytes, 4 * kMiB + 1);
}

TEST(BallastTest, IsBoundedAndNoneWithoutAReserve) {
  LogDisk disk;
  EXPECT_EQ(Ballast("log/ballast", uint64_t{1} << 40, &disk).size_bytes(), 8 * kMiB);
  Ballast none("log/ballast", 0, &disk);
  none.Take();
  EXPECT_FALSE(none.held());
  EXPECT_TRUE(disk.Files().empty());
}

TEST(BallastTest, TheMachinesFileSystemGivesTheRoomOrSaysWhyNot) {
  const std::string dir = ::testing::TempDir() + "ballast_test";
  std::filesystem::remove_all(dir);
  ASSERT_TRUE(SystemLogFileSystem().CreateDir(dir).ok());
  const Status taken = SystemLogFileSystem().Allocate(dir + "/some", kMiB);
  if (taken.ok()) {
    EXPECT_EQ(std::filesystem::file_size(dir + "/some"), kMiB);
  } else {
    EXPECT_EQ(ReasonOf(taken), Reason::kUnsupported) << taken;
  }
  const Status refused = SystemLogFileSystem().Allocate(dir + "/much", uint64_t{1} << 62);
  EXPECT_FALSE(refused.ok());
  EXPECT_FALSE(std::filesystem::exists(dir + "/much"));
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace vectron::consensus
