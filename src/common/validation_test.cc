#include "common/validation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace vectron {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

CollectionConfig OneVector(Metric metric, uint32_t dimension = 4) {
  return {.name = "c", .vectors = {{.name = "", .dimension = dimension, .metric = metric}}};
}

Point MakePoint(uint64_t id, std::vector<float> values) {
  return {.id = PointId(id), .vectors = {{.name = "", .values = std::move(values)}}};
}

std::string MessageOf(const Status& status) { return std::string(status.message()); }

// Forty-three points, of which the last has the vector `values` and `payload`.
Status StoreLast(const CollectionConfig& config, std::vector<float> values,
                 std::string payload = "") {
  UpsertPoints op;
  for (uint64_t id = 0; id < 42; ++id) op.points.push_back(MakePoint(id, {1, 2, 3, 4}));
  op.points.push_back(MakePoint(1000, std::move(values)));
  op.points.back().payload = std::move(payload);
  return ValidateWrite(config, op, Limits{});
}

TEST(ValidationTest, AcceptsWhatIsRight) {
  for (Metric metric : {Metric::kL2, Metric::kCosine, Metric::kDot}) {
    EXPECT_TRUE(StoreLast(OneVector(metric), {0, 0, 0, 1}).ok());
    EXPECT_TRUE(StoreLast(OneVector(metric), {0, 0, 0, -1}, R"({"a":[1,{"b":null}]})").ok());
  }
  EXPECT_TRUE(StoreLast(OneVector(Metric::kL2), {0, 0, 0, 0}).ok());
}

TEST(ValidationTest, NamesThePointWithTheWrongDimension) {
  const Status status = StoreLast(OneVector(Metric::kL2), {1, 2, 3});
  EXPECT_EQ(ReasonOf(status), Reason::kInvalidArgument);
  EXPECT_EQ(status.message(), "point 42 (id 1000): vector: dimension 3, expected 4");
  EXPECT_THAT(MessageOf(StoreLast(OneVector(Metric::kL2), {})), HasSubstr("dimension 0"));
}

TEST(ValidationTest, FindsNaNAndInfinityAtEveryPlace) {
  for (uint32_t dimension : {1u, 3u, 15u, 16u, 17u, 100u, 128u}) {
    const CollectionConfig config = OneVector(Metric::kL2, dimension);
    for (uint32_t place = 0; place < dimension; ++place) {
      for (float bad : {kNaN, kInfinity, -kInfinity}) {
        std::vector<float> values(dimension, 0.5f);
        values[place] = bad;
        const Status status = ValidateWrite(config, UpsertPoints{{MakePoint(7, values)}}, Limits{});
        EXPECT_EQ(ReasonOf(status), Reason::kInvalidArgument);
        EXPECT_EQ(status.message(), "point 0 (id 7): vector: component " + std::to_string(place) +
                                        (std::isnan(bad) ? " is NaN" : " is infinite"));
      }
    }
  }
}

TEST(ValidationTest, RefusesVectorsWhoseDistancesWouldOverflow) {
  EXPECT_THAT(MessageOf(StoreLast(OneVector(Metric::kL2), {3e38f, 0, 0, 0})),
              HasSubstr("its length is too large"));
  EXPECT_TRUE(StoreLast(OneVector(Metric::kL2), {9e18f, 0, 0, 0}).ok());
}

TEST(ValidationTest, RefusesZeroUnderCosineOnly) {
  EXPECT_THAT(MessageOf(StoreLast(OneVector(Metric::kCosine), {0, 0, 0, 0})),
              AllOf(StartsWith("point 42 (id 1000): vector: it is zero"), HasSubstr("cosine")));
  // Its square is zero in 32 bits.
  EXPECT_FALSE(StoreLast(OneVector(Metric::kCosine), {1e-30f, 0, 0, 0}).ok());
  EXPECT_TRUE(StoreLast(OneVector(Metric::kDot), {0, 0, 0, 0}).ok());
}

