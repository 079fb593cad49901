#pragma once

#include <string>
#include <string_view>

namespace vectron::cmd {

// "0.1.0".
std::string_view Version();
// The source's git revision, with "-dirty" when it was changed; "unknown" when
// built outside of a git checkout.
std::string_view Revision();
// Compiler and build type.
std::string_view BuildDescription();
// The widest vector instructions of this processor that our kernels have.
std::string_view CpuInstructions();

// `vectron version`: several lines, or a JSON object.
std::string VersionText();
std::string VersionJson();

}  // namespace vectron::cmd
