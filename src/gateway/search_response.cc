#include "gateway/search_response.h"

#include <google/protobuf/io/coded_stream.h>

#include <bit>
#include <string_view>

#include "common/check.h"
#include "vectron/v1/vectron.pb.h"

// Every message is measured before it is written, because its length stands before it. Of
// a field that has its default value nothing is written, as everywhere in proto3; what is
// in a oneof is written in any case.

namespace vectron::gateway {
namespace {

namespace v1 = ::vectron::v1;
using google::protobuf::io::CodedOutputStream;

enum WireType : uint32_t { kVarint = 0, kLengthDelimited = 2, kFixed32 = 5 };

template <int kField, WireType kType>
constexpr uint8_t Tag() {
  static_assert(kField > 0 && kField < 16, "its tag would have more than one byte");
  return static_cast<uint8_t>(kField << 3 | kType);
}
constexpr size_t kTagBytes = 1;

size_t VarintBytes(uint64_t value) { return CodedOutputStream::VarintSize64(value); }
// Of a field with so many bytes in it.
size_t DelimitedBytes(size_t bytes) { return kTagBytes + VarintBytes(bytes) + bytes; }
size_t OptionalVarintBytes(uint64_t value) {
  return value == 0 ? 0 : kTagBytes + VarintBytes(value);
}
size_t OptionalDelimitedBytes(size_t bytes) { return bytes == 0 ? 0 : DelimitedBytes(bytes); }

size_t BytesOf(const PointId& id) {
  return id.is_number() ? kTagBytes + VarintBytes(id.number()) : DelimitedBytes(id.text().size());
}

size_t FloatBytes(const NamedVector& vector) { return vector.values.size() * sizeof(float); }

size_t BytesOf(const NamedVector& vector) {
  return OptionalDelimitedBytes(vector.name.size()) + OptionalDelimitedBytes(FloatBytes(vector));
}

size_t BytesOf(const ScoredRecord& hit) {
  const Record& record = hit.record;
  size_t bytes = DelimitedBytes(BytesOf(record.id)) + OptionalVarintBytes(record.version) +
                 OptionalDelimitedBytes(record.payload.size());
  if (std::bit_cast<uint32_t>(hit.score) != 0) bytes += kTagBytes + sizeof(float);
  for (const NamedVector& vector : record.vectors) {
    bytes += vector.name.empty() ? OptionalDelimitedBytes(FloatBytes(vector))
                                 : DelimitedBytes(BytesOf(vector));
  }
  return bytes;
}

size_t BytesOf(const std::vector<ScoredRecord>& hits) {
  size_t bytes = 0;
  for (const ScoredRecord& hit : hits) bytes += DelimitedBytes(BytesOf(hit));
  return bytes;
}

size_t BytesOf(const std::pair<ShardId, LogIndex>& seen) {
  return OptionalVarintBytes(seen.first.value()) + OptionalVarintBytes(seen.second.value());
}

size_t BytesOf(const SessionToken& token) {
  size_t bytes = 0;
  for (const auto& seen : token.seen) bytes += DelimitedBytes(BytesOf(seen));
  return bytes;
}

size_t BytesOfVarints(const std::vector<ShardId>& shards) {
  size_t bytes = 0;
  for (const ShardId shard : shards) bytes += VarintBytes(shard.value());
  return bytes;
}

size_t BytesOf(const SearchReport& report) {
  size_t bytes = OptionalDelimitedBytes(BytesOfVarints(report.missing_shards)) +
                 DelimitedBytes(BytesOf(report.token));
  for (const auto& hits : report.results) bytes += DelimitedBytes(BytesOf(hits));
  return bytes;
}

// Writes into memory that is large enough.
class Writer {
 public:
  explicit Writer(uint8_t* to) : at_(to) {}

