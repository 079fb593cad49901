#include "cmd/bench/ack_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>

namespace vectron::cmd {

Status AckLog::Read(const std::string& path) {
  std::ifstream file(path);
  if (!file) return InvalidArgument(fmt::format("{}: cannot be read", path));
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    std::istringstream fields(line);
    std::string outcome;
    uint64_t first = 0;
    uint64_t count = 0;
    const bool whole = static_cast<bool>(fields >> outcome >> first >> count);
    if (!whole || (outcome != "acked" && outcome != "unknown") ||
        first + count > std::numeric_limits<uint32_t>::max()) {
      return InvalidArgument(
          fmt::format("{}:{}: must be 'acked FIRST COUNT' or 'unknown ...'", path, number));
    }
    Set(first, count, outcome == "acked" ? Outcome::kAcked : Outcome::kUnknown);
  }
  return OkStatus();
}

Status AckLog::Append(const std::string& path, Outcome outcome, uint64_t first, uint64_t count) {
  std::ofstream file(path, std::ios::app);
  file << fmt::format("{} {} {}\n", outcome == Outcome::kAcked ? "acked" : "unknown", first, count);
  file.flush();
  if (!file) return MakeError(Reason::kUnavailable, fmt::format("{}: cannot be written", path));
  return OkStatus();
}

void AckLog::Set(uint64_t first, uint64_t count, Outcome outcome) {
  if (rows_.size() < first + count) rows_.resize(first + count, Outcome::kNotSent);
  for (uint64_t row = first; row < first + count; ++row) {
    rows_[row] = std::max(rows_[row], outcome);
  }
}

AckLog::Outcome AckLog::Of(uint64_t row) const {
  return row < rows_.size() ? rows_[row] : Outcome::kNotSent;
}

std::vector<uint64_t> AckLog::AckedRows() const {
  std::vector<uint64_t> result;
  for (uint64_t row = 0; row < rows_.size(); ++row) {
    if (rows_[row] == Outcome::kAcked) result.push_back(row);
  }
  return result;
}

}  // namespace vectron::cmd
