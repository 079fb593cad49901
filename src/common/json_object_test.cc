#include "common/json_object.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "common/random.h"

namespace vectron {
namespace {

std::string Message(std::string_view text, const JsonLimits& limits = {}) {
  return std::string(ValidateJsonObject(text, limits).message());
}

TEST(JsonObjectTest, AcceptsEveryKindOfValue) {
  for (std::string_view text :
       {"{}", " { } \n", R"({"a":1})", R"({"a":-0.5e-10,"b":[],"c":{},"d":[1,[2,{"e":null}]]})",
        R"({"":"","\u00e9\ud83d\ude00":"\"\\\/\b\f\n\r\t"})", R"({"t":true,"f":false,"n":null})",
        "{\"utf\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"}",
        R"({"digits":123456789012345678901234567890.00000000000000000001})",
        R"({"tiny":1e-999,"zero":0,"minus":-0,"exp":1E+5})", R"({"max":1.7976931348623157e308})",
        R"({"a":1,"a":2})", R"({"longer than eight bytes":"0123456789abcdef0123456789abcdef"})"}) {
    EXPECT_EQ(Message(text), "") << text;
  }
}

TEST(JsonObjectTest, RefusesWithTheOffset) {
  EXPECT_EQ(Message(""), "expected an object at byte 0");
  EXPECT_EQ(Message("[1]"), "expected an object at byte 0");
  EXPECT_EQ(Message("{"), "expected a string at byte 1");
  EXPECT_EQ(Message("{} x"), "more text after the object at byte 3");
  EXPECT_EQ(Message(R"({"a" 1})"), "a: expected ':' at byte 5");
  EXPECT_EQ(Message(R"({"a":1,})"), "expected a string at byte 7");
  EXPECT_EQ(Message(R"({"a":[1,]})"), "a[1]: expected a value at byte 8");
  EXPECT_EQ(Message(R"({"a":[1 2]})"), "a[0]: expected ',' or ']' at byte 8");
  EXPECT_EQ(Message(R"({"a":{"b":1 "c":2}})"), "a.b: expected ',' or '}' at byte 12");
  EXPECT_EQ(Message(R"({"a":)"), "a: the text ends too early at byte 5");
  EXPECT_EQ(Message(R"({"a":nul})"), "a: expected a value at byte 5");
  EXPECT_EQ(Message(R"({"a":NaN})"), "a: expected a value at byte 5");
  EXPECT_EQ(Message(R"({"a":"x)"), "a: unterminated string at byte 7");
  EXPECT_EQ(Message("{\"a\":\"1234567890\n\"}"), "a: control character in a string at byte 16");
  EXPECT_EQ(Message(R"({"a":"\x"})"), "a: unknown escape at byte 7");
  EXPECT_EQ(Message(R"({"a":"\u12g4"})"), "a: \\u needs four hexadecimal digits at byte 8");
  EXPECT_EQ(Message(std::string("{\"a\0\":1}", 8)), "control character in a string at byte 3");
}

TEST(JsonObjectTest, RefusesBadNumbers) {
  EXPECT_EQ(Message(R"({"a":01})"), "a: a number with a leading zero at byte 6");
  EXPECT_EQ(Message(R"({"a":1.})"), "a: expected a digit at byte 7");
  EXPECT_EQ(Message(R"({"a":.5})"), "a: expected a value at byte 5");
  EXPECT_EQ(Message(R"({"a":+1})"), "a: expected a value at byte 5");
  EXPECT_EQ(Message(R"({"a":1e})"), "a: expected a digit at byte 7");
  EXPECT_EQ(Message(R"({"a":-})"), "a: expected a value at byte 6");
  EXPECT_EQ(Message(R"({"a":1e999})"), "a: a number too large for a double at byte 5");
  EXPECT_EQ(Message(R"({"a":-1e999})"), "a: a number too large for a double at byte 5");
  EXPECT_EQ(Message(R"({"a":1)" + std::string(400, '0') + "}"),
            "a: a number too large for a double at byte 5");
  EXPECT_EQ(Message(R"({"a":0x10})"), "a: expected ',' or '}' at byte 6");
}

TEST(JsonObjectTest, ErrorsNameThePath) {
  EXPECT_EQ(Message(R"({"x":[1,{"y\"}":2},"]"],"a":[[],{"b":{"c":[0,1,1e999]}}]})"),
            "a[1].b.c[2]: a number too large for a double at byte 47");
  EXPECT_EQ(Message(R"({"a":1,"b":[1,{"c":2},]})"), "b[2]: expected a value at byte 22");
  EXPECT_EQ(Message(R"({"a":{"b":1},x})"), "expected a string at byte 13");
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += R"({"key":)";
  EXPECT_THAT(Message(deep), ::testing::StartsWith("key.key.key"));
  EXPECT_THAT(Message(deep), ::testing::HasSubstr("...: nested deeper than 64 at byte"));
}

TEST(JsonObjectTest, RefusesWhatIsNotUnicode) {
  EXPECT_EQ(Message("{\"a\":\"\xff\"}"), "not valid UTF-8");
  EXPECT_EQ(Message("{\"a\":\"\xc0\x80\"}"), "not valid UTF-8");
  EXPECT_EQ(Message(R"({"a":"\ud800"})"), "a: unpaired surrogate at byte 12");
  EXPECT_EQ(Message(R"({"a":"\udc00"})"), "a: unpaired surrogate at byte 12");
  EXPECT_EQ(Message(R"({"a":"\ud800\u0041"})"), "a: unpaired surrogate at byte 18");
}

