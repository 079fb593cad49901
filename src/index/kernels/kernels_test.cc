#include "index/kernels/kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "common/random.h"

// Everything that runs here is run on every instruction set that the processor has, the scalar one
// among them; what it lacks is shown as skipped. scripts/check-neon runs this file on
// another processor.

namespace vectron::index {
namespace {

constexpr size_t kDimensions[] = {1,  3,  7,   8,   15,  16,   17,   31,
                                  33, 64, 100, 128, 784, 1536, 2047, 65'535};
// Batches of 0 to so many rows.
constexpr size_t kCountMax = 9;
constexpr uint32_t kUntouched = 12'345;

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

// What a component of a row and of the query are made of, up to `limit` for the query.
struct Pattern {
  const char* name;
  std::function<int(Random& random)> code;
  std::function<int(Random& random, int limit)> query;
};

int Between(Random& random, int low, int high) {
  return low + static_cast<int>(random.Below(static_cast<uint64_t>(high - low + 1)));
}

const Pattern kPatterns[] = {
    {"random", [](Random& random) { return Between(random, 0, 255); },
     [](Random& random, int limit) { return Between(random, 0, limit); }},
    {"zeros against the most", [](Random&) { return 0; }, [](Random&, int limit) { return limit; }},
    {"the most against zeros", [](Random&) { return 255; }, [](Random&, int) { return 0; }},
    {"the most against the most", [](Random&) { return 255; },
     [](Random&, int limit) { return limit; }},
    {"ends in turn", [](Random& random) { return 255 * Between(random, 0, 1); },
     [](Random& random, int limit) { return limit * Between(random, 0, 1); }},
};

// Rows of codes, each in memory of its own, so that reading past its end is seen
// by the address sanitizer; of every alignment.
struct CodeRows {
  std::vector<std::vector<uint8_t>> memory;
  std::vector<const std::byte*> rows;

  CodeRows(Random& random, size_t dimension, const Pattern& pattern) {
    for (size_t i = 0; i < kCountMax; ++i) {
      memory.emplace_back(i + Padded(dimension), uint8_t{0});
      for (size_t d = 0; d < dimension; ++d) {
        memory.back()[i + d] = static_cast<uint8_t>(pattern.code(random));
      }
    }
    for (size_t i = 0; i < kCountMax; ++i) {
      rows.push_back(reinterpret_cast<const std::byte*>(memory[i].data() + i));
    }
  }
  int At(size_t row, size_t d) const { return static_cast<int>(rows[row][d]); }
};

// Values from the second element on, so that they have no alignment either.
template <typename T>
struct Values {
  std::vector<T> memory;

  Values(size_t dimension, const std::function<int()>& value)
      : memory(1 + Padded(dimension), T{0}) {
    for (size_t d = 0; d < dimension; ++d) memory[1 + d] = static_cast<T>(value());
  }
  const T* data() const { return memory.data() + 1; }
  int operator[](size_t d) const { return memory[1 + d]; }
};

// Calls `sums`(count, out) with batches of every size, and compares with `term`(row, d), summed up.
template <typename Sum>
void ExpectSums(size_t dimension, const std::string& name,
                const std::function<void(size_t count, Sum* out)>& sums,
                const std::function<int64_t(size_t row, size_t d)>& term) {
  std::vector<int64_t> truth(kCountMax, 0);
  for (size_t i = 0; i < kCountMax; ++i) {
    for (size_t d = 0; d < dimension; ++d) truth[i] += term(i, d);
    ASSERT_LE(truth[i], std::numeric_limits<Sum>::max());
  }
  for (size_t count = 0; count <= kCountMax; ++count) {
    std::vector<Sum> out(kCountMax, kUntouched);
    sums(count, out.data());
    for (size_t i = 0; i < kCountMax; ++i) {
      // Nothing is written past the batch.
      EXPECT_EQ(out[i], i < count ? truth[i] : kUntouched)
          << dimension << " dimensions, " << name << ", row " << i << " of " << count;
    }
  }
}

// Calls `test` with rows of each pattern and a query up to `limit`.
template <typename T>
void ForEachPattern(size_t dimension, int limit,
                    const std::function<void(const char* name, const CodeRows& codes,
                                             const Values<T>& query)>& test) {
  Random random(dimension);
  for (const Pattern& pattern : kPatterns) {
    const CodeRows codes(random, dimension, pattern);
    test(pattern.name, codes, Values<T>(dimension, [&] { return pattern.query(random, limit); }));
  }
}

// Weights of 1 to the greatest that all could have with such a sum, or all of that.
std::vector<Values<int16_t>> WeightsOf(size_t dimension, size_t sum_max, int weight_max) {
  Random random(dimension);
  const int most =
      static_cast<int>(std::clamp<size_t>(sum_max / dimension, 1, static_cast<size_t>(weight_max)));
  return {Values<int16_t>(dimension, [&] { return Between(random, 1, most); }),
          Values<int16_t>(dimension, [&] { return most; })};
}

int64_t Square(int64_t x) { return x * x; }

TEST_P(EveryIsa, L2OfCodesIsExact) {
  for (const size_t dimension : kDimensions) {
    ForEachPattern<int16_t>(dimension, 255, [&](const char* name, const auto& codes, auto& query) {
      ExpectSums<uint32_t>(
          dimension, name,
          [&](size_t count, uint32_t* out) {
            kernels().l2_codes(query.data(), codes.rows.data(), count, Padded(dimension), out);
          },
          [&](size_t i, size_t d) { return Square(codes.At(i, d) - query[d]); });
    });
  }
}

TEST_P(EveryIsa, WeightedL2OfCodesIsExact) {
  for (const size_t dimension : kDimensions) {
    ForEachPattern<int16_t>(dimension, 255, [&](const char* name, const auto& codes, auto& query) {
      for (const auto& weights : WeightsOf(dimension, 66'051, 127)) {
        ExpectSums<uint32_t>(
            dimension, name,
            [&](size_t count, uint32_t* out) {
              kernels().l2_weighted_codes(query.data(), weights.data(), codes.rows.data(), count,
                                          Padded(dimension), out);
            },
            [&](size_t i, size_t d) { return weights[d] * Square(codes.At(i, d) - query[d]); });
      }
    });
  }
}

TEST_P(EveryIsa, L1OfCodesIsExact) {
  for (const size_t dimension : kDimensions) {
    ForEachPattern<uint8_t>(dimension, 255, [&](const char* name, const auto& codes, auto& query) {
      ExpectSums<uint32_t>(
          dimension, name,
          [&](size_t count, uint32_t* out) {
            kernels().l1_codes(query.data(), codes.rows.data(), count, Padded(dimension), out);
          },
          [&](size_t i, size_t d) { return std::abs(codes.At(i, d) - query[d]); });
    });
  }
}

TEST_P(EveryIsa, WeightedL1OfCodesIsExact) {
  for (const size_t dimension : kDimensions) {
    ForEachPattern<int16_t>(dimension, 255, [&](const char* name, const auto& codes, auto& query) {
      for (const auto& weights : WeightsOf(dimension, 16'843'009, 32'767)) {
        ExpectSums<uint32_t>(
            dimension, name,
            [&](size_t count, uint32_t* out) {
              kernels().l1_weighted_codes(query.data(), weights.data(), codes.rows.data(), count,
                                          Padded(dimension), out);
            },
            [&](size_t i, size_t d) {
              return int64_t{weights[d]} * std::abs(codes.At(i, d) - query[d]);
            });
      }
    });
  }
}

TEST_P(EveryIsa, ProductsOfCodesAreExact) {
  for (const size_t dimension : kDimensions) {
    const int limit = static_cast<int>(std::min<size_t>(32'767, 8'421'504 / dimension));
    for (const int sign : {1, -1, 0}) {
      ForEachPattern<int16_t>(dimension, limit,
                              [&](const char* name, const auto& codes, const auto& sizes) {
                                // Of one sign, or of both in turn.
                                size_t next = 0;
                                const Values<int16_t> query(dimension, [&] {
                                  const size_t d = next++;
                                  return sizes[d] * (sign != 0 ? sign : d % 2 == 0 ? 1 : -1);
                                });
                                ExpectSums<int32_t>(
                                    dimension, name,
                                    [&](size_t count, int32_t* out) {
                                      kernels().dot_codes(query.data(), codes.rows.data(), count,
                                                          Padded(dimension), out);
                                    },
                                    [&](size_t i, size_t d) { return query[d] * codes.At(i, d); });
                              });
    }
  }
}

// Rows of floats that begin anywhere, each in memory of its own; the last is the query.
struct FloatRows {
  std::vector<std::vector<float>> memory;
  std::vector<const std::byte*> rows;

  FloatRows(size_t dimension, const std::function<float()>& value) {
    for (size_t i = 0; i <= kCountMax; ++i) {
      memory.emplace_back(i % 5 + dimension, 0.0f);
      for (size_t d = 0; d < dimension; ++d) memory.back()[i % 5 + d] = value();
    }
    for (size_t i = 0; i <= kCountMax; ++i) {
      rows.push_back(reinterpret_cast<const std::byte*>(memory[i].data() + i % 5));
    }
  }
  double At(size_t row, size_t d) const { return reinterpret_cast<const float*>(rows[row])[d]; }
  const float* query() const { return reinterpret_cast<const float*>(rows.back()); }
};

using FloatKernel = void (*)(const float* query, const std::byte* const* rows, size_t count,
                             size_t dimension, float* sums);
using Term = double (*)(double x, double q);

// Holds a kernel to the sums of `term`(x, query) in doubles. What is greater than any float is
// not finite; a row's sum does not depend on its place in the batch.
void ExpectFloatSums(FloatKernel kernel, Term term, const FloatRows& floats, size_t dimension) {
  std::vector<float> alone(kCountMax);
  for (size_t i = 0; i < kCountMax; ++i) {
    double sum = 0;
    double magnitude = 0;
    for (size_t d = 0; d < dimension; ++d) {
      const double x = term(floats.At(i, d), floats.At(kCountMax, d));
      sum += x;
      magnitude += std::abs(x);
    }
    kernel(floats.query(), &floats.rows[i], 1, dimension, &alone[i]);
    if (magnitude < FLT_MAX) {
      const double error = 1e-6 * (1 + std::sqrt(static_cast<double>(dimension)));
      EXPECT_NEAR(alone[i], sum, error * magnitude + 1e-37) << dimension << ", row " << i;
    } else if (std::abs(sum) > FLT_MAX) {
      EXPECT_FALSE(std::isfinite(alone[i])) << dimension << ", row " << i;
    }
  }
  for (size_t count = 0; count <= kCountMax; ++count) {
    std::vector<float> out(kCountMax, kUntouched);
    kernel(floats.query(), floats.rows.data(), count, dimension, out.data());
    for (size_t i = 0; i < kCountMax; ++i) {
      const float expected = i < count ? alone[i] : kUntouched;
      EXPECT_TRUE(out[i] == expected || (std::isnan(out[i]) && std::isnan(expected)))
          << dimension << " dimensions, row " << i << " of " << count;
    }
  }
}

void ExpectFloatKernels(const Kernels& kernels, const FloatRows& floats, size_t dimension) {
  const Term product = [](double x, double q) { return x * q; };
  ExpectFloatSums(
      kernels.l2_floats, [](double x, double q) { return (x - q) * (x - q); }, floats, dimension);
  ExpectFloatSums(
      kernels.l1_floats, [](double x, double q) { return std::abs(x - q); }, floats, dimension);
  ExpectFloatSums(kernels.dot_floats, product, floats, dimension);
  for (size_t count = 0; count <= kCountMax; ++count) {
    std::vector<float> products(kCountMax, kUntouched);
    std::vector<float> squares(kCountMax, kUntouched);
    kernels.dot_norm_floats(floats.query(), floats.rows.data(), count, dimension, products.data(),
                            squares.data());
    for (size_t i = 0; i < kCountMax; ++i) {
      float expected[2] = {kUntouched, kUntouched};
      if (i < count) {
        const auto* row = reinterpret_cast<const float*>(floats.rows[i]);
        kernels.dot_floats(floats.query(), &floats.rows[i], 1, dimension, &expected[0]);
        kernels.dot_floats(row, &floats.rows[i], 1, dimension, &expected[1]);
      }
      EXPECT_TRUE(products[i] == expected[0] || std::isnan(expected[0])) << dimension;
      EXPECT_TRUE(squares[i] == expected[1] || std::isnan(expected[1])) << dimension;
    }
  }
}

TEST_P(EveryIsa, FloatKernelsAgreeWithDoubles) {
  Random random(4);
  for (const size_t dimension : kDimensions) {
    const auto number = [&] { return static_cast<float>(random.Uniform() * 20 - 10); };
    ExpectFloatKernels(kernels(), FloatRows(dimension, number), dimension);
  }
}

// One sum of them all would lose a half of what is added to it at the end.
TEST_P(EveryIsa, ManyEqualComponentsLoseNothing) {
  constexpr size_t kDimension = 65'535;
  constexpr double kErrorMax = 1e-4;
  const FloatRows floats(kDimension, [] { return 0.123f; });
  const double product = kDimension * static_cast<double>(0.123f) * 0.123f;
  float dot = 0;
  float norm[2] = {};
  kernels().dot_floats(floats.query(), floats.rows.data(), 1, kDimension, &dot);
  kernels().dot_norm_floats(floats.query(), floats.rows.data(), 1, kDimension, &norm[0], &norm[1]);
  for (const float one : {dot, norm[0], norm[1]}) EXPECT_NEAR(one, product, product * kErrorMax);
}

TEST_P(EveryIsa, FloatKernelsOverflowWhereTheSumDoes) {
  constexpr float kExtremes[] = {FLT_MAX, -FLT_MAX, 1e19f, -1e19f, 0.0f, -0.0f, FLT_MIN, 1e-45f, 1};
  Random random(6);
  for (const size_t dimension : kDimensions) {
    const auto one_of_all = [&] { return kExtremes[random.Below(std::size(kExtremes))]; };
    ExpectFloatKernels(kernels(), FloatRows(dimension, one_of_all), dimension);
    for (const float value : kExtremes) {
      ExpectFloatKernels(kernels(), FloatRows(dimension, [&] { return value; }), dimension);
    }
  }
}

// What has no place between low and high: the farthest floats, no range.
TEST_P(EveryIsa, EncodesAsTheScalarOneDoes) {
  constexpr float kMost = 3.4e38f;
  Random random(5);
  for (const size_t dimension : kDimensions) {
    std::vector<float> vector(dimension);
    std::vector<float> low(dimension);
    std::vector<float> inverse_step(dimension);
    for (size_t d = 0; d < dimension; ++d) {
      vector[d] = static_cast<float>(random.Uniform() * 400 - 60);
      low[d] = static_cast<float>(random.Uniform());
      inverse_step[d] = static_cast<float>(random.Uniform());
      if (d % 7 == 3) vector[d] = d % 2 == 0 ? kMost : -kMost;
      if (d % 7 == 3 && d % 3 == 0) low[d] = d % 2 == 0 ? -kMost : kMost;
      if (d % 5 == 3) inverse_step[d] = 0;
      if (d % 11 == 5) inverse_step[d] = FLT_MAX;
      // Half way between two codes, and between the last one and what is outside.
      if (d % 4 == 2) {
        vector[d] = static_cast<float>(random.Below(258)) - 0.5f;
        low[d] = 0;
        inverse_step[d] = 1;
      }
    }
    std::vector<uint8_t> expected(dimension);
    const size_t outside =
        KernelsFor(Isa::kScalar)
            .encode(vector.data(), low.data(), inverse_step.data(), dimension, expected.data());
    for (const size_t offset : {0, 1, 5}) {
      std::vector<uint8_t> code(offset + dimension + 1, 77);
      EXPECT_EQ(kernels().encode(vector.data(), low.data(), inverse_step.data(), dimension,
                                 code.data() + offset),
                outside);
      EXPECT_EQ(code.back(), 77);
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(), code.begin() + offset)) << dimension;
    }
  }
}

TEST_P(EveryIsa, FactorsAreMeasuredAndRounded) {
  Random random(7);
  for (const size_t dimension : kDimensions) {
    const auto number = [&] { return static_cast<float>(random.Uniform() * 20 - 10); };
    FloatRows floats(dimension, number);
    const auto* query = reinterpret_cast<const float*>(floats.rows[0]);
    const auto* low = reinterpret_cast<const float*>(floats.rows[1]);
    const auto* step = reinterpret_cast<const float*>(floats.rows[2]);
    const FactorSums sums = kernels().measure_factors(query, low, step, dimension);
    double total = 0;
    double offset = 0;
    float largest = 0;
    for (size_t d = 0; d < dimension; ++d) {
      const float factor = std::abs(query[d] * step[d]);
      largest = std::max(largest, factor);
      total += factor;
      offset += static_cast<double>(query[d]) * low[d];
    }
    EXPECT_EQ(sums.largest, largest);
    EXPECT_NEAR(sums.total, total, total * 1e-3);
    EXPECT_NEAR(sums.offset, offset, total * 1e-3 + 1);
    for (const float scale : {4.0f, 32'766 / largest}) {
      std::vector<int16_t> expected(dimension);
      std::vector<int16_t> factors(dimension + 1, kUntouched);
      kScalarKernels.round_factors(query, step, scale, dimension, expected.data());
      kernels().round_factors(query, step, scale, dimension, factors.data());
      EXPECT_EQ(factors.back(), static_cast<int16_t>(kUntouched));
      factors.pop_back();
      EXPECT_EQ(factors, expected) << dimension;
      for (size_t d = 0; d < dimension; ++d) {
        EXPECT_NEAR(factors[d], static_cast<double>(query[d]) * step[d] * scale, 0.51);
      }
    }
  }
}

TEST_P(EveryIsa, FactorsThatOverflowAreNotFinite) {
  for (const size_t dimension : {1u, 8u, 17u, 100u}) {
    std::vector<float> query(dimension, 0.0f);
    query.back() = FLT_MAX;
    const std::vector<float> step(dimension, 2.0f);
    const FactorSums sums =
        kernels().measure_factors(query.data(), step.data(), step.data(), dimension);
    EXPECT_TRUE(std::isinf(sums.largest));
    EXPECT_TRUE(std::isinf(sums.total));
    EXPECT_TRUE(std::isinf(sums.offset));
  }
}

TEST(Kernels, TheBestOnesAreSupported) {
  bool found = false;
  for (const Isa isa : kIsas)
    found = found || (IsaSupported(isa) && &KernelsFor(isa) == &BestKernels());
  EXPECT_TRUE(found);
}

TEST(ChooseKernels, AsAskedFor) {
  const char* complaint = "";
  for (const Isa isa : kIsas) {
    const Kernels& chosen = ChooseKernels(IsaName(isa), &complaint);
    if (IsaSupported(isa)) {
      EXPECT_EQ(&chosen, &KernelsFor(isa));
      EXPECT_EQ(complaint, nullptr);
    } else {
      EXPECT_STREQ(complaint, "is not supported by this processor") << IsaName(isa);
    }
  }
  EXPECT_EQ(&ChooseKernels("Scalar", &complaint), &kScalarKernels);
  EXPECT_EQ(complaint, nullptr);
}

TEST(ChooseKernels, ElseTheBest) {
  const char* complaint = "";
  const Kernels& best = ChooseKernels(nullptr, &complaint);
  EXPECT_EQ(complaint, nullptr);
  EXPECT_EQ(&ChooseKernels("sse9", &complaint), &best);
  EXPECT_STREQ(complaint, "is no instruction set");
  EXPECT_EQ(&ChooseKernels("", &complaint), &best);
  EXPECT_STREQ(complaint, "is no instruction set");
  // An alias, whether this processor has it or not.
  ChooseKernels("avx512-vnni", &complaint);
  if (complaint != nullptr) {
    EXPECT_STRNE(complaint, "is no instruction set");
  }
}

}  // namespace
}  // namespace vectron::index
