#include "gateway/core.h"

#include <algorithm>
#include <utility>

namespace vectron::gateway {

Core::Core(GatewayOptions options)
    : options_(std::move(options)),
      metrics_(options_.metrics, options_.clock),
      sessions_(options_.seed),
      random_(options_.seed + 1),
      timers_("gateway-timer", *options_.clock),
      routing_(std::make_shared<RoutingTable>(RoutingTable::Options{
          .placement = options_.placement, .clock = options_.clock, .timers = &timers_})) {
  routing_->Start();
}

Core::~Core() {
  routing_->Stop();
  timers_.Stop();
}

Duration Core::Backoff(uint32_t attempt) {
  constexpr Duration kMin = std::chrono::milliseconds(5);
  constexpr Duration kMax = std::chrono::milliseconds(500);
  const Duration full = std::min<Duration>(kMin * (1u << std::min(attempt, 10u)), kMax);
  MutexLock lock(mutex_);
  return full / 2 + Duration(random_.Below(static_cast<uint64_t>(full.count() / 2) + 1));
}

}  // namespace vectron::gateway
