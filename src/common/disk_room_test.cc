#include "common/disk_room.h"

#include <gtest/gtest.h>

namespace vectron {
namespace {

constexpr uint64_t kMiB = 1 << 20;

Reason Refused(const DiskRoom& room, RoomUse use) { return ReasonOf(room.Check(use)); }

TEST(DiskRoomTest, GrowthIsRefusedFirstThenRemovalsAndNeverWhatIsEssential) {
  DiskRoom room(512 * kMiB, "/data");
  EXPECT_TRUE(room.Check(RoomUse::kGrowth).ok());  // nothing is known yet
  EXPECT_FALSE(room.Update(512 * kMiB));
  EXPECT_TRUE(room.Check(RoomUse::kGrowth).ok());

  EXPECT_TRUE(room.Update(512 * kMiB - 1));
  EXPECT_EQ(Refused(room, RoomUse::kGrowth), Reason::kDiskFull);
  EXPECT_TRUE(room.Check(RoomUse::kRemoval).ok());
  EXPECT_FALSE(room.Update(128 * kMiB));
  EXPECT_TRUE(room.Check(RoomUse::kRemoval).ok());

  EXPECT_TRUE(room.Update(128 * kMiB - 1));
  EXPECT_EQ(Refused(room, RoomUse::kRemoval), Reason::kDiskFull);
  EXPECT_FALSE(room.Update(0));
  EXPECT_TRUE(room.Check(RoomUse::kEssential).ok());
}

TEST(DiskRoomTest, GrowthIsTakenAgainOnlyWithSomeRoomToSpare) {
  DiskRoom room(512 * kMiB, "/data");
  room.Update(0);
  EXPECT_TRUE(room.Update(575 * kMiB));  // removals again
  EXPECT_TRUE(room.is_low());
  EXPECT_EQ(Refused(room, RoomUse::kGrowth), Reason::kDiskFull);
  EXPECT_TRUE(room.Update(576 * kMiB));
  EXPECT_FALSE(room.is_low());
  EXPECT_TRUE(room.Check(RoomUse::kGrowth).ok());
  EXPECT_FALSE(room.Update(520 * kMiB));
  EXPECT_TRUE(room.Check(RoomUse::kGrowth).ok());
}

TEST(DiskRoomTest, TheErrorNamesThePlaceTheFiguresAndTheSetting) {
  DiskRoom room(512 * kMiB, "/data");
  room.Update(100 * kMiB);
  const std::string growth(room.Check(RoomUse::kGrowth).message());
  for (const char* part : {"100 MiB", "/data", "--disk-reserve-bytes", "576 MiB"}) {
    EXPECT_NE(growth.find(part), std::string::npos) << part << " in " << growth;
  }
  const std::string removal(room.Check(RoomUse::kRemoval).message());
  EXPECT_NE(removal.find("128 MiB"), std::string::npos) << removal;
}

TEST(DiskRoomTest, WithoutAReserveNothingIsRefused) {
  DiskRoom room(0, "/data");
  EXPECT_FALSE(room.Update(0));
  EXPECT_TRUE(room.Check(RoomUse::kGrowth).ok());
}

}  // namespace
}  // namespace vectron
