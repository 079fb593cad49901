#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "common/collection.h"
#include "common/data_ops.h"
#include "gateway/fan_out.h"

// How requests are taken apart over shards and their answers put together: pure
// functions.

namespace vectron::gateway {

// `shards` are in the order of their ranges and cover the ids' hashes. Pieces keep
// the order of points and ids; shards that get none are left out.
std::vector<std::pair<const rpc::ShardInfo*, WriteOp>> SplitWrite(WriteOp op,
                                                                  const ShardPointers& shards);
std::vector<std::pair<const rpc::ShardInfo*, std::vector<PointId>>> SplitIds(
    std::vector<PointId> ids, const ShardPointers& shards);

// The ids that a write is about, each once, in order.
std::vector<PointId> IdsOf(const WriteOp& op);
// The first of equal ids stays.
std::vector<PointId> WithoutRepetitions(std::vector<PointId> ids);

// The k best of what the shards found, best first, ties by id. Takes the records.
std::vector<ScoredRecord> MergeTopK(const std::vector<std::vector<ScoredRecord>*>& lists,
                                    uint32_t k, Metric metric);

// The first `limit` records of the shards' pages, in the order of ids. Takes the
// records.
ScrollPage MergePages(const std::vector<ScrollPage*>& pages, uint32_t limit);

// Ends the page before its records have more than `bytes_max` bytes; one is left in any case.
void CutPage(size_t bytes_max, ScrollPage* page);

// Adds to `token` what `other` has seen; of the same shard, the later.
void AddSeen(const SessionToken& other, SessionToken* token);

// The records that the shards found, in the order of `ids`, which are different.
std::vector<Record> OrderByIds(const std::vector<PointId>& ids, std::vector<Record> found);

}  // namespace vectron::gateway
