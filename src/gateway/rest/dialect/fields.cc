#include "gateway/rest/dialect/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "gateway/uuid.h"

namespace vectron::gateway::rest {
namespace {

constexpr std::string_view kIdForms = "a point id is an unsigned 64-bit integer or a UUID";

// What is left of `payload` ("" for none) after `selector`.
StatusOr<std::string> SelectPayload(const std::string& payload, const PayloadSelector& selector) {
  switch (selector.mode) {
    case PayloadSelector::Mode::kInclude:
      return KeepJsonKeys(payload, selector.keys);
    case PayloadSelector::Mode::kExclude:
      return RemoveJsonKeys(payload, selector.keys);
    default:
      return payload.empty() ? std::string("{}") : payload;
  }
}

void WriteFloats(const std::vector<float>& values, JsonWriter* json) {
  json->Begin('[');
  for (const float value : values) json->Value(value);
  json->End(']');
}

void WriteVectors(const std::vector<NamedVector>& vectors, const VectorSelector& selector,
                  JsonWriter* json) {
  if (vectors.size() == 1 && vectors[0].name.empty()) {
    return WriteFloats(vectors[0].values, json);
  }
  json->Begin('{');
  for (const NamedVector& vector : vectors) {
    // An answer may carry vectors that only another query of the batch asked for.
    if (!selector.names.empty() && std::find(selector.names.begin(), selector.names.end(),
                                             vector.name) == selector.names.end()) {
      continue;
    }
    json->Key(vector.name);
    WriteFloats(vector.values, json);
  }
  json->End('}');
}

}  // namespace

StatusOr<PointId> PointIdFromText(std::string_view text) {
  // First, as bodies and gRPC know no other meaning of such a text.
  if (auto uuid = CanonicalUuid(text)) return PointId(*std::move(uuid));
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) return PointId(number);
  return InvalidArgument(fmt::format("'{}': {}", text.substr(0, 64), kIdForms));
}

Status ReadPointId(JsonReader* json, PointId* id) {
  switch (json->Peek()) {
    case JsonReader::Kind::kNumber: {
      uint64_t number = 0;
      const Status status = json->ReadUint(&number);
      if (!status.ok()) return Annotate(status, kIdForms);
      *id = PointId(number);
      return OkStatus();
    }
    case JsonReader::Kind::kString: {
      std::string text;
      VECTRON_RETURN_IF_ERROR(json->ReadString(&text));
      auto uuid = CanonicalUuid(text);
      if (!uuid.has_value()) return json->Error(kIdForms);
      *id = PointId(*std::move(uuid));
      return OkStatus();
    }
    default:
      return json->Error(kIdForms);
  }
}

Status ReadScrollOffset(JsonReader* json, PointId* id) {
  if (json->Peek() != JsonReader::Kind::kString) return ReadPointId(json, id);
  std::string text;
  VECTRON_RETURN_IF_ERROR(json->ReadString(&text));
  const Status status = PointId::ValidateText(text);
  if (!status.ok()) return json->Error({status.message().data(), status.message().size()});
  *id = PointId(std::move(text));
  return OkStatus();
}

Status ReadPointIds(JsonReader* json, const Limits& limits, std::vector<PointId>* ids) {
  return json->ReadArray([&]() -> Status {
    if (ids->size() >= limits.batch_points_max) {
      return MakeError(Reason::kLimitExceeded,
                       fmt::format("more than {} ids in one request", limits.batch_points_max));
    }
    return ReadPointId(json, &ids->emplace_back());
  });
}

Status ReadPayloadKeys(JsonReader* json, std::vector<std::string>* keys) {
  return json->ReadArray([&]() -> Status {
    std::string& key = keys->emplace_back();
    VECTRON_RETURN_IF_ERROR(json->ReadString(&key));
    if (key.find_first_of(".[]\"") == std::string::npos) return OkStatus();
    return json->Unsupported(fmt::format(
        "'{}' is a path into the payload, only top-level keys are supported", key.substr(0, 64)));
  });
}

