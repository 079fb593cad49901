#include "shard/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "common/check.h"
#include "vectron/internal/shard.pb.h"

namespace vectron::shard {
namespace {

const VectorConfig* FindByName(std::span<const VectorConfig> configs, std::string_view name) {
  for (const VectorConfig& config : configs) {
    if (config.name == name) return &config;
  }
  return nullptr;
}

Status CheckVector(const VectorConfig& config, const std::vector<float>& values) {
  if (values.size() != config.dimension) {
    return InvalidArgument(fmt::format("vector \"{}\" has {} dimensions, not {}", config.name,
                                       values.size(), config.dimension));
  }
  bool finite = true;
  bool zero = true;
  for (const float value : values) {
    finite = finite && std::isfinite(value);
    zero = zero && value == 0;
  }
  if (!finite) {
    return InvalidArgument(
        fmt::format("vector \"{}\" has a value that is not finite", config.name));
  }
  if (zero && config.metric == Metric::kCosine) {
    return InvalidArgument(
        fmt::format("vector \"{}\" is all zero, which has no cosine", config.name));
  }
  return OkStatus();
}

}  // namespace

StatusOr<Schema> Schema::Make(std::string_view stored, std::span<const VectorConfig> configs) {
  vectron::internal::ShardSchema message;
  if (!message.ParseFromArray(stored.data(), static_cast<int>(stored.size()))) {
    return Corruption("the stored list of vectors does not parse");
  }
  Schema schema;
  for (const auto& vector : message.vectors()) {
    const VectorConfig* config = FindByName(configs, vector.name());
    if (config == nullptr || config->dimension != vector.dimension() ||
        static_cast<uint32_t>(config->metric) != vector.metric()) {
      return MakeError(
          Reason::kIncompatibleFormat,
          fmt::format("vector \"{}\" is stored with dimension {} and metric {}, which is not what "
                      "the collection has",
                      vector.name(), vector.dimension(),
                      MetricName(static_cast<Metric>(vector.metric()))));
    }
    schema.vectors_.push_back(*config);
  }
  for (const VectorConfig& config : configs) {
    if (!schema.Find(config.name).has_value()) schema.vectors_.push_back(config);
  }
  VECTRON_CHECK(schema.size() <= kVectorNamesMax);
  return schema;
}

std::string Schema::EncodeStored() const {
  vectron::internal::ShardSchema message;
  for (const VectorConfig& config : vectors_) {
    auto* vector = message.add_vectors();
    vector->set_name(config.name);
    vector->set_dimension(config.dimension);
    vector->set_metric(static_cast<uint32_t>(config.metric));
  }
  return message.SerializeAsString();
}

std::optional<size_t> Schema::Find(std::string_view name) const {
  for (size_t number = 0; number < vectors_.size(); ++number) {
    if (vectors_[number].name == name) return number;
  }
  return std::nullopt;
}

StatusOr<size_t> Schema::Require(std::string_view name) const {
  const std::optional<size_t> number = Find(name);
  if (number.has_value()) return *number;
  std::string names;
  for (const VectorConfig& config : vectors_) {
    names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", config.name);
  }
  return InvalidArgument(fmt::format("there is no vector \"{}\"; there are: {}", name, names));
}

Status Schema::Check(const Point& point) const {
  for (size_t i = 0; i < point.vectors.size(); ++i) {
    const NamedVector& vector = point.vectors[i];
    VECTRON_ASSIGN_OR_RETURN(const size_t number, Require(vector.name));
    VECTRON_RETURN_IF_ERROR(CheckVector(vectors_[number], vector.values));
    for (size_t j = 0; j < i; ++j) {
      if (point.vectors[j].name == vector.name) {
        return InvalidArgument(fmt::format("vector \"{}\" is given twice", vector.name));
      }
    }
  }
  return OkStatus();
}

}  // namespace vectron::shard
