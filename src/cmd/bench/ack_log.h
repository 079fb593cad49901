#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/error.h"

namespace vectron::cmd {

// Which rows of a file were sent to a server, and what became of them: the record
// against which `bench verify` holds the server after a crash. As a file: one line
// for each batch, "acked FIRST COUNT" or "unknown FIRST COUNT".
class AckLog {
 public:
  enum class Outcome : uint8_t {
    kNotSent = 0,
    kUnknown,  // sent, and not acknowledged: may be there or not
    kAcked,
  };

  // Adds the lines of the file to what is known; a row that was acknowledged once
  // stays so. INVALID_ARGUMENT, naming the line, for a malformed file.
  Status Read(const std::string& path);

  // Appends a batch to the file `path`.
  static Status Append(const std::string& path, Outcome outcome, uint64_t first, uint64_t count);

  void Set(uint64_t first, uint64_t count, Outcome outcome);
  Outcome Of(uint64_t row) const;
  std::vector<uint64_t> AckedRows() const;

 private:
  std::vector<Outcome> rows_;
};

}  // namespace vectron::cmd
