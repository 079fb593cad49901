#include "cmd/file_budget.h"

#include <gtest/gtest.h>

namespace vectron::cmd {
namespace {

TEST(FileBudgetTest, PromisesNoMoreThanThereIs) {
  for (uint64_t limit = 100; limit < 2'000'000; limit += limit / 7 + 1) {
    const FileBudget budget = FileBudget::Of(limit, 4096);
    const uint64_t promised =
        2 * budget.connections_max +
        budget.shard_count_max * static_cast<uint64_t>(budget.store_open_files_max);
    EXPECT_GE(budget.connections_max, 1u) << limit;
    EXPECT_GE(budget.shard_count_max, 1u) << limit;
    EXPECT_LE(promised, limit) << limit;
  }
}

TEST(FileBudgetTest, AnOrdinaryLimitIsEnoughForThousandsOfShardsAndAllConnections) {
  const FileBudget budget = FileBudget::Of(524'288, 4096);
  EXPECT_EQ(budget.connections_max, 4096u);
  EXPECT_GE(budget.shard_count_max, 4000u);
  EXPECT_GE(budget.store_open_files_max, 100);
}

TEST(FileBudgetTest, ASmallLimitIsEnoughForDozensOfShards) {
  EXPECT_GE(FileBudget::Of(1024, 4096).shard_count_max, 35u);
  EXPECT_GE(FileBudget::Of(20'000, 4096).shard_count_max, 700u);
}

TEST(FileBudgetTest, AskedForFewConnectionsTakesFew) {
  EXPECT_EQ(FileBudget::Of(4096, 10).connections_max, 10u);
  EXPECT_GT(FileBudget::Of(4096, 10).shard_count_max, FileBudget::Of(4096, 4096).shard_count_max);
}

}  // namespace
}  // namespace vectron::cmd
