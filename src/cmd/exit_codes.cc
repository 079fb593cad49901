#include "cmd/exit_codes.h"

#include <fmt/format.h>

#include <cstdio>

#include "cmd/data_dir.h"

namespace vectron::cmd {

ExitCode ExitCodeOf(const Status& status) {
  if (status.ok()) return kExitOk;
  if (IsDataDirInUse(status)) return kExitDataDirInUse;
  switch (ReasonOf(status)) {
    case Reason::kInvalidArgument:
    case Reason::kUnsupported:
    case Reason::kLimitExceeded:
      return kExitUsage;
    case Reason::kCorruption:
    case Reason::kIncompatibleFormat:
      return kExitDataRefused;
    default:
      break;
  }
  // An input file that is not there.
  const bool no_file =
      status.code() == absl::StatusCode::kNotFound && ReasonOf(status) == Reason::kNone;
  return no_file ? kExitUsage : kExitFailure;
}

ExitCode ReportError(const Status& status) {
  const std::string_view message(status.message().data(), status.message().size());
  fmt::print(stderr, "vectron: {}\n", message);
  return ExitCodeOf(status);
}

}  // namespace vectron::cmd