TEST(JsonObjectTest, HoldsToItsLimits) {
  const auto nested = [](size_t depth) {
    std::string text = R"({"a":)";
    text.append(depth - 1, '[');
    text.append(depth - 1, ']');
    return text + "}";
  };
  EXPECT_EQ(Message(nested(64)), "");
  EXPECT_THAT(Message(nested(65)), ::testing::EndsWith("...: nested deeper than 64 at byte 68"));
  EXPECT_EQ(ReasonOf(ValidateJsonObject(nested(65), {})), Reason::kLimitExceeded);
  EXPECT_THAT(Message(nested(100'000)),
              ::testing::EndsWith("...: nested deeper than 64 at byte 68"));
  EXPECT_EQ(Message(R"({"a":1})", {.bytes_max = 6}), "the object has 7 bytes, the limit is 6");
  EXPECT_EQ(Message(R"({"a":1})", {.bytes_max = 7}), "");
}

TEST(JsonObjectTest, MergeSetsTopLevelMembersOnly) {
  EXPECT_EQ(*MergeJsonObjects("", R"({ "a" : 1.10 })"), R"({"a" : 1.10})");
  EXPECT_EQ(*MergeJsonObjects(R"({"a":1,"b":{"x":1},"c":[3]})", R"({"b":{"y":2},"d":null})"),
            R"({"a":1,"b":{"y":2},"c":[3],"d":null})");
  EXPECT_EQ(*MergeJsonObjects(R"({"a":1})", "{}"), R"({"a":1})");
  EXPECT_EQ(*MergeJsonObjects("", ""), "{}");
}

TEST(JsonObjectTest, KeysMeanTheSameHoweverTheyAreEscaped) {
  EXPECT_EQ(*MergeJsonObjects(R"({"\u0061":1})", R"({"a":2})"), R"({"a":2})");
  EXPECT_EQ(*RemoveJsonKeys(R"({"\u00e9\n":1,"b":2})", {"\xc3\xa9\n"}), R"({"b":2})");
  EXPECT_EQ(*RemoveJsonKeys(R"({"\ud83d\ude00":1,"b\/":2})", {"\xf0\x9f\x98\x80", "b/"}), "{}");
}

TEST(JsonObjectTest, OfEqualKeysTheLastCounts) {
  EXPECT_EQ(*MergeJsonObjects(R"({"a":1,"a":2,"b":0})", R"({"b":1,"b":2})"), R"({"a":2,"b":2})");
  EXPECT_EQ(*RemoveJsonKeys(R"({"a":1,"b":0,"a":2})", {"a"}), R"({"b":0})");
}

TEST(JsonObjectTest, RemovesAndKeepsByKey) {
  const std::string base = R"({ "a": 1, "b": {"a": 2}, "c": "x,}" })";
  EXPECT_EQ(*RemoveJsonKeys(base, {"a", "missing"}), R"({"b": {"a": 2},"c": "x,}"})");
  EXPECT_EQ(*RemoveJsonKeys(base, {}), R"({"a": 1,"b": {"a": 2},"c": "x,}"})");
  EXPECT_EQ(*KeepJsonKeys(base, {"c", "a"}), R"({"a": 1,"c": "x,}"})");
  EXPECT_EQ(*KeepJsonKeys(base, {}), "{}");
  EXPECT_EQ(*RemoveJsonKeys("", {"a"}), "{}");
  EXPECT_FALSE(RemoveJsonKeys("{", {"a"}).ok());
  EXPECT_FALSE(MergeJsonObjects("{}", "[]").ok());
}

TEST(JsonObjectTest, StringsReadBack) {
  std::string out;
  AppendJsonString("a\"b\\c\n\t\r\x01\x1f/\xc3\xa9", &out);
  EXPECT_EQ(out, "\"a\\\"b\\\\c\\n\\t\\r\\u0001\\u001f/\xc3\xa9\"");
  EXPECT_TRUE(ValidateJsonObject("{" + out + ":" + out + "}", {}).ok());
  EXPECT_EQ(*RemoveJsonKeys("{" + out + ":1}", {"a\"b\\c\n\t\r\x01\x1f/\xc3\xa9"}), "{}");
}

TEST(JsonObjectTest, NumbersReadBackExactly) {
  Random random(7);
  for (int i = 0; i < 100'000; ++i) {
    const auto bits = static_cast<uint32_t>(random.Next());
    float value = 0;
    std::memcpy(&value, &bits, sizeof(value));
    if (!std::isfinite(value)) continue;
    std::string text;
    AppendJsonNumber(value, &text);
    ASSERT_EQ(std::strtof(text.c_str(), nullptr), value) << text;
    ASSERT_TRUE(ValidateJsonObject("{\"a\":" + text + "}", {}).ok()) << text;
  }
  std::string text;
  AppendJsonNumber(0.1f, &text);
  text.push_back(' ');
  AppendJsonNumber(0.1, &text);
  text.push_back(' ');
  AppendJsonNumber(-1.0f, &text);
  EXPECT_EQ(text, "0.1 0.1 -1");
}

// Every prefix of a valid object is refused and none is read past its end: the text
// is copied to the end of a heap block, where the address sanitizer watches.
TEST(JsonObjectTest, RefusesEveryTruncation) {
  const std::string text =
      R"({"a":[1.5e3,true,null,{"b":"\u00e9\ud83d\ude00 0123456789"}],"c":{"d":-7}})";
  ASSERT_TRUE(ValidateJsonObject(text, {}).ok());
  for (size_t size = 0; size < text.size(); ++size) {
    const std::vector<char> copy(text.begin(), text.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_FALSE(ValidateJsonObject({copy.data(), copy.size()}, {}).ok()) << size;
  }
}

}  // namespace
}  // namespace vectron
