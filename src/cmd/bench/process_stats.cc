#include "cmd/bench/process_stats.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

namespace vectron::cmd {

StatusOr<Duration> ProcessCpuTime(pid_t pid) {
  const std::string path = fmt::format("/proc/{}/stat", pid);
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) {
    return MakeError(Reason::kUnavailable, fmt::format("{}: cannot read", path));
  }
  // The second field is the program's name in parentheses and may hold anything,
  // so count from the last ')': utime and stime are fields 14 and 15 (proc(5)).
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return Internal(fmt::format("{}: malformed", path));
  std::istringstream fields(line.substr(name_end + 1));
  std::string skipped;
  for (int i = 3; i < 14; ++i) fields >> skipped;
  uint64_t user_ticks = 0;
  uint64_t system_ticks = 0;
  if (!(fields >> user_ticks >> system_ticks)) return Internal(fmt::format("{}: malformed", path));
  const auto ticks_per_second = static_cast<uint64_t>(sysconf(_SC_CLK_TCK));
  return Duration(
      static_cast<int64_t>((user_ticks + system_ticks) * (1'000'000'000 / ticks_per_second)));
}

}  // namespace vectron::cmd
