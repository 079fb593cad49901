#pragma once

namespace vectron::bench {

// Seconds on the wall, or of the processor: of this thread or of all of the process's.
enum class Watch { kWall, kThread, kProcess };

// Since some moment; only differences mean something.
double Seconds(Watch watch);

}  // namespace vectron::bench
