#include "index/kernels/kernels.h"

#include <cstdlib>
#include <string_view>

namespace vectron::index {

const char* IsaName(Isa isa) { return KernelsFor(isa).name; }

bool IsaSupported(Isa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::kScalar:
      return true;
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::kAvx512:
      return IsaSupported(Isa::kAvx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512dq");
    case Isa::kAvx512Vnni:
      return IsaSupported(Isa::kAvx512) && __builtin_cpu_supports("avx512vnni");
  }
#endif
  return isa == Isa::kScalar;
}

const Kernels& KernelsFor(Isa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::kScalar:
      break;
    case Isa::kAvx2:
      return kAvx2Kernels;
    case Isa::kAvx512:
      return kAvx512Kernels;
    case Isa::kAvx512Vnni:
      return kAvx512VnniKernels;
  }
#endif
  static_cast<void>(isa);
  return kScalarKernels;
}

const Kernels& BestKernels() {
  static const Kernels& best = []() -> const Kernels& {
    const char* forced = std::getenv("VECTRON_ISA");
    Isa found = Isa::kScalar;
    for (const Isa isa : kIsas) {
      if (!IsaSupported(isa)) continue;
      found = isa;
      if (forced != nullptr && std::string_view(forced) == IsaName(isa)) break;
    }
    return KernelsFor(found);
  }();
  return best;
}

}  // namespace vectron::index
