#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/error.h"
#include "common/limits.h"
#include "common/string_map.h"

namespace vectron::cmd {

struct ListenAddress {
  std::string host;
  uint16_t port = 0;  // 0: the system chooses

  // HOST:PORT, with brackets around an IPv6 host.
  std::string ToString() const;
  bool operator==(const ListenAddress&) const = default;
};

// INVALID_ARGUMENT unless `text` is HOST:PORT or [IPV6]:PORT.
StatusOr<ListenAddress> ParseListenAddress(std::string_view text);

// What `vectron serve` runs by.
struct ServeConfig {
  std::string data_dir = "./vectron-data";
  ListenAddress http_listen{"127.0.0.1", 6333};
  ListenAddress grpc_listen{"127.0.0.1", 6334};
  std::vector<std::pair<std::string, std::string>> labels;
  std::string log_level = "info";
  int drain_seconds = 10;  // how long SIGTERM waits for requests under way
  int search_threads = 0;  // 0: as many as cores
  int index_threads = 0;   // 0: as many as cores
  uint64_t disk_reserve_bytes = 512ull << 20;
  Limits limits;
};

// One setting of `serve`: the flag --NAME, the variable VECTRON_NAME and the key
// NAME of the configuration file.
struct Setting {
  std::string_view name;        // lower case with hyphens
  std::string_view value_name;  // for --help, e.g. "HOST:PORT"
  std::string_view help;
  bool repeatable = false;  // takes a list: flag repeated, comma-separated, YAML sequence
  // Puts one value into the configuration; errors do not name the setting.
  std::function<Status(std::string_view value, ServeConfig* config)> parse;
  // The value in `config`, as a user would write it.
  std::function<std::string(const ServeConfig& config)> show;
};

// All settings, in the order of --help. --config is not among them: it names the
// file they may come from.
std::span<const Setting> ServeSettings();

// "http-listen" -> "VECTRON_HTTP_LISTEN".
std::string EnvironmentName(std::string_view setting);

// Values given by the user, by setting name.
using SettingValues = StringMap<std::vector<std::string>>;

// Reads a YAML mapping from setting names to scalars (or sequences of scalars).
// INVALID_ARGUMENT, naming file, line and key, for anything else.
StatusOr<SettingValues> ReadConfigFile(const std::string& path);

// What the variables VECTRON_* in `environment` set.
struct EnvironmentSettings {
  SettingValues values;
  // Names that begin with VECTRON_ but are no setting. Not an error: container
  // platforms put such variables (VECTRON_SERVICE_HOST ...) into every process.
  std::vector<std::string> unknown;
};
EnvironmentSettings ReadEnvironment(const StringMap<std::string>& environment);

// A flag wins over a variable, a variable over the file, the file over the
// default. INVALID_ARGUMENT or UNSUPPORTED, naming the setting and where it was given.
StatusOr<ServeConfig> ResolveConfig(const SettingValues& flags, const SettingValues& environment,
                                    const SettingValues& file, std::string_view file_path);

}  // namespace vectron::cmd
