#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/ids.h"
#include "common/point.h"

// The reads and writes that a shard understands, as plain values. The gateway
// makes them, the worker checks them again, the shard carries them out.

namespace vectron {

// Writes. Each is applied to one shard whole or not at all.

// Inserts or replaces. Where an id appears twice, the last one wins.
struct UpsertPoints {
  std::vector<Point> points;
};
// Ids that are not there are ignored.
struct DeletePoints {
  std::vector<PointId> ids;
};
// The four below fail with POINT_NOT_FOUND, changing nothing, if an id is missing.
// Merges the top-level keys of `payload` (a JSON object) into the points'.
struct SetPayload {
  std::vector<PointId> ids;
  std::string payload;
};
struct OverwritePayload {
  std::vector<PointId> ids;
  std::string payload;
};
struct DeletePayloadKeys {
  std::vector<PointId> ids;
  std::vector<std::string> keys;  // top-level
};
struct ClearPayload {
  std::vector<PointId> ids;
};

using WriteOp = std::variant<UpsertPoints, DeletePoints, SetPayload, OverwritePayload,
                             DeletePayloadKeys, ClearPayload>;

struct WriteResult {
  LogIndex index;              // of the log entry that did it
  uint64_t changed_count = 0;  // points inserted, replaced, deleted or altered
};

// Identifies a write for exactly-once: a retry after a lost answer carries the
// same session and sequence, and is applied once. `acked_below`: the session has
// seen the outcomes of all sequences below and will never retry them.
struct WriteSession {
  uint64_t session = 0;  // random, one a client process; 0: no session, no retry
  uint64_t sequence = 0;
  uint64_t acked_below = 0;
};

// Which parts of a point an answer carries besides its id.
struct Select {
  bool payload = false;
  bool vectors = false;
  std::vector<std::string> vector_names;  // of `vectors`; empty: all

  bool anything() const { return payload || vectors; }
};

struct SearchQuery {
  std::string vector_name;  // "" is the unnamed default vector
  std::vector<float> vector;
  uint32_t k = 10;
  uint32_t ef = 0;  // 0: the collection's ef_search
  bool exact = false;
  // Worse scores are left out: at most this for l2, at least this otherwise.
  std::optional<float> score_threshold;
};

// A stored point, as far as Select asked for it.
struct Record {
  PointId id;
  uint64_t version = 0;  // log index of its last write
  std::vector<NamedVector> vectors;
  std::string payload;  // "" for none
};

// What Limits::response_bytes_max counts.
inline size_t ContentBytes(const Record& record) {
  size_t bytes = record.payload.size();
  for (const NamedVector& vector : record.vectors) bytes += vector.values.size() * sizeof(float);
  return bytes;
}

struct ScoredRecord {
  Record record;
  float score = 0;  // as users see it: see Metric
};

// One page of the ids' order. It ends early where its points have enough bytes.
struct ScrollQuery {
  std::optional<PointId> from;  // inclusive
  uint32_t limit = 10;
};

struct ScrollPage {
  std::vector<Record> records;
  std::optional<PointId> next;  // where the next page begins, if there is one
};

enum class Consistency {
  kLinearizable,  // sees every write acknowledged before the read began
  kSession,       // sees at least what the session token names
  kEventual,      // any replica, as it stands
};

// What a client has seen: the highest log index of each shard.
struct SessionToken {
  std::vector<std::pair<ShardId, LogIndex>> seen;
};

struct ShardStats {
  uint64_t point_count = 0;
  uint64_t linked_count = 0;   // vectors in the graph, over all named vectors
  uint64_t pending_count = 0;  // vectors in the exactly searched tail
  uint64_t index_bytes = 0;    // memory
  uint64_t store_bytes = 0;    // on disk
  LogIndex applied;
};

}  // namespace vectron
