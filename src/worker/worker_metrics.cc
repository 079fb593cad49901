#include "worker/worker_metrics.h"

#include <string>

namespace vectron::worker {
namespace {

const char* NameOf(Operation operation) {
  switch (operation) {
    case Operation::kWrite:
      return "write";
    case Operation::kSearch:
      return "search";
    case Operation::kGet:
      return "get";
    case Operation::kScroll:
      return "scroll";
    case Operation::kCount:
      return "count";
  }
  return "unknown";
}

}  // namespace

WorkerMetrics::WorkerMetrics(MetricsRegistry* registry)
    : registry_(registry),
      requests_(prometheus::BuildCounter()
                    .Name("vectron_worker_requests_total")
                    .Help("Requests to shards by operation and outcome")
                    .Register(*registry)) {
  auto& latencies = prometheus::BuildHistogram()
                        .Name("vectron_worker_request_seconds")
                        .Help("Time that requests to shards took, by operation")
                        .Register(*registry);
  for (size_t i = 0; i < kOperationCount; ++i) {
    latencies_[i] =
        &latencies.Add({{"operation", NameOf(static_cast<Operation>(i))}}, LatencyBuckets());
  }
}

void WorkerMetrics::OnRequest(Operation operation, const Status& status, Duration took) {
  const Reason reason = status.ok() ? Reason::kNone : ReasonOf(status);
  CounterOf(operation, reason).Increment();
  latencies_[static_cast<size_t>(operation)]->Observe(std::chrono::duration<double>(took).count());
}

prometheus::Counter& WorkerMetrics::CounterOf(Operation operation, Reason reason) {
  auto& place = counters_[static_cast<size_t>(operation)][static_cast<size_t>(reason)];
  if (prometheus::Counter* known = place.load(std::memory_order_acquire)) return *known;
  // The same labels give the same counter, whoever asks first.
  prometheus::Counter& counter = requests_.Add(
      {{"operation", NameOf(operation)},
       {"outcome", reason == Reason::kNone ? "OK" : std::string(ReasonName(reason))}});
  place.store(&counter, std::memory_order_release);
  return counter;
}

void WorkerMetrics::Set(const char* name, const char* help, double value) {
  prometheus::BuildGauge().Name(name).Help(help).Register(*registry_).Add({}).Set(value);
}

void WorkerMetrics::SetCounter(const char* name, const char* help, double value) {
  auto& counter = prometheus::BuildCounter().Name(name).Help(help).Register(*registry_).Add({});
  if (value > counter.Value()) counter.Increment(value - counter.Value());
}

void WorkerMetrics::Update(const Sources& sources) {
  Set("vectron_worker_searches_running", "Searches that run",
      static_cast<double>(sources.searches.running_count()));
  Set("vectron_worker_searches_queued", "Searches that wait for their turn",
      static_cast<double>(sources.searches.queue_length()));
  Set("vectron_worker_writes_delayed", "Writes that wait while vectors are linked",
      static_cast<double>(sources.gate.delayed_count()));
  Set("vectron_disk_free_bytes", "Room on the file system of the shards",
      static_cast<double>(sources.gate.disk_free_bytes()));
  const ShardLifecycle::Counts counts = sources.lifecycle.Count();
  Set("vectron_worker_shards_opening", "Shard replicas that are being opened",
      static_cast<double>(counts.opening));
  Set("vectron_worker_shards_failed", "Shard replicas that cannot serve",
      static_cast<double>(counts.failed));
  Set("vectron_worker_shards_destroying", "Shard replicas that are being destroyed",
      static_cast<double>(counts.destroying));
  UpdateShards(sources);
  UpdateScrub(sources.scrubber);
  UpdateStorage(sources.resources);
}

void WorkerMetrics::UpdateShards(const Sources& sources) {
  double serving = 0, leading = 0, apply_lag = 0, log_entries = 0;
  double points = 0, linked = 0, pending = 0, index_bytes = 0;
  double disk = 0, blob = 0, garbage = 0, memtable = 0, compaction = 0;
  for (const HostedShardPtr& hosted : sources.table.All()) {
    ++serving;
    if (const auto group = sources.host.GetStatus(hosted->group()); group.ok()) {
      leading += group->is_leader ? 1 : 0;
      apply_lag += static_cast<double>(group->committed.value() - group->applied.value());
      log_entries +=
          static_cast<double>(group->last_index.value() + 1 - group->first_index.value());
    }
    const ShardStats stats = hosted->shard->Stats();
    points += static_cast<double>(stats.point_count);
    linked += static_cast<double>(stats.linked_count);
    pending += static_cast<double>(stats.pending_count);
    index_bytes += static_cast<double>(stats.index_bytes);
    const storage::DatabaseStats store = hosted->shard->StoreStats();
    disk += static_cast<double>(store.disk_bytes);
    blob += static_cast<double>(store.blob_bytes);
    garbage += static_cast<double>(store.blob_garbage_bytes);
    memtable += static_cast<double>(store.memtable_bytes);
    compaction += static_cast<double>(store.pending_compaction_bytes);
  }
  Set("vectron_worker_shards_serving", "Shard replicas that serve", serving);
  Set("vectron_worker_shards_leading", "Shard replicas that lead their group", leading);
  Set("vectron_shard_apply_lag_entries", "Log entries committed and not yet applied", apply_lag);
  Set("vectron_shard_log_entries", "Log entries kept for the shards", log_entries);
  Set("vectron_points", "Points stored on this worker", points);
  Set("vectron_index_linked_vectors", "Vectors in the graphs", linked);
  Set("vectron_index_pending_vectors", "Vectors searched exactly until they are linked", pending);
  Set("vectron_index_bytes", "Memory of the indexes", index_bytes);
  Set("vectron_store_disk_bytes", "Files of the shards' stores", disk);
  Set("vectron_store_blob_bytes", "Of them, files of large values", blob);
  Set("vectron_store_blob_garbage_bytes", "Of those, what is no longer used", garbage);
  Set("vectron_store_memtable_bytes", "Memory of what is not flushed yet", memtable);
  Set("vectron_store_compaction_pending_bytes", "What compactions have still to write", compaction);
}

void WorkerMetrics::UpdateScrub(const Scrubber& scrubber) {
  const Scrubber::Stats stats = scrubber.GetStats();
  SetCounter("vectron_scrub_read_bytes_total", "Read to verify the shards' files since the start",
             static_cast<double>(stats.read_bytes));
  SetCounter("vectron_scrub_passes_total",
             "Times that a shard's files were all verified since the start",
             static_cast<double>(stats.pass_count));
  SetCounter("vectron_scrub_failures_total", "Files found damaged or unreadable since the start",
             static_cast<double>(stats.failure_count));
  Set("vectron_scrub_oldest_pass_age_seconds",
      "Since the shard that was verified the longest ago was; 0 before the first pass",
      static_cast<double>(stats.oldest_pass_age.count()));
}

void WorkerMetrics::UpdateStorage(const storage::SharedResources& resources) {
  const storage::SharedResources::Stats stats = resources.GetStats();
  SetCounter("vectron_store_flush_written_bytes_total", "Written by flushes since the start",
             static_cast<double>(stats.flush_written_bytes));
  SetCounter("vectron_store_compaction_written_bytes_total",
             "Written by compactions since the start",
             static_cast<double>(stats.compaction_written_bytes));
  SetCounter("vectron_store_blob_written_bytes_total",
             "Written to files of large values since the start",
             static_cast<double>(stats.blob_written_bytes));
  SetCounter("vectron_store_stall_seconds_total", "That writes waited for flushes and compactions",
             static_cast<double>(stats.stall_us) / 1e6);
  Set("vectron_store_block_cache_bytes", "Memory of the cache of blocks",
      static_cast<double>(stats.block_cache_bytes));
  Set("vectron_store_write_buffer_bytes", "Memory of all write buffers",
      static_cast<double>(stats.write_buffer_bytes));
}

}  // namespace vectron::worker
