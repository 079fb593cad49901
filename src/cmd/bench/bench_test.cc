#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "cmd/bench/ground_truth.h"
#include "cmd/bench/latency_histogram.h"
#include "cmd/bench/process_stats.h"
#include "common/random.h"

namespace vectron::cmd {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

TEST(LatencyHistogramTest, QuantilesAreWithinOnePercent) {
  LatencyHistogram histogram;
  for (int i = 1; i <= 10'000; ++i) histogram.Record(microseconds(i));
  for (double fraction : {0.01, 0.5, 0.95, 0.99, 1.0}) {
    const double expected = fraction * 10'000'000;
    const double found = static_cast<double>(histogram.Quantile(fraction).count());
    EXPECT_GE(found, expected) << fraction;
    EXPECT_LE(found, expected * 1.01) << fraction;
  }
  EXPECT_EQ(histogram.count(), 10'000u);
  EXPECT_EQ(histogram.Mean(), std::chrono::nanoseconds(5'000'500));
}

TEST(LatencyHistogramTest, TakesEveryDurationAndMerges) {
  LatencyHistogram a;
  a.Record(Duration(0));
  a.Record(Duration(127));
  a.Record(Duration(128));
  a.Record(Duration(-5));
  LatencyHistogram b;
  b.Record(Duration::max());
  EXPECT_EQ(a.Quantile(1), Duration(128));
  EXPECT_EQ(b.Quantile(0.5), Duration::max());
  EXPECT_EQ(b.Mean(), Duration::max());
  a.Merge(b);
  EXPECT_EQ(a.count(), 5u);
  EXPECT_EQ(a.max(), Duration::max());
  EXPECT_EQ(LatencyHistogram().Quantile(0.99), Duration(0));
}

TEST(ProcessStatsTest, CountsOwnCpuTimeAndRefusesADeadProcess) {
  const auto before = ProcessCpuTime(getpid());
  ASSERT_TRUE(before.ok()) << before.status();
  const TimePoint end = SystemClock().Now() + milliseconds(60);
  while (SystemClock().Now() < end) {
  }
  EXPECT_GT(*ProcessCpuTime(getpid()), *before);
  EXPECT_FALSE(ProcessCpuTime(0x7ffffff0).ok());
}

class GroundTruthTest : public testing::Test {
 protected:
  GroundTruthTest() {
    std::string name =
        (std::filesystem::temp_directory_path() / "ground_truth_test.XXXXXX").string();
    dir_ = mkdtemp(name.data());
  }
  ~GroundTruthTest() override { std::filesystem::remove_all(dir_); }

  std::string WriteFloats(const std::string& name, const std::vector<std::vector<float>>& rows) {
    std::ofstream file(dir_ + "/" + name, std::ios::binary);
    for (const auto& row : rows) {
      const auto width = static_cast<int32_t>(row.size());
      file.write(reinterpret_cast<const char*>(&width), sizeof(width));
      file.write(reinterpret_cast<const char*>(row.data()),
                 static_cast<std::streamsize>(row.size() * sizeof(float)));
    }
    return dir_ + "/" + name;
  }

  static std::vector<std::vector<float>> RandomRows(size_t count, size_t dimension, uint64_t seed,
                                                    int values) {
    Random random(seed);
    std::vector<std::vector<float>> rows(count, std::vector<float>(dimension));
    for (auto& row : rows) {
      for (float& x : row) x = static_cast<float>(random.Below(static_cast<uint64_t>(values)));
    }
    return rows;
  }

  std::string dir_;
};

// Straight from the definition, in double.
std::vector<int32_t> Naive(const std::vector<std::vector<float>>& base,
                           const std::vector<float>& query, Metric metric, size_t k) {
  std::vector<std::pair<double, int32_t>> all;
  for (size_t row = 0; row < base.size(); ++row) {
    double squared = 0, dot = 0, norm = 0;
    for (size_t i = 0; i < query.size(); ++i) {
      const double a = query[i], b = base[row][i];
      squared += (a - b) * (a - b);
      dot += a * b;
      norm += b * b;
    }
    const double distance = metric == Metric::kL2    ? squared
                            : metric == Metric::kDot ? -dot
                                                     : -dot / std::sqrt(norm);
    all.emplace_back(distance, static_cast<int32_t>(row));
  }
  std::sort(all.begin(), all.end());
  std::vector<int32_t> rows;
  for (size_t i = 0; i < k; ++i) rows.push_back(all[i].second);
  return rows;
}

TEST_F(GroundTruthTest, EqualsTheDefinitionForEveryMetricAndOddSizes) {
  // Few values: many ties. Many values: distances single precision cannot tell apart.
  for (int values : {3, 1'000'000}) {
    const auto base = RandomRows(517, 37, 1, values);
    const auto queries = RandomRows(67, 37, 2, values);
    for (Metric metric : {Metric::kL2, Metric::kCosine, Metric::kDot}) {
      GroundTruthOptions options{.base_path = WriteFloats("b.fvecs", base),
                                 .query_path = WriteFloats("q.fvecs", queries),
                                 .out_path = dir_ + "/t.ivecs",
                                 .metric = metric,
                                 .k = 10,
                                 .quiet = true};
      ASSERT_TRUE(ComputeGroundTruth(options).ok());
      const auto truth = IdFile::Open(options.out_path);
      ASSERT_TRUE(truth.ok());
      ASSERT_EQ(truth->count(), queries.size());
      for (size_t i = 0; i < queries.size(); ++i) {
        const auto row = truth->Row(i);
        EXPECT_EQ(std::vector<int32_t>(row.begin(), row.end()), Naive(base, queries[i], metric, 10))
            << MetricName(metric) << " query " << i;
      }
    }
  }
}

TEST_F(GroundTruthTest, RefusesFilesThatDoNotFitTogether) {
  GroundTruthOptions options{.base_path = WriteFloats("b.fvecs", RandomRows(5, 4, 1, 9)),
                             .query_path = WriteFloats("q.fvecs", RandomRows(2, 3, 1, 9)),
                             .out_path = dir_ + "/t.ivecs",
                             .k = 3,
                             .quiet = true};
  EXPECT_EQ(ReasonOf(ComputeGroundTruth(options)), Reason::kInvalidArgument);
  options.query_path = options.base_path;
  options.k = 6;
  EXPECT_EQ(ReasonOf(ComputeGroundTruth(options)), Reason::kInvalidArgument);
  options.k = 5;
  EXPECT_TRUE(ComputeGroundTruth(options).ok());
}

}  // namespace
}  // namespace vectron::cmd
