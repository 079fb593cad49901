#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <future>
#include <memory>
#include <string>
#include <vector>

#include "common/random.h"
#include "consensus/host.h"
#include "consensus/testing/test_machine.h"
#include "storage/testing/temp_dir.h"

// A process that is killed while it writes, on the real file system.

namespace vectron::consensus {
namespace {

using testing::TestMachine;

constexpr GroupId kGroup{7};
constexpr int kWriters = 4;

struct Process {
  std::unique_ptr<Host> host;
  std::shared_ptr<TestMachine> machine;
};

Process Open(const std::string& dir) {
  Process process;
  HostOptions options;
  options.self = NodeId(1);
  options.dir = dir + "/log";
  options.log_segment_bytes = 256 << 10;
  options.log_bytes_flush = 512 << 10;
  HostEnvironment environment;
  environment.clock = &SystemClock();
  auto host = Host::Open(options, environment);
  if (!host.ok()) return process;
  process.machine = std::make_shared<TestMachine>(dir + "/machine");
  GroupOptions group;
  group.group = kGroup;
  group.self = ReplicaId(1);
  group.initial_members = {{ReplicaId(1), NodeId(1), false}};
  if ((*host)->StartGroup(group, process.machine).ok()) process.host = std::move(*host);
  return process;
}

std::string CommandOf(uint32_t number) {
  return fmt::format("{}-{}", number, std::string(100 + number % 5000, 'x'));
}

// Writes for ever; the number of each acknowledged write goes to `ack_fd`.
[[noreturn]] void WriteUntilKilled(const std::string& dir, uint32_t first, int ack_fd) {
  Process process = Open(dir);
  if (process.host == nullptr) _exit(3);
  for (uint32_t number = first;; number += kWriters) {
    std::vector<std::future<bool>> answers;
    for (uint32_t i = number; i < number + kWriters; ++i) {
      auto done = std::make_shared<std::promise<bool>>();
      answers.push_back(done->get_future());
      process.host->Propose(kGroup, {{9, i + 1, 0}, CommandOf(i)}, kNoDeadline,
                            [done, i, ack_fd](const StatusOr<Applied>& result) {
                              if (result.ok() && write(ack_fd, &i, sizeof(i)) != sizeof(i)) {
                                _exit(4);
                              }
                              done->set_value(result.ok());
                            });
    }
    for (auto& answer : answers) {
      if (!answer.get()) _exit(5);
    }
  }
}

TEST(CrashTest, AcknowledgedWritesSurviveKill) {
  testing::TempDir dir;
  Random random(5);
  std::vector<uint32_t> acknowledged;
  uint32_t next = 0;
  for (int round = 0; round < 8; ++round) {
    int fds[2];
    ASSERT_EQ(pipe(fds), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      close(fds[0]);
      WriteUntilKilled(dir.path(), next, fds[1]);
    }
    close(fds[1]);
    const uint64_t wanted = 1 + random.Below(60);
    uint32_t number = 0;
    bool killed = false;
    for (uint64_t i = 0; read(fds[0], &number, sizeof(number)) == sizeof(number); ++i) {
      acknowledged.push_back(number);
      next = std::max(next, number + 1);
      if (i >= wanted && !killed) {
        kill(child, SIGKILL);
        killed = true;
      }
    }
    close(fds[0]);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(killed && WIFSIGNALED(status)) << "the writer ended by itself: " << status;
    next += kWriters;  // some more may have been written
  }
  Process process = Open(dir.path());
  ASSERT_NE(process.host, nullptr);
  std::promise<StatusOr<LogIndex>> read_index;
  process.host->ReadIndex(kGroup, kNoDeadline,
                          [&](StatusOr<LogIndex> result) { read_index.set_value(result); });
  ASSERT_TRUE(read_index.get_future().get().ok());
  for (const uint32_t number : acknowledged) {
    ASSERT_EQ(process.machine->CountOf(CommandOf(number)), 1) << number;
  }
  // And nothing that was never sent.
  for (uint32_t number = next; number < next + 1000; ++number) {
    ASSERT_EQ(process.machine->CountOf(CommandOf(number)), 0);
  }
  ASSERT_LE(process.machine->command_count(), next);
  process.host->Stop();
}

}  // namespace
}  // namespace vectron::consensus
