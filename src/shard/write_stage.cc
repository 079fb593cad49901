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
  change_bytes_max_ = command.change_bytes_max;
  return std::visit(
      [&](auto&& typed) { return ApplyOp(index, std::forward<decltype(typed)>(typed), result); },
      std::move(command.op));
}

std::vector<size_t> WriteStage::Enter(std::span<const PointId> ids) {
  std::vector<size_t> entered;
  absl::flat_hash_set<size_t> seen;
  entered.reserve(ids.size());
  seen.reserve(ids.size());
  for (const PointId& id : ids) {
    const auto [it, is_new] = positions_.try_emplace(id, points_.size());
    if (!seen.insert(it->second).second) continue;
    entered.push_back(it->second);
    if (!is_new) continue;
    Staged& point = points_.emplace_back();
    point.id = id;
    point.key = id.Key();
  }
  return entered;
}

StatusOr<std::vector<size_t>> WriteStage::Touch(std::span<const PointId> ids) {
  std::vector<size_t> touched = Enter(ids);
  std::vector<size_t> unknown;
  for (const size_t position : touched) {
    if (!points_[position].record.is_known) unknown.push_back(position);
  }
  VECTRON_RETURN_IF_ERROR(VisitRecords(
      unknown, [](const Staged&, const std::optional<RecordView>&) { return OkStatus(); }));
  return touched;
}

bool WriteStage::MayBeStored(const Staged& point) const {
  if (point.record.is_known) return point.record.exists && !point.record.changed;
  return state_.vectorless_count > 0 || index_.Contains(point.id);
}

template <typename Visit>
Status WriteStage::VisitRecords(std::span<const size_t> positions, Visit&& visit) {
  std::vector<size_t> stored;
  std::vector<std::string> keys;
  for (size_t first = 0; first < positions.size(); first += kRecordsPerRead) {
    const auto some = positions.subspan(first, std::min(kRecordsPerRead, positions.size() - first));
    stored.clear();
    keys.clear();
    for (const size_t position : some) {
      if (!MayBeStored(points_[position])) continue;
      stored.push_back(position);
      keys.push_back(points_[position].key);
    }
    std::vector<std::optional<std::string>> read;
    if (!keys.empty()) {
      VECTRON_ASSIGN_OR_RETURN(read, store_.ReadRecords(keys, nullptr));
    }
    size_t next = 0;  // in `stored`
    for (const size_t position : some) {
      Staged& point = points_[position];
      StagedRecord& known = point.record;
      std::optional<std::string_view> record;
      if (known.exists && known.changed) record = batch_.ValueAt(known.in_batch);
      if (next < stored.size() && stored[next] == position) record = read[next++];
      std::optional<RecordView> view;
      if (record.has_value()) {
        VECTRON_ASSIGN_OR_RETURN(view, DecodeRecord(*record));
      }
      if (!known.is_known) {
        known.is_known = true;
        known.exists = view.has_value();
        if (known.exists) known.header = view->header;
        if (known.exists) known.hash = HashPoint(point.key, *record);
      }
      VECTRON_RETURN_IF_ERROR(visit(point, view));
    }
  }
  return OkStatus();
}

void WriteStage::Forget(const Staged& point) {
  if (!point.record.exists) return;
  state_.hash.Remove(point.record.hash);
  if (point.record.header.vector_mask == 0) --state_.vectorless_count;
}

void WriteStage::Put(Staged& point, const RecordHeader& header, std::string_view payload) {
  Forget(point);
  const EncodedRecordHeader encoded = EncodeRecordHeader(header);
  const std::string_view parts[] = {{encoded.data(), encoded.size()}, payload};
  StagedRecord& record = point.record;
  record.in_batch = batch_.Put(Store::kPoints, point.key, parts);
  record.exists = true;
  record.changed = true;
  record.header = header;
  record.hash = HashPoint(point.key, batch_.ValueAt(record.in_batch));
  state_.hash.Add(record.hash);
  if (header.vector_mask == 0) ++state_.vectorless_count;
}

void WriteStage::Remove(Staged& point) {
  Forget(point);
  batch_.Delete(Store::kPoints, point.key);
  for (size_t number = 0; number < store_.schema().size(); ++number) {
    if (!point.record.header.Has(number)) continue;
    batch_.Delete(Store::kVectors, VectorKey(number, point.key));
  }
  point.record.exists = false;
  point.record.changed = true;
  point.vectors_changed = true;
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
    if (staged.record.exists) old = staged.record.header;
    RecordHeader header;
    header.version = index.value();
    for (const NamedVector& vector : point.vectors) {
      const size_t number = *schema.Find(vector.name);
      const std::string_view bytes = VectorBytes(vector.values);
      header.vector_mask = static_cast<uint16_t>(header.vector_mask | 1u << number);
      header.vectors_hash += HashVector(vector.name, bytes);
      vector_bytes_ += bytes.size();
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
    if (!points_[position].record.exists) continue;
    Remove(points_[position]);
    ++deleted_count;
  }
  *result = EncodeOutcome(deleted_count);
  return OkStatus();
}

Status WriteStage::CheckPayload(std::string_view payload, std::string_view present,
                                size_t written_count, uint64_t written_bytes) const {
  // What is there may be over a limit that was larger once: it may only not grow.
  if (payload.size() > std::max<uint64_t>(payload_bytes_max_, present.size())) {
    return MakeError(Reason::kLimitExceeded,
                     fmt::format("the payload would have {} bytes, the limit is {}", payload.size(),
                                 payload_bytes_max_));
  }
  // A single one may have more: there is no less to ask for.
  if (written_count == 0 || written_bytes + payload.size() <= change_bytes_max_) return OkStatus();
  return MakeError(
      Reason::kLimitExceeded,
      fmt::format("with it, the payloads of {} points would have {} bytes together, "
                  "the limit is {}; change fewer points at once",
                  written_count + 1, written_bytes + payload.size(), change_bytes_max_));
}

template <typename NewPayload>
Status WriteStage::ChangePayloads(LogIndex index, std::span<const PointId> ids,
                                  const NewPayload& new_payload, Result* result) {
  const std::vector<size_t> touched = Enter(ids);
  // Each record is put where it will be written from as soon as it is made: together they may
  // be many times the entry. If one of them is refused, those before it are taken back.
  batch_.SetSavePoint();
  const StoreState state_before = state_;
  std::vector<StagedRecord> before;
  before.reserve(touched.size());
  uint64_t written_bytes = 0;
  Status refused;
  const auto change = [&](Staged& point, const std::optional<RecordView>& present) -> Status {
    if (!present.has_value()) return refused = NotFound(point.id);
    const StatusOr<std::string> payload = new_payload(present->payload);
    refused = payload.ok() ? CheckPayload(*payload, present->payload, before.size(), written_bytes)
                           : payload.status();
    if (!refused.ok()) {
      return refused = Annotate(refused, fmt::format("point {}", point.id.ToString()));
    }
    written_bytes += payload->size();
    before.push_back(point.record);
    RecordHeader header = present->header;
    header.version = index.value();
    Put(point, header, *payload);
    return OkStatus();
  };
  const Status visited = VisitRecords(touched, change);
  if (refused.ok()) {
    VECTRON_RETURN_IF_ERROR(visited);
    batch_.DropSavePoint();
    *result = EncodeOutcome(touched.size());
    return OkStatus();
  }
  batch_.RollBackToSavePoint();
  state_ = state_before;
  for (size_t i = 0; i < before.size(); ++i) points_[touched[i]].record = before[i];
  *result = std::move(refused);
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
