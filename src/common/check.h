#pragma once

// Assertions that stay on in release builds. They state what our own code must
// guarantee (invariants, arguments from inside the program); bytes from outside
// never reach one, they are answered with a Status.

namespace vectron::internal {

// Prints the failed condition with its place to stderr and aborts.
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);

}  // namespace vectron::internal

#define VECTRON_CHECK(condition)                     \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0)                        \
       : ::vectron::internal::CheckFailed(#condition, __FILE__, __LINE__))

#define VECTRON_CHECK_OK(expression) VECTRON_CHECK((expression).ok())
