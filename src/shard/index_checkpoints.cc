#include "shard/index_checkpoints.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <utility>

#include "common/atomic_file.h"
#include "common/logging.h"
#include "storage/files.h"
#include "vectron/internal/shard.pb.h"

namespace vectron::shard {
namespace {

constexpr std::string_view kManifestName = "MANIFEST";
constexpr std::string_view kManifestMagic = "VTRNIDXM";
constexpr uint32_t kManifestFormat = 1;
constexpr std::string_view kTemporaryName = "unfinished";

std::optional<LogIndex> ParseName(const std::string& name) {
  uint64_t applied = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), applied);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return LogIndex(applied);
}

StatusOr<vectron::internal::IndexManifest> ReadManifest(const std::string& dir) {
  const std::string path = fmt::format("{}/{}", dir, kManifestName);
  VECTRON_ASSIGN_OR_RETURN(const std::optional<std::string> file, ReadWholeFile(path));
  if (!file.has_value()) return Corruption(fmt::format("{} is missing", path));
  VECTRON_ASSIGN_OR_RETURN(const std::string_view payload,
                           UnwrapChecked(kManifestMagic, kManifestFormat, *file, path));
  vectron::internal::IndexManifest manifest;
  if (!manifest.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return Corruption(fmt::format("{} does not parse", path));
  }
  return manifest;
}

StatusOr<std::unique_ptr<PointIndex>> LoadFrom(const std::string& dir, LogIndex applied,
                                               const Schema& schema, ReaderGate* gate) {
  VECTRON_ASSIGN_OR_RETURN(const auto manifest, ReadManifest(dir));
  if (manifest.applied() != applied.value()) {
    return Corruption(fmt::format("{}: its manifest is of index {}", dir, manifest.applied()));
  }
  std::vector<std::string> files;
  for (const auto& file : manifest.files()) {
    const std::string path = dir + "/" + file.name();
    std::error_code error;
    const uint64_t size_bytes = std::filesystem::file_size(path, error);
    if (error || size_bytes != file.size_bytes()) {
      return Corruption(fmt::format("{} is missing or of a wrong size", path));
    }
    files.push_back(file.name());
  }
  return PointIndex::Load(schema, gate, dir, files);
}

bool NeverCopy(const std::string&) { return false; }

}  // namespace

// Padded, so that names sort like numbers.
std::string IndexCheckpoints::PathOf(LogIndex applied) const {
  return fmt::format("{}/{:020}", dir_, applied.value());
}

StatusOr<std::vector<LogIndex>> IndexCheckpoints::List() {
  VECTRON_ASSIGN_OR_RETURN(const std::vector<std::string> names, storage::ListDirectory(dir_));
  std::vector<LogIndex> found;
  for (const std::string& name : names) {
    const std::optional<LogIndex> applied = ParseName(name);
    if (applied.has_value()) {
      found.push_back(*applied);
    } else {
      VECTRON_RETURN_IF_ERROR(storage::RemoveTree(dir_ + "/" + name));
    }
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

StatusOr<std::optional<IndexCheckpoints::Loaded>> IndexCheckpoints::Load(const Schema& schema,
                                                                         ReaderGate* gate,
                                                                         LogIndex applied_max) {
  VECTRON_ASSIGN_OR_RETURN(const std::vector<LogIndex> found, List());
  for (const LogIndex applied : found) {
    const std::string dir = PathOf(applied);
    if (applied > applied_max) {
      VECTRON_LOG_WARN("{} is newer than its store and not used", dir);
      continue;
    }
    auto index = LoadFrom(dir, applied, schema, gate);
    if (index.ok()) return std::optional<Loaded>({*std::move(index), applied});
    VECTRON_LOG_WARN("{} is not used: {}", dir, index.status().ToString());
  }
  return std::optional<Loaded>();
}

Status IndexCheckpoints::Write(const PointIndex& index, const PointIndex::Cut& cut,
                               LogIndex applied, uint64_t bytes_per_second_max) {
  const std::string temporary = fmt::format("{}/{}", dir_, kTemporaryName);
  VECTRON_RETURN_IF_ERROR(storage::RemoveTree(temporary));
  VECTRON_RETURN_IF_ERROR(MakeDirectories(temporary));
  auto files = index.WriteFiles(cut, temporary, bytes_per_second_max);
  Status status = files.status();
  if (status.ok()) status = Publish(temporary, applied, *std::move(files));
  // Half a checkpoint is of no use, and what it takes may be what a full disk lacks.
  if (!status.ok()) storage::RemoveTree(temporary).IgnoreError();
  return status;
}

Status IndexCheckpoints::Advance(LogIndex from, LogIndex applied) {
  const std::string temporary = fmt::format("{}/{}", dir_, kTemporaryName);
  VECTRON_RETURN_IF_ERROR(storage::RemoveTree(temporary));
  VECTRON_ASSIGN_OR_RETURN(const auto manifest, ReadManifest(PathOf(from)));
  VECTRON_RETURN_IF_ERROR(storage::CloneTree(PathOf(from), temporary, NeverCopy));
  std::vector<std::string> files;
  for (const auto& file : manifest.files()) files.push_back(file.name());
  return Publish(temporary, applied, std::move(files));
}

Status IndexCheckpoints::Publish(const std::string& temporary, LogIndex applied,
                                 std::vector<std::string> files) {
  vectron::internal::IndexManifest manifest;
  manifest.set_applied(applied.value());
  for (const std::string& name : files) {
    std::error_code error;
    const uint64_t size_bytes = std::filesystem::file_size(temporary + "/" + name, error);
    if (error) return Internal(fmt::format("{}/{}: {}", temporary, name, error.message()));
    auto* file = manifest.add_files();
    file->set_name(name);
    file->set_size_bytes(size_bytes);
  }
  // Replaced by a rename, so that a linked copy keeps its own.
  VECTRON_RETURN_IF_ERROR(WriteFileAtomically(
      fmt::format("{}/{}", temporary, kManifestName),
      WrapWithChecksum(kManifestMagic, kManifestFormat, manifest.SerializeAsString())));
  // One of the same index may be there, damaged.
  VECTRON_RETURN_IF_ERROR(storage::RemoveTree(PathOf(applied)));
  VECTRON_RETURN_IF_ERROR(storage::RenameDurably(temporary, PathOf(applied)));
  return RemoveAllBut(applied);
}

Status IndexCheckpoints::RemoveAllBut(LogIndex applied) {
  VECTRON_ASSIGN_OR_RETURN(const std::vector<LogIndex> found, List());
  for (const LogIndex other : found) {
    if (other != applied) VECTRON_RETURN_IF_ERROR(storage::RemoveTree(PathOf(other)));
  }
  return OkStatus();
}

}  // namespace vectron::shard
