#include "index/testing/fixtures.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "common/check.h"
#include "common/texmex.h"

namespace vectron::index::testing {
namespace {

// Roughly normal: the sum of uniform variables.
float Normal(Random& random) {
  double sum = 0;
  for (int i = 0; i < 6; ++i) sum += random.Uniform() - 0.5;
  return static_cast<float>(sum * std::sqrt(2.0));
}

}  // namespace

Vectors ClusteredVectors(size_t count, size_t dimension, uint64_t seed, size_t cluster_count,
                         const std::vector<float>& scales) {
  // The centres are the same for every seed, so that queries lie where data does.
  Random centre_random(7);
  Vectors centres(cluster_count, std::vector<float>(dimension));
  for (auto& centre : centres) {
    for (float& x : centre) x = Normal(centre_random);
  }
  Random random(seed);
  Vectors vectors(count, std::vector<float>(dimension));
  for (auto& vector : vectors) {
    const auto& centre = centres[random.Below(cluster_count)];
    for (size_t d = 0; d < dimension; ++d) {
      vector[d] = (centre[d] + 0.5f * Normal(random)) * scales[d % scales.size()];
    }
  }
  return vectors;
}

Vectors ByteVectors(size_t count, size_t dimension, uint64_t seed) {
  Vectors vectors = ClusteredVectors(count, dimension, seed);
  for (auto& vector : vectors) {
    // Plus zero: of minus zero it makes zero.
    for (float& x : vector) x = std::clamp(std::rint(x * 40 + 100), 0.0f, 255.0f) + 0.0f;
  }
  return vectors;
}

std::string DataPath(const std::string& name) {
  const char* folder = std::getenv("VECTRON_DATA");
  return (folder != nullptr ? std::string(folder) : VECTRON_SOURCE_DIR "/../shared/data") + "/" +
         name;
}

StatusOr<Vectors> ReadVectors(const std::string& name, size_t count_max) {
  VECTRON_ASSIGN_OR_RETURN(const VectorFile file, VectorFile::Open(DataPath(name)));
  Vectors vectors(std::min(file.count(), count_max), std::vector<float>(file.dimension()));
  for (size_t i = 0; i < vectors.size(); ++i) file.CopyRow(i, vectors[i]);
  return vectors;
}

std::unique_ptr<VectorIndex> MakeIndex(const IndexOptions& options) {
  auto index = VectorIndex::Create(options);
  VECTRON_CHECK_OK(index);
  return std::move(index).value();
}

std::vector<Slot> PutAll(VectorIndex& index, const Vectors& vectors) {
  std::vector<Slot> slots;
  for (const auto& vector : vectors) {
    const auto slot = index.Put(vector, LabelOf(slots.size()));
    VECTRON_CHECK_OK(slot);
    slots.push_back(*slot);
  }
  return slots;
}

void LinkAll(VectorIndex& index) {
  while (index.LinkPending(1000) > 0) {
  }
}

void ConsolidateAll(VectorIndex& index, int steps_max) {
  while (steps_max-- > 0 && index.Consolidate()) {
  }
}

std::vector<Hit> SearchOrDie(const VectorIndex& index, const std::vector<float>& query,
                             const SearchOptions& options) {
  auto hits = index.Search(query, options);
  VECTRON_CHECK_OK(hits);
  return std::move(hits).value();
}

double RecallAt10(const VectorIndex& index, const Vectors& queries, uint32_t ef) {
  size_t wanted = 0;
  size_t found = 0;
  for (const auto& query : queries) {
    SearchOptions options;
    options.ef = ef;
    const auto hits = SearchOrDie(index, query, options);
    options.exact = true;
    for (const Hit& truth : SearchOrDie(index, query, options)) {
      ++wanted;
      found += std::any_of(hits.begin(), hits.end(),
                           [&](const Hit& hit) { return hit.slot == truth.slot; });
    }
  }
  return static_cast<double>(found) / static_cast<double>(wanted);
}

double TrueDistance(Metric metric, const std::vector<float>& a, const std::vector<float>& b) {
  double squares = 0;
  double differences = 0;
  double product = 0;
  double a_square = 0;
  double b_square = 0;
  for (size_t d = 0; d < a.size(); ++d) {
    const double x = a[d];
    const double y = b[d];
    squares += (x - y) * (x - y);
    differences += std::abs(x - y);
    product += x * y;
    a_square += x * x;
    b_square += y * y;
  }
  if (metric == Metric::kL2) return squares;
  if (metric == Metric::kManhattan) return differences;
  if (metric == Metric::kDot) return -product;
  return 1 - product / std::sqrt(a_square) / std::sqrt(b_square);
}

TempFile::TempFile() {
  const char* root = std::getenv("TMPDIR");
  directory_ =
      std::string(root != nullptr && *root != '\0' ? root : "/tmp") + "/vectron-index-XXXXXX";
  VECTRON_CHECK(mkdtemp(directory_.data()) != nullptr);
  path_ = directory_ + "/file";
}

TempFile::~TempFile() {
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream content;
  content << in.rdbuf();
  VECTRON_CHECK(in.good());
  return content.str();
}

void WriteFile(const std::string& path, const std::string& content) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << content;
  out.close();
  VECTRON_CHECK(out.good());
}

}  // namespace vectron::index::testing
