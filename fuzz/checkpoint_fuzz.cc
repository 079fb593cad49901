#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "common/check.h"
#include "common/random.h"
#include "fuzz_target.h"
#include "index/checkpoint/checkpoint_format.h"
#include "index/vector_index.h"

// A checkpoint that loads is an index that works, whatever stood in the file.
// Input: a byte that chooses the options, a byte that says whether the hashes are made
// right (else hardly any change gets past them), and the file.

using namespace vectron::index;

namespace {

constexpr uint32_t kDimension = 3;

IndexOptions OptionsOf(uint8_t choice) {
  IndexOptions options;
  options.dimension = kDimension;
  options.metric = vectron::kMetrics[choice / 2 % 4];
  options.quantization =
      choice % 2 == 0 ? vectron::Quantization::kSq8 : vectron::Quantization::kNone;
  options.m = 2;
  options.ef_construction = 8;
  return options;
}

// A file that only this process sees.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view content) : fd_(memfd_create("checkpoint", MFD_CLOEXEC)) {
    VECTRON_CHECK(fd_ >= 0);
    VECTRON_CHECK(write(fd_, content.data(), content.size()) ==
                  static_cast<ssize_t>(content.size()));
  }
  ~MemoryFile() { close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::string path() const { return fmt::format("/proc/self/fd/{}", fd_); }

  std::string Content() const {
    std::string content(static_cast<size_t>(lseek(fd_, 0, SEEK_END)), '\0');
    VECTRON_CHECK(pread(fd_, content.data(), content.size(), 0) ==
                  static_cast<ssize_t>(content.size()));
    return content;
  }

 private:
  const int fd_;
};

// As far as the blocks can be followed.
std::string WithHashes(std::string file) {
  CheckpointHeader header;
  if (file.size() < sizeof(header)) return file;
  std::memcpy(&header, file.data(), sizeof(header));
  header.hash = XXH3_64bits(&header, offsetof(CheckpointHeader, hash));
  std::memcpy(file.data(), &header, sizeof(header));
  size_t at = sizeof(header);
  BlockHeader block;
  while (file.size() - at >= sizeof(block)) {
    std::memcpy(&block, file.data() + at, sizeof(block));
    const size_t left = file.size() - at - sizeof(block);
    const size_t bytes = std::min<size_t>(block.payload_bytes, left);
    block.payload_hash = XXH3_64bits(file.data() + at + sizeof(block), bytes);
    block.header_hash = XXH3_64bits(&block, offsetof(BlockHeader, header_hash));
    std::memcpy(file.data() + at, &block, sizeof(block));
    at += sizeof(block) + bytes;
  }
  return file;
}

void CheckWorks(VectorIndex& index) {
  const float query[kDimension] = {1, 2, 3};
  const auto live = [&] {
    uint64_t count = 0;
    index.ForEachLive([&](Slot slot, uint64_t) {
      VECTRON_CHECK(index.GetVector(slot).ok());
      ++count;
    });
    return count;
  };
  VECTRON_CHECK(live() == index.Stats().live_count);
  SearchOptions options;
  options.k = 10'000;
  for (const bool exact : {false, true}) {
    options.exact = exact;
    const auto hits = index.Search(query, options);
    VECTRON_CHECK(hits.ok() && hits->size() == index.Stats().live_count);
  }
  VECTRON_CHECK(index.Put(query, 7).ok());
  while (index.LinkPending(100) > 0) {
  }
  for (int i = 0; i < 20 && index.Consolidate(); ++i) {
  }
  VECTRON_CHECK(index.Stats().pending_count == 0);
  options.exact = false;
  VECTRON_CHECK(index.Search(query, options)->size() == index.Stats().live_count);

  MemoryFile again("");
  VECTRON_CHECK(index.WriteCheckpoint(*index.Cut(), again.path(), 0).ok());
  const auto copy = VectorIndex::Load(index.options(), again.path());
  VECTRON_CHECK(copy.ok() && (*copy)->Stats().live_count == index.Stats().live_count);
}

// With deleted, linked and pending vectors.
std::string CheckpointOf(uint8_t choice, size_t count) {
  const auto index = VectorIndex::Create(OptionsOf(choice));
  VECTRON_CHECK(index.ok());
  vectron::Random random(count);
  for (size_t i = 0; i < count; ++i) {
    float vector[kDimension];
    for (float& x : vector) {
      x = choice % 4 == 0 ? static_cast<float>(random.Below(256) + 1)
                          : static_cast<float>(random.Uniform());
    }
    const auto slot = (*index)->Put(vector, i);
    VECTRON_CHECK(slot.ok());
    if (i == count / 2) (*index)->LinkPending(count);
    if (i % 5 == 4) (*index)->Delete(*slot);
  }
  MemoryFile file("");
  VECTRON_CHECK((*index)->WriteCheckpoint(*(*index)->Cut(), file.path(), 0).ok());
  return file.Content();
}

}  // namespace

void FuzzOne(std::string_view input) {
  if (input.size() < 2) return;
  const std::string content(input.substr(2));
  const MemoryFile file(input[1] % 8 == 0 ? content : WithHashes(content));
  const auto index = VectorIndex::Load(OptionsOf(static_cast<uint8_t>(input[0])), file.path());
  if (index.ok()) CheckWorks(**index);
}

std::vector<std::string> FuzzSeeds() {
  std::vector<std::string> seeds;
  for (const uint8_t choice : {0, 1, 2, 3, 4, 5, 6, 7}) {
    for (const size_t count : {0, 3, 40}) {
      for (const char hashes : {0, 1, 2, 3}) {
        seeds.push_back(std::string{static_cast<char>(choice), hashes} +
                        CheckpointOf(choice, count));
      }
    }
  }
  // Codes come with more vectors.
  seeds.push_back(std::string("\0\1", 2) + CheckpointOf(0, 1300));
  return seeds;
}
