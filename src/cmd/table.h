#pragma once

#include <string>
#include <vector>

namespace vectron::cmd {

// Text in columns for a terminal, each as wide as its widest cell; cells of numbers
// and sizes are put to the right. Not thread-safe.
class Table {
 public:
  explicit Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }

  // As many cells as the header has.
  void Add(std::vector<std::string> cells);

  std::string Render() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// "1.5 GiB".
std::string HumanBytes(double bytes);

}  // namespace vectron::cmd
