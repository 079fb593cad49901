#include "cmd/json_writer.h"

#include <fmt/format.h>

#include <cmath>

#include "common/check.h"
#include "common/json_object.h"

namespace vectron::cmd {

void JsonWriter::Open(char bracket) {
  text_ += bracket;
  open_.push_back(bracket == '{' ? '}' : ']');
  first_ = true;
}

void JsonWriter::Separate() {
  if (!first_) text_ += ',';
  first_ = false;
  text_ += '\n';
  text_.append(2 * open_.size(), ' ');
}

void JsonWriter::Key(std::string_view key) {
  VECTRON_CHECK(!open_.empty() && open_.back() == '}');
  Separate();
  AppendJsonString(key, &text_);
  text_ += ": ";
}

void JsonWriter::Field(std::string_view key, std::string_view value) {
  Key(key);
  AppendJsonString(value, &text_);
}

void JsonWriter::Field(std::string_view key, bool value) {
  Key(key);
  text_ += value ? "true" : "false";
}

void JsonWriter::Field(std::string_view key, double value) {
  Key(key);
  if (std::isfinite(value)) {
    AppendJsonNumber(value, &text_);
  } else {
    text_ += "null";
  }
}

void JsonWriter::Field(std::string_view key, uint64_t value) {
  Key(key);
  fmt::format_to(std::back_inserter(text_), "{}", value);
}

void JsonWriter::Field(std::string_view key, int64_t value) {
  Key(key);
  fmt::format_to(std::back_inserter(text_), "{}", value);
}

void JsonWriter::BeginObject(std::string_view key) {
  Key(key);
  Open('{');
}

void JsonWriter::BeginArray(std::string_view key) {
  Key(key);
  Open('[');
}

void JsonWriter::BeginElement() {
  VECTRON_CHECK(!open_.empty() && open_.back() == ']');
  Separate();
  Open('{');
}

void JsonWriter::End() {
  VECTRON_CHECK(!open_.empty());
  const char bracket = open_.back();
  open_.pop_back();
  if (!first_) {
    text_ += '\n';
    text_.append(2 * open_.size(), ' ');
  }
  text_ += bracket;
  first_ = false;
}

std::string JsonWriter::Finish() {
  VECTRON_CHECK(open_.size() == 1);
  End();
  return std::move(text_) + "\n";
}

}  // namespace vectron::cmd
