#include "gateway/search_response.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "vectron/v1/vectron.pb.h"

// What was encoded is read by protobuf, and holds what the report held; and it has the
// very bytes that protobuf makes of it.

namespace vectron::gateway {
namespace {

namespace v1 = ::vectron::v1;

v1::SearchResponse Decoded(const SearchReport& report) {
  const std::string encoded = EncodeSearchResponse(report);
  v1::SearchResponse message;
  EXPECT_TRUE(message.ParseFromString(encoded));
  EXPECT_EQ(message.SerializeAsString(), encoded);
  return message;
}

ScoredRecord Hit(PointId id, float score) {
  ScoredRecord hit;
  hit.record.id = std::move(id);
  hit.score = score;
  return hit;
}

void ExpectSame(const ScoredRecord& hit, const v1::ScoredRecord& message) {
  const Record& record = hit.record;
  if (record.id.is_number()) {
    EXPECT_EQ(message.id().id_case(), v1::PointId::kNumber);
    EXPECT_EQ(message.id().number(), record.id.number());
  } else {
    EXPECT_EQ(message.id().text(), record.id.text());
  }
  EXPECT_EQ(message.score(), hit.score);
  EXPECT_EQ(message.version(), record.version);
  EXPECT_EQ(message.payload(), record.payload);
  std::vector<NamedVector> vectors;
  if (message.vector_size() > 0) {
    vectors.push_back({"", {message.vector().begin(), message.vector().end()}});
  }
  for (const v1::NamedVector& vector : message.vectors()) {
    vectors.push_back({vector.name(), {vector.values().begin(), vector.values().end()}});
  }
  EXPECT_EQ(vectors, record.vectors);
}

TEST(EncodeSearchResponse, AnEmptyReportHasAToken) {
  const v1::SearchResponse message = Decoded({});
  EXPECT_TRUE(message.has_token());
  EXPECT_EQ(message.results_size(), 0);
}

TEST(EncodeSearchResponse, AQueryThatFoundNothingHasAResult) {
  SearchReport report;
  report.results = {{}, {Hit(PointId(7), 1)}, {}};
  const v1::SearchResponse message = Decoded(report);
  ASSERT_EQ(message.results_size(), 3);
  EXPECT_EQ(message.results(0).points_size(), 0);
  EXPECT_EQ(message.results(1).points_size(), 1);
}

TEST(EncodeSearchResponse, AnIdOfZeroIsAnId) {
  SearchReport report;
  report.results = {{Hit(PointId(0), 0)}};
  const v1::SearchResponse message = Decoded(report);
  ASSERT_EQ(message.results(0).points_size(), 1);
  EXPECT_EQ(message.results(0).points(0).id().id_case(), v1::PointId::kNumber);
}

TEST(EncodeSearchResponse, KeepsShardsAndToken) {
  SearchReport report;
  report.missing_shards = {ShardId(3), ShardId(0), ShardId(std::numeric_limits<uint64_t>::max())};
  report.token.seen = {{ShardId(1), LogIndex(0)}, {ShardId(300), LogIndex(1ull << 40)}};
  const v1::SearchResponse message = Decoded(report);
  ASSERT_EQ(message.missing_shards_size(), 3);
  EXPECT_EQ(message.missing_shards(1), 0u);
  EXPECT_EQ(message.missing_shards(2), std::numeric_limits<uint64_t>::max());
  ASSERT_EQ(message.token().shards_size(), 2);
  EXPECT_EQ(message.token().shards(1).shard_id(), 300u);
  EXPECT_EQ(message.token().shards(1).log_index(), 1ull << 40);
}

TEST(EncodeSearchResponse, KeepsRecords) {
  std::mt19937_64 random(7);
  // Of every magnitude, 0 among them.
  const auto number = [&] { return random() >> (random() % 65 % 64) & (random() % 8 ? ~0ull : 0); };
  const auto text = [&](size_t max) { return std::string(random() % (max + 1), 'x'); };
  const auto floats = [&] {
    std::vector<float> values(1 + random() % 200);
    for (float& value : values) value = static_cast<float>(random() % 100) - 50;
    return values;
  };
  for (int round = 0; round < 200; ++round) {
    SearchReport report;
    report.results.resize(random() % 4);
    for (auto& hits : report.results) {
      for (size_t count = random() % 20; count > 0; --count) {
        ScoredRecord hit = Hit(random() % 2 ? PointId(number()) : PointId("i" + text(300)),
                               random() % 4 ? static_cast<float>(random() % 1000) - 500 : -0.0f);
        hit.record.version = number();
        if (random() % 2) hit.record.payload = "{\"a\":\"" + text(20'000) + "\"}";
        if (random() % 2) hit.record.vectors.push_back({"", floats()});
        for (size_t n = random() % 3; n > 0; --n) {
          hit.record.vectors.push_back({"v" + text(200), floats()});
        }
        hits.push_back(std::move(hit));
      }
    }
    const v1::SearchResponse message = Decoded(report);
    ASSERT_EQ(message.results_size(), static_cast<int>(report.results.size()));
    for (size_t i = 0; i < report.results.size(); ++i) {
      const auto& points = message.results(static_cast<int>(i)).points();
      ASSERT_EQ(points.size(), static_cast<int>(report.results[i].size()));
      for (size_t j = 0; j < report.results[i].size(); ++j) {
        ExpectSame(report.results[i][j], points.Get(static_cast<int>(j)));
      }
    }
  }
}

}  // namespace
}  // namespace vectron::gateway