Status ReadPayloadSelector(JsonReader* json, PayloadSelector* selector) {
  using Mode = PayloadSelector::Mode;
  if (json->TryNull()) return OkStatus();
  *selector = {};
  if (json->Peek() == JsonReader::Kind::kBool) {
    bool all = false;
    VECTRON_RETURN_IF_ERROR(json->ReadBool(&all));
    selector->mode = all ? Mode::kAll : Mode::kNone;
    return OkStatus();
  }
  if (json->Peek() == JsonReader::Kind::kArray) {
    selector->mode = Mode::kInclude;
    return ReadPayloadKeys(json, &selector->keys);
  }
  if (json->Peek() != JsonReader::Kind::kObject) {
    return json->Error("expected true, false, an array of keys, 'include' or 'exclude'");
  }
  VECTRON_RETURN_IF_ERROR(json->ReadObject([&](std::string_view key) -> Status {
    if (key != "include" && key != "exclude") return json->UnknownField(key);
    if (selector->mode != Mode::kNone) return json->Error("'include' and 'exclude' together");
    selector->mode = key == "include" ? Mode::kInclude : Mode::kExclude;
    return ReadPayloadKeys(json, &selector->keys);
  }));
  return selector->mode == Mode::kNone ? json->Error("expected 'include' or 'exclude'")
                                       : OkStatus();
}

Status ReadVectorSelector(JsonReader* json, VectorSelector* selector) {
  if (json->TryNull()) return OkStatus();
  *selector = {};
  if (json->Peek() == JsonReader::Kind::kBool) return json->ReadBool(&selector->enabled);
  if (json->Peek() != JsonReader::Kind::kArray) {
    return json->Error("expected true, false or an array of vector names");
  }
  VECTRON_RETURN_IF_ERROR(
      json->ReadArray([&] { return json->ReadString(&selector->names.emplace_back()); }));
  selector->enabled = !selector->names.empty();
  return OkStatus();
}

Select MakeSelect(const PayloadSelector& payload, const VectorSelector& vectors) {
  return {.payload = payload.enabled(), .vectors = vectors.enabled, .vector_names = vectors.names};
}

Status ReadNoFilter(JsonReader* json) {
  constexpr std::string_view kMessage = "filters are not supported";
  if (json->TryNull()) return OkStatus();
  if (json->Peek() != JsonReader::Kind::kObject) return json->Error("expected an object");
  return json->ReadObject([&](std::string_view key) -> Status {
    if (key != "must" && key != "must_not" && key != "should" && key != "min_should") {
      return json->UnknownField(key);
    }
    if (json->TryNull()) return OkStatus();
    std::string_view raw;
    VECTRON_RETURN_IF_ERROR(json->ReadRaw(&raw));
    return raw == "[]" ? OkStatus() : json->Unsupported(kMessage);
  });
}

Status ReadOnlyNull(JsonReader* json, std::string_view message) {
  if (json->TryNull()) return OkStatus();
  return json->Unsupported(fmt::format("{} not supported", message));
}

Status ReadHint(JsonReader* json) {
  std::string_view ignored;
  return json->ReadRaw(&ignored);
}

Status ReadUint32(JsonReader* json, uint32_t low, uint32_t high, uint32_t* value) {
  if (json->TryNull()) return OkStatus();
  uint64_t wide = 0;
  VECTRON_RETURN_IF_ERROR(json->ReadUint(&wide));
  if (wide < low || wide > high) {
    return json->Error(fmt::format("{} is not from {} to {}", wide, low, high));
  }
  *value = static_cast<uint32_t>(wide);
  return OkStatus();
}

Status WriteRecordParts(const Record& record, const PayloadSelector& payload,
                        const VectorSelector& vectors, JsonWriter* json) {
  if (payload.enabled()) {
    VECTRON_ASSIGN_OR_RETURN(const std::string selected, SelectPayload(record.payload, payload));
    json->Key("payload").Raw(selected);
  }
  if (vectors.enabled) {
    json->Key("vector");
    WriteVectors(record.vectors, vectors, json);
  }
  return OkStatus();
}

Status WriteRecord(const Record& record, const PayloadSelector& payload,
                   const VectorSelector& vectors, JsonWriter* json) {
  json->Begin('{').Key("id").Value(record.id);
  VECTRON_RETURN_IF_ERROR(WriteRecordParts(record, payload, vectors, json));
  json->End('}');
  return OkStatus();
}

Status WriteScoredRecord(const ScoredRecord& scored, const PayloadSelector& payload,
                         const VectorSelector& vectors, JsonWriter* json) {
  json->Begin('{').Key("id").Value(scored.record.id);
  json->Key("version").Value(scored.record.version);
  json->Key("score").Value(scored.score);
  VECTRON_RETURN_IF_ERROR(WriteRecordParts(scored.record, payload, vectors, json));
  json->End('}');
  return OkStatus();
}

}  // namespace vectron::gateway::rest
