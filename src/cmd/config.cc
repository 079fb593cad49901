#include "cmd/config.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>

namespace vectron::cmd {
namespace {

StatusOr<uint64_t> ParseInteger(std::string_view text, uint64_t low, uint64_t high) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::invalid_argument || end != text.data() + text.size()) {
    return InvalidArgument(fmt::format("'{}' is not a whole number", text));
  }
  if (error != std::errc() || value < low || value > high) {
    return InvalidArgument(fmt::format("{} is out of range, it must be {} to {}", text, low, high));
  }
  return value;
}

// Bytes, or with one of the suffixes KiB, MiB, GiB.
StatusOr<uint64_t> ParseBytes(std::string_view text, uint64_t low, uint64_t high) {
  int shift = 0;
  for (const auto& [suffix, bits] :
       {std::pair<std::string_view, int>{"KiB", 10}, {"MiB", 20}, {"GiB", 30}}) {
    if (text.size() > suffix.size() && text.substr(text.size() - suffix.size()) == suffix) {
      text.remove_suffix(suffix.size());
      shift = bits;
    }
  }
  VECTRON_ASSIGN_OR_RETURN(const uint64_t value,
                           ParseInteger(text, 0, std::numeric_limits<uint64_t>::max() >> shift));
  const uint64_t bytes = value << shift;
  if (bytes < low || bytes > high) {
    return InvalidArgument(
        fmt::format("{} bytes are out of range, it must be {} to {}", bytes, low, high));
  }
  return bytes;
}

std::string ShowBytes(uint64_t bytes) {
  for (const auto& [suffix, bits] :
       {std::pair<std::string_view, int>{"GiB", 30}, {"MiB", 20}, {"KiB", 10}}) {
    if (bytes != 0 && bytes % (uint64_t{1} << bits) == 0) {
      return fmt::format("{}{}", bytes >> bits, suffix);
    }
  }
  return std::to_string(bytes);
}

Setting Listen(std::string_view name, std::string_view help, ListenAddress ServeConfig::*field) {
  return {.name = name,
          .value_name = "HOST:PORT",
          .help = help,
          .parse = [field](std::string_view value, ServeConfig* config) -> Status {
            VECTRON_ASSIGN_OR_RETURN(config->*field, ParseListenAddress(value));
            return OkStatus();
          },
          .show = [field](const ServeConfig& config) { return (config.*field).ToString(); }};
}

Setting Count(std::string_view name, std::string_view help, int ServeConfig::*field, int low,
              int high) {
  return {.name = name,
          .value_name = "N",
          .help = help,
          .parse = [=](std::string_view value, ServeConfig* config) -> Status {
            VECTRON_ASSIGN_OR_RETURN(
                const uint64_t count,
                ParseInteger(value, static_cast<uint64_t>(low), static_cast<uint64_t>(high)));
            config->*field = static_cast<int>(count);
            return OkStatus();
          },
          .show = [field](const ServeConfig& config) { return std::to_string(config.*field); }};
}

template <typename T>
Setting LimitCount(std::string_view name, std::string_view help, T Limits::*field, uint64_t high) {
  return {
      .name = name,
      .value_name = "N",
      .help = help,
      .parse = [=](std::string_view value, ServeConfig* config) -> Status {
        VECTRON_ASSIGN_OR_RETURN(const uint64_t count, ParseInteger(value, 1, high));
        config->limits.*field = static_cast<T>(count);
        return OkStatus();
      },
      .show = [field](const ServeConfig& config) { return std::to_string(config.limits.*field); }};
}

Setting LimitBytes(std::string_view name, std::string_view help, size_t Limits::*field,
                   uint64_t low, uint64_t high) {
  return {.name = name,
          .value_name = "BYTES",
          .help = help,
          .parse = [=](std::string_view value, ServeConfig* config) -> Status {
            VECTRON_ASSIGN_OR_RETURN(config->limits.*field, ParseBytes(value, low, high));
            return OkStatus();
          },
          .show = [field](const ServeConfig& config) { return ShowBytes(config.limits.*field); }};
}

