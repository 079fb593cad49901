#include "shard/command.h"

#include <fmt/format.h>
#include <google/protobuf/arena.h>

#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "common/check.h"
#include "vectron/internal/shard.pb.h"

namespace vectron::shard {
namespace {

static_assert(std::endian::native == std::endian::little, "floats are stored as they are");

constexpr uint32_t kCommandFormat = 3;
// Of entries that do not say. Never change: replicas apply them by these.
constexpr uint64_t kUnsaidPayloadBytesMax = 1 << 20;
constexpr uint64_t kUnsaidChangeBytesMax = std::numeric_limits<uint64_t>::max();

namespace pb = ::vectron::internal;

template <typename Message>
void EncodeId(const PointId& id, Message* out) {
  if (id.is_number()) {
    out->set_number(id.number());
  } else {
    out->set_text(id.text());
  }
}

template <typename Message>
void EncodeIds(const std::vector<PointId>& ids, Message* out) {
  out->mutable_ids()->Reserve(static_cast<int>(ids.size()));
  for (const PointId& id : ids) EncodeId(id, out->add_ids());
}

void EncodePoint(const Point& point, pb::Point* out) {
  EncodeId(point.id, out);
  for (const NamedVector& vector : point.vectors) {
    const size_t size_bytes = vector.values.size() * sizeof(float);
    if (vector.name.empty()) {
      out->set_vector(vector.values.data(), size_bytes);
    } else {
      pb::NamedVector* named = out->add_named_vectors();
      named->set_name(vector.name);
      named->set_values(vector.values.data(), size_bytes);
    }
  }
  out->set_payload(point.payload);
}

struct Encoder {
  pb::ShardCommand* command;
  uint64_t payload_bytes_max;
  uint64_t change_bytes_max;

