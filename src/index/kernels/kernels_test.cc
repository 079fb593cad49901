#include "index/kernels/kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/random.h"

namespace vectron::index {
namespace {

constexpr size_t kDimensions[] = {1,  3,  7,   8,   15,  16,   17,   31,
                                  33, 64, 100, 128, 784, 1536, 2047, 65'535};

size_t Padded(size_t dimension) { return (dimension + 63) / 64 * 64; }

class EveryIsa : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!IsaSupported(GetParam())) GTEST_SKIP() << "not on this processor";
  }
  const Kernels& kernels() const { return KernelsFor(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(Kernels, EveryIsa, ::testing::ValuesIn(kIsas),
                         [](const auto& info) { return std::string(IsaName(info.param)); });

// Rows of codes, each in memory of its own, so that reading past its end is seen
// by the address sanitizer.
struct CodeRows {
  std::vector<std::vector<uint8_t>> rows;
  std::vector<const std::byte*> pointers;

  // Random, or all of the value `fill`.
  CodeRows(Random& random, size_t count, size_t dimension, int fill = -1)
      : rows(count, std::vector<uint8_t>(Padded(dimension), 0)) {
    for (auto& row : rows) {
      for (size_t d = 0; d < dimension; ++d) {
        row[d] = static_cast<uint8_t>(fill >= 0 ? fill : static_cast<int>(random.Below(256)));
      }
      pointers.push_back(reinterpret_cast<const std::byte*>(row.data()));
    }
  }
};

std::vector<int16_t> RandomQuery(Random& random, size_t dimension, int low, int high) {
  std::vector<int16_t> query(Padded(dimension), 0);
  for (size_t d = 0; d < dimension; ++d) {
    query[d] = static_cast<int16_t>(
        low + static_cast<int>(random.Below(static_cast<uint64_t>(high - low + 1))));
  }
  return query;
}

TEST_P(EveryIsa, L2OfCodesIsExact) {
  Random random(1);
  for (const size_t dimension : kDimensions) {
    for (const int fill : {-1, 0, 255}) {
      const CodeRows codes(random, 7, dimension, fill);
      const auto query = fill < 0 ? RandomQuery(random, dimension, 0, 255)
                                  : RandomQuery(random, dimension, 255 - fill, 255 - fill);
      for (size_t count = 0; count <= 7; ++count) {
        std::vector<uint32_t> sums(7, 12345);
        kernels().l2_codes(query.data(), codes.pointers.data(), count, Padded(dimension),
                           sums.data());
        for (size_t i = 0; i < 7; ++i) {
          uint64_t truth = 0;
          for (size_t d = 0; d < dimension; ++d) {
            const int64_t difference = codes.rows[i][d] - query[d];
            truth += static_cast<uint64_t>(difference * difference);
          }
          // Nothing is written past the batch.
          EXPECT_EQ(sums[i], i < count ? truth : 12345) << dimension << " " << fill << " " << i;
        }
      }
    }
  }
}

TEST_P(EveryIsa, WeightedL2OfCodesIsExact) {
  Random random(2);
  for (const size_t dimension : kDimensions) {
    const int weight_max = static_cast<int>(std::clamp<size_t>(66'051 / dimension, 1, 127));
    for (const int fill : {-1, 0, 255}) {
      const CodeRows codes(random, 5, dimension, fill);
      const auto query = fill < 0 ? RandomQuery(random, dimension, 0, 255)
                                  : RandomQuery(random, dimension, 255 - fill, 255 - fill);
      const auto weights = RandomQuery(random, dimension, fill < 0 ? 1 : weight_max, weight_max);
      std::vector<uint32_t> sums(5);
      kernels().l2_weighted_codes(query.data(), weights.data(), codes.pointers.data(), 5,
                                  Padded(dimension), sums.data());
      for (size_t i = 0; i < 5; ++i) {
        uint64_t truth = 0;
        for (size_t d = 0; d < dimension; ++d) {
          const int64_t difference = codes.rows[i][d] - query[d];
          truth += static_cast<uint64_t>(weights[d] * difference * difference);
        }
        EXPECT_EQ(sums[i], truth) << dimension << " " << fill;
      }
    }
  }
}

TEST_P(EveryIsa, ProductsOfCodesAreExact) {
  Random random(3);
  for (const size_t dimension : kDimensions) {
    const int limit = static_cast<int>(std::min<size_t>(32'767, 8'421'504 / dimension));
    for (const int fill : {-1, 255}) {
      for (const int sign : {-1, 1}) {
        const CodeRows codes(random, 6, dimension, fill);
        const auto query = fill < 0 ? RandomQuery(random, dimension, -limit, limit)
                                    : RandomQuery(random, dimension, sign * limit, sign * limit);
        std::vector<int32_t> sums(6);
        kernels().dot_codes(query.data(), codes.pointers.data(), 6, Padded(dimension), sums.data());
        for (size_t i = 0; i < 6; ++i) {
          int64_t truth = 0;
          for (size_t d = 0; d < dimension; ++d) truth += query[d] * codes.rows[i][d];
          EXPECT_EQ(sums[i], truth) << dimension << " " << fill << " " << sign;
        }
      }
    }
  }
}

TEST_P(EveryIsa, FloatKernelsAgreeWithDoubles) {
  Random random(4);
  for (const size_t dimension : kDimensions) {
    std::vector<std::vector<float>> vectors(6, std::vector<float>(dimension));
    std::vector<const std::byte*> rows;
    for (auto& vector : vectors) {
      for (float& x : vector) x = static_cast<float>(random.Uniform() * 20 - 10);
      rows.push_back(reinterpret_cast<const std::byte*>(vector.data()));
    }
    const std::vector<float> query = vectors[5];
    std::vector<float> l2(5);
    std::vector<float> dot(5);
    std::vector<float> products(5);
    std::vector<float> squares(5);
    kernels().l2_floats(query.data(), rows.data(), 5, dimension, l2.data());
    kernels().dot_floats(query.data(), rows.data(), 5, dimension, dot.data());
    kernels().dot_norm_floats(query.data(), rows.data(), 5, dimension, products.data(),
                              squares.data());
    for (size_t i = 0; i < 5; ++i) {
      double l2_truth = 0;
      double product_truth = 0;
      double square_truth = 0;
      double magnitude = 0;
      for (size_t d = 0; d < dimension; ++d) {
        const double x = vectors[i][d];
        const double q = query[d];
        l2_truth += (x - q) * (x - q);
        product_truth += x * q;
        square_truth += x * x;
        magnitude += std::abs(x * q);
      }
      const double error = 1e-5 * (1 + std::sqrt(static_cast<double>(dimension)));
      EXPECT_NEAR(l2[i], l2_truth, error * (1 + l2_truth));
      EXPECT_NEAR(dot[i], product_truth, error * (1 + magnitude));
      EXPECT_EQ(dot[i], products[i]);
      EXPECT_NEAR(squares[i], square_truth, error * (1 + square_truth));

      // The place in the batch does not matter.
      float alone = 0;
      kernels().l2_floats(query.data(), &rows[i], 1, dimension, &alone);
      EXPECT_EQ(alone, l2[i]);
    }
  }
}

TEST_P(EveryIsa, EncodesAsTheScalarOneDoes) {
  Random random(5);
  for (const size_t dimension : kDimensions) {
    std::vector<float> vector(dimension);
    std::vector<float> low(dimension);
    std::vector<float> inverse_step(dimension);
    for (size_t d = 0; d < dimension; ++d) {
      vector[d] = static_cast<float>(random.Uniform() * 400 - 60);
      low[d] = static_cast<float>(random.Uniform());
      inverse_step[d] = static_cast<float>(random.Uniform());
      // What has no place between low and high: the farthest floats, no range.
      if (d % 7 == 3) vector[d] = d % 2 == 0 ? 3.4e38f : -3.4e38f;
      if (d % 7 == 3 && d % 3 == 0) low[d] = d % 2 == 0 ? -3.4e38f : 3.4e38f;
      if (d % 5 == 3) inverse_step[d] = 0;
    }
    std::vector<uint8_t> expected(dimension);
    std::vector<uint8_t> code(dimension + 1, 77);
    const size_t outside =
        KernelsFor(Isa::kScalar)
            .encode(vector.data(), low.data(), inverse_step.data(), dimension, expected.data());
    EXPECT_EQ(
        kernels().encode(vector.data(), low.data(), inverse_step.data(), dimension, code.data()),
        outside);
    EXPECT_EQ(code.back(), 77);
    code.pop_back();
    EXPECT_EQ(code, expected) << dimension;
  }
}

TEST(Kernels, TheBestOnesAreSupported) {
  bool found = false;
  for (const Isa isa : kIsas)
    found = found || (IsaSupported(isa) && &KernelsFor(isa) == &BestKernels());
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace vectron::index
