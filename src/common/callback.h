#pragma once

#include <absl/functional/any_invocable.h>
#include <absl/status/statusor.h>

namespace vectron {

// How asynchronous calls answer: invoked exactly once, from any thread, possibly
// before the call that took it returns. It must not block.
template <typename T>
using Callback = absl::AnyInvocable<void(absl::StatusOr<T>)>;

}  // namespace vectron
