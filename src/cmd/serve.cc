#include "cmd/serve.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "cmd/config.h"
#include "cmd/exit_codes.h"
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
    *exit_code = config.ok() ? kExitOk : ReportError(config.status());
  });
}

}  // namespace vectron::cmd