  void Put(const SearchReport& report) {
    using M = v1::SearchResponse;
    for (const auto& hits : report.results) {
      Head<M::kResultsFieldNumber>(BytesOf(hits));
      for (const ScoredRecord& hit : hits) {
        Head<M::Result::kPointsFieldNumber>(BytesOf(hit));
        Put(hit);
      }
    }
    if (!report.missing_shards.empty()) {
      Head<M::kMissingShardsFieldNumber>(BytesOfVarints(report.missing_shards));
      for (const ShardId shard : report.missing_shards) Varint(shard.value());
    }
    Head<M::kTokenFieldNumber>(BytesOf(report.token));
    for (const auto& seen : report.token.seen) {
      Head<v1::SessionToken::kShardsFieldNumber>(BytesOf(seen));
      OptionalVarint<v1::SessionToken::Shard::kShardIdFieldNumber>(seen.first.value());
      OptionalVarint<v1::SessionToken::Shard::kLogIndexFieldNumber>(seen.second.value());
    }
  }

  const uint8_t* at() const { return at_; }

 private:
  void Put(const ScoredRecord& hit) {
    using M = v1::ScoredRecord;
    const Record& record = hit.record;
    Head<M::kIdFieldNumber>(BytesOf(record.id));
    Put(record.id);
    for (const NamedVector& vector : record.vectors) {
      if (vector.name.empty()) {
        OptionalFloats<M::kVectorFieldNumber>(vector.values);
      } else {
        Head<M::kVectorsFieldNumber>(BytesOf(vector));
        OptionalBytes<v1::NamedVector::kNameFieldNumber>(vector.name);
        OptionalFloats<v1::NamedVector::kValuesFieldNumber>(vector.values);
      }
    }
    OptionalBytes<M::kPayloadFieldNumber>(record.payload);
    OptionalVarint<M::kVersionFieldNumber>(record.version);
    if (const auto bits = std::bit_cast<uint32_t>(hit.score); bits != 0) {
      *at_++ = Tag<M::kScoreFieldNumber, kFixed32>();
      at_ = CodedOutputStream::WriteLittleEndian32ToArray(bits, at_);
    }
  }

  void Put(const PointId& id) {
    if (id.is_number()) {
      *at_++ = Tag<v1::PointId::kNumberFieldNumber, kVarint>();
      Varint(id.number());
    } else {
      Head<v1::PointId::kTextFieldNumber>(id.text().size());
      Raw(id.text().data(), id.text().size());
    }
  }

  // Of a field of so many bytes, which come next.
  template <int kField>
  void Head(size_t bytes) {
    *at_++ = Tag<kField, kLengthDelimited>();
    Varint(bytes);
  }
  void Varint(uint64_t value) { at_ = CodedOutputStream::WriteVarint64ToArray(value, at_); }
  void Raw(const void* data, size_t bytes) {
    at_ = CodedOutputStream::WriteRawToArray(data, static_cast<int>(bytes), at_);
  }

  template <int kField>
  void OptionalVarint(uint64_t value) {
    if (value == 0) return;
    *at_++ = Tag<kField, kVarint>();
    Varint(value);
  }
  template <int kField>
  void OptionalBytes(std::string_view bytes) {
    if (bytes.empty()) return;
    Head<kField>(bytes.size());
    Raw(bytes.data(), bytes.size());
  }
  template <int kField>
  void OptionalFloats(const std::vector<float>& values) {
    static_assert(std::endian::native == std::endian::little, "floats go as they lie in memory");
    if (values.empty()) return;
    Head<kField>(values.size() * sizeof(float));
    Raw(values.data(), values.size() * sizeof(float));
  }

  uint8_t* at_;
};

}  // namespace

grpc::ByteBuffer EncodeSearchResponse(const SearchReport& report) {
  const grpc::Slice slice(BytesOf(report));
  // It is ours alone, so far.
  Writer writer(const_cast<uint8_t*>(slice.begin()));
  writer.Put(report);
  VECTRON_CHECK(writer.at() == slice.end());
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace vectron::gateway
