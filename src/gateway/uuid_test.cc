#include "gateway/uuid.h"

#include <gtest/gtest.h>

#include <string>

namespace vectron::gateway {
namespace {

TEST(UuidTest, EveryUsualFormHasOneCanonicalForm) {
  const std::string canonical = "0aaaaaaa-0bc0-4000-8000-00000000000f";
  for (const std::string text :
       {"0aaaaaaa-0bc0-4000-8000-00000000000f", "0AAAAAAA-0BC0-4000-8000-00000000000F",
        "0aaaaaaa0bc04000800000000000000F", "{0AAAAAAA-0bc0-4000-8000-00000000000f}",
        "urn:uuid:0aaaaaaa-0bc0-4000-8000-00000000000F"}) {
    EXPECT_EQ(CanonicalUuid(text), canonical) << text;
  }
}

TEST(UuidTest, OtherTextsAreNone) {
  for (const std::string text :
       {"", "doc-3", "0aaaaaaa-0bc0-4000-8000-00000000000", "0aaaaaaa-0bc0-4000-8000-00000000000g",
        "0aaaaaaa-0bc0-4000-80000-0000000000f", "{0aaaaaaa0bc04000800000000000000f}",
        "urn:uuid:0aaaaaaa0bc04000800000000000000f", "0aaaaaaa-0bc0-4000-8000-00000000000f "}) {
    EXPECT_EQ(CanonicalUuid(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace vectron::gateway
