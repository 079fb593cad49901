#include "storage/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

namespace vectron::storage {
namespace {

namespace fs = std::filesystem;

Status ErrorAt(std::string_view what, const std::string& path, std::error_code error) {
  const std::string message = fmt::format("cannot {} {}: {}", what, path, error.message());
  const bool full = error == std::errc::no_space_on_device || error.value() == EDQUOT;
  return full ? MakeError(Reason::kDiskFull, message) : Internal(message);
}

Status SyncPath(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrorAt("open", path, {errno, std::generic_category()});
  const bool synced = fsync(fd) == 0;
  const int error = errno;
  close(fd);
  return synced ? OkStatus() : ErrorAt("sync", path, {error, std::generic_category()});
}

Status CloneFile(const std::string& from, const std::string& to, bool copy) {
  std::error_code error;
  if (!copy) {
    fs::create_hard_link(from, to, error);
    if (!error) return OkStatus();
  }
  error.clear();
  fs::copy_file(from, to, error);
  if (error) return ErrorAt("copy to", to, error);
  return SyncPath(to, 0);
}

}  // namespace

StatusOr<std::vector<std::string>> ListDirectory(const std::string& dir) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator it(dir, error);
  if (error == std::errc::no_such_file_or_directory) return names;
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error) return ErrorAt("list", dir, error);
  return names;
}

Status RemoveTree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  return error ? ErrorAt("remove", path, error) : OkStatus();
}

Status CloneTree(const std::string& from, const std::string& to,
                 bool (*name_is_mutable)(const std::string& name)) {
  std::error_code error;
  if (!fs::is_directory(from, error)) {
    return Internal(fmt::format("{} is not a directory", from));
  }
  if (!fs::create_directory(to, error)) {
    return ErrorAt("create", to, error ? error : std::make_error_code(std::errc::file_exists));
  }
  VECTRON_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(from));
  for (const std::string& name : names) {
    const std::string source = from + "/" + name;
    const std::string target = to + "/" + name;
    const bool is_directory = fs::is_directory(source, error);
    if (error) return ErrorAt("look at", source, error);
    VECTRON_RETURN_IF_ERROR(is_directory ? CloneTree(source, target, name_is_mutable)
                                         : CloneFile(source, target, name_is_mutable(name)));
  }
  return SyncDirectory(to);
}

Status RenameDurably(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) {
    return ErrorAt("rename to", to, {errno, std::generic_category()});
  }
  const std::string parent = fs::path(to).parent_path().string();
  return SyncDirectory(parent.empty() ? "." : parent);
}

Status SyncDirectory(const std::string& dir) { return SyncPath(dir, O_DIRECTORY); }

}  // namespace vectron::storage
