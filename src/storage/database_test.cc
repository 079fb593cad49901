#include "storage/database.h"

#include <gtest/gtest.h>

namespace vectron::storage {}
