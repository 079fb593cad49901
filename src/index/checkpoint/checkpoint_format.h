#pragma once

#include <bit>
#include <cstdint>

namespace vectron::index {

// A checkpoint is a header and blocks; numbers are little-endian. Order: the header;
// kRanges, where vectors have codes; for each run of slots, ascending and without a
// gap, kFloats or kBytes and then kLinks; kEnd, after which the file ends.

static_assert(std::endian::native == std::endian::little);

inline constexpr char kCheckpointMagic[8] = {'V', 'E', 'C', 'T', 'I', 'D', 'X', '\n'};
inline constexpr uint32_t kCheckpointVersion = 1;

// Every version begins so, whatever it has behind it: an older reader can then name the version.
struct CheckpointHeader {
  char magic[8];
  uint32_t version;
  uint32_t dimension;
  uint32_t m;
  uint8_t metric;
  uint8_t quantization;
  uint16_t unused;
  uint64_t seed;
  uint64_t slot_count;
  uint64_t live_count;
  uint64_t hash;  // XXH3 of what comes before
};
static_assert(sizeof(CheckpointHeader) == 56);

enum class BlockType : uint32_t {
  kRanges = 1,  // RangesPrefix, then `dimension` floats low, as many range
  kFloats = 2,  // a byte of SlotFlags a slot; of those present: the 64-bit labels, then the vectors
  kBytes = 3,   // the same, where every component is a whole number in 0..255
  kLinks = 4,   // of each linked slot: 2m links, and m for each layer above
  kEnd = 5,     // EndPayload
};

struct BlockHeader {
  BlockType type;
  uint32_t unused;
  uint64_t first_slot;
  uint64_t slot_count;
  uint64_t payload_bytes;
  uint64_t payload_hash;  // XXH3
  uint64_t header_hash;   // XXH3 of what comes before
};
static_assert(sizeof(BlockHeader) == 48);

struct RangesPrefix {
  uint64_t sample_count;
  uint64_t integral;  // 0 or 1
};

struct EndPayload {
  uint64_t block_count;  // without this one
  uint64_t live_count;
  uint64_t present_count;
  uint64_t linked_count;
};

enum SlotFlags : uint8_t {
  kSlotPresent = 1,  // holds a vector
  kSlotLive = 2,     // that was live at the cut
  kSlotLinked = 4,   // and has links
};

}  // namespace vectron::index
