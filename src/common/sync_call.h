#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "common/callback.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/mutex.h"

namespace vectron {

// Makes a call that answers by a callback wait for its answer: for start-up, tools and
// tests.
//
//   StatusOr<T> result = SyncCall<T>([&](Callback<T> done) { api.Do(x, std::move(done)); });
//
// DEADLINE_EXCEEDED after `timeout`; an answer that comes later is dropped.
template <typename T, typename Call>
StatusOr<T> SyncCall(Call&& call, Duration timeout = std::chrono::seconds(30)) {
  struct Shared {
    Mutex mutex;
    CondVar answered;
    std::optional<StatusOr<T>> result ABSL_GUARDED_BY(mutex);
  };
  auto shared = std::make_shared<Shared>();
  std::forward<Call>(call)(Callback<T>([shared](StatusOr<T> result) {
    MutexLock lock(shared->mutex);
    shared->result = std::move(result);
    shared->answered.NotifyAll();
  }));
  MutexLock lock(shared->mutex);
  while (!shared->result.has_value()) {
    if (!shared->answered.WaitFor(shared->mutex, timeout) && !shared->result.has_value()) {
      return MakeError(Reason::kDeadlineExceeded, "no answer in time");
    }
  }
  return *std::move(shared->result);
}

}  // namespace vectron
