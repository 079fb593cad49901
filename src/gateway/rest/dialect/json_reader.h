#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "common/json_scanner.h"

namespace vectron::gateway::rest {

// Reads a request's JSON in one pass, straight into the types it stands for, without a
// tree in between. Every value is checked as it is taken; errors are INVALID_ARGUMENT
// and say where: "points[3].vector[7]: expected a number at byte 1234".
//
// It reads numbers with std::from_chars: a float is rounded once, from the digits that
// were sent (a parser that goes through double rounds twice).
//
// A member that appears twice is refused: which one counts would be a guess. `text`
// must be UTF-8 (see CheckUtf8) and outlive the reader. For one thread.
class JsonReader {
 public:
  explicit JsonReader(std::string_view text);

  // INVALID_ARGUMENT unless `text` is UTF-8.
  static Status CheckUtf8(std::string_view text);

  enum class Kind { kObject, kArray, kString, kNumber, kBool, kNull, kNone };
  // Of the next value, by its first byte; kNone if none begins here.
  Kind Peek();
  // Steps over a null.
  bool TryNull();
  Status ReadBool(bool* value);
  Status ReadUint(uint64_t* value);
  Status ReadDouble(double* value);
  Status ReadString(std::string* value);
  // The text of the next value, whatever it is; checked, not read. `value` is its text.
  Status ReadRaw(std::string_view* value);
  // An array of numbers, each finite as a float.
  Status ReadFloats(std::vector<float>* values);

  // `visit`(key) reads the member's value and returns a Status.
  template <typename Visit>
  Status ReadObject(Visit visit);
  // `visit`() reads the next element and returns a Status.
  template <typename Visit>
  Status ReadArray(Visit visit);

  // Nothing may follow.
  Status Finish();

  // An error at the value that was read last, or is read now.
  Status Error(std::string_view message) const;
  // For a member that no visitor knows.
  Status UnknownField(std::string_view key) const;
  // For one that is known, but not offered; `message` says what about it.
  Status Unsupported(std::string_view message) const;

 private:
  // One level of the path to the value at hand.
  struct Step {
    std::string_view key;  // raw, of a member
    size_t index = 0;      // of an element
    bool is_index = false;
  };

  Status Wrap(const Status& status) const;
  std::string Where() const;
  Status TakeKey(std::string_view* raw, std::vector<std::string_view>* seen);
  Status ReadFloat(float* value);
  // Bounds what is visited; values taken raw are bounded by the scanner.
  Status Enter();

  const std::string_view text_;
  JsonScanner scanner_;
  std::vector<Step> path_;
};

// ---- Implementation of the templates ----

template <typename Visit>
Status JsonReader::ReadObject(Visit visit) {
  if (Peek() != Kind::kObject) return Error("expected an object");
  VECTRON_RETURN_IF_ERROR(Enter());
  scanner_.TryTake('{');
  scanner_.SkipSpace();
  if (!scanner_.TryTake('}')) {
    std::vector<std::string_view> seen;
    seen.reserve(8);
    for (;;) {
      std::string_view raw;
      VECTRON_RETURN_IF_ERROR(TakeKey(&raw, &seen));
      path_.back().key = raw;
      VECTRON_RETURN_IF_ERROR(raw.find('\\') == std::string_view::npos
                                  ? visit(raw)
                                  : visit(std::string_view(UnescapeJsonString(raw))));
      path_.back().key = {};
      scanner_.SkipSpace();
      if (scanner_.TryTake('}')) break;
      if (!scanner_.TryTake(',')) return Error("expected ',' or '}'");
      scanner_.SkipSpace();
    }
  }
  path_.pop_back();
  return OkStatus();
}

template <typename Visit>
Status JsonReader::ReadArray(Visit visit) {
  if (Peek() != Kind::kArray) return Error("expected an array");
  VECTRON_RETURN_IF_ERROR(Enter());
  scanner_.TryTake('[');
  scanner_.SkipSpace();
  if (!scanner_.TryTake(']')) {
    path_.back().is_index = true;
    for (;;) {
      VECTRON_RETURN_IF_ERROR(visit());
      scanner_.SkipSpace();
      if (scanner_.TryTake(']')) break;
      if (!scanner_.TryTake(',')) return Error("expected ',' or ']'");
      ++path_.back().index;
    }
  }
  path_.pop_back();
  return OkStatus();
}

}  // namespace vectron::gateway::rest
