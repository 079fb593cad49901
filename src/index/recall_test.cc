// What 8-bit codes find where they are hard put to it: as much as floats do.

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <ostream>

#include "index/code_guard.h"
#include "index/testing/fixtures.h"

namespace vectron::index {
namespace {

using testing::ClusteredVectors;
using testing::LinkAll;
using testing::MakeIndex;
using testing::PutAll;
using testing::RecallAt10;
using testing::Vectors;

double Normal(Random& random) {
  return std::sqrt(-2 * std::log(1 - random.Uniform())) *
         std::cos(6.283185307179586 * random.Uniform());
}

Vectors Gaussian(size_t count, size_t dimension, uint64_t seed, double deviation = 1,
                 double mean = 0) {
  Random random(seed);
  Vectors vectors(count, std::vector<float>(dimension));
  for (auto& vector : vectors) {
    for (float& x : vector) x = static_cast<float>(mean + deviation * Normal(random));
  }
  return vectors;
}

void Scale(std::vector<float>& vector, double factor) {
  for (float& x : vector) x = static_cast<float>(x * factor);
}

Vectors Join(Vectors first, const Vectors& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

Vectors Same(size_t count, size_t dimension, float value) {
  return Vectors(count, std::vector<float>(dimension, value));
}

struct Data {
  Vectors vectors;
  Vectors queries;
};

struct Case {
  std::string name;
  Metric metric;
  std::function<Data()> make;
  // Linked after each so many puts, as a server does that keeps up; 0: at the end.
  size_t link_every = 0;
};

void PrintTo(const Case& a_case, std::ostream* out) { *out << a_case.name; }

constexpr size_t kDimension = 24;
constexpr size_t kCount = 2500;

Data OneOutlier(double factor) {
  Data data{Gaussian(kCount, kDimension, 1), Gaussian(50, kDimension, 2)};
  Scale(data.vectors[17], factor);
  return data;
}

Data CommonOffset(double spread) {
  return {Gaussian(kCount, kDimension, 1, spread, 1), Gaussian(50, kDimension, 2, spread, 1)};
}

Data LognormalNorms() {
  Data data{Gaussian(kCount, kDimension, 1), Gaussian(50, kDimension, 2)};
  Random random(3);
  for (auto& vector : data.vectors) Scale(vector, std::exp(Normal(random)));
  return data;
}

Data WideDimensionAndOutlier() {
  Data data{Gaussian(kCount, kDimension, 1), Gaussian(50, kDimension, 2)};
  for (auto& vector : data.vectors) vector[0] *= 1e6f;
  for (auto& query : data.queries) query[0] *= 1e6f;
  data.vectors[17][5] = 1e9f;
  return data;
}

const Case kCases[] = {
    {"Plain", Metric::kL2,
     [] {
       return Data{Gaussian(kCount, kDimension, 1), Gaussian(50, kDimension, 2)};
     }},
    {"OneOutlier", Metric::kL2, [] { return OneOutlier(1e6); }},
    {"OneOutlierDot", Metric::kDot, [] { return OneOutlier(1e6); }},
    {"LateOutlierDot", Metric::kDot,
     [] {
       Data data{Gaussian(kCount, kDimension, 1), Gaussian(50, kDimension, 2)};
       for (size_t i = kCount - 20; i < kCount; ++i) Scale(data.vectors[i], 20);
       return data;
     },
     1100},
    {"CommonOffset01", Metric::kCosine, [] { return CommonOffset(.01); }},
    {"CommonOffset03", Metric::kCosine, [] { return CommonOffset(.03); }},
    {"LognormalNorms", Metric::kDot, LognormalNorms},
    {"LognormalNormsInSteps", Metric::kDot, LognormalNorms, 100},
    {"TinyThenWide", Metric::kL2,
     [] {
       return Data{Join(Gaussian(1200, kDimension, 1, .01), Gaussian(kCount, kDimension, 3)),
                   Gaussian(50, kDimension, 2)};
     },
     1100},
    {"IdenticalThenOthers", Metric::kL2,
     [] {
       return Data{Join(Same(1500, kDimension, 1), Gaussian(1500, kDimension, 3)),
                   Gaussian(50, kDimension, 2)};
     },
     1100},
    {"IdenticalThenFewOthers", Metric::kL2,
     [] {
       return Data{Join(Same(2500, kDimension, 100), Gaussian(100, kDimension, 3)),
                   Gaussian(50, kDimension, 2)};
     },
     1100},
    {"WideDimensionAndOutlier", Metric::kL2, WideDimensionAndOutlier},
    {"QueriesAmongTheTiny", Metric::kL2,
     [] {
       return Data{
           Join(Gaussian(1200, kDimension, 1, 1e-3), Gaussian(kCount, kDimension, 3, 100, 500)),
           Gaussian(50, kDimension, 2, 1e-3)};
     }},
    {"PlainManhattan", Metric::kManhattan,
     [] {
       return Data{Gaussian(kCount, kDimension, 1), Gaussian(50, kDimension, 2)};
     }},
    {"OneOutlierManhattan", Metric::kManhattan, [] { return OneOutlier(1e6); }},
    {"CommonOffsetManhattan", Metric::kManhattan, [] { return CommonOffset(.01); }},
    {"TinyThenWideManhattan", Metric::kManhattan,
     [] {
       return Data{Join(Gaussian(1200, kDimension, 1, .01), Gaussian(kCount, kDimension, 3)),
                   Gaussian(50, kDimension, 2)};
     },
     1100},
    {"WideDimensionAndOutlierManhattan", Metric::kManhattan, WideDimensionAndOutlier},
    {"QueriesFarFromAll", Metric::kL2,
     [] {
       return Data{Gaussian(kCount, kDimension, 1), Gaussian(50, kDimension, 2, 100)};
     }},
};

TEST(CodeNoise, LossIsThePartThatNoiseMovedOutOfTheBeam) {
  // Twice the approximate distances, 10 more, and one off to either side in turn.
  std::vector<float> coded;
  std::vector<float> exact;
  for (int i = 0; i < 40; ++i) {
    coded.push_back(static_cast<float>(i));
    exact.push_back(static_cast<float>(2 * i + 10 + (i % 2 == 0 ? 1 : -1)));
  }
  const CodeNoise noise(exact.data(), coded.data(), coded.size(), 2);
  EXPECT_NEAR(noise.Exact(3), 16, 1e-6);
  EXPECT_NEAR(noise.deviation(), 1.25, 0.01);
  EXPECT_EQ(noise.Loss(exact.data(), 10, std::numeric_limits<float>::infinity()), 0);
  EXPECT_LT(noise.Loss(exact.data(), 10, 39), 1e-6);
  // At the bound itself, half of them.
  const float at_bound = 16;
  EXPECT_NEAR(noise.Loss(&at_bound, 1, 3), 0.5, 1e-6);
}

TEST(CodeTrust, IsLostWhenMostOperationsAreMisledAndComesBack) {
  CodeTrust trust;
  EXPECT_TRUE(trust.TryCodes(0.02));
  for (int i = 0; i < 200; ++i) trust.Report(true);
  EXPECT_GT(trust.misled_part(), 0.9);
  int tries = 0;
  for (int i = 0; i < 160; ++i) tries += trust.TryCodes(0.5);
  EXPECT_EQ(tries, 10);
  for (int i = 0; i < 500; ++i) trust.Report(false);
  EXPECT_TRUE(trust.TryCodes(0.02));
}

class CodesBesideFloats : public ::testing::TestWithParam<Case> {};

INSTANTIATE_TEST_SUITE_P(Recall, CodesBesideFloats, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.name; });

// The part of the queries' 10 nearest that is found; what is as near as the tenth counts.
double Recall(const VectorIndex& index, const Vectors& queries, uint32_t ef) {
  size_t found = 0;
  for (const auto& query : queries) {
    SearchOptions options;
    options.ef = ef;
    const auto hits = testing::SearchOrDie(index, query, options);
    options.exact = true;
    const float last = testing::SearchOrDie(index, query, options).back().distance;
    for (const Hit& hit : hits) found += hit.distance <= last;
  }
  return static_cast<double>(found) / static_cast<double>(10 * queries.size());
}

std::unique_ptr<VectorIndex> Build(const Case& a_case, const Data& data,
                                   Quantization quantization) {
  IndexOptions options;
  options.dimension = static_cast<uint32_t>(data.vectors[0].size());
  options.metric = a_case.metric;
  options.quantization = quantization;
  options.ef_construction = 100;
  auto index = MakeIndex(options);
  for (size_t i = 0; i < data.vectors.size(); ++i) {
    EXPECT_TRUE(index->Put(data.vectors[i], i).ok());
    if (a_case.link_every != 0 && (i + 1) % a_case.link_every == 0) LinkAll(*index);
  }
  return index;
}

TEST_P(CodesBesideFloats, FindAsMuch) {
  const Case& a_case = GetParam();
  const Data data = a_case.make();
  const auto codes = Build(a_case, data, Quantization::kSq8);
  const auto floats = Build(a_case, data, Quantization::kNone);
  // Some or all of it is still scanned, not walked.
  EXPECT_GE(Recall(*codes, data.queries, 64), Recall(*floats, data.queries, 64) - 0.02);
  LinkAll(*codes);
  LinkAll(*floats);
  for (const uint32_t ef : {64u, 256u}) {
    const double by_floats = Recall(*floats, data.queries, ef);
    const double by_codes = Recall(*codes, data.queries, ef);
    EXPECT_GE(by_codes, by_floats - 0.02) << ef;
  }
}

TEST(Recall, StatsTellWhereCodesMislead) {
  const auto misled_part = [](const Case& a_case) {
    const auto index = Build(a_case, a_case.make(), Quantization::kSq8);
    LinkAll(*index);
    return index->Stats().misled_part;
  };
  EXPECT_LT(misled_part(kCases[0]), 0.1);
  const Case outlier{"", Metric::kDot, [] { return OneOutlier(1e6); }, 0};
  EXPECT_GT(misled_part(outlier), 0.02);
}

// Real vectors, each dimension of which has a scale and an offset of its own, so that there are
// neither whole numbers nor one step that would do for all.
TEST(Recall, RealFloatsOfManyScalesAreFoundAsByFloats) {
  const auto base = testing::ReadVectors("siftsmall/siftsmall_base.fvecs", 4000);
  const auto queries = testing::ReadVectors("siftsmall/siftsmall_query.fvecs", 100);
  if (!base.ok() || !queries.ok()) GTEST_SKIP() << base.status();
  // Orders of magnitude between the widest dimension and the narrowest.
  for (const double orders : {1.0, 4.0}) {
    const auto scaled = [&](Vectors vectors) {
      for (auto& vector : vectors) {
        for (size_t d = 0; d < vector.size(); ++d) {
          const double part =
              static_cast<double>(d * 37 % vector.size()) / static_cast<double>(vector.size() - 1);
          const double scale = std::pow(10, orders * (part - 0.5));
          vector[d] = static_cast<float>((vector[d] + 30 * static_cast<double>(d % 5)) * scale);
        }
      }
      return vectors;
    };
    for (const Metric metric : kMetrics) {
      const Data data{scaled(*base), scaled(*queries)};
      const Case a_case{"", metric, {}, 0};
      const auto codes = Build(a_case, data, Quantization::kSq8);
      const auto floats = Build(a_case, data, Quantization::kNone);
      LinkAll(*codes);
      LinkAll(*floats);
      for (const uint32_t ef : {32u, 64u, 128u}) {
        EXPECT_GE(Recall(*codes, data.queries, ef), Recall(*floats, data.queries, ef) - 0.01)
            << MetricName(metric) << ", " << orders << " orders, ef " << ef;
      }
      EXPECT_LT(codes->Stats().misled_part, 0.1) << MetricName(metric) << ", " << orders;
    }
  }
}

// Around a centre that turns as it moves away from the origin.
Vectors Drifted(size_t count, uint64_t seed, size_t step) {
  Vectors vectors = Gaussian(count, kDimension, seed);
  const double time = static_cast<double>(step);
  for (auto& vector : vectors) {
    for (size_t d = 0; d < kDimension; ++d) {
      vector[d] += static_cast<float>(2 * time * std::cos(time / 4 + static_cast<double>(d)));
    }
  }
  return vectors;
}

TEST(Recall, RangesAreLearntAnewWhenTheDataDrift) {
  constexpr size_t kSteps = 12;
  for (const Metric metric : kMetrics) {
    Data data;
    for (size_t step = 0; step < kSteps; ++step) {
      data.vectors = Join(std::move(data.vectors), Drifted(500, 10 + step, step));
    }
    // Where the data are in the end.
    data.queries = Drifted(50, 2, kSteps - 1);
    const Case a_case{"", metric, {}, 500};
    const auto codes = Build(a_case, data, Quantization::kSq8);
    const auto floats = Build(a_case, data, Quantization::kNone);
    LinkAll(*codes);
    LinkAll(*floats);
    EXPECT_GE(Recall(*codes, data.queries, 64), Recall(*floats, data.queries, 64) - 0.02)
        << MetricName(metric);
    // Not because floats were used instead: the codes can tell near from far.
    for (int i = 0; i < 3; ++i) Recall(*codes, data.queries, 64);
    EXPECT_LT(codes->Stats().misled_part, 0.1) << MetricName(metric);
  }
}

// What comes may fit ranges that are far too wide for it, or leave them in one dimension only.
TEST(Recall, RangesAreLearntAnewWhenCodesMislead) {
  constexpr size_t kCount = 2000;
  const auto narrow = [](size_t count, uint64_t seed) {
    Vectors vectors = Gaussian(count, kDimension, seed);
    for (auto& vector : vectors) {
      for (float& x : vector) x *= 0.001f;
    }
    return vectors;
  };
  const auto one_far = [](size_t count, uint64_t seed) {
    constexpr size_t kManyDimensions = 256;
    Vectors vectors = Gaussian(count, kManyDimensions, seed);
    for (auto& vector : vectors) vector[3] = 300 + 100 * vector[3];
    return vectors;
  };
  const auto replaced = [&](const Vectors& before, const Vectors& after) {
    const auto index = MakeIndex({.dimension = static_cast<uint32_t>(after[0].size())});
    std::vector<Slot> slots = PutAll(*index, before);
    LinkAll(*index);
    // The second time, what comes is of the same kind again.
    for (int round = 0; round < 2; ++round) {
      for (size_t i = 0; i < after.size(); ++i) {
        const Slot old = slots[i];
        slots[i] = index->Put(after[i], i).value();
        index->Delete(old);
        if (i % 100 == 0) LinkAll(*index);
      }
      LinkAll(*index);
      testing::ConsolidateAll(*index);
    }
    Recall(*index, Vectors(after.begin(), after.begin() + 100), 64);
    return index->Stats().misled_part;
  };
  EXPECT_LT(replaced(Gaussian(kCount, kDimension, 1), narrow(kCount, 2)), 0.1);
  EXPECT_LT(replaced(Gaussian(kCount, 256, 3), one_far(kCount, 4)), 0.1);
}

// Walks must find out of a clump of identical vectors, and into what surrounds it.
TEST(Recall, AClumpOfIdenticalVectorsIsNoTrap) {
  for (const Quantization quantization : {Quantization::kSq8, Quantization::kNone}) {
    const Case a_case{"", Metric::kL2, {}, 0};
    const Data data{Join(Same(1000, 32, 1), Gaussian(3000, 32, 1)), Gaussian(50, 32, 2)};
    const auto index = Build(a_case, data, quantization);
    LinkAll(*index);
    EXPECT_GE(Recall(*index, data.queries, 64), 0.95);
    EXPECT_GE(Recall(*index, data.queries, 512), 0.98);
    EXPECT_EQ(Recall(*index, Same(1, 32, 1), 64), 1);
  }
}

// The few links that lead to an island are those that full lists would drop first: nothing else is
// as far.
TEST(Recall, AFarIslandIsFound) {
  constexpr size_t kCount = 20'000;
  constexpr size_t kPart = 333;
  Vectors vectors = ClusteredVectors(kCount, 32, 5, /*cluster_count=*/1);
  Vectors island;
  for (size_t i = 0; i < kCount; ++i) {
    vectors[i][0] *= 0.1f;
    if (i % kPart != 1) continue;
    vectors[i][0] = 100;
    island.push_back(vectors[i]);
  }
  IndexOptions options;
  options.dimension = 32;
  const auto index = MakeIndex(options);
  PutAll(*index, vectors);
  LinkAll(*index);
  EXPECT_GE(RecallAt10(*index, island, 128), 0.75);  // .67 with lists that are always full
}

}  // namespace
}  // namespace vectron::index
