#include "cmd/serve.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>

#include "cmd/config.h"
#include "cmd/data_dir.h"
#include "cmd/exit_codes.h"
#include "cmd/housekeeper.h"
#include "cmd/json_writer.h"
#include "cmd/node.h"
#include "cmd/version.h"
#include "common/logging.h"

namespace vectron::cmd {
namespace {

// What the user gave on the command line.
struct ServeFlags {
  SettingValues values;
  std::string config_path;
};

StringMap<std::string> ProcessEnvironment() {
  StringMap<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    result.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return result;
}

StatusOr<ServeConfig> LoadConfig(const ServeFlags& flags) {
  const auto variables = ProcessEnvironment();
  const EnvironmentSettings environment = ReadEnvironment(variables);
  std::string path = flags.config_path;
  if (const auto found = variables.find("VECTRON_CONFIG");
      path.empty() && found != variables.end()) {
    path = found->second;
  }
  SettingValues file;
  if (!path.empty()) {
    VECTRON_ASSIGN_OR_RETURN(file, ReadConfigFile(path));
  }
  VECTRON_ASSIGN_OR_RETURN(ServeConfig config,
                           ResolveConfig(flags.values, environment.values, file, path));
  VECTRON_RETURN_IF_ERROR(SetUpLogging(config.log_level));
  for (const std::string& name : environment.unknown) {
    VECTRON_LOG_WARN("the variable {} is set, but there is no such setting; ignored", name);
  }
  return config;
}

// SIGTERM and SIGINT, taken in turn by the main thread. Made before any other thread
// exists, so that these inherit the blocked signals and never see one.
class StopSignals {
 public:
  StopSignals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }

  // Waits for at most `timeout`; nullopt: until there is one. The signal, or 0.
  int Wait(std::optional<std::chrono::milliseconds> timeout) {
    if (!timeout.has_value()) {
      int signal = 0;
      return sigwait(&set_, &signal) == 0 ? signal : 0;
    }
    timespec limit{};
    limit.tv_sec = timeout->count() / 1000;
    limit.tv_nsec = timeout->count() % 1000 * 1'000'000;
    const int signal = sigtimedwait(&set_, nullptr, &limit);
    return signal > 0 ? signal : 0;
  }

  // From now on a signal ends the process on the spot, with 128 + its number.
  void EndAtNextOne() {
    for (int signal : {SIGTERM, SIGINT}) std::signal(signal, [](int s) { _exit(128 + s); });
    pthread_sigmask(SIG_UNBLOCK, &set_, nullptr);
  }

 private:
  sigset_t set_{};
};

std::string PortsJson(const Node& node) {
  JsonWriter json;
  json.Field("pid", int64_t{getpid()});
  json.Field("http", node.http_address());
  json.Field("grpc", node.grpc_address());
  return json.Finish();
}

bool IsLoopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.rfind("127.", 0) == 0;
}

void Announce(const Node& node, const DataDir& dir) {
  fmt::print(
      "vectron {} is ready, pid {}\n"
      "  data   {}\n"
      "  REST   http://{}\n"
      "  gRPC   {}\n"
      "Ctrl-C or SIGTERM stops it.\n",
      Version(), getpid(), dir.path(), node.http_address(), node.grpc_address());
  std::fflush(stdout);
}

// Until every shard serves again, or waits for room on the disk. True: ready; false: a signal came.
StatusOr<bool> WaitReady(Node* node, StopSignals* signals) {
  constexpr std::chrono::milliseconds kPoll{10};
  constexpr std::chrono::seconds kSayEvery{5};
  TimePoint next_say = SystemClock().Now() + kSayEvery;
  for (;;) {
    const Status status = node->Ready();
    if (status.ok()) return true;
    const Reason reason = ReasonOf(status);
    if (reason == Reason::kCorruption || reason == Reason::kIncompatibleFormat) return status;
    // Placement refuses this worker for ever: parts of two data directories in one.
    if (reason == Reason::kInvalidArgument) return Corruption(std::string(status.message()));
    if (SystemClock().Now() >= next_say) {
      VECTRON_LOG_INFO("still starting: {}", std::string(status.message()));
      next_say += kSayEvery;
    }
    if (signals->Wait(kPoll) != 0) return false;
  }
}

// Runs until a signal ends it.
Status Serve(const ServeConfig& config) {
  SetUpProcess();
  StopSignals signals;
  VECTRON_ASSIGN_OR_RETURN(const auto dir, DataDir::Open(config.data_dir));
  VECTRON_ASSIGN_OR_RETURN(const auto node, Node::Listen(config));
  Status ports = dir->WritePorts(PortsJson(*node));
  if (!ports.ok() && ReasonOf(ports) != Reason::kDiskFull) return ports;
  VECTRON_RETURN_IF_ERROR(node->Open(*dir));
  if (!ports.ok()) ports = dir->WritePorts(PortsJson(*node));  // that made some room
  if (!ports.ok()) VECTRON_LOG_WARN("{}", std::string(ports.message()));
  VECTRON_ASSIGN_OR_RETURN(const bool ready, WaitReady(node.get(), &signals));
  if (ready) {
    node->Serve();
    for (const ListenAddress& address : {config.http_listen, config.grpc_listen}) {
      if (IsLoopback(address.host)) continue;
      VECTRON_LOG_WARN(
          "{} can be reached from other machines, by anybody: there is no "
          "authentication",
          address.ToString());
    }
    Announce(*node, *dir);
    const int signal = signals.Wait(std::nullopt);
    fmt::print("Stopping ({}); a second signal ends it at once.\n",
               signal == SIGINT ? "SIGINT" : "SIGTERM");
    std::fflush(stdout);
  }
  signals.EndAtNextOne();
  node->Stop(std::chrono::seconds(config.drain_seconds));
  fmt::print("Stopped.\n");
  return OkStatus();
}

}  // namespace

void AddServeCommand(CLI::App* app, int* exit_code) {
  CLI::App* serve = app->add_subcommand("serve", "Run the database");
  auto flags = std::make_shared<ServeFlags>();
  serve
      ->add_option("--config", flags->config_path,
                   "YAML file of the settings below, by their names without --")
      ->type_name("FILE");
  const ServeConfig defaults;
  for (const Setting& setting : ServeSettings()) {
    const std::string name(setting.name);
    CLI::Option* option = serve->add_option_function<std::vector<std::string>>(
        "--" + name,
        [flags, name](const std::vector<std::string>& values) { flags->values[name] = values; },
        std::string(setting.help));
    option->type_name(std::string(setting.value_name))->expected(1);
    // A flag given again replaces what a script gave before it.
    setting.repeatable ? option->take_all() : option->take_last();
    if (std::string shown = setting.show(defaults); !shown.empty()) option->default_str(shown);
  }
  serve->footer(
      "Every setting is also read from a variable (--data-dir: VECTRON_DATA_DIR) and from the file "
      "of --config.\nA flag wins over a variable, a variable over the file. SIGTERM or SIGINT "
      "stops "
      "the server in order.");
  serve->callback([flags, exit_code] {
    const auto config = LoadConfig(*flags);
    const Status status = config.ok() ? Serve(*config) : config.status();
    *exit_code = status.ok() ? kExitOk : ReportError(status);
  });
}

}  // namespace vectron::cmd
