#include "storage/testing/temp_dir.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "common/check.h"

namespace vectron::testing {

TempDir::TempDir() {
  const char* root = std::getenv("TMPDIR");
  path_ = std::string(root != nullptr && *root != '\0' ? root : "/tmp") + "/vectron-test-XXXXXX";
  VECTRON_CHECK(mkdtemp(path_.data()) != nullptr);
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace vectron::testing
