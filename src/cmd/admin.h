#pragma once

namespace CLI {
class App;
}

namespace vectron::cmd {

// Adds `vectron admin` and its sub-commands to `app`; the chosen one leaves its exit
// code in `exit_code`.
void AddAdminCommand(CLI::App* app, int* exit_code);

}  // namespace vectron::cmd