// Known names that mean nothing until processes form clusters: refused rather
// than ignored.
Setting ClusterOnly(std::string_view name, std::string_view value_name, std::string_view help) {
  return {.name = name,
          .value_name = value_name,
          .help = help,
          .parse = [](std::string_view, ServeConfig*) -> Status {
            return MakeError(Reason::kUnsupported,
                             "this version runs a cluster of one process; the setting needs more");
          },
          .show = [](const ServeConfig&) { return std::string(); }};
}

Status ParseRoles(std::string_view value, ServeConfig*) {
  constexpr std::string_view kRoles[] = {"placement", "worker", "gateway"};
  bool seen[std::size(kRoles)] = {};
  while (!value.empty()) {
    const size_t comma = std::min(value.find(','), value.size());
    const std::string_view role = value.substr(0, comma);
    const auto* found = std::find(std::begin(kRoles), std::end(kRoles), role);
    if (found == std::end(kRoles)) {
      return InvalidArgument(fmt::format("'{}' is not one of placement, worker, gateway", role));
    }
    seen[found - std::begin(kRoles)] = true;
    value.remove_prefix(std::min(comma + 1, value.size()));
  }
  if (std::all_of(std::begin(seen), std::end(seen), [](bool s) { return s; })) return OkStatus();
  return MakeError(Reason::kUnsupported,
                   "this version runs a cluster of one process, which has all three roles");
}

Status ParseLabel(std::string_view value, ServeConfig* config) {
  const size_t equals = value.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    return InvalidArgument(fmt::format("'{}' is not KEY=VALUE", value));
  }
  const std::string key(value.substr(0, equals));
  for (const auto& [other, unused] : config->labels) {
    if (other == key) return InvalidArgument(fmt::format("'{}' is given twice", key));
  }
  config->labels.emplace_back(key, value.substr(equals + 1));
  return OkStatus();
}

std::string ShowLabels(const ServeConfig& config) {
  std::string text;
  for (const auto& [key, value] : config.labels) {
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", key, value);
  }
  return text;
}

std::vector<Setting> ProcessSettings() {
  return {
      {.name = "data-dir",
       .value_name = "DIR",
       .help = "where the data are; made when missing",
       .parse = [](std::string_view value, ServeConfig* config) -> Status {
         if (value.empty()) return InvalidArgument("must not be empty");
         config->data_dir = value;
         return OkStatus();
       },
       .show = [](const ServeConfig& config) { return config.data_dir; }},
      Listen("http-listen", "REST, metrics and health; port 0 takes a free one",
             &ServeConfig::http_listen),
      Listen("grpc-listen", "gRPC; port 0 takes a free one", &ServeConfig::grpc_listen),
      ClusterOnly("internal-listen", "HOST:PORT", "traffic between processes (clusters only)"),
      ClusterOnly("advertise", "HOST:PORT", "address for other processes (clusters only)"),
      {.name = "roles",
       .value_name = "LIST",
       .help = "what this process does (all three, until there are clusters)",
       .parse = ParseRoles,
       .show = [](const ServeConfig&) { return std::string("placement,worker,gateway"); }},
      ClusterOnly("peers", "A,B,C", "form a new cluster (clusters only)"),
      ClusterOnly("join", "A,B", "join a running cluster (clusters only)"),
      {.name = "label",
       .value_name = "KEY=VALUE",
       .help = "says where this process runs; may be repeated",
       .repeatable = true,
       .parse = ParseLabel,
       .show = ShowLabels},
      {.name = "disk-reserve-bytes",
       .value_name = "BYTES",
       .help = "room to leave on the disk: below it nothing is added, below a quarter of it "
               "nothing is deleted but collections",
       .parse = [](std::string_view value, ServeConfig* config) -> Status {
         VECTRON_ASSIGN_OR_RETURN(config->disk_reserve_bytes,
                                  ParseBytes(value, 0, uint64_t{1} << 40));
         return OkStatus();
       },
       .show = [](const ServeConfig& config) { return ShowBytes(config.disk_reserve_bytes); }},
      {.name = "log-level",
       .value_name = "LEVEL",
       .help = "trace, debug, info, warn, error or off",
       .parse = [](std::string_view value, ServeConfig* config) -> Status {
         for (std::string_view level : {"trace", "debug", "info", "warn", "error", "off"}) {
           if (value != level) continue;
           config->log_level = value;
           return OkStatus();
         }
         return InvalidArgument(
             fmt::format("'{}' is not one of trace, debug, info, warn, error, off", value));
       },
       .show = [](const ServeConfig& config) { return config.log_level; }},
      Count("drain-seconds", "how long a stop waits for requests under way",
            &ServeConfig::drain_seconds, 0, 3600),
      Count("search-threads", "threads that search; 0: one a core", &ServeConfig::search_threads, 0,
            1024),
      Count("index-threads", "threads that link vectors into graphs; 0: one a core",
            &ServeConfig::index_threads, 0, 1024),
  };
}

