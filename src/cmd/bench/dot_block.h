#pragma once

#include <cstddef>

namespace vectron::cmd {

// Inner products of every row of `a` with every row of `b`: out[i * b_count + j].
// Rows are contiguous, `dimension` floats each. Single precision, sums in 8 lanes.
void DotBlock(const float* a, size_t a_count, const float* b, size_t b_count, size_t dimension,
              float* out);

}  // namespace vectron::cmd
