#include "index/quantizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "index/testing/fixtures.h"

namespace vectron::index {
namespace {

using testing::ByteVectors;
using testing::ClusteredVectors;
using testing::TrueDistance;
using testing::Vectors;

Sq8Quantizer LearnFrom(Metric metric, const Vectors& vectors) {
  return Sq8Quantizer::Learn(
      metric, vectors[0].size(), vectors.size(),
      [&](size_t i, float* row) { std::copy(vectors[i].begin(), vectors[i].end(), row); },
      BestKernels());
}

float CodeDistance(const Sq8Quantizer& quantizer, const std::vector<float>& query,
                   const std::vector<float>& vector) {
  std::vector<uint8_t> code(quantizer.padded_bytes());
  quantizer.Encode(vector.data(), code.data());
  Prepared prepared;
  quantizer.Prepare(query.data(), &prepared);
  const auto* row = reinterpret_cast<const std::byte*>(code.data());
  float distance = 0;
  quantizer.Distances(prepared, &row, 1, &distance);
  return distance;
}

TEST(Quantizer, WholeNumbersOfAByteLoseNothing) {
  const Vectors vectors = ByteVectors(100, 48, 1);
  for (const Metric metric : {Metric::kL2, Metric::kDot, Metric::kManhattan}) {
    const Sq8Quantizer quantizer = LearnFrom(metric, vectors);
    EXPECT_TRUE(quantizer.integral());
    std::vector<uint8_t> code(quantizer.padded_bytes());
    std::vector<float> decoded(48);
    for (const auto& vector : vectors) {
      EXPECT_EQ(quantizer.Encode(vector.data(), code.data()), 0u);
      quantizer.Decode(code.data(), decoded.data());
      EXPECT_EQ(decoded, vector);
      EXPECT_EQ(CodeDistance(quantizer, vectors[0], vector),
                static_cast<float>(TrueDistance(metric, vectors[0], vector)));
    }
    std::vector<float> other = vectors[0];
    other[3] += 0.5f;
    other[4] = 256;
    EXPECT_EQ(quantizer.Encode(other.data(), code.data()), 2u);
  }
}

TEST(Quantizer, DecodesToWithinAStep) {
  const Vectors vectors = ClusteredVectors(500, 40, 1, 20, {1.0f, 50.0f, 0.01f});
  for (const Metric metric : kMetrics) {
    const Sq8Quantizer quantizer = LearnFrom(metric, vectors);
    EXPECT_FALSE(quantizer.integral());
    // l2 and cosine steps are square roots of whole numbers of units: at the least 1/11 of the
    // widest. Those of manhattan are whole numbers of units that are far smaller.
    const float widest = *std::max_element(quantizer.range().begin(), quantizer.range().end());
    std::vector<uint8_t> code(quantizer.padded_bytes());
    std::vector<float> decoded(40);
    for (const auto& vector : vectors) {
      quantizer.Encode(vector.data(), code.data());
      quantizer.Decode(code.data(), decoded.data());
      for (size_t d = 0; d < 40; ++d) {
        float range = quantizer.range()[d];
        if (metric == Metric::kManhattan) range += widest / 10'000;
        if (metric == Metric::kL2 || metric == Metric::kCosine) {
          range = std::max(1.5f * range, widest / 11);
        }
        EXPECT_NEAR(decoded[d], vector[d], range / 255 * 0.51f);
      }
    }
  }
}

TEST(Quantizer, DistancesFollowTheTrueOnes) {
  for (const Metric metric : {Metric::kL2, Metric::kDot, Metric::kManhattan}) {
    for (const float scale : {1.0f, 30.0f}) {
      const Vectors vectors = ClusteredVectors(300, 64, 1, 20, {1.0f, scale, 1.0f, 0.1f});
      const Sq8Quantizer quantizer = LearnFrom(metric, vectors);
      const auto& query = vectors[0];
      double spread = 0;
      double error = 0;
      for (const auto& vector : vectors) {
        const double truth = TrueDistance(metric, query, vector);
        const double difference =
            quantizer.scale() * CodeDistance(quantizer, query, vector) - truth;
        spread += truth * truth;
        error += difference * difference;
      }
      EXPECT_LT(std::sqrt(error / spread), 0.01) << MetricName(metric) << " " << scale;
    }
  }
}

// Factors that floats hold, and those that they do not.
TEST(Quantizer, ProductsFollowTheTrueOnesWhateverTheirSize) {
  for (const float size : {1e-16f, 1e-8f, 1.0f, 1e8f, 1e16f}) {
    const Vectors vectors = ClusteredVectors(300, 64, 1, 20, {size});
    const Sq8Quantizer quantizer = LearnFrom(Metric::kDot, vectors);
    double spread = 0;
    double error = 0;
    for (const auto& vector : vectors) {
      const double truth = TrueDistance(Metric::kDot, vectors[0], vector);
      const double difference = CodeDistance(quantizer, vectors[0], vector) - truth;
      spread += truth * truth;
      error += difference * difference;
    }
    EXPECT_LT(std::sqrt(error / spread), 0.01) << size;
  }
}

TEST(Quantizer, SumsFitInTheLargestDimension) {
  for (const Metric metric : {Metric::kL2, Metric::kDot, Metric::kManhattan}) {
    Vectors vectors(2, std::vector<float>(kDimensionMax));
    for (size_t d = 0; d < kDimensionMax; ++d) {
      vectors[0][d] = -1.5f * static_cast<float>(1 + d % 3 * 40);
      vectors[1][d] = 1.5f * static_cast<float>(1 + d % 3 * 40);
    }
    const Sq8Quantizer quantizer = LearnFrom(metric, vectors);
    const double far = CodeDistance(quantizer, vectors[0], vectors[1]);
    const double near = CodeDistance(quantizer, vectors[0], vectors[0]);
    EXPECT_GT(far, near);
    if (metric != Metric::kL2) {
      const double truth = TrueDistance(metric, vectors[0], vectors[1]);
      EXPECT_NEAR(quantizer.scale() * far, truth, 0.5 * std::abs(truth));
    }
  }
}

TEST(Quantizer, ADimensionThatNeverChangesDoesNoHarm) {
  Vectors vectors = ClusteredVectors(100, 8, 1);
  for (auto& vector : vectors) vector[2] = 42;
  const Sq8Quantizer quantizer = LearnFrom(Metric::kL2, vectors);
  std::vector<uint8_t> code(quantizer.padded_bytes());
  EXPECT_EQ(quantizer.Encode(vectors[0].data(), code.data()), 0u);
  const Sq8Quantizer constant = LearnFrom(Metric::kL2, Vectors(3, std::vector<float>(8, 0.5f)));
  EXPECT_EQ(CodeDistance(constant, std::vector<float>(8, 0.5f), std::vector<float>(8, 0.5f)), 0.0f);
}

// Whether it comes from above or from below.
TEST(Quantizer, WhatDiffersFromADimensionThatNeverChangedIsSeen) {
  for (const Metric metric : {Metric::kL2, Metric::kManhattan}) {
    for (const float value : {0.5f, 1.0f, -1.0f, 1e-20f, 12345.678f, -1e30f}) {
      const std::vector<float> same(8, value);
      const Sq8Quantizer quantizer = LearnFrom(metric, Vectors(3, same));
      EXPECT_EQ(CodeDistance(quantizer, same, same), 0.0f);
      for (const float factor : {-1.0f, 1.0f}) {
        std::vector<float> other = same;
        other[3] += factor * std::max(1.0f, std::abs(value) / 2);
        EXPECT_GT(CodeDistance(quantizer, same, other), 0.0f) << value << " " << factor;
        EXPECT_GT(CodeDistance(quantizer, other, same), 0.0f) << value << " " << factor;
      }
    }
  }
}

// Beside one that varies, too: its steps are too wide for the other's range.
TEST(Quantizer, WhatComesFromOutsideANarrowRangeIsSeenOnBothSides) {
  Vectors vectors(300, std::vector<float>(8));
  for (size_t i = 0; i < vectors.size(); ++i) {
    vectors[i][0] = static_cast<float>(i);
    vectors[i][1] = 5 + 1e-4f * static_cast<float>(i % 7);
  }
  const Sq8Quantizer quantizer = LearnFrom(Metric::kL2, vectors);
  for (const float offset : {-20.0f, 20.0f}) {
    std::vector<float> other = vectors[0];
    other[1] += offset;
    const double seen = quantizer.scale() * CodeDistance(quantizer, vectors[0], other);
    // Codes end before that, but not at the range.
    EXPECT_GT(std::sqrt(seen), 10) << offset;
    EXPECT_LT(std::sqrt(seen), 21) << offset;
  }
}

}  // namespace
}  // namespace vectron::index
