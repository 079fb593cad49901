#pragma once

#include <spdlog/spdlog.h>

#include <string>
#include <string_view>

#include "common/error.h"

namespace vectron {

// Log lines go to stderr through spdlog's default logger: VECTRON_LOG_*(format,
// args...) in fmt's syntax. Set up once by main; silent above `warn` in tests
// that do not ask for more.

// `level`: trace, debug, info, warn, error, off. INVALID_ARGUMENT else.
Status SetUpLogging(std::string_view level);

}  // namespace vectron

#define VECTRON_LOG_DEBUG(...) ::spdlog::debug(__VA_ARGS__)
#define VECTRON_LOG_INFO(...) ::spdlog::info(__VA_ARGS__)
#define VECTRON_LOG_WARN(...) ::spdlog::warn(__VA_ARGS__)
#define VECTRON_LOG_ERROR(...) ::spdlog::error(__VA_ARGS__)
