#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/random.h"
#include "shard/shard.h"
#include "storage/testing/faulty_disk.h"
#include "storage/testing/temp_dir.h"

namespace vectron::shard {

// A log entry as the Raft log keeps it: outlives the shard.
struct LoggedEntry {
  WriteSession session;
  std::string command;
};

// What a shard should hold: the writes carried out on plain maps.
class Model {
 public:
  // Does what a shard should do and returns how many points changed, or the error.
  StatusOr<uint64_t> Apply(LogIndex index, const WriteOp& op);

  struct Stored {
    Point point;
    uint64_t version = 0;
  };
  const std::map<PointId, Stored>& points() const { return points_; }

 private:
  std::map<PointId, Stored> points_;
};

// Runs a shard on a disk that can fail, with a log from which it is replayed.
class ShardFixture : public ::testing::Test {
 protected:
  ShardFixture();
  ~ShardFixture() override;

  // Opens the shard and replays what it lacks of the log.
  void Start();
  Status TryStart();
  // The process ends without a word, the machine stays up: what was not flushed is
  // gone.
  void Kill() { shard_.reset(); }
  // The machine loses power: what was not synced is gone too.
  void LosePower();
  void Replay();

  // Appends to the log and applies. The model follows.
  StatusOr<uint64_t> Write(const WriteOp& op, const WriteSession& session = {});
  // Appends several and applies them in one call.
  std::vector<StatusOr<uint64_t>> WriteTogether(const std::vector<WriteOp>& ops);
  StatusOr<uint64_t> Upsert(std::vector<Point> points) { return Write(UpsertPoints{points}); }
  StatusOr<std::vector<consensus::ApplyResult>> ApplyLog(uint64_t first, uint64_t last);
  LogIndex last() const { return LogIndex(log_.size()); }

  // Waits until everything that is applied is durable.
  void MakeDurable();
  void LinkAll();

  // The shard holds exactly what the model does, in its store and its index.
  void ExpectEqualToModel(const Shard& shard) const;
  void ExpectEqualToModel() const { ExpectEqualToModel(*shard_); }
  std::vector<Record> ScrollAll(const Shard& shard) const;

  Point MakePoint(PointId id, Random* random) const;
  std::string StateDir() const;
  ShardEnvironment Environment();

  testing::TempDir dir_;
  testing::FaultyDisk disk_;
  ThreadPool background_;
  std::shared_ptr<storage::SharedResources> resources_;
  ShardOptions options_;
  std::vector<LoggedEntry> log_;  // of index 1 and on
  Model model_;
  std::shared_ptr<Shard> shard_;
};

inline constexpr Select kAll{.payload = true, .vectors = true, .vector_names = {}};

}  // namespace vectron::shard
