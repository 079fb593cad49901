#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/data_ops.h"
#include "common/error.h"
#include "common/limits.h"
#include "common/point.h"
#include "gateway/rest/dialect/json_reader.h"
#include "gateway/rest/dialect/json_writer.h"

// Fields that several requests share, and how records are written.

namespace vectron::gateway::rest {

// The dialect's ids: an unsigned 64-bit number, or a UUID in any of its usual forms
// (hyphens or not, either case, braces, urn:uuid:), which becomes the lower-case
// hyphenated one.
//
// Of a URL, where digits may be either: 32 of them are a UUID without hyphens. Else leading
// zeros of a number do not count.
StatusOr<PointId> PointIdFromText(std::string_view text);
Status ReadPointId(JsonReader* json, PointId* id);
// Where a page begins: a number, or any text an id can be, taken exactly as given. Points
// stored over gRPC have such ids, and next_page_offset must lead on from each of them.
Status ReadScrollOffset(JsonReader* json, PointId* id);
Status ReadPointIds(JsonReader* json, const Limits& limits, std::vector<PointId>* ids);

// Whether and which of a payload's top-level keys an answer has.
struct PayloadSelector {
  enum class Mode { kNone, kAll, kInclude, kExclude };
  Mode mode = Mode::kNone;
  std::vector<std::string> keys;

  bool enabled() const { return mode != Mode::kNone; }
  static PayloadSelector All() { return {Mode::kAll, {}}; }
};

// Whether and which vectors an answer has.
struct VectorSelector {
  bool enabled = false;
  std::vector<std::string> names;  // empty: all

  static VectorSelector All() { return {true, {}}; }
};

// with_payload: true, [key ...], {"include":[...]} or {"exclude":[...]}.
Status ReadPayloadSelector(JsonReader* json, PayloadSelector* selector);
// with_vector: true or [name ...].
Status ReadVectorSelector(JsonReader* json, VectorSelector* selector);
Select MakeSelect(const PayloadSelector& payload, const VectorSelector& vectors);

// A list of top-level payload keys. Paths into a payload are refused: "a.b" would mean
// something else than the key "a.b".
Status ReadPayloadKeys(JsonReader* json, std::vector<std::string>* keys);

// A filter is not supported: null, or an object without a condition, passes.
Status ReadNoFilter(JsonReader* json);
// A member that is not supported unless it is null; `message` says what it is.
Status ReadOnlyNull(JsonReader* json, std::string_view message);
// A member that is accepted and has no effect; its JSON is checked.
Status ReadHint(JsonReader* json);
// A number from `low` to `high`; null leaves `value` as it is.
Status ReadUint32(JsonReader* json, uint32_t low, uint32_t high, uint32_t* value);

// Reads the whole of a request's body with `visit`(reader, key) for each of its members.
template <typename Visit>
Status ReadBody(std::string_view body, Visit visit) {
  VECTRON_RETURN_IF_ERROR(JsonReader::CheckUtf8(body));
  JsonReader json(body);
  VECTRON_RETURN_IF_ERROR(
      json.ReadObject([&](std::string_view key) -> Status { return visit(&json, key); }));
  return json.Finish();
}

// The members of a record after "id": payload and vector, as far as they were asked for.
Status WriteRecordParts(const Record& record, const PayloadSelector& payload,
                        const VectorSelector& vectors, JsonWriter* json);
Status WriteRecord(const Record& record, const PayloadSelector& payload,
                   const VectorSelector& vectors, JsonWriter* json);
Status WriteScoredRecord(const ScoredRecord& scored, const PayloadSelector& payload,
                         const VectorSelector& vectors, JsonWriter* json);

}  // namespace vectron::gateway::rest
