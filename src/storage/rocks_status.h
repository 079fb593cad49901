#pragma once

#include <string_view>

#include "common/error.h"

namespace rocksdb {
class Status;
}

namespace vectron::storage {

// RocksDB's errors as ours. `dir` names the database in the message. Not found
// is not an error of ours: callers look for it first.
Status FromRocksStatus(const rocksdb::Status& status, std::string_view dir);

}  // namespace vectron::storage
