#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/error.h"

namespace vectron {

// Small files that hold one value, replaced as a whole: after a crash the old or
// the new content is there, never a part. Errors: DISK_FULL, INTERNAL (naming the path).

// Writes a file beside `path`, syncs it, renames it to `path`, syncs the directory.
Status WriteFileAtomically(const std::string& path, std::string_view content);

// nullopt if there is no such file.
StatusOr<std::optional<std::string>> ReadWholeFile(const std::string& path);

// `payload` behind a header: `magic` (8 bytes, says what it is), the format's version,
// length and checksum. The inverse checks all of it: CORRUPTION, INCOMPATIBLE_FORMAT
// (both naming `path`).
std::string WrapWithChecksum(std::string_view magic, uint32_t format, std::string_view payload);
StatusOr<std::string_view> UnwrapChecked(std::string_view magic, uint32_t format,
                                         std::string_view file, const std::string& path);

// Makes the directory and its missing parents, and syncs each one's parent: they are all
// there after a loss of power.
Status MakeDirectories(const std::string& path);

}  // namespace vectron
