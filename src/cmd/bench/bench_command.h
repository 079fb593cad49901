#pragma once

namespace CLI {
class App;
}

namespace vectron::cmd {

// Adds `vectron bench` and its sub-commands to `app`; the chosen one leaves its
// exit code in `exit_code`.
void AddBenchCommand(CLI::App* app, int* exit_code);

}  // namespace vectron::cmd
