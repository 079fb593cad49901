#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "common/error.h"

namespace vectron {

// Walks JSON text once, checking the whole grammar of RFC 8259 and nothing of its
// meaning: values are never converted, so a number of any length stays as it is.
// (simdjson would read numbers into 64 bits and refuses those that do not fit.) The
// caller has made sure that the text is UTF-8. For one use by one thread; keeps no
// memory of its own.
//
// Stricter than the grammar in two things, because no client could read them back:
// an escaped surrogate must have its partner, and a number must be finite as a double.
class JsonScanner {
 public:
  JsonScanner(std::string_view text, size_t depth_max);

  void SkipSpace() {
    while (position_ != end_ &&
           (*position_ == ' ' || *position_ == '\n' || *position_ == '\r' || *position_ == '\t')) {
      ++position_;
    }
  }
  bool AtEnd() const { return position_ == end_; }
  size_t offset() const { return static_cast<size_t>(position_ - begin_); }

  // The next byte; '\0' at the end.
  char Peek() const { return AtEnd() ? '\0' : *position_; }
  // Steps over `count` bytes that the caller has looked at.
  void Advance(size_t count) { position_ += count; }
  // Steps over `c` if it comes next.
  bool TryTake(char c) {
    if (position_ == end_ || *position_ != c) return false;
    ++position_;
    return true;
  }
  // INVALID_ARGUMENT, naming `what`, unless `c` comes next.
  Status Take(char c, std::string_view what);
  // The next string literal without its quotes, escapes still in it.
  Status TakeString(std::string_view* raw);
  // The next value, whatever it is. `depth`: of the containers around it.
  Status SkipValue(size_t depth);

  Status Error(std::string_view message) const;

 private:
  Status SkipObject(size_t depth);
  Status SkipArray(size_t depth);
  Status SkipNumber();
  Status SkipLiteral(std::string_view word);
  Status SkipEscape();
  // The four digits after "\u".
  Status TakeHex4(unsigned* value);

  const char* const begin_;
  const char* const end_;
  const char* position_;
  const size_t depth_max_;
};

// The path to what is at `offset` of `text`, as in "a.b[3]"; "" for the outermost value.
// Up to there `text` is valid: for the error of a scanner that stopped there.
std::string JsonPathTo(std::string_view text, size_t offset);

// `raw` (as TakeString gave it) with its escapes resolved.
std::string UnescapeJsonString(std::string_view raw);

}  // namespace vectron
