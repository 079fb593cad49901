#pragma once

#include <sys/types.h>

#include <cstdint>

#include "common/clock.h"
#include "common/error.h"

namespace vectron::cmd {

// CPU time (user and system) that the process `pid` has used so far, from
// /proc/<pid>/stat, in steps of the kernel's tick (10 ms). UNAVAILABLE if it is gone.
StatusOr<Duration> ProcessCpuTime(pid_t pid);

}  // namespace vectron::cmd
