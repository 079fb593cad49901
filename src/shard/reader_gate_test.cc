#include "shard/reader_gate.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <vector>

#include "common/thread.h"

namespace vectron::shard {
namespace {

TEST(ReaderGateTest, EpochsWaitForReadersOfTheOneBefore) {
  ReaderGate gate;
  const uint64_t start = gate.Epoch();
  {
    const auto guard = gate.Enter();
    EXPECT_EQ(gate.TryAdvance(), start + 1);
    EXPECT_EQ(gate.TryAdvance(), start + 1);
    const auto later = gate.Enter();
    EXPECT_EQ(gate.TryAdvance(), start + 1);
  }
  EXPECT_EQ(gate.TryAdvance(), start + 2);
  EXPECT_EQ(gate.TryAdvance(), start + 3);
}

// Readers look at a cell that the writer keeps replacing; an old cell is wiped when
// the gate says so. A reader that sees a wiped one was let down.
TEST(ReaderGateTest, NothingIsReclaimedUnderAReader) {
  struct Cell {
    std::atomic<uint64_t> value{1};
  };
  ReaderGate gate;
  std::vector<std::unique_ptr<Cell>> cells;
  cells.push_back(std::make_unique<Cell>());
  std::atomic<Cell*> current{cells.back().get()};
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> failure_count{0};
  const auto read = [&] {
    while (!stop) {
      const auto guard = gate.Enter();
      const Cell* cell = current.load(std::memory_order_acquire);
      for (int i = 0; i < 10; ++i) failure_count += cell->value.load() == 0 ? 1 : 0;
    }
  };
  Thread first("gate-reader-1", ThreadPriority::kNormal, read);
  Thread second("gate-reader-2", ThreadPriority::kNormal, read);
  struct Retired {
    Cell* cell;
    uint64_t epoch;
  };
  std::vector<Retired> retired;
  uint64_t reclaimed_count = 0;
  for (int i = 0; i < 20'000 || (reclaimed_count < 100 && i < 2'000'000); ++i) {
    Cell* old = current.load();
    cells.push_back(std::make_unique<Cell>());
    current.store(cells.back().get(), std::memory_order_release);
    retired.push_back({old, gate.Epoch()});
    const uint64_t epoch = gate.TryAdvance();
    while (reclaimed_count < retired.size() && retired[reclaimed_count].epoch + 2 <= epoch) {
      retired[reclaimed_count++].cell->value.store(0);
    }
  }
  stop = true;
  first.Join();
  second.Join();
  EXPECT_EQ(failure_count, 0u);
  EXPECT_GT(reclaimed_count, 0u);
}

}  // namespace
}  // namespace vectron::shard
