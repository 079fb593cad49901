#include "gateway/grpc_store_stream.h"

#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "common/mutex.h"
#include "gateway/grpc_convert.h"
#include "rpc/service.h"
#include "rpc/status.h"
#include "vectron/v1/vectron.pb.h"

namespace vectron::gateway {
namespace {

// A message being written. Its request is kept, to say which of its points were
// done, and used again for a later message, so that it need not be allocated anew.
struct Batch {
  v1::StoreVectorsRequest request;
  v1::StoreVectorsResponse response;
  size_t request_bytes = 0;
};

// Reads, writes to the gateway and acknowledges at the same time. Flow control: the
// next message is read only while fewer than `stream_writes_max` messages, of fewer
// bytes than one request may have, wait for their write or for their acknowledgement to
// be sent; gRPC then stops taking bytes from the client.
//
// The server calls the On... methods; the gateway calls OnStored from any thread. The
// object lives until the call is over and no write is under way.
class StoreStream final : public rpc::StreamCall<v1::StoreVectorsRequest, v1::StoreVectorsResponse>,
                          public std::enable_shared_from_this<StoreStream> {
 public:
  explicit StoreStream(const GrpcServiceOptions& options) : options_(options) {}

  void OnBegin() override {
    deadline_ = DeadlineBy(*options_.clock);
    MutexLock lock(mutex_);
    MaybeRead();
  }

  void OnReadDone(bool ok) override {
    std::unique_ptr<Batch> batch;
    {
      MutexLock lock(mutex_);
      batch = std::exchange(reading_, nullptr);
      if (ok) {
        ++waiting_count_;
        batch->request_bytes = batch->request.ByteSizeLong();
        waiting_bytes_ += batch->request_bytes;
        batch->response.Clear();
        batch->response.set_message_index(next_index_++);
        if (batch->request.collection().empty()) {
          batch->request.set_collection(collection_);
        } else {
          collection_ = batch->request.collection();
        }
        MaybeRead();
      } else {
        input_ended_ = true;
      }
    }
    if (ok) {
      Write(std::move(batch));
    } else {
      MaybeFinish();
    }
  }

  void OnWritten(bool ok) override {
    {
      MutexLock lock(mutex_);
      if (!ok) broken_ = true;
      Recycle(std::move(answers_.front()));
      answers_.pop_front();
      sending_ = false;
      MaybeSend();
      MaybeRead();
    }
    MaybeFinish();
  }

  void OnCancelled() override {
    {
      MutexLock lock(mutex_);
      broken_ = true;
      if (!sending_) DropAnswers();
    }
    MaybeFinish();
  }

 private:
  void Write(std::unique_ptr<Batch> batch) {
    StatusOr<UpsertPoints> op = ToUpsertPoints(batch->request.points());
    if (!op.ok()) return OnStored(std::move(batch), op.status());
    RequestOptions request{.deadline = deadline_,
                           .write_session = ToWriteSession(batch->request.session())};
    // Before the batch goes into the callback.
    std::string collection = batch->request.collection();
    options_.gateway->Write(std::move(collection), *std::move(op), std::move(request),
                            [self = shared_from_this(),
                             batch = std::move(batch)](StatusOr<WriteReport> report) mutable {
                              self->OnStored(std::move(batch), std::move(report));
                            });
  }

  void OnStored(std::unique_ptr<Batch> batch, StatusOr<WriteReport> report) {
    FillAnswer(report, batch.get());
    {
      MutexLock lock(mutex_);
      if (broken_) {
        Recycle(std::move(batch));
      } else {
        answers_.push_back(std::move(batch));
        MaybeSend();
      }
    }
    MaybeFinish();
  }

  static void FillAnswer(const StatusOr<WriteReport>& report, Batch* batch) {
    v1::StoreVectorsResponse& response = batch->response;
    if (!report.ok()) return FillError(report.status(), response.mutable_error());
    if (!report->status.ok()) {
      FillError(report->status, response.mutable_error());
      if (IsMixed(*report)) {
        *response.mutable_error()->mutable_outcome() =
            ToWriteOutcome(*report, IdsOf(batch->request.points()));
      }
    }
    response.set_changed_count(report->changed_count);
    FillToken(report->token, response.mutable_token());
  }

  void MaybeRead() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (reading_ != nullptr || input_ended_ || broken_ || finished_) return;
    if (waiting_count_ >= options_.stream_writes_max) return;
    if (waiting_bytes_ >= options_.limits.request_bytes_max) return;
    if (spare_.empty()) {
      reading_ = std::make_unique<Batch>();
    } else {
      reading_ = std::move(spare_.back());
      spare_.pop_back();
    }
    StartRead(&reading_->request);
  }

  void MaybeSend() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (sending_) return;
    if (broken_) return DropAnswers();
    if (answers_.empty()) return;
    sending_ = true;
    StartWrite(answers_.front()->response);
  }

  void DropAnswers() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    while (!answers_.empty()) {
      Recycle(std::move(answers_.front()));
      answers_.pop_front();
    }
  }

  void Recycle(std::unique_ptr<Batch> batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    --waiting_count_;
    waiting_bytes_ -= batch->request_bytes;
    // Memory of a large message is not held on to.
    constexpr size_t kSpareBytesMax = 4 << 20;
    if (batch->request_bytes <= kSpareBytesMax) spare_.push_back(std::move(batch));
  }

  // Must be the last thing that a callback does: the stream may be gone afterwards.
  void MaybeFinish() {
    bool ended_badly = false;
    {
      MutexLock lock(mutex_);
      const bool ended = input_ended_ || broken_;
      if (!ended || waiting_count_ > 0 || sending_ || finished_) return;
      // A read under way comes back first when the call is broken.
      if (reading_ != nullptr && !broken_) return;
      finished_ = true;
      ended_badly = input_ended_ && garbled();
    }
    Finish(ended_badly ? rpc::ToGrpcStatus(InvalidArgument(
                             "a message is not of the type that this method takes; those before "
                             "it were answered"))
                       : grpc::Status::OK);
  }

  const GrpcServiceOptions options_;
  Deadline deadline_ = kNoDeadline;

  Mutex mutex_;
  std::string collection_ ABSL_GUARDED_BY(mutex_);  // of the last message that named one
  std::unique_ptr<Batch> reading_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::unique_ptr<Batch>> answers_ ABSL_GUARDED_BY(mutex_);  // first: being sent
  std::vector<std::unique_ptr<Batch>> spare_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_index_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t waiting_count_ ABSL_GUARDED_BY(mutex_) = 0;  // read, not yet acknowledged
  size_t waiting_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool input_ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
  bool sending_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

std::shared_ptr<rpc::CallHandler> MakeStoreStream(const GrpcServiceOptions& options) {
  return std::make_shared<StoreStream>(options);
}

}  // namespace vectron::gateway
