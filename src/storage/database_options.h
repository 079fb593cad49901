#pragma once

#include <rocksdb/options.h>

#include <memory>

#include "storage/database.h"

namespace vectron::storage {

// Our options in RocksDB's terms; used by Database::Open only.
rocksdb::DBOptions ToRocksOptions(const DatabaseOptions& options);
rocksdb::ColumnFamilyOptions ToRocksOptions(const FamilyOptions& family,
                                            const std::shared_ptr<rocksdb::Cache>& block_cache);

}  // namespace vectron::storage
