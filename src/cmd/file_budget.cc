#include "cmd/file_budget.h"

#include <sys/resource.h>

#include <algorithm>

namespace vectron::cmd {
namespace {

// The log's segments, listeners, event queues, and files written or read in passing.
constexpr uint64_t kProcessFiles = 64;
// What a store may have open (RocksDB's max_open_files): it keeps ten back for lock, manifest,
// log, directories and outputs, and bounds the tables by the rest. It takes no less than 20.
constexpr uint64_t kStoreFilesMin = 20;
constexpr uint64_t kStoreFilesMax = 520;
// Where there are files enough for so many shards, each may have more.
constexpr uint64_t kShardsWanted = 4096;
constexpr uint64_t kInterfaces = 2;

}  // namespace

FileBudget FileBudget::Of(uint64_t open_files_max, size_t connections_wanted) {
  const uint64_t usable = open_files_max - std::min(open_files_max, kProcessFiles);
  const uint64_t connections =
      std::clamp<uint64_t>(usable / 4 / kInterfaces, 1, std::max<size_t>(connections_wanted, 1));
  const uint64_t for_stores = usable - std::min(usable, connections * kInterfaces);
  const uint64_t of_each = std::clamp(for_stores / kShardsWanted, kStoreFilesMin, kStoreFilesMax);
  return {static_cast<size_t>(connections), static_cast<int>(of_each),
          static_cast<size_t>(std::clamp<uint64_t>(for_stores / of_each, 1, kShardsWanted))};
}

uint64_t OpenFilesMax() {
  rlimit files{};
  return getrlimit(RLIMIT_NOFILE, &files) == 0 ? files.rlim_cur : 1024;
}

}  // namespace vectron::cmd
