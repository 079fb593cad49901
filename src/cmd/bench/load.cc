#include "cmd/bench/load.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <vector>

#include "cmd/bench/process_stats.h"
#include "common/thread.h"

namespace vectron::cmd {
namespace {

double Milliseconds(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

Duration OwnCpuTime() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto duration = [](const timeval& t) {
    return std::chrono::seconds(t.tv_sec) + std::chrono::microseconds(t.tv_usec);
  };
  return duration(usage.ru_utime) + duration(usage.ru_stime);
}

// What the client threads share.
struct LoadState {
  std::atomic<uint64_t> next{0};
  std::atomic<bool> stop{false};
};

// One client's part of the result.
struct ClientResult {
  LatencyHistogram latency;
  uint64_t ok_count = 0;
  ErrorCounts errors;
};

void RunClient(const LoadOptions& options, int client, TimePoint start,
               const std::function<Status(int, uint64_t)>& operation, LoadState* state,
               ClientResult* result) {
  const uint64_t count =
      options.op_count != 0 ? options.op_count : std::numeric_limits<uint64_t>::max();
  const TimePoint end =
      options.duration > Duration::zero() ? start + options.duration : TimePoint::max();
  while (!state->stop.load(std::memory_order_relaxed)) {
    const uint64_t index = state->next.fetch_add(1, std::memory_order_relaxed);
    if (index >= count) return;
    TimePoint begin = SystemClock().Now();
    if (options.ops_per_second > 0) {
      begin = start + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(
                          static_cast<double>(index) / options.ops_per_second));
      if (begin >= end) return;
      SleepUntil(begin);
    } else if (begin >= end) {
      return;
    }
    const Status status = operation(client, index);
    if (status.ok()) {
      result->latency.Record(SystemClock().Now() - begin);
      ++result->ok_count;
    } else {
      result->errors.Add(status);
      if (options.stop_on_error) state->stop = true;
    }
  }
}

}  // namespace

void ErrorCounts::Add(const Status& status) {
  const Reason reason = ReasonOf(status);
  const std::string code = reason != Reason::kNone ? std::string(ReasonName(reason))
                                                   : absl::StatusCodeToString(status.code());
  Entry& entry = by_code[code];
  if (entry.count++ == 0) entry.first_message = std::string(status.message());
}

void ErrorCounts::Merge(const ErrorCounts& other) {
  for (const auto& [code, entry] : other.by_code) {
    Entry& mine = by_code[code];
    if (mine.count == 0) mine.first_message = entry.first_message;
    mine.count += entry.count;
  }
}

uint64_t ErrorCounts::total() const {
  uint64_t total = 0;
  for (const auto& [code, entry] : by_code) total += entry.count;
  return total;
}

double LoadResult::OpsPerSecond() const {
  return elapsed > Duration::zero() ? static_cast<double>(ok_count) / Seconds(elapsed) : 0;
}

Status LoadResult::FirstError() const {
  if (errors.by_code.empty()) return OkStatus();
  const auto& [code, entry] = *errors.by_code.begin();
  return MakeError(Reason::kUnavailable,
                   fmt::format("{} of {} requests failed; {}: {}", errors.total(),
                               errors.total() + ok_count, code, entry.first_message));
}

StatusOr<LoadResult> RunLoad(const LoadOptions& options,
                             const std::function<Status(int client, uint64_t index)>& operation) {
  if (options.op_count == 0 && options.duration <= Duration::zero()) {
    return InvalidArgument("a load needs a number of operations or a duration");
  }
  std::optional<Duration> server_before;
  if (options.server_pid != 0) {
    VECTRON_ASSIGN_OR_RETURN(server_before, ProcessCpuTime(options.server_pid));
  }
  const Duration own_before = OwnCpuTime();
  const auto client_count = static_cast<size_t>(std::max(1, options.client_count));
  LoadState state;
  std::vector<ClientResult> parts(client_count);
  std::vector<std::unique_ptr<Thread>> threads;
  const TimePoint start = SystemClock().Now();
  for (size_t i = 0; i < client_count; ++i) {
    threads.push_back(std::make_unique<Thread>(
        fmt::format("client-{}", i), ThreadPriority::kNormal,
        [&, i] { RunClient(options, static_cast<int>(i), start, operation, &state, &parts[i]); }));
  }
  for (auto& thread : threads) thread->Join();
  LoadResult result;
  result.elapsed = SystemClock().Now() - start;
  result.client_cpu = OwnCpuTime() - own_before;
  for (const ClientResult& part : parts) {
    result.latency.Merge(part.latency);
    result.ok_count += part.ok_count;
    result.errors.Merge(part.errors);
  }
  if (server_before.has_value()) {
    // A server that died is an error of its requests, not of the measurement.
    if (const auto after = ProcessCpuTime(options.server_pid); after.ok()) {
      result.server_cpu = *after - *server_before;
    }
  }
  return result;
}

void WriteLoad(const LoadOptions& options, const LoadResult& result, JsonWriter* json) {
  json->Field("clients", options.client_count);
  if (options.ops_per_second > 0) json->Field("target_per_second", options.ops_per_second);
  json->Field("ok", result.ok_count);
  json->Field("failed", result.errors.total());
  json->Field("seconds", Seconds(result.elapsed));
  json->Field("per_second", result.OpsPerSecond());
  json->BeginObject("latency_ms");
  json->Field("mean", Milliseconds(result.latency.Mean()));
  json->Field("p50", Milliseconds(result.latency.Quantile(0.5)));
  json->Field("p95", Milliseconds(result.latency.Quantile(0.95)));
  json->Field("p99", Milliseconds(result.latency.Quantile(0.99)));
  json->Field("p999", Milliseconds(result.latency.Quantile(0.999)));
  json->Field("max", Milliseconds(result.latency.max()));
  json->End();
  const double ops = std::max(1.0, static_cast<double>(result.ok_count));
  if (result.server_cpu.has_value()) {
    json->Field("server_cpu_us_per_op", Milliseconds(*result.server_cpu) * 1000 / ops);
    json->Field("server_cpu_seconds", Seconds(*result.server_cpu));
  }
  json->Field("client_cpu_us_per_op", Milliseconds(result.client_cpu) * 1000 / ops);
  json->BeginObject("errors");
  for (const auto& [code, entry] : result.errors.by_code) {
    json->BeginObject(code);
    json->Field("count", entry.count);
    json->Field("first_message", entry.first_message);
    json->End();
  }
  json->End();
}

}  // namespace vectron::cmd
