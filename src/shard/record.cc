#include "shard/record.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <bit>
#include <cstring>

#include "shard/state_hash.h"

namespace vectron::shard {
namespace {

static_assert(std::endian::native == std::endian::little, "stored as it is in memory");

}  // namespace

PointHash HashPoint(std::string_view key, std::string_view record) {
  // The key is hashed into the seed: no two (key, record) pairs are joined alike.
  const XXH128_hash_t hash =
      XXH3_128bits_withSeed(record.data(), record.size(), XXH3_64bits(key.data(), key.size()));
  return {hash.low64, hash.high64};
}

void StateHash::Add(const PointHash& point) {
  low += point.low;
  high += point.high;
  ++point_count;
}

void StateHash::Remove(const PointHash& point) {
  low -= point.low;
  high -= point.high;
  --point_count;
}

EncodedRecordHeader EncodeRecordHeader(const RecordHeader& header) {
  EncodedRecordHeader encoded;
  std::memcpy(encoded.data(), &header.version, 8);
  std::memcpy(encoded.data() + 8, &header.vectors_hash, 8);
  std::memcpy(encoded.data() + 16, &header.vector_mask, 2);
  return encoded;
}

StatusOr<RecordView> DecodeRecord(std::string_view record) {
  if (record.size() < kRecordHeaderBytes) return Corruption("a stored point is malformed");
  RecordView view;
  std::memcpy(&view.header.version, record.data(), 8);
  std::memcpy(&view.header.vectors_hash, record.data() + 8, 8);
  std::memcpy(&view.header.vector_mask, record.data() + 16, 2);
  view.payload = record.substr(kRecordHeaderBytes);
  return view;
}

uint64_t HashVector(std::string_view name, std::string_view bytes) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), XXH3_64bits(name.data(), name.size()));
}

uint64_t HashVectors(std::span<const NamedVector> vectors) {
  uint64_t hash = 0;
  for (const NamedVector& vector : vectors) {
    hash += HashVector(vector.name, VectorBytes(vector.values));
  }
  return hash;
}

std::string VectorKey(size_t number, std::string_view point_key) {
  std::string key;
  key.reserve(1 + point_key.size());
  key.push_back(static_cast<char>(number));
  key.append(point_key);
  return key;
}

std::string_view VectorBytes(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

StatusOr<std::vector<float>> DecodeVector(std::string_view bytes, size_t dimension) {
  if (bytes.size() != dimension * sizeof(float)) {
    return Corruption(fmt::format("a stored vector has {} bytes, not {}", bytes.size(),
                                  dimension * sizeof(float)));
  }
  std::vector<float> values(dimension);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

}  // namespace vectron::shard
