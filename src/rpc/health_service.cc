#include "rpc/health_service.h"

#include <fmt/format.h>

#include "grpc/health/v1/health.pb.h"

namespace vectron::rpc {
namespace {

namespace health = ::grpc::health::v1;
using Request = health::HealthCheckRequest;
using Response = health::HealthCheckResponse;
constexpr char kService[] = "grpc.health.v1.Health";

Response::ServingStatus StatusOf(bool serving) {
  return serving ? Response::SERVING : Response::NOT_SERVING;
}

StringSet WithServer(const std::vector<std::string>& services) {
  StringSet names(services.begin(), services.end());
  names.insert("");
  return names;
}

}  // namespace

// Sends the status when it begins and, whenever it changed since it was sent, again.
class HealthService::Watcher final : public StreamCall<Request, Response>,
                                     public std::enable_shared_from_this<Watcher> {
 public:
  explicit Watcher(HealthService* service) : service_(*service) {}

  void OnBegin() override { StartRead(&request_); }

  void OnReadDone(bool ok) override {
    if (!ok) {
      return Finish({grpc::StatusCode::INVALID_ARGUMENT, "the call came without a request"});
    }
    {
      MutexLock lock(mutex_);
      known_ = service_.Knows(request_.service());
      ready_ = true;
    }
    service_.Add(shared_from_this());
    Update();
  }

  void OnWritten(bool ok) override {
    {
      MutexLock lock(mutex_);
      writing_ = false;
      if (!ok) ended_ = true;
    }
    Update();
  }

  void OnCancelled() override { End(); }

  void End() {
    {
      MutexLock lock(mutex_);
      ended_ = true;
    }
    Update();
  }

  // The status may have changed.
  void Update() {
    const bool serving = service_.IsServing();
    Response response;
    bool finish = false;
    {
      MutexLock lock(mutex_);
      if (!ready_ || finished_ || writing_) return;
      const auto now = known_ ? StatusOf(serving) : Response::SERVICE_UNKNOWN;
      finish = ended_;
      if (finish) {
        finished_ = true;
      } else if (now == sent_) {
        return;
      } else {
        writing_ = true;
        sent_ = now;
        response.set_status(now);
      }
    }
    if (!finish) return StartWrite(response);
    service_.Remove(this);
    Finish({grpc::StatusCode::CANCELLED, "the server stops"});
  }

 private:
  HealthService& service_;
  Request request_;
  Mutex mutex_;
  bool known_ ABSL_GUARDED_BY(mutex_) = false;
  bool ready_ ABSL_GUARDED_BY(mutex_) = false;  // the request was read
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  Response::ServingStatus sent_ ABSL_GUARDED_BY(mutex_) = Response::UNKNOWN;
};

HealthService::HealthService(const std::vector<std::string>& services)
    : Service(kService), names_(WithServer(services)) {
  AddUnary<Request, Response>("Check", [this](UnaryCall<Request, Response>* call) {
    if (!Knows(call->request().service())) {
      return call->Finish({grpc::StatusCode::NOT_FOUND,
                           fmt::format("there is no service '{}'", call->request().service())});
    }
    call->response()->set_status(StatusOf(IsServing()));
    call->Finish(grpc::Status::OK);
  });
  AddMethod("Watch", [this] { return std::make_shared<Watcher>(this); });
}

bool HealthService::IsServing() const {
  MutexLock lock(mutex_);
  return serving_ && !ended_;
}

void HealthService::SetServing(bool serving) {
  {
    MutexLock lock(mutex_);
    serving_ = serving;
  }
  for (const auto& watcher : Watchers()) watcher->Update();
}

void HealthService::Shutdown() {
  {
    MutexLock lock(mutex_);
    ended_ = true;
  }
  for (const auto& watcher : Watchers()) watcher->End();
}

std::set<std::shared_ptr<HealthService::Watcher>> HealthService::Watchers() const {
  MutexLock lock(mutex_);
  return watchers_;
}

void HealthService::Add(const std::shared_ptr<Watcher>& watcher) {
  bool ended = false;
  {
    MutexLock lock(mutex_);
    watchers_.insert(watcher);
    ended = ended_;
  }
  if (ended) watcher->End();
}

void HealthService::Remove(Watcher* watcher) {
  std::shared_ptr<Watcher> removed;
  MutexLock lock(mutex_);
  const auto it = watchers_.find(watcher->shared_from_this());
  if (it == watchers_.end()) return;
  removed = *it;
  watchers_.erase(it);
}

}  // namespace vectron::rpc
