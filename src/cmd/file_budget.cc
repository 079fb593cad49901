#include "cmd/file_budget.h"

#include <sys/resource.h>

#include <algorithm>

namespace vectron::cmd {
namespace {

// The log's segments, listeners, event queues, and files written or read in passing.
constexpr uint64_t kProcessFiles = 64;
// Of a store, besides its tables: lock, manifest, directories, an output or two.
constexpr uint64_t kStoreFiles = 8;
// RocksDB takes no less, and keeps ten of them back.
constexpr uint64_t kStoreTablesMin = 20;
constexpr uint64_t kStoreTablesMax = 512;
// Where there are files enough for so many shards, tables get the rest.
constexpr uint64_t kShardsWanted = 4096;
constexpr uint64_t kInterfaces = 2;

}  // namespace

FileBudget FileBudget::Of(uint64_t open_files_max, size_t connections_wanted) {
  const uint64_t usable = open_files_max - std::min(open_files_max, kProcessFiles);
  const uint64_t connections =
      std::clamp<uint64_t>(usable / 4 / kInterfaces, 1, std::max<size_t>(connections_wanted, 1));
  const uint64_t for_stores = usable - std::min(usable, connections * kInterfaces);
  const uint64_t share = std::max(for_stores / kShardsWanted, kStoreFiles);
  const uint64_t tables = std::clamp(share - kStoreFiles, kStoreTablesMin, kStoreTablesMax);
  const uint64_t per_store = kStoreFiles + tables;
  return {static_cast<size_t>(connections), static_cast<int>(tables),
          static_cast<size_t>(std::clamp<uint64_t>(for_stores / per_store, 1, kShardsWanted))};
}

uint64_t OpenFilesMax() {
  rlimit files{};
  return getrlimit(RLIMIT_NOFILE, &files) == 0 ? files.rlim_cur : 1024;
}

}  // namespace vectron::cmd