std::vector<Setting> LimitSettings() {
  return {
      LimitCount("batch-points-max", "points or ids in one request", &Limits::batch_points_max,
                 1'000'000),
      LimitCount("batch-queries-max", "queries in one request", &Limits::batch_queries_max, 65'536),
      LimitBytes("payload-bytes-max", "payload of one point", &Limits::payload_bytes_max, 1,
                 64 << 20),
      LimitCount("payload-depth-max", "nested objects and arrays of a payload",
                 &Limits::payload_depth_max, kPayloadDepthMax),
      LimitBytes("request-bytes-max", "one request", &Limits::request_bytes_max, 1 << 10, 64 << 20),
      LimitBytes("response-bytes-max", "payloads and vectors in one answer",
                 &Limits::response_bytes_max, 1 << 10, 1 << 30),
      LimitCount("k-max", "limit + offset of a search", &Limits::k_max, 1'000'000),
      LimitCount("ef-max", "ef of a search", &Limits::ef_max, 1'000'000),
      LimitCount("scroll-limit-max", "points in one page", &Limits::scroll_limit_max, 100'000),
      LimitCount("connections-max", "open connections of one interface", &Limits::connections_max,
                 1'000'000),
  };
}

const Setting* FindSetting(std::string_view name) {
  for (const Setting& setting : ServeSettings()) {
    if (setting.name == name) return &setting;
  }
  return nullptr;
}

std::vector<std::string> SplitCommas(std::string_view text) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(',', begin), text.size());
    parts.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

StatusOr<std::vector<std::string>> FileValue(const Setting& setting, const YAML::Node& node) {
  std::vector<std::string> values;
  if (node.IsScalar() && !setting.repeatable) {
    values.push_back(node.Scalar());
  } else if (node.IsScalar()) {
    values = SplitCommas(node.Scalar());
  } else if (node.IsSequence() && setting.repeatable) {
    for (const YAML::Node& item : node) {
      if (!item.IsScalar()) return InvalidArgument("every item must be a single value");
      values.push_back(item.Scalar());
    }
  } else {
    return InvalidArgument(setting.repeatable ? "must be a value or a list of values"
                                              : "must be a single value");
  }
  return values;
}

StatusOr<SettingValues> ReadMapping(const std::string& path, const YAML::Node& root) {
  SettingValues values;
  if (root.IsNull()) return values;
  if (!root.IsMap()) return InvalidArgument(fmt::format("{}: must be a mapping of settings", path));
  for (const auto& item : root) {
    const std::string key = item.first.IsScalar() ? item.first.Scalar() : std::string();
    const std::string place = fmt::format("{}:{}", path, item.first.Mark().line + 1);
    const Setting* setting = FindSetting(key);
    if (setting == nullptr) {
      return InvalidArgument(fmt::format("{}: there is no setting '{}'", place, key));
    }
    auto value = FileValue(*setting, item.second);
    if (!value.ok()) return Annotate(value.status(), fmt::format("{}: {}", place, key));
    if (!values.emplace(key, *std::move(value)).second) {
      return InvalidArgument(fmt::format("{}: {} is given twice", place, key));
    }
  }
  return values;
}

}  // namespace

