#include "cmd/version.h"

#include <fmt/format.h>

#include "cmd/json_writer.h"
#include "vectron_revision.h"

namespace vectron::cmd {

std::string_view Version() { return VECTRON_VERSION; }

std::string_view Revision() { return VECTRON_REVISION; }

std::string_view BuildDescription() {
#if defined(__clang__)
  return "clang " __clang_version__ ", " VECTRON_BUILD_TYPE;
#else
  return "gcc " __VERSION__ ", " VECTRON_BUILD_TYPE;
#endif
}

std::string_view CpuInstructions() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vnni")) {
    return "AVX-512 VNNI";
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "AVX2";
#endif
  return "scalar";
}

std::string VersionText() {
  return fmt::format("vectron {}\nrevision {}\nbuilt with {}\nvector instructions: {}\n", Version(),
                     Revision(), BuildDescription(), CpuInstructions());
}

std::string VersionJson() {
  JsonWriter json;
  json.Field("version", Version());
  json.Field("revision", Revision());
  json.Field("build", BuildDescription());
  json.Field("vector_instructions", CpuInstructions());
  return json.Finish();
}

}  // namespace vectron::cmd
