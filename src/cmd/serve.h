#pragma once

namespace CLI {
class App;
}

namespace vectron::cmd {

// Adds `vectron serve` to `app`; when it is chosen, it runs until a signal ends
// it and leaves its exit code in `exit_code`.
void AddServeCommand(CLI::App* app, int* exit_code);

}  // namespace vectron::cmd
