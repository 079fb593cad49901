// vectron: the one binary. `vectron serve` is the database, the other commands are
// its clients and tools.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <string>

#include "cmd/admin.h"
#include "cmd/bench/bench_command.h"
#include "cmd/exit_codes.h"
#include "cmd/serve.h"
#include "cmd/version.h"

namespace vectron::cmd {
namespace {

void AddVersionCommand(CLI::App* app) {
  CLI::App* version = app->add_subcommand("version", "Say which version this is");
  auto json = std::make_shared<bool>(false);
  version->add_flag("--json", *json, "as JSON");
  version->callback([json] { fmt::print("{}", *json ? VersionJson() : VersionText()); });
}

// "serve, admin, ..."; empty if `name` is among them.
std::string OtherCommands(const CLI::App& app, const std::string& name) {
  std::string names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_name() == name) return {};
    names += (names.empty() ? "" : ", ") + command->get_name();
  }
  return names;
}

int Main(int argc, char** argv) {
  CLI::App app("Vectron: a distributed vector database", "vectron");
  app.require_subcommand(1);
  app.set_version_flag("--version",
                       [] { return std::string("vectron ") + std::string(Version()); });
  app.footer(
      "Exit codes: 0 done; 1 something failed; 2 a flag, setting or input file is wrong; 3 the "
      "data "
      "directory\nis in use by another process; 4 the data are corrupt or of another version.\n"
      "'vectron COMMAND --help' says more about each.");
  int exit_code = kExitOk;
  AddServeCommand(&app, &exit_code);
  AddAdminCommand(&app, &exit_code);
  AddBenchCommand(&app, &exit_code);
  AddVersionCommand(&app);
  // The parser would only say that a command is missing.
  const std::string first = argc > 1 ? argv[1] : "-";
  if (const std::string others = OtherCommands(app, first); first[0] != '-' && !others.empty()) {
    fmt::print(stderr, "vectron: there is no command '{}', only {}\n", first, others);
    return kExitUsage;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  return exit_code;
}

}  // namespace
}  // namespace vectron::cmd

int main(int argc, char** argv) { return vectron::cmd::Main(argc, argv); }
