#pragma once

#include <cstddef>
#include <cstdint>

namespace vectron::cmd {

// What the files that a process may have open (RLIMIT_NOFILE) are for: connections, and
// each shard's store, of which RocksDB bounds the tables that it keeps open. Planned for
// the worst case, since a process that runs out of files hangs in places that nobody
// expects.
struct FileBudget {
  size_t connections_max = 0;  // of one interface
  int store_open_files_max = 0;
  size_t shard_count_max = 0;

  static FileBudget Of(uint64_t open_files_max, size_t connections_wanted);
};

// The limit as it is now: SetUpProcess has raised it as far as it may.
uint64_t OpenFilesMax();

}  // namespace vectron::cmd
