#include "index/kernels/kernels.h"

#include <absl/strings/ascii.h>

#include <cstdlib>
#include <string>
#include <string_view>

#include "common/logging.h"

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

namespace {

// Whether `text` names it, in any case and with or without dashes (AVX512-VNNI).
bool IsNameOf(Isa isa, std::string_view text) {
  std::string plain;
  for (const char c : text) {
    if (c != '-' && c != '_') plain += absl::ascii_tolower(static_cast<unsigned char>(c));
  }
  return plain == IsaName(isa);
}

}  // namespace

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

const Kernels& ChooseKernels(const char* wanted, const char** complaint) {
  *complaint = wanted == nullptr ? nullptr : "is no instruction set";
  Isa best = Isa::kScalar;
  for (const Isa isa : kIsas) {
    const bool is_wanted = wanted != nullptr && IsNameOf(isa, wanted);
    if (!IsaSupported(isa)) {
      if (is_wanted) *complaint = "is not supported by this processor";
      continue;
    }
    best = isa;
    if (!is_wanted) continue;
    *complaint = nullptr;
    break;
  }
  return KernelsFor(best);
}

const Kernels& BestKernels() {
  static const Kernels& best = []() -> const Kernels& {
    const char* wanted = std::getenv("VECTRON_ISA");
    const char* complaint = nullptr;
    const Kernels& chosen = ChooseKernels(wanted, &complaint);
    if (complaint != nullptr) {
      VECTRON_LOG_WARN("VECTRON_ISA: '{}' {}; {} is used", wanted, complaint, chosen.name);
    }
    return chosen;
  }();
  return best;
}

}  // namespace vectron::index
