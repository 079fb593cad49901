#pragma once

#include "common/error.h"

namespace vectron::cmd {

// What the process says to its caller. Documented in `vectron --help`.
enum ExitCode : int {
  kExitOk = 0,
  kExitFailure = 1,       // it ran, and something failed: the message says what
  kExitUsage = 2,         // a flag, variable, configuration file or input file is wrong
  kExitDataDirInUse = 3,  // another process has the data directory
  kExitDataRefused = 4,   // the data are corrupt, or of another version
};

// Of an error that ended the program.
ExitCode ExitCodeOf(const Status& status);

// Prints "vectron: <message>" to stderr and returns ExitCodeOf(status).
ExitCode ReportError(const Status& status);

}  // namespace vectron::cmd
