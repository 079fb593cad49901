#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vectron::cmd {

// Builds one indented JSON object, its members in the order of the calls. Used
// for what the command line prints. Not thread-safe.
class JsonWriter {
 public:
  JsonWriter() { Open('{'); }

  void Field(std::string_view key, std::string_view value);
  void Field(std::string_view key, const char* value) { Field(key, std::string_view(value)); }
  void Field(std::string_view key, bool value);
  // NaN and infinity become null.
  void Field(std::string_view key, double value);
  void Field(std::string_view key, uint64_t value);
  void Field(std::string_view key, int64_t value);
  void Field(std::string_view key, uint32_t value) { Field(key, uint64_t{value}); }
  void Field(std::string_view key, int value) { Field(key, int64_t{value}); }

  void BeginObject(std::string_view key);
  void BeginArray(std::string_view key);
  // An object as the next element of an array.
  void BeginElement();
  // Ends what was begun last.
  void End();

  // Ends the outermost object and returns the text, with a new line at its end.
  std::string Finish();

 private:
  void Open(char bracket);
  void Separate();
  void Key(std::string_view key);

  std::string text_;
  std::vector<char> open_;  // the closing bracket of each level
  bool first_ = true;       // nothing in the innermost level yet
};

}  // namespace vectron::cmd
