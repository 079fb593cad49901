#pragma once

#include <string>
#include <vector>

#include "common/error.h"

// What checkpoints and snapshots do with files and directories. Errors: DISK_FULL,
// INTERNAL (naming the path).

namespace vectron::storage {

// Names in the directory, without "." and ".."; none if there is no directory.
StatusOr<std::vector<std::string>> ListDirectory(const std::string& dir);

// With all that is below it; OK if there is nothing.
Status RemoveTree(const std::string& path);

// Links all files below `from` into the new directory `to`, or copies them where
// that is not possible (another file system) or `name_is_mutable` says that a file
// of that name is written to in place. Synced, directories included.
Status CloneTree(const std::string& from, const std::string& to,
                 bool (*name_is_mutable)(const std::string& name));

// Renames and syncs the parent of `to`, which is in the same file system.
Status RenameDurably(const std::string& from, const std::string& to);

Status SyncDirectory(const std::string& dir);

}  // namespace vectron::storage
