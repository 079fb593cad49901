#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "common/point.h"
#include "shard/schema.h"

// The stored form of points. Family "points": PointId::Key -> record; family
// "vectors": the vector's number (1 byte) and the point's key -> floats.

namespace vectron::shard {

// What a record says before the payload.
struct RecordHeader {
  uint64_t version = 0;       // log index of the point's last write
  uint64_t vectors_hash = 0;  // HashVectors of its vectors
  uint16_t vector_mask = 0;   // bit n: it has the vector with number n

  bool Has(size_t number) const { return (vector_mask >> number & 1) != 0; }
};

struct RecordView {
  RecordHeader header;
  std::string_view payload;
};

// A record is this, and then the payload.
inline constexpr size_t kRecordHeaderBytes = 18;
using EncodedRecordHeader = std::array<char, kRecordHeaderBytes>;
EncodedRecordHeader EncodeRecordHeader(const RecordHeader& header);
// CORRUPTION.
StatusOr<RecordView> DecodeRecord(std::string_view record);

// Of names and values; the vectors' order does not matter.
uint64_t HashVectors(std::span<const NamedVector> vectors);
// The part of it that one vector adds.
uint64_t HashVector(std::string_view name, std::string_view bytes);

std::string VectorKey(size_t number, std::string_view point_key);

std::string_view VectorBytes(const std::vector<float>& values);
// CORRUPTION unless `bytes` holds `dimension` floats.
StatusOr<std::vector<float>> DecodeVector(std::string_view bytes, size_t dimension);

}  // namespace vectron::shard
