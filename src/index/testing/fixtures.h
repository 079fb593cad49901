#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/random.h"
#include "index/vector_index.h"

// What the tests of this folder share.

namespace vectron::index::testing {

using Vectors = std::vector<std::vector<float>>;

// Points around `cluster_count` random centres, as real embeddings are; dimension
// d is scaled by scales[d % scales.size()].
Vectors ClusteredVectors(size_t count, size_t dimension, uint64_t seed, size_t cluster_count = 50,
                         const std::vector<float>& scales = {1.0f});
// The same, rounded to whole numbers in 0..255.
Vectors ByteVectors(size_t count, size_t dimension, uint64_t seed);

// The first vectors of a file of the TEXMEX corpora, where these are at hand: in the folder that
// VECTRON_DATA names, or in ../shared/data beside the sources. No test needs them.
std::string DataPath(const std::string& name);
StatusOr<Vectors> ReadVectors(const std::string& name, size_t count_max);

std::unique_ptr<VectorIndex> MakeIndex(const IndexOptions& options);
// Puts all; slot i is vector i of a fresh index, its label is LabelOf(i).
inline uint64_t LabelOf(uint64_t i) { return i * 1'000'003 + 17; }
std::vector<Slot> PutAll(VectorIndex& index, const Vectors& vectors);
void LinkAll(VectorIndex& index);
// Until nothing is left to do, at most `steps_max` times.
void ConsolidateAll(VectorIndex& index, int steps_max = 100'000);

std::vector<Hit> SearchOrDie(const VectorIndex& index, const std::vector<float>& query,
                             const SearchOptions& options);
// The part of the exact 10 nearest that a search with `ef` finds, over `queries`.
double RecallAt10(const VectorIndex& index, const Vectors& queries, uint32_t ef);

// In doubles, as the interface defines it.
double TrueDistance(Metric metric, const std::vector<float>& a, const std::vector<float>& b);

// A path in a fresh directory under ${TMPDIR}, removed with the object.
class TempFile {
 public:
  TempFile();
  ~TempFile();
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string directory_;
  std::string path_;
};

std::string ReadFile(const std::string& path);
void WriteFile(const std::string& path, const std::string& content);

}  // namespace vectron::index::testing
