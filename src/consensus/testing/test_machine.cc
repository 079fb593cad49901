#include "consensus/testing/test_machine.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "common/check.h"
#include "consensus/coding.h"

namespace vectron::testing {
namespace {

using consensus::ApplyResult;
using consensus::CommittedEntry;
using consensus::Reader;

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream all;
  all << in.rdbuf();
  return all.str();
}

void WriteFile(const std::string& path, const std::string& bytes) {
  const std::string temporary = path + ".tmp";
  std::ofstream(temporary, std::ios::binary) << bytes;
  std::filesystem::rename(temporary, path);
}

template <typename State>
std::string Encode(const State& state) {
  std::string out;
  consensus::PutFixed64(state.applied.value(), &out);
  consensus::PutFixed64(state.hash, &out);
  consensus::PutFixed64(state.command_count, &out);
  consensus::PutFixed64(state.commands.size(), &out);
  for (const auto& [command, count] : state.commands) {
    consensus::PutBytes(command, &out);
    consensus::PutFixed64(static_cast<uint64_t>(count), &out);
  }
  consensus::PutFixed64(state.sessions.size(), &out);
  for (const auto& [key, value] : state.sessions) {
    consensus::PutBytes(key, &out);
    consensus::PutBytes(value, &out);
  }
  return out;
}

template <typename State>
State Decode(const std::string& bytes) {
  State state;
  Reader reader(bytes);
  state.applied = LogIndex(reader.Fixed64());
  state.hash = reader.Fixed64();
  state.command_count = reader.Fixed64();
  for (uint64_t i = reader.Fixed64(); i > 0; --i) {
    const std::string command(reader.Bytes());
    state.commands[command] = static_cast<int>(reader.Fixed64());
  }
  for (uint64_t i = reader.Fixed64(); i > 0; --i) {
    const std::string key(reader.Bytes());
    state.sessions[key] = std::string(reader.Bytes());
  }
  VECTRON_CHECK(reader.Done());
  return state;
}

}  // namespace

TestMachine::TestMachine(std::string file) : file_(std::move(file)) {
  MutexLock lock(mutex_);
  if (!file_.empty() && std::filesystem::exists(file_)) {
    state_ = durable_ = Decode<State>(ReadFile(file_));
    LoadSessions();
  }
}

LogIndex TestMachine::AppliedIndex() const {
  MutexLock lock(mutex_);
  return state_.applied;
}

LogIndex TestMachine::DurableIndex() const {
  MutexLock lock(mutex_);
  return durable_.applied;
}

ApplyResult TestMachine::ApplyOne(const CommittedEntry& entry) {
  VECTRON_CHECK(entry.index == Next(state_.applied));
  state_.applied = entry.index;
  if (entry.command.empty()) return std::string();
  if (const auto before = sessions_.Find(entry.session)) return *before;
  state_.hash = (state_.hash ^ std::hash<std::string_view>{}(entry.command)) * 0x9e3779b97f4a7c15u;
  ++state_.command_count;
  if (keep_commands_) ++state_.commands[std::string(entry.command)];
  const ApplyResult result = entry.command.starts_with("error")
                                 ? ApplyResult(MakeError(Reason::kPointNotFound, "as asked"))
                                 : ApplyResult(fmt::format("{}", entry.index.value()));
  std::vector<consensus::SessionChange> changes;
  sessions_.Record(entry.session, entry.index, result, &changes);
  for (const consensus::SessionChange& change : changes) {
    if (change.value.has_value()) {
      state_.sessions[change.key] = *change.value;
    } else {
      state_.sessions.erase(change.key);
    }
  }
  return result;
}

StatusOr<std::vector<ApplyResult>> TestMachine::Apply(std::span<const CommittedEntry> entries) {
  std::vector<ApplyResult> results;
  MutexLock lock(mutex_);
  if (!fail_.ok()) return fail_;
  for (const CommittedEntry& entry : entries) results.push_back(ApplyOne(entry));
  return results;
}

void TestMachine::FlushLocked() {
  durable_ = state_;
  if (!file_.empty()) WriteFile(file_, Encode(durable_));
}

void TestMachine::RequestFlush() {
  MutexLock lock(mutex_);
  ++flush_request_count_;
  FlushLocked();
}

StatusOr<LogIndex> TestMachine::SaveSnapshot(const std::string& dir) {
  MutexLock lock(mutex_);
  std::filesystem::create_directory(dir);
  WriteFile(dir + "/state", Encode(state_));
  return state_.applied;
}

Status TestMachine::RestoreSnapshot(const std::string& dir) {
  MutexLock lock(mutex_);
  ++restore_count_;
  state_ = Decode<State>(ReadFile(dir + "/state"));
  LoadSessions();
  FlushLocked();
  return OkStatus();
}

void TestMachine::LoadSessions() {
  sessions_.Clear();
  for (const auto& [key, value] : state_.sessions) VECTRON_CHECK_OK(sessions_.Load(key, value));
  VECTRON_CHECK_OK(sessions_.FinishLoad());
}

std::shared_ptr<TestMachine> TestMachine::CloneDurable() const {
  auto clone = std::make_shared<TestMachine>();
  MutexLock lock(mutex_);
  MutexLock clone_lock(clone->mutex_);
  clone->state_ = clone->durable_ = durable_;
  clone->keep_commands_ = keep_commands_;
  clone->LoadSessions();
  return clone;
}

uint64_t TestMachine::hash() const {
  MutexLock lock(mutex_);
  return state_.hash;
}

uint64_t TestMachine::command_count() const {
  MutexLock lock(mutex_);
  return state_.command_count;
}

int TestMachine::CountOf(const std::string& command) const {
  MutexLock lock(mutex_);
  const auto it = state_.commands.find(command);
  return it == state_.commands.end() ? 0 : it->second;
}

int TestMachine::restore_count() const {
  MutexLock lock(mutex_);
  return restore_count_;
}

int TestMachine::flush_request_count() const {
  MutexLock lock(mutex_);
  return flush_request_count_;
}

void TestMachine::ForgetCommands() {
  MutexLock lock(mutex_);
  keep_commands_ = false;
}

void TestMachine::FailApply(Status status) {
  MutexLock lock(mutex_);
  fail_ = std::move(status);
}

}  // namespace vectron::testing
