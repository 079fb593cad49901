#include "index/kernels/kernels.h"

#include <cstdlib>
#include <string_view>

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace vectron::index {

const char* IsaName(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Vnni:
      return "avx512vnni";
    case Isa::kNeon:
      return "neon";
    case Isa::kNeonDotprod:
      return "neondotprod";
  }
  return "unknown";
}

#if defined(__x86_64__)

bool IsaSupported(Isa isa) {
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
    default:
      return false;
  }
}

const Kernels& KernelsFor(Isa isa) {
  switch (isa) {
    case Isa::kAvx2:
      return kAvx2Kernels;
    case Isa::kAvx512:
      return kAvx512Kernels;
    case Isa::kAvx512Vnni:
      return kAvx512VnniKernels;
    default:
      return kScalarKernels;
  }
}

#elif defined(__aarch64__)

bool IsaSupported(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
    case Isa::kNeon:
      return true;
    case Isa::kNeonDotprod:
      return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
    default:
      return false;
  }
}

const Kernels& KernelsFor(Isa isa) {
  switch (isa) {
    case Isa::kNeon:
      return kNeonKernels;
    case Isa::kNeonDotprod:
      return kNeonDotprodKernels;
    default:
      return kScalarKernels;
  }
}

#else

bool IsaSupported(Isa isa) { return isa == Isa::kScalar; }

const Kernels& KernelsFor(Isa) { return kScalarKernels; }

#endif

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
