#include "storage/file_damage.h"

#include <fmt/format.h>
#include <rocksdb/env.h>
#include <rocksdb/file_checksum.h>
#include <rocksdb/options.h>
#include <rocksdb/sst_file_reader.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "storage/database.h"

namespace vectron::storage {
namespace {

// RocksDB's blob files (db/blob/blob_log_format.h there): a header, records, and a
// footer. A record is the lengths of key and value, an expiration, a checksum of
// these, one of key and value, and then key and value. Numbers are little-endian.
constexpr uint64_t kBlobFileHeaderBytes = 30;
constexpr uint64_t kBlobFileFooterBytes = 32;
constexpr uint64_t kBlobRecordHeaderBytes = 32;
constexpr uint64_t kBlobRecordChecksummedBytes = 24;
constexpr uint64_t kBlobKeyBytesMax = 64 << 10;

uint32_t LoadFixed32(const char* at) {
  uint32_t value = 0;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

uint64_t LoadFixed64(const char* at) {
  uint64_t value = 0;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

// As RocksDB stores it. Its generator for whole files is the one public way to its
// CRC-32C; it gives it in network order.
uint32_t MaskedCrc(std::string_view bytes) {
  const auto generator = rocksdb::GetFileChecksumGenCrc32cFactory()->CreateFileChecksumGenerator(
      rocksdb::FileChecksumGenContext());
  generator->Update(bytes.data(), bytes.size());
  generator->Finalize();
  const uint32_t crc = __builtin_bswap32(LoadFixed32(generator->GetChecksum().data()));
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

std::string DescribeTable(const StoredFile& file, rocksdb::Env* env) {
  rocksdb::Options options;
  options.env = env;
  rocksdb::SstFileReader reader(options);
  rocksdb::Status status = reader.Open(file.path);
  if (status.ok()) status = reader.VerifyChecksum();
  return status.ok() ? "outside of its blocks" : status.ToString();
}

std::string DescribeBlobFile(const StoredFile& file, rocksdb::Env* env) {
  std::unique_ptr<rocksdb::RandomAccessFile> stream;
  rocksdb::Status status = env->NewRandomAccessFile(file.path, &stream, rocksdb::EnvOptions());
  if (!status.ok()) return status.ToString();
  const uint64_t end = file.size_bytes - std::min(file.size_bytes, kBlobFileFooterBytes);
  std::string buffer;
  const auto read = [&](uint64_t offset, uint64_t bytes) {
    buffer.resize(bytes);
    rocksdb::Slice got;
    status = stream->Read(offset, bytes, &got, buffer.data());
    return status.ok() && got.size() == bytes ? std::string_view(got.data(), got.size())
                                              : std::string_view();
  };
  for (uint64_t offset = kBlobFileHeaderBytes; offset + kBlobRecordHeaderBytes <= end;) {
    const std::string header(read(offset, kBlobRecordHeaderBytes));
    if (header.empty()) return fmt::format("at offset {}: {}", offset, status.ToString());
    const uint64_t key_bytes = LoadFixed64(header.data());
    const uint64_t value_bytes = LoadFixed64(header.data() + 8);
    const uint64_t body = offset + kBlobRecordHeaderBytes;
    const uint64_t room = end - body;
    const bool is_whole =
        MaskedCrc(std::string_view(header).substr(0, kBlobRecordChecksummedBytes)) ==
            LoadFixed32(header.data() + kBlobRecordChecksummedBytes) &&
        key_bytes <= kBlobKeyBytesMax && key_bytes <= room && value_bytes <= room - key_bytes;
    if (!is_whole) return fmt::format("in the header of the value at offset {}", offset);
    const std::string_view content = read(body, key_bytes + value_bytes);
    if (content.size() != key_bytes + value_bytes) {
      return fmt::format("at offset {}: {}", body, status.ToString());
    }
    if (MaskedCrc(content) != LoadFixed32(header.data() + kBlobRecordChecksummedBytes + 4)) {
      return fmt::format("in the value at offset {}, of {} bytes", offset, value_bytes);
    }
    offset = body + key_bytes + value_bytes;
  }
  return "outside of its values";
}

}  // namespace

std::string DescribeDamage(const StoredFile& file, rocksdb::Env* env) {
  return file.is_blob ? DescribeBlobFile(file, env) : DescribeTable(file, env);
}

std::string DescribeBadTables(const std::string& dir, rocksdb::Env* env) {
  std::vector<std::string> names;
  if (!env->GetChildren(dir, &names).ok()) return "";
  std::sort(names.begin(), names.end());
  rocksdb::Options options;
  options.env = env;
  std::string bad;
  for (const std::string& name : names) {
    if (!name.ends_with(".sst")) continue;
    const std::string path = dir + "/" + name;
    const rocksdb::Status opened = rocksdb::SstFileReader(options).Open(path);
    if (!opened.ok()) bad += fmt::format("; {} cannot be read: {}", path, opened.ToString());
  }
  return bad;
}

}  // namespace vectron::storage
