#pragma once

#include <absl/status/statusor.h>

#include <utility>

#include "common/callback.h"
#include "common/error.h"

namespace vectron {

// A callback that cannot be forgotten: one that is destroyed before it was called
// answers SHUTTING_DOWN. So whatever holds it (a timer, a queue, another callback) may
// simply be dropped. Not thread-safe.
template <typename T>
class Answer {
 public:
  explicit Answer(Callback<T> done) : done_(std::move(done)) {}
  ~Answer() {
    if (done_) (*this)(MakeError(Reason::kShuttingDown, "the process is shutting down"));
  }
  Answer(Answer&& other) noexcept : done_(std::exchange(other.done_, nullptr)) {}
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;

  // False once it has answered.
  bool pending() const { return static_cast<bool>(done_); }

  // Once.
  void operator()(absl::StatusOr<T> result) { std::exchange(done_, nullptr)(std::move(result)); }

 private:
  Callback<T> done_;
};

}  // namespace vectron
