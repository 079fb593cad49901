#pragma once

#include <utility>
#include <vector>

#include "gateway/fan_out.h"

namespace vectron::gateway {

// A write on its way (see FanOut). Validated whole before any part is sent; each
// shard's part is applied whole or not at all, under one session and sequence.
class WriteKind : public RequestBase {
 public:
  using Cargo = WriteOp;
  using Response = WriteResult;
  static constexpr bool kIsWrite = true;

  WriteKind(std::string collection, WriteOp op, RequestOptions options, Reply<WriteReport> reply);

  Status Validate(const rpc::CollectionInfo& info, const Limits& limits) const;
  void Begin(Core& core, const CollectionView& collection);
  WriteOp TakeWhole() { return std::move(op_); }
  std::vector<std::pair<const rpc::ShardInfo*, WriteOp>> Split(WriteOp op,
                                                               const ShardPointers& shards) const;
  void Send(rpc::WorkerApi& worker, const Part<WriteKind>& part, Deadline deadline,
            Callback<WriteResult> done) const;
  void Finish(Core& core, const std::vector<Part<WriteKind>*>& parts);
  void Fail(Core& core, Status status);

 private:
  WriteOp op_;
  Reply<WriteReport> reply_;
  WriteSession session_;
  WriteSessions::Ticket ticket_;  // unless the client has a session of its own
};

}  // namespace vectron::gateway
