#include "shard/write_stage.h"

#include <absl/container/flat_hash_set.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "common/check.h"
#include "common/json_object.h"

namespace vectron::shard {
namespace {

std::vector<PointId> IdsOf(const std::vector<Point>& points) {
  std::vector<PointId> ids;
  ids.reserve(points.size());
  for (const Point& point : points) ids.push_back(point.id);
  return ids;
}

Status NotFound(const PointId& id) {
  return MakeError(Reason::kPointNotFound, fmt::format("there is no point {}", id.ToString()));
}

}  // namespace

WriteStage::WriteStage(const Store& store, const PointIndex& index, const StoreState& state)
    : store_(store), index_(index), state_(state), batch_(store.database()) {}

Status WriteStage::Apply(LogIndex index, Command command, consensus::ApplyResult* result) {
  payload_bytes_max_ = command.payload_bytes_max;
  return std::visit(
      [&](auto&& typed) { return ApplyOp(index, std::forward<decltype(typed)>(typed), result); },
      std::move(command.op));
}

bool WriteStage::MayExist(const PointId& id) const {
  return state_.vectorless_count > 0 || index_.Contains(id);
}

StatusOr<std::vector<size_t>> WriteStage::Touch(std::span<const PointId> ids) {
  std::vector<size_t> touched;
  std::vector<size_t> stored;
  std::vector<std::string> stored_keys;
  absl::flat_hash_set<size_t> seen;
  touched.reserve(ids.size());
  seen.reserve(ids.size());
  for (const PointId& id : ids) {
    const auto [it, is_new] = positions_.try_emplace(id, points_.size());
    if (!seen.insert(it->second).second) continue;
    touched.push_back(it->second);
    if (!is_new) continue;
    Staged& point = points_.emplace_back();
    point.id = id;
    point.key = id.Key();
    if (!MayExist(id)) continue;
    stored.push_back(it->second);
    stored_keys.push_back(point.key);
  }
  if (stored.empty()) return touched;
  VECTRON_ASSIGN_OR_RETURN(auto records, store_.ReadRecords(stored_keys, nullptr));
  for (size_t i = 0; i < stored.size(); ++i) {
    if (!records[i].has_value()) continue;
    VECTRON_RETURN_IF_ERROR(DecodeRecord(*records[i]).status());
    points_[stored[i]].exists = true;
    points_[stored[i]].record = *std::move(records[i]);
  }
  return touched;
}

RecordHeader WriteStage::Forget(Staged& point) {
  if (!point.exists) return {};
  const RecordHeader header = DecodeRecord(point.record)->header;
  state_.hash.Remove(point.key, point.record);
  if (header.vector_mask == 0) --state_.vectorless_count;
  return header;
}

void WriteStage::Put(Staged& point, const RecordHeader& header, std::string_view payload) {
  std::string record = EncodeRecord(header, payload);  // `payload` may be in the old one
  Forget(point);
  point.exists = true;
  point.changed = true;
  point.record = std::move(record);
  state_.hash.Add(point.key, point.record);
  if (header.vector_mask == 0) ++state_.vectorless_count;
  batch_.Put(Store::kPoints, point.key, point.record);
}

void WriteStage::Remove(Staged& point) {
  const RecordHeader header = Forget(point);
  batch_.Delete(Store::kPoints, point.key);
  for (size_t number = 0; number < store_.schema().size(); ++number) {
    if (header.Has(number)) batch_.Delete(Store::kVectors, VectorKey(number, point.key));
  }
  point.exists = false;
  point.changed = true;
  point.vectors_changed = true;
  point.record.clear();
  point.vectors.clear();
}

Status WriteStage::ApplyOp(LogIndex index, UpsertPoints op, Result* result) {
  const Schema& schema = store_.schema();
  for (size_t i = 0; i < op.points.size(); ++i) {
    const Status checked = schema.Check(op.points[i]);
    if (!checked.ok()) {
      *result = Annotate(checked, fmt::format("point {} (id {})", i, op.points[i].id.ToString()));
      return OkStatus();
    }
  }
  VECTRON_ASSIGN_OR_RETURN(const std::vector<size_t> touched, Touch(IdsOf(op.points)));
  if (touched.size() < op.points.size()) {
    // Of points with the same id the last one wins.
    absl::flat_hash_map<PointId, size_t> last;
    for (size_t i = 0; i < op.points.size(); ++i) last[op.points[i].id] = i;
    std::vector<Point> kept;
    for (const size_t position : touched) {
      kept.push_back(std::move(op.points[last.at(points_[position].id)]));
    }
    op.points = std::move(kept);
  }
  for (size_t i = 0; i < touched.size(); ++i) {
    Staged& staged = points_[touched[i]];
    Point& point = op.points[i];
    RecordHeader old;
    if (staged.exists) old = DecodeRecord(staged.record)->header;
    RecordHeader header;
    header.version = index.value();
    for (const NamedVector& vector : point.vectors) {
      const size_t number = *schema.Find(vector.name);
      const std::string_view bytes = VectorBytes(vector.values);
      header.vector_mask = static_cast<uint16_t>(header.vector_mask | 1u << number);
      header.vectors_hash += HashVector(vector.name, bytes);
      batch_.Put(Store::kVectors, VectorKey(number, staged.key), bytes);
    }
    for (size_t number = 0; number < schema.size(); ++number) {
      if (old.Has(number) && !header.Has(number)) {
        batch_.Delete(Store::kVectors, VectorKey(number, staged.key));
      }
    }
    Put(staged, header, point.payload);
    staged.vectors_changed = true;
    staged.vectors = std::move(point.vectors);
  }
  *result = EncodeOutcome(touched.size());
  return OkStatus();
}

Status WriteStage::ApplyOp(LogIndex, DeletePoints op, Result* result) {
  VECTRON_ASSIGN_OR_RETURN(const std::vector<size_t> touched, Touch(op.ids));
  uint64_t deleted_count = 0;
  for (const size_t position : touched) {
    if (!points_[position].exists) continue;
    Remove(points_[position]);
    ++deleted_count;
  }
  *result = EncodeOutcome(deleted_count);
  return OkStatus();
}

template <typename NewPayload>
Status WriteStage::ChangePayloads(LogIndex index, std::span<const PointId> ids,
                                  const NewPayload& new_payload, Result* result) {
  VECTRON_ASSIGN_OR_RETURN(const std::vector<size_t> touched, Touch(ids));
  // All of it is worked out before any of it is staged.
  std::vector<std::string> payloads;
  payloads.reserve(touched.size());
  for (const size_t position : touched) {
    const Staged& point = points_[position];
    if (!point.exists) {
      *result = NotFound(point.id);
      return OkStatus();
    }
    const std::string_view present = DecodeRecord(point.record)->payload;
    StatusOr<std::string> payload = new_payload(present);
    // What is there may be over a limit that was larger once: it may only not grow.
    if (payload.ok() && payload->size() > std::max(payload_bytes_max_, present.size())) {
      payload = MakeError(Reason::kLimitExceeded,
                          fmt::format("the payload would have {} bytes, the limit is {}",
                                      payload->size(), payload_bytes_max_));
    }
    if (!payload.ok()) {
      *result = Annotate(payload.status(), fmt::format("point {}", point.id.ToString()));
      return OkStatus();
    }
    payloads.push_back(*std::move(payload));
  }
  for (size_t i = 0; i < touched.size(); ++i) {
    Staged& point = points_[touched[i]];
    RecordHeader header = DecodeRecord(point.record)->header;
    header.version = index.value();
    Put(point, header, payloads[i]);
  }
  *result = EncodeOutcome(touched.size());
  return OkStatus();
}

Status WriteStage::ApplyOp(LogIndex index, SetPayload op, Result* result) {
  const auto merge = [&](std::string_view payload) {
    return MergeJsonObjects(payload, op.payload);
  };
  return ChangePayloads(index, op.ids, merge, result);
}

Status WriteStage::ApplyOp(LogIndex index, OverwritePayload op, Result* result) {
  const auto replace = [&](std::string_view) { return StatusOr<std::string>(op.payload); };
  return ChangePayloads(index, op.ids, replace, result);
}

Status WriteStage::ApplyOp(LogIndex index, DeletePayloadKeys op, Result* result) {
  const auto remove = [&](std::string_view payload) -> StatusOr<std::string> {
    if (payload.empty()) return std::string();
    return RemoveJsonKeys(payload, op.keys);
  };
  return ChangePayloads(index, op.ids, remove, result);
}

Status WriteStage::ApplyOp(LogIndex index, ClearPayload op, Result* result) {
  const auto clear = [](std::string_view) { return StatusOr<std::string>(std::string()); };
  return ChangePayloads(index, op.ids, clear, result);
}

}  // namespace vectron::shard
