#include "consensus/session_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "consensus/coding.h"

namespace vectron::consensus {
namespace {

// Keys: 's' session -> floor, sequence_max, last index, idle;
//       'r' session sequence -> result.
constexpr char kSessionTag = 's';
constexpr char kResultTag = 'r';

enum ResultKind : uint8_t { kValue = 0, kError = 1, kNotKept = 2 };

std::string SessionKey(uint64_t session) {
  std::string key(1, kSessionTag);
  PutBig64(session, &key);
  return key;
}

std::string ResultKey(uint64_t session, uint64_t sequence) {
  std::string key(1, kResultTag);
  PutBig64(session, &key);
  PutBig64(sequence, &key);
  return key;
}

void EncodeError(const Status& status, std::string* out) {
  PutFixed32(static_cast<uint32_t>(status.code()), out);
  const absl::string_view message = status.message();
  PutBytes({message.data(), message.size()}, out);
  const Reason reason = ReasonOf(status);
  PutBytes(reason == Reason::kNone ? std::string_view() : ReasonName(reason), out);
  const ErrorDetails details = DetailsOf(status);
  PutFixed32(static_cast<uint32_t>(details.size()), out);
  for (const auto& [key, value] : details) {
    PutBytes(key, out);
    PutBytes(value, out);
  }
}

Status DecodeError(Reader* reader) {
  const auto code = static_cast<absl::StatusCode>(reader->Fixed32());
  const std::string_view message = reader->Bytes();
  const std::string_view reason_name = reader->Bytes();
  ErrorDetails details;
  for (uint32_t i = reader->Fixed32(); i > 0 && reader->ok(); --i) {
    const std::string_view key = reader->Bytes();
    details.emplace_back(key, reader->Bytes());
  }
  if (reason_name.empty()) return Status(code, absl::string_view(message.data(), message.size()));
  return MakeError(ReasonFromName(reason_name), message, details);
}

// nullopt if `bytes` are not what EncodeResult gave.
std::optional<ApplyResult> DecodeResult(std::string_view bytes) {
  Reader reader(bytes);
  switch (reader.Fixed8()) {
    case kValue:
      if (!reader.ok()) return std::nullopt;
      return ApplyResult(std::string(reader.Raw(reader.remaining())));
    case kError: {
      Status error = DecodeError(&reader);
      if (!reader.Done() || error.ok()) return std::nullopt;
      return ApplyResult(std::move(error));
    }
    case kNotKept:
      return ApplyResult(MakeError(Reason::kOutcomeForgotten,
                                   "this write was applied before; its result was too large to "
                                   "keep"));
    default:
      return std::nullopt;
  }
}

}  // namespace

SessionTable::SessionTable(const Options& options) : options_(options) {
  VECTRON_CHECK(options.session_count_max > 0 && options.result_count_max > 0);
}

std::optional<ApplyResult> SessionTable::Find(const WriteSession& write) const {
  if (write.session == 0) return std::nullopt;
  const auto unknown = [&](std::string_view why) {
    return ApplyResult(MakeError(
        Reason::kOutcomeForgotten,
        fmt::format("whether write {} of session {:016x} was applied earlier cannot be known: {}",
                    write.sequence, write.session, why)));
  };
  if (write.sequence < write.acked_below) {
    return unknown("the session said that it had seen its outcome");
  }
  const auto it = sessions_.find(write.session);
  if (it == sessions_.end()) return std::nullopt;
  const Session& session = it->second;
  if (write.sequence < session.floor) return unknown("its outcome is no longer kept");
  const auto result = session.results.find(write.sequence);
  if (result == session.results.end()) return std::nullopt;
  std::optional<ApplyResult> decoded = DecodeResult(result->second);
  VECTRON_CHECK(decoded.has_value());  // checked when it was recorded or loaded
  return decoded;
}

void SessionTable::Record(const WriteSession& write, LogIndex index, const ApplyResult& result,
                          std::vector<SessionChange>* changes) {
  if (write.session == 0) return;
  Session& session = sessions_[write.session];
  VECTRON_CHECK(write.sequence >= session.floor && !session.results.contains(write.sequence));
  VECTRON_CHECK(index > session.last_index);

  (session.idle ? idle_ : active_).erase(session.last_index);
  session.idle = false;
  session.last_index = index;
  active_.emplace(index, write.session);

  session.sequence_max = std::max(session.sequence_max, write.sequence);
  const std::string& kept =
      session.results.emplace(write.sequence, EncodeResult(result)).first->second;
  changes->push_back({ResultKey(write.session, write.sequence), kept});

  uint64_t floor = std::max(session.floor, std::min(write.acked_below, write.sequence));
  if (session.results.size() > options_.result_count_max) {
    floor = std::max(floor, session.results.begin()->first + 1);
  }
  DropResultsBelow(floor, write.session, &session, changes);
  changes->push_back({SessionKey(write.session), EncodeSession(session)});
  EvictSessions(changes);
}

void SessionTable::DropResultsBelow(uint64_t floor, uint64_t id, Session* session,
                                    std::vector<SessionChange>* changes) {
  auto& results = session->results;
  while (!results.empty() && results.begin()->first < floor) {
    changes->push_back({ResultKey(id, results.begin()->first), std::nullopt});
    results.erase(results.begin());
  }
  session->floor = floor;
}

void SessionTable::EvictSessions(std::vector<SessionChange>* changes) {
  if (active_.size() > options_.session_count_max) {
    const auto oldest = active_.begin();
    const uint64_t id = oldest->second;
    Session& session = sessions_.at(id);
    DropResultsBelow(session.sequence_max + 1, id, &session, changes);
    session.idle = true;
    idle_.insert(active_.extract(oldest));
    changes->push_back({SessionKey(id), EncodeSession(session)});
  }
  if (idle_.size() > options_.idle_session_count_max) {
    const uint64_t id = idle_.begin()->second;
    idle_.erase(idle_.begin());
    sessions_.erase(id);
    changes->push_back({SessionKey(id), std::nullopt});
  }
}

std::string SessionTable::EncodeSession(const Session& session) {
  std::string value;
  PutFixed64(session.floor, &value);
  PutFixed64(session.sequence_max, &value);
  PutFixed64(session.last_index.value(), &value);
  value.push_back(session.idle ? 1 : 0);
  return value;
}

std::string SessionTable::EncodeResult(const ApplyResult& result) const {
  std::string bytes;
  if (result.ok()) {
    bytes.push_back(kValue);
    bytes += *result;
  } else {
    bytes.push_back(kError);
    EncodeError(result.status(), &bytes);
  }
  if (bytes.size() > options_.result_bytes_max) return std::string(1, kNotKept);
  return bytes;
}

Status SessionTable::Load(std::string_view key, std::string_view value) {
  Reader reader(key);
  const char tag = static_cast<char>(reader.Fixed8());
  const uint64_t id = reader.Big64();
  if (tag == kSessionTag && reader.Done()) {
    Reader fields(value);
    Session& session = sessions_[id];
    session.floor = fields.Fixed64();
    session.sequence_max = fields.Fixed64();
    session.last_index = LogIndex(fields.Fixed64());
    session.idle = fields.Fixed8() != 0;
    if (fields.Done() && session.last_index != LogIndex()) return OkStatus();
  } else if (tag == kResultTag) {
    const uint64_t sequence = reader.Big64();
    if (reader.Done() && DecodeResult(value).has_value()) {
      sessions_[id].results.emplace(sequence, value);
      return OkStatus();
    }
  }
  return Corruption(fmt::format("session table: a record of {} and {} bytes is malformed",
                                key.size(), value.size()));
}

Status SessionTable::FinishLoad() {
  active_.clear();
  idle_.clear();
  for (const auto& [id, session] : sessions_) {
    const bool sound =
        session.last_index != LogIndex() &&
        (session.results.empty() || (session.results.begin()->first >= session.floor &&
                                     session.results.rbegin()->first <= session.sequence_max)) &&
        (session.idle ? idle_ : active_).emplace(session.last_index, id).second;
    if (!sound)
      return Corruption(fmt::format("session table: session {:016x} is inconsistent", id));
  }
  return OkStatus();
}

std::vector<SessionChange> SessionTable::Dump() const {
  std::vector<SessionChange> all;
  for (const auto& [id, session] : sessions_) {
    all.push_back({SessionKey(id), EncodeSession(session)});
    for (const auto& [sequence, result] : session.results) {
      all.push_back({ResultKey(id, sequence), result});
    }
  }
  // A hash map's order must not leak into what replicas write.
  std::sort(all.begin(), all.end(),
            [](const SessionChange& a, const SessionChange& b) { return a.key < b.key; });
  return all;
}

void SessionTable::Clear() {
  sessions_.clear();
  active_.clear();
  idle_.clear();
}

}  // namespace vectron::consensus
