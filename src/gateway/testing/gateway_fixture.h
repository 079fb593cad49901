#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gateway/gateway.h"
#include "gateway/testing/fake_cluster.h"

// Points, and a gateway over a cluster in memory.

namespace vectron::gateway {

inline Point MakePoint(uint64_t id, std::vector<float> values) {
  return {.id = PointId(id),
          .vectors = {{.name = "", .values = std::move(values)}},
          .payload = R"({"n":)" + std::to_string(id) + "}"};
}

// Of the plane; the first coordinate is the id.
inline UpsertPoints Line(uint64_t first, uint64_t count) {
  UpsertPoints op;
  for (uint64_t id = first; id < first + count; ++id) {
    op.points.push_back(MakePoint(id, {static_cast<float>(id), 1}));
  }
  return op;
}

inline std::vector<PointId> Ids(uint64_t first, uint64_t count) {
  std::vector<PointId> ids;
  for (uint64_t id = first; id < first + count; ++id) ids.emplace_back(id);
  return ids;
}

inline std::string MessageOf(const Status& status) { return std::string(status.message()); }

class GatewayFixture : public ::testing::Test {
 protected:
  static constexpr const char* kName = "c";

  void SetUp() override { gateway_ = cluster_.MakeGatewayOver(SystemClock()); }

  static CollectionConfig Config(uint32_t shard_count, Metric metric = Metric::kL2) {
    return {.name = kName,
            .vectors = {{.name = "", .dimension = 2, .metric = metric}},
            .shard_count = shard_count};
  }

  rpc::CollectionInfo Create(const CollectionConfig& config) {
    const auto info = Await<rpc::CollectionInfo>(
        [&](auto done) { gateway_->CreateCollection(config, kNoDeadline, std::move(done)); });
    EXPECT_TRUE(info.ok()) << info.status();
    return *info;
  }

  StatusOr<WriteReport> Write(WriteOp op, RequestOptions options = {}) {
    return Await<WriteReport>([&](auto done) {
      gateway_->Write(kName, std::move(op), std::move(options), std::move(done));
    });
  }

  StatusOr<SearchReport> Search(std::vector<SearchQuery> queries, Select select = {},
                                RequestOptions options = {}) {
    return Await<SearchReport>([&](auto done) {
      gateway_->Search(kName, std::move(queries), select, std::move(options), std::move(done));
    });
  }

  StatusOr<RecordsReport> Get(std::vector<PointId> ids, Select select = {},
                              RequestOptions options = {}) {
    return Await<RecordsReport>([&](auto done) {
      gateway_->Get(kName, std::move(ids), select, std::move(options), std::move(done));
    });
  }

  StatusOr<RecordsReport> Scroll(ScrollQuery query, Select select = {}) {
    return Await<RecordsReport>(
        [&](auto done) { gateway_->Scroll(kName, std::move(query), select, {}, std::move(done)); });
  }

  uint64_t Count() {
    const auto count =
        Await<uint64_t>([&](auto done) { gateway_->Count(kName, {}, std::move(done)); });
    EXPECT_TRUE(count.ok()) << count.status();
    return count.value_or(0);
  }

  RequestOptions Within(std::chrono::milliseconds time) {
    return {.deadline = SystemClock().Now() + time};
  }

  FakeCluster cluster_{3};
  std::unique_ptr<Gateway> gateway_;
};

}  // namespace vectron::gateway