std::string ListenAddress::ToString() const {
  const bool brackets = host.find(':') != std::string::npos;
  return fmt::format(fmt::runtime(brackets ? "[{}]:{}" : "{}:{}"), host, port);
}

StatusOr<ListenAddress> ParseListenAddress(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return InvalidArgument(fmt::format("'{}' is not HOST:PORT", text));
  }
  std::string_view host = text.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return InvalidArgument(fmt::format("'{}': an IPv6 host needs brackets, [HOST]:PORT", text));
  }
  if (host.empty()) {
    return InvalidArgument(
        fmt::format("'{}' has no host; 0.0.0.0 stands for all interfaces", text));
  }
  const auto port = ParseInteger(text.substr(colon + 1), 0, 65'535);
  if (!port.ok()) return Annotate(port.status(), fmt::format("'{}': port", text));
  return ListenAddress{std::string(host), static_cast<uint16_t>(*port)};
}

std::span<const Setting> ServeSettings() {
  static const std::vector<Setting> settings = [] {
    std::vector<Setting> all = ProcessSettings();
    for (Setting& setting : LimitSettings()) all.push_back(std::move(setting));
    return all;
  }();
  return settings;
}

std::string EnvironmentName(std::string_view setting) {
  std::string name = "VECTRON_";
  for (char c : setting) name += c == '-' ? '_' : static_cast<char>(c >= 'a' ? c - 'a' + 'A' : c);
  return name;
}

StatusOr<SettingValues> ReadConfigFile(const std::string& path) {
  try {
    return ReadMapping(path, YAML::LoadFile(path));
  } catch (const YAML::BadFile&) {
    return InvalidArgument(fmt::format("{}: the configuration file cannot be read", path));
  } catch (const YAML::Exception& error) {
    return InvalidArgument(fmt::format("{}:{}: {}", path, error.mark.line + 1, error.msg));
  }
}

EnvironmentSettings ReadEnvironment(const StringMap<std::string>& environment) {
  EnvironmentSettings result;
  StringSet known = {"VECTRON_CONFIG"};
  for (const Setting& setting : ServeSettings()) {
    const std::string name = EnvironmentName(setting.name);
    known.insert(name);
    const auto found = environment.find(name);
    if (found == environment.end()) continue;
    result.values[setting.name] =
        setting.repeatable ? SplitCommas(found->second) : std::vector<std::string>{found->second};
  }
  for (const auto& [name, value] : environment) {
    if (name.rfind("VECTRON_", 0) == 0 && !known.contains(name)) result.unknown.push_back(name);
  }
  std::sort(result.unknown.begin(), result.unknown.end());
  return result;
}

StatusOr<ServeConfig> ResolveConfig(const SettingValues& flags, const SettingValues& environment,
                                    const SettingValues& file, std::string_view file_path) {
  ServeConfig config;
  for (const Setting& setting : ServeSettings()) {
    const std::vector<std::string>* values = nullptr;
    std::string source;
    if (const auto flag = flags.find(setting.name); flag != flags.end()) {
      values = &flag->second;
      source = fmt::format("--{}", setting.name);
    } else if (const auto variable = environment.find(setting.name);
               variable != environment.end()) {
      values = &variable->second;
      source = EnvironmentName(setting.name);
    } else if (const auto entry = file.find(setting.name); entry != file.end()) {
      values = &entry->second;
      source = fmt::format("{}: {}", file_path, setting.name);
    } else {
      continue;
    }
    for (const std::string& value : *values) {
      const Status status = setting.parse(value, &config);
      if (!status.ok()) return Annotate(status, source);
    }
  }
  return config;
}

}  // namespace vectron::cmd