TEST(ValidationTest, MatchesVectorNames) {
  CollectionConfig config = OneVector(Metric::kL2, 2);
  config.vectors.push_back({.name = "image", .dimension = 1});
  const auto store = [&](std::vector<NamedVector> vectors) {
    const Point point{.id = PointId(uint64_t{5}), .vectors = std::move(vectors)};
    return MessageOf(ValidateWrite(config, UpsertPoints{{point}}, Limits{}));
  };
  EXPECT_EQ(store({{"", {1, 2}}, {"image", {1}}}), "");
  EXPECT_EQ(store({{"image", {1}}, {"", {1, 2}}}), "");
  EXPECT_EQ(store({{"", {1, 2}}}), "point 0 (id 5): vector 'image' is missing");
  EXPECT_EQ(store({}), "point 0 (id 5): vector is missing");
  EXPECT_EQ(store({{"x", {1, 2}}}),
            "point 0 (id 5): collection 'c' has no vector 'x', it has '', 'image'");
  EXPECT_EQ(store({{"", {1, 2}}, {"image", {1, 2}}}),
            "point 0 (id 5): vector 'image': dimension 2, expected 1");
  EXPECT_EQ(store({{"", {1, 2}}, {"image", {1}}, {"sound", {1}}}),
            "point 0 (id 5): collection 'c' has no vector 'sound', it has '', 'image'");
  EXPECT_EQ(store({{"", {1, 2}}, {"image", {1}}, {"image", {2}}}),
            "point 0 (id 5): vector 'image' is given twice");
}

TEST(ValidationTest, ChecksBatchesAndIds) {
  Limits limits;
  limits.batch_points_max = 2;
  const CollectionConfig config = OneVector(Metric::kL2, 1);
  EXPECT_EQ(ValidateWrite(config, UpsertPoints{}, limits).message(), "the request has no points");
  UpsertPoints three{{MakePoint(1, {1}), MakePoint(2, {1}), MakePoint(3, {1})}};
  const Status status = ValidateWrite(config, three, limits);
  EXPECT_EQ(ReasonOf(status), Reason::kLimitExceeded);
  EXPECT_EQ(status.message(), "the number of points is 3, the limit is 2");
  EXPECT_EQ(ValidateWrite(config, DeletePoints{}, limits).message(), "the request has no ids");
  EXPECT_EQ(ValidateIds({PointId(uint64_t{1}), PointId(std::string())}, limits).message(),
            "point 1: a point id must not be empty");
  EXPECT_EQ(ReasonOf(ValidateIds({PointId(std::string(513, 'x'))}, limits)),
            Reason::kLimitExceeded);
  EXPECT_EQ(ReasonOf(ValidateIds({PointId(std::string("\xff"))}, limits)),
            Reason::kInvalidArgument);
  EXPECT_TRUE(ValidateIds({PointId(std::string(512, 'x'))}, limits).ok());
}

TEST(ValidationTest, ChecksPayloads) {
  const CollectionConfig config = OneVector(Metric::kL2);
  const std::vector<float> good = {1, 2, 3, 4};
  EXPECT_THAT(MessageOf(StoreLast(config, good, "[1]")),
              StartsWith("point 42 (id 1000): payload: "));
  EXPECT_FALSE(StoreLast(config, good, R"({"a":)").ok());
  EXPECT_FALSE(StoreLast(config, good, R"({"a":1} x)").ok());
  const std::string large = R"({"a":")" + std::string(1 << 20, 'x') + R"("})";
  EXPECT_EQ(ReasonOf(StoreLast(config, good, large)), Reason::kLimitExceeded);
  const std::string deep = R"({"a":)" + std::string(64, '[') + std::string(64, ']') + "}";
  EXPECT_EQ(ReasonOf(StoreLast(config, good, deep)), Reason::kLimitExceeded);
  const std::vector<PointId> ids = {PointId(uint64_t{1})};
  EXPECT_TRUE(ValidateWrite(config, SetPayload{ids, "{}"}, Limits{}).ok());
  EXPECT_FALSE(ValidateWrite(config, SetPayload{ids, ""}, Limits{}).ok());
  EXPECT_FALSE(ValidateWrite(config, OverwritePayload{ids, "3"}, Limits{}).ok());
  EXPECT_FALSE(ValidateWrite(config, OverwritePayload{{}, "{}"}, Limits{}).ok());
  EXPECT_EQ(ValidateWrite(config, DeletePayloadKeys{ids, {}}, Limits{}).message(),
            "the request has no payload keys");
  EXPECT_TRUE(ValidateWrite(config, DeletePayloadKeys{ids, {"a"}}, Limits{}).ok());
  EXPECT_TRUE(ValidateWrite(config, ClearPayload{ids}, Limits{}).ok());
}

