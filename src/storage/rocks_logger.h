#pragma once

#include <memory>
#include <string>

namespace rocksdb {
class Logger;
}  // namespace rocksdb

namespace vectron::storage {

// RocksDB's own warnings about the database in `dir`, as lines of our log. Without it
// every database would keep a log file of its own, and RocksDB 7.8, as Debian builds it,
// ends the process when a second line for that file finds the disk full.
std::shared_ptr<rocksdb::Logger> MakeRocksLogger(const std::string& dir);

}  // namespace vectron::storage
