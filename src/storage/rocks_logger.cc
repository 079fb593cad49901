#include "storage/rocks_logger.h"

#include <rocksdb/env.h>

#include <cstdarg>
#include <cstdio>

#include "common/logging.h"

namespace vectron::storage {
namespace {

class RocksLogger : public rocksdb::Logger {
 public:
  explicit RocksLogger(std::string dir)
      : Logger(rocksdb::InfoLogLevel::WARN_LEVEL), dir_(std::move(dir)) {}

  using Logger::Logv;
  void Logv(const char* format, va_list arguments) override {
    char line[1024];
    std::vsnprintf(line, sizeof(line), format, arguments);
    VECTRON_LOG_DEBUG("database {}: {}", dir_, line);
  }
  // The options, at every opening.
  void LogHeader(const char*, va_list) override {}

 private:
  const std::string dir_;
};

}  // namespace

std::shared_ptr<rocksdb::Logger> MakeRocksLogger(const std::string& dir) {
  return std::make_shared<RocksLogger>(dir);
}

}  // namespace vectron::storage
