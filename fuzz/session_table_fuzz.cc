#include "common/check.h"
#include "consensus/session_table.h"
#include "fuzz_target.h"

// A stored table that loads must be usable: every further write is either new or
// has an outcome, and what it dumps loads again. Input: pairs of a length byte and
// that many bytes, keys and values in turn.

using vectron::LogIndex;
using vectron::WriteSession;
using vectron::consensus::SessionTable;

namespace {

std::string_view Take(std::string_view* input) {
  if (input->empty()) return {};
  const size_t size = static_cast<unsigned char>(input->front());
  const std::string_view taken = input->substr(1, size);
  input->remove_prefix(1 + taken.size());
  return taken;
}

void Append(std::string_view bytes, std::string* out) {
  VECTRON_CHECK(bytes.size() < 256);
  out->push_back(static_cast<char>(bytes.size()));
  out->append(bytes);
}

std::string Stored(const SessionTable& table) {
  std::string out;
  for (const auto& change : table.Dump()) {
    Append(change.key, &out);
    Append(*change.value, &out);
  }
  return out;
}

}  // namespace

void FuzzOne(std::string_view input) {
  SessionTable table;
  while (!input.empty()) {
    const std::string_view key = Take(&input);
    if (!table.Load(key, Take(&input)).ok()) return;
  }
  if (!table.FinishLoad().ok()) return;
  SessionTable copy;
  for (const auto& change : table.Dump()) {
    VECTRON_CHECK(copy.Load(change.key, *change.value).ok());
  }
  VECTRON_CHECK(copy.FinishLoad().ok());
  const LogIndex next(~uint64_t{0} - 1);
  std::vector<vectron::consensus::SessionChange> changes;
  const WriteSession write{.session = 7, .sequence = 5, .acked_below = 2};
  if (!table.Find(write).has_value()) {
    table.Record(write, next, std::string("done"), &changes);
    VECTRON_CHECK(table.Find(write).has_value());
  }
}

std::vector<std::string> FuzzSeeds() {
  SessionTable table;
  std::vector<vectron::consensus::SessionChange> changes;
  table.Record({7, 1, 1}, LogIndex(10), std::string("one"), &changes);
  table.Record({7, 2, 1}, LogIndex(11), vectron::InvalidArgument("two"), &changes);
  table.Record({9, 1, 1}, LogIndex(12), std::string(), &changes);
  return {std::string(), Stored(table)};
}
