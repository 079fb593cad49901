#pragma once

#include <cmath>
#include <string>
#include <string_view>
#include <type_traits>

#include "common/json_object.h"
#include "common/point.h"

namespace vectron::gateway::rest {

// Appends JSON to a string. It puts the commas; the caller puts the rest in order:
//   JsonWriter json(&out);
//   json.Begin('{').Key("id").Value(7).Key("tags").Begin('[').Value("a").End(']').End('}');
class JsonWriter {
 public:
  explicit JsonWriter(std::string* out) : out_(out) {}

  JsonWriter& Begin(char bracket) {
    Separate();
    out_->push_back(bracket);
    return *this;
  }
  JsonWriter& End(char bracket) {
    out_->push_back(bracket);
    return *this;
  }
  JsonWriter& Key(std::string_view key) {
    Separate();
    AppendJsonString(key, out_);
    out_->push_back(':');
    return *this;
  }

  JsonWriter& Value(std::string_view text) {
    Separate();
    AppendJsonString(text, out_);
    return *this;
  }
  JsonWriter& Value(const char* text) { return Value(std::string_view(text)); }
  JsonWriter& Value(const PointId& id) {
    return id.is_number() ? Value(id.number()) : Value(std::string_view(id.text()));
  }
  template <typename T>
  requires std::is_arithmetic_v<T> JsonWriter& Value(T value) {
    Separate();
    if constexpr (std::is_same_v<T, bool>) {
      out_->append(value ? "true" : "false");
    } else if constexpr (std::is_floating_point_v<T>) {
      // JSON has no name for what is not finite.
      std::isfinite(value) ? AppendJsonNumber(value, out_) : void(out_->append("null"));
    } else {
      out_->append(std::to_string(value));
    }
    return *this;
  }
  JsonWriter& Null() { return Raw("null"); }
  // `json` is a value's text.
  JsonWriter& Raw(std::string_view json) {
    Separate();
    out_->append(json);
    return *this;
  }

 private:
  // No value ends with one of these, so what was written last tells whether another
  // value came before.
  void Separate() {
    if (out_->empty()) return;
    const char last = out_->back();
    if (last != '{' && last != '[' && last != ':' && last != ',') out_->push_back(',');
  }

  std::string* const out_;
};

}  // namespace vectron::gateway::rest
