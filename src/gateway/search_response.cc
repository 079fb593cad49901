#include "gateway/search_response.h"

#include <google/protobuf/io/coded_stream.h>

#include <bit>
#include <cstring>
#include <string_view>

#include "common/check.h"
#include "vectron/v1/vectron.pb.h"

// A message's length stands before it, so it is written from its end to its beginning: once
// it is there, its length is known. Of a field that has its default value nothing is
// written, as everywhere in proto3; what is in a oneof is written in any case.

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

// At least as many bytes as are written.
size_t BytesMax(const SearchReport& report) {
  constexpr size_t kVarintMax = 1 + 10;  // with its tag
  size_t bytes = (report.missing_shards.size() + 2 * report.token.seen.size()) * kVarintMax;
  bytes += (report.token.seen.size() + report.results.size() + 2) * kVarintMax;
  for (const auto& hits : report.results) {
    for (const ScoredRecord& hit : hits) {
      bytes += ContentBytes(hit.record) + 6 * kVarintMax;
      if (!hit.record.id.is_number()) bytes += hit.record.id.text().size();
      for (const NamedVector& vector : hit.record.vectors) {
        bytes += vector.name.size() + 3 * kVarintMax;
      }
    }
  }
  return bytes;
}

// Writes towards lower addresses, into memory that is large enough.
class BackwardWriter {
 public:
  explicit BackwardWriter(uint8_t* end) : at_(end) {}

  void Put(const SearchReport& report) {
    using M = v1::SearchResponse;
    Message<M::kTokenFieldNumber>([&] { PutShards(report.token); });
    if (!report.missing_shards.empty()) {
      Message<M::kMissingShardsFieldNumber>([&] {
        for (auto shard = report.missing_shards.rbegin(); shard != report.missing_shards.rend();
             ++shard) {
          Varint(shard->value());
        }
      });
    }
    for (auto hits = report.results.rbegin(); hits != report.results.rend(); ++hits) {
      Message<M::kResultsFieldNumber>([&] {
        for (auto hit = hits->rbegin(); hit != hits->rend(); ++hit) {
          Message<M::Result::kPointsFieldNumber>([&] { PutHit(*hit); });
        }
      });
    }
  }

  // The first byte.
  const uint8_t* at() const { return at_; }

 private:
  void PutShards(const SessionToken& token) {
    using M = v1::SessionToken;
    for (auto seen = token.seen.rbegin(); seen != token.seen.rend(); ++seen) {
      Message<M::kShardsFieldNumber>([&] {
        OptionalVarint<M::Shard::kLogIndexFieldNumber>(seen->second.value());
        OptionalVarint<M::Shard::kShardIdFieldNumber>(seen->first.value());
      });
    }
  }

  void PutHit(const ScoredRecord& hit) {
    using M = v1::ScoredRecord;
    const Record& record = hit.record;
    if (const auto bits = std::bit_cast<uint32_t>(hit.score); bits != 0) {
      at_ -= sizeof(bits);
      CodedOutputStream::WriteLittleEndian32ToArray(bits, at_);
      Byte(Tag<M::kScoreFieldNumber, kFixed32>());
    }
    OptionalVarint<M::kVersionFieldNumber>(record.version);
    OptionalBytes<M::kPayloadFieldNumber>(record.payload);
    // The nameless one is a field by itself; each is the only one of its field, or follows
    // the order in which the record has them.
    for (auto vector = record.vectors.rbegin(); vector != record.vectors.rend(); ++vector) {
      if (vector->name.empty()) {
        OptionalFloats<M::kVectorFieldNumber>(vector->values);
      } else {
        Message<M::kVectorsFieldNumber>([&] {
          OptionalFloats<v1::NamedVector::kValuesFieldNumber>(vector->values);
          OptionalBytes<v1::NamedVector::kNameFieldNumber>(vector->name);
        });
      }
    }
    Message<M::kIdFieldNumber>([&] { PutId(record.id); });
  }

  void PutId(const PointId& id) {
    if (id.is_number()) {
      Varint(id.number());
      Byte(Tag<v1::PointId::kNumberFieldNumber, kVarint>());
    } else {
      Bytes<v1::PointId::kTextFieldNumber>(id.text().data(), id.text().size());
    }
  }

  // A field of what `put` writes.
  template <int kField, typename Put>
  void Message(Put&& put) {
    const uint8_t* const end = at_;
    put();
    Head<kField>(static_cast<size_t>(end - at_));
  }

  // Of a field of the `bytes` that were written last.
  template <int kField>
  void Head(size_t bytes) {
    Varint(bytes);
    Byte(Tag<kField, kLengthDelimited>());
  }
  void Byte(uint8_t byte) { *--at_ = byte; }
  void Varint(uint64_t value) {
    if (value < 0x80) return Byte(static_cast<uint8_t>(value));
    at_ -= CodedOutputStream::VarintSize64(value);
    CodedOutputStream::WriteVarint64ToArray(value, at_);
  }

  template <int kField>
  void Bytes(const void* data, size_t bytes) {
    at_ -= bytes;
    std::memcpy(at_, data, bytes);
    Head<kField>(bytes);
  }
  template <int kField>
  void OptionalVarint(uint64_t value) {
    if (value == 0) return;
    Varint(value);
    Byte(Tag<kField, kVarint>());
  }
  template <int kField>
  void OptionalBytes(std::string_view bytes) {
    if (!bytes.empty()) Bytes<kField>(bytes.data(), bytes.size());
  }
  template <int kField>
  void OptionalFloats(const std::vector<float>& values) {
    static_assert(std::endian::native == std::endian::little, "floats go as they lie in memory");
    if (!values.empty()) Bytes<kField>(values.data(), values.size() * sizeof(float));
  }

  uint8_t* at_;
};

}  // namespace

std::string EncodeSearchResponse(const SearchReport& report) {
  std::string room(BytesMax(report), '\0');
  auto* const begin = reinterpret_cast<uint8_t*>(room.data());
  BackwardWriter writer(begin + room.size());
  writer.Put(report);
  VECTRON_CHECK(writer.at() >= begin);
  room.erase(0, static_cast<size_t>(writer.at() - begin));
  return room;
}

}  // namespace vectron::gateway