  void operator()(const UpsertPoints& op) const {
    pb::UpsertPoints* out = command->mutable_upsert_points();
    out->mutable_points()->Reserve(static_cast<int>(op.points.size()));
    for (const Point& point : op.points) EncodePoint(point, out->add_points());
  }
  void operator()(const DeletePoints& op) const {
    EncodeIds(op.ids, command->mutable_delete_points());
  }
  void operator()(const SetPayload& op) const {
    EncodeIds(op.ids, command->mutable_set_payload());
    command->mutable_set_payload()->set_payload(op.payload);
    command->set_payload_bytes_max(payload_bytes_max);
    command->set_change_bytes_max(change_bytes_max);
  }
  void operator()(const OverwritePayload& op) const {
    EncodeIds(op.ids, command->mutable_overwrite_payload());
    command->mutable_overwrite_payload()->set_payload(op.payload);
    command->set_payload_bytes_max(payload_bytes_max);
    command->set_change_bytes_max(change_bytes_max);
  }
  void operator()(const DeletePayloadKeys& op) const {
    EncodeIds(op.ids, command->mutable_delete_payload_keys());
    for (const std::string& key : op.keys) command->mutable_delete_payload_keys()->add_keys(key);
    command->set_change_bytes_max(change_bytes_max);
  }
  void operator()(const ClearPayload& op) const {
    EncodeIds(op.ids, command->mutable_clear_payload());
  }
};

Status Malformed(std::string_view what) {
  return Corruption(fmt::format("a shard command is malformed: {}", what));
}

template <typename Message>
StatusOr<PointId> DecodeId(const Message& message) {
  switch (message.id_case()) {
    case Message::kNumber:
      return PointId(message.number());
    case Message::kText:
      if (message.text().empty() || message.text().size() > kPointIdBytesMax) break;
      return PointId(message.text());
    default:
      break;
  }
  return Malformed("a point id");
}

template <typename Message>
Status DecodeIds(const Message& message, std::vector<PointId>* ids) {
  ids->reserve(static_cast<size_t>(message.ids_size()));
  for (const pb::PointId& id : message.ids()) {
    VECTRON_ASSIGN_OR_RETURN(PointId decoded, DecodeId(id));
    ids->push_back(std::move(decoded));
  }
  return OkStatus();
}

Status DecodeVector(std::string name, const std::string& bytes, Point* point) {
  if (bytes.size() % sizeof(float) != 0) return Malformed("a vector");
  NamedVector& vector = point->vectors.emplace_back();
  vector.name = std::move(name);
  vector.values.resize(bytes.size() / sizeof(float));
  if (!bytes.empty()) std::memcpy(vector.values.data(), bytes.data(), bytes.size());
  return OkStatus();
}

StatusOr<WriteOp> DecodeUpsert(const pb::UpsertPoints& message) {
  UpsertPoints op;
  op.points.reserve(static_cast<size_t>(message.points_size()));
  for (const pb::Point& encoded : message.points()) {
    Point& point = op.points.emplace_back();
    VECTRON_ASSIGN_OR_RETURN(point.id, DecodeId(encoded));
    point.vectors.reserve((encoded.has_vector() ? 1u : 0u) +
                          static_cast<size_t>(encoded.named_vectors_size()));
    if (encoded.has_vector()) {
      VECTRON_RETURN_IF_ERROR(DecodeVector("", encoded.vector(), &point));
    }
    for (const pb::NamedVector& vector : encoded.named_vectors()) {
      if (vector.name().empty()) return Malformed("a named vector without a name");
      VECTRON_RETURN_IF_ERROR(DecodeVector(vector.name(), vector.values(), &point));
    }
    point.payload = encoded.payload();
  }
  return WriteOp(std::move(op));
}

StatusOr<WriteOp> DecodeOp(const pb::ShardCommand& command) {
  switch (command.op_case()) {
    case pb::ShardCommand::kUpsertPoints:
      return DecodeUpsert(command.upsert_points());
    case pb::ShardCommand::kDeletePoints: {
      DeletePoints op;
      VECTRON_RETURN_IF_ERROR(DecodeIds(command.delete_points(), &op.ids));
      return WriteOp(std::move(op));
    }
    case pb::ShardCommand::kSetPayload: {
      SetPayload op{{}, command.set_payload().payload()};
      VECTRON_RETURN_IF_ERROR(DecodeIds(command.set_payload(), &op.ids));
      return WriteOp(std::move(op));
    }
    case pb::ShardCommand::kOverwritePayload: {
      OverwritePayload op{{}, command.overwrite_payload().payload()};
      VECTRON_RETURN_IF_ERROR(DecodeIds(command.overwrite_payload(), &op.ids));
      return WriteOp(std::move(op));
    }
    case pb::ShardCommand::kDeletePayloadKeys: {
      const pb::DeletePayloadKeys& message = command.delete_payload_keys();
      DeletePayloadKeys op{{}, {message.keys().begin(), message.keys().end()}};
      VECTRON_RETURN_IF_ERROR(DecodeIds(message, &op.ids));
      return WriteOp(std::move(op));
    }
    case pb::ShardCommand::kClearPayload: {
      ClearPayload op;
      VECTRON_RETURN_IF_ERROR(DecodeIds(command.clear_payload(), &op.ids));
      return WriteOp(std::move(op));
    }
    case pb::ShardCommand::OP_NOT_SET:
      break;
  }
  return Malformed("an unknown operation");
}

}  // namespace

std::string EncodeCommand(const WriteOp& op, uint64_t payload_bytes_max,
                          uint64_t change_bytes_max) {
  google::protobuf::Arena arena;
  auto* command = google::protobuf::Arena::CreateMessage<pb::ShardCommand>(&arena);
  std::visit(Encoder{command, payload_bytes_max, change_bytes_max}, op);
  command->set_format(command->has_change_bytes_max() ? kCommandFormat : 1);
  std::string encoded;
  VECTRON_CHECK(command->SerializeToString(&encoded));
  return encoded;
}

StatusOr<Command> DecodeCommand(std::string_view command) {
  google::protobuf::Arena arena;
  auto* message = google::protobuf::Arena::CreateMessage<pb::ShardCommand>(&arena);
  if (!message->ParseFromArray(command.data(), static_cast<int>(command.size()))) {
    return Malformed("it does not parse");
  }
  if (message->format() > kCommandFormat) {
    return MakeError(Reason::kIncompatibleFormat,
                     fmt::format("a shard command has format {}, this version knows {}",
                                 message->format(), kCommandFormat));
  }
  if (message->format() == 0) return Malformed("no format");
  VECTRON_ASSIGN_OR_RETURN(WriteOp op, DecodeOp(*message));
  return Command{
      std::move(op),
      message->has_payload_bytes_max() ? message->payload_bytes_max() : kUnsaidPayloadBytesMax,
      message->has_change_bytes_max() ? message->change_bytes_max() : kUnsaidChangeBytesMax};
}

std::string EncodeOutcome(uint64_t changed_count) {
  return std::string(reinterpret_cast<const char*>(&changed_count), sizeof(changed_count));
}

StatusOr<uint64_t> DecodeOutcome(std::string_view outcome) {
  uint64_t changed_count = 0;
  if (outcome.size() != sizeof(changed_count)) return Corruption("a write's result is malformed");
  std::memcpy(&changed_count, outcome.data(), sizeof(changed_count));
  return changed_count;
}

}  // namespace vectron::shard
