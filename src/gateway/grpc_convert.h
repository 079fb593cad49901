#pragma once

#include <string>
#include <vector>

#include "common/data_ops.h"
#include "common/error.h"
#include "gateway/gateway.h"
#include "vectron/v1/vectron.pb.h"

// Between the messages of vectron.v1 and the values that the gateway takes and gives.
// What a message cannot say in itself (an id without a value, an enum's number that
// has no name) is refused here with INVALID_ARGUMENT; everything else is the
// gateway's to check.

namespace vectron::gateway {

namespace v1 = ::vectron::v1;

// UUIDs become their canonical form, in which REST knows them too.
StatusOr<PointId> ToPointId(const v1::PointId& id);
// Where a page of a scroll begins: exactly the id that is given, so that `next` of the
// page before always leads on.
StatusOr<PointId> ToScrollFrom(const v1::PointId& id);
StatusOr<std::vector<PointId>> ToPointIds(
    const google::protobuf::RepeatedPtrField<v1::PointId>& ids);
StatusOr<UpsertPoints> ToUpsertPoints(const google::protobuf::RepeatedPtrField<v1::Point>& points);
// Of points that ToUpsertPoints took.
std::vector<PointId> IdsOf(const google::protobuf::RepeatedPtrField<v1::Point>& points);
Select ToSelect(const v1::Select& select);
WriteSession ToWriteSession(const v1::WriteSession& session);
// Into the consistency and the session of `options`.
Status ReadReadOptions(const v1::ReadOptions& read, RequestOptions* options);
std::vector<SearchQuery> ToQueries(const google::protobuf::RepeatedPtrField<v1::Query>& queries);
StatusOr<CollectionConfig> ToCollectionConfig(const v1::CollectionConfig& config);

void FillPointId(const PointId& id, v1::PointId* out);
void FillToken(const SessionToken& token, v1::SessionToken* out);
void FillRecords(std::vector<Record> records, google::protobuf::RepeatedPtrField<v1::Record>* out);
void FillCollection(const rpc::CollectionInfo& info, v1::Collection* out);
void FillStats(const ShardStats& stats, v1::Stats* out);
void FillFailedShards(const CollectionReport& report, v1::GetCollectionResponse* out);
void FillClusterStatus(const rpc::ClusterStatus& status, v1::ClusterStatusResponse* out);

// How the points of a write whose shards ended differently fared; `ids` are those of
// the request, in its order.
v1::WriteOutcome ToWriteOutcome(const WriteReport& report, const std::vector<PointId>& ids);
// Whether shards ended differently.
bool IsMixed(const WriteReport& report);

// An error inside a message.
void FillError(const Status& status, v1::Error* out);

}  // namespace vectron::gateway