TEST(ValidationTest, ChecksWhatAChangeOfPayloadsWouldWrite) {
  const CollectionConfig config = OneVector(Metric::kL2);
  Limits limits;
  limits.request_bytes_max = 1000;
  const std::string payload = R"({"a":")" + std::string(92, 'x') + R"("})";
  ASSERT_EQ(payload.size(), 100u);
  std::vector<PointId> ids(10);
  EXPECT_TRUE(ValidateWrite(config, SetPayload{ids, payload}, limits).ok());
  EXPECT_TRUE(ValidateWrite(config, OverwritePayload{ids, payload}, limits).ok());
  ids.emplace_back();
  for (const WriteOp& op :
       {WriteOp(SetPayload{ids, payload}), WriteOp(OverwritePayload{ids, payload})}) {
    const Status status = ValidateWrite(config, op, limits);
    EXPECT_EQ(ReasonOf(status), Reason::kLimitExceeded);
    EXPECT_THAT(MessageOf(status), StartsWith("a payload of 100 bytes for 11 points would write "
                                              "1100 bytes, the limit is 1000"));
  }
  // What they have shows in the shard, and there is no less than one to ask for.
  EXPECT_TRUE(ValidateWrite(config, DeletePayloadKeys{ids, {"a"}}, limits).ok());
  limits.request_bytes_max = 10;
  EXPECT_TRUE(ValidateWrite(config, SetPayload{{ids[0]}, payload}, limits).ok());
  // As a client could ask for.
  const std::string large = R"({"a":")" + std::string(1'000'000, 'x') + R"("})";
  const std::vector<PointId> many(Limits{}.batch_points_max);
  EXPECT_EQ(ReasonOf(ValidateWrite(config, OverwritePayload{many, large}, Limits{})),
            Reason::kLimitExceeded);
}

TEST(ValidationTest, ChecksSearches) {
  const CollectionConfig config = OneVector(Metric::kCosine, 2);
  const auto search = [&](const SearchQuery& query) {
    return MessageOf(ValidateSearch(config, query, Limits{}));
  };
  EXPECT_EQ(search({.vector = {1, 0}}), "");
  EXPECT_EQ(search({.vector = {1}}), "vector: dimension 1, expected 2");
  EXPECT_EQ(search({.vector = {1, kNaN}}), "vector: component 1 is NaN");
  EXPECT_THAT(search({.vector = {0, 0}}), HasSubstr("zero"));
  EXPECT_EQ(search({.vector_name = "x", .vector = {1, 0}}),
            "collection 'c' has no vector 'x', it has ''");
  EXPECT_EQ(search({.vector = {1, 0}, .k = 0}), "k is 0, it must be at least 1");
  EXPECT_EQ(search({.vector = {1, 0}, .k = 16'385}), "k is 16385, the limit is 16384");
  EXPECT_EQ(search({.vector = {1, 0}, .ef = 65'537}), "ef is 65537, the limit is 65536");
  EXPECT_THAT(search({.vector = {1, 0}, .score_threshold = kNaN}), HasSubstr("score_threshold"));
  EXPECT_EQ(search({.vector = {1, 0}, .k = 16'384, .ef = 65'536, .score_threshold = 0.5f}), "");
}

TEST(ValidationTest, ChecksWhatIsSelected) {
  const CollectionConfig config = OneVector(Metric::kL2);
  EXPECT_TRUE(ValidateSelect(config, {.vectors = true, .vector_names = {""}}).ok());
  EXPECT_EQ(MessageOf(ValidateSelect(config, {.vectors = true, .vector_names = {"", "x"}})),
            "collection 'c' has no vector 'x', it has ''");
}

TEST(ValidationTest, ChecksScrolls) {
  EXPECT_TRUE(ValidateScroll({.limit = 10'000}, Limits{}).ok());
  EXPECT_EQ(ValidateScroll({.limit = 0}, Limits{}).message(), "limit is 0, it must be at least 1");
  EXPECT_EQ(ReasonOf(ValidateScroll({.limit = 10'001}, Limits{})), Reason::kLimitExceeded);
  EXPECT_FALSE(ValidateScroll({.from = PointId(std::string())}, Limits{}).ok());
}

}  // namespace
}  // namespace vectron
