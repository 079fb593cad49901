#pragma once

#include <string>

namespace rocksdb {
class Env;
}  // namespace rocksdb

namespace vectron::storage {

struct StoredFile;

// Where in a file that does not match its checksum the damage is, for a message:
// "the value at offset 4711 ...". Reads the file.
std::string DescribeDamage(const StoredFile& file, rocksdb::Env* env);

// The tables in `dir` that cannot be opened, for the message of a database that cannot
// be opened either: RocksDB names the manifest, whatever table is damaged. "" if none.
std::string DescribeBadTables(const std::string& dir, rocksdb::Env* env);

}  // namespace vectron::storage
