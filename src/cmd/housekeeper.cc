#include "cmd/housekeeper.h"

#include <dirent.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <string>

namespace vectron::cmd {
namespace {

constexpr std::chrono::seconds kInterval{5};
// Less than this is not worth the system calls.
constexpr size_t kTrimBytesMin = 64 << 20;
// By so much there must be more of it than after the last time, or more of the process: what was
// given back counts as free for ever, and what is used again since then is wanted.
constexpr size_t kGrowthBytesMin = 16 << 20;

prometheus::Gauge& AddGauge(MetricsRegistry* metrics, const std::string& name,
                            const std::string& help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(*metrics).Add({});
}

double ResidentBytes() {
  // The second field of statm is the resident set in pages (proc(5)).
  std::ifstream file("/proc/self/statm");
  int64_t total = 0;
  int64_t resident = 0;
  file >> total >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double OpenFiles() {
  DIR* dir = opendir("/proc/self/fd");
  if (dir == nullptr) return 0;
  int count = -3;  // ".", "..", and the one that lists them
  while (readdir(dir) != nullptr) ++count;
  closedir(dir);
  return count;
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

}  // namespace

Housekeeper::Housekeeper(const Clock* clock, MetricsRegistry* metrics)
    : start_(clock->Now()),
      clock_(clock),
      resident_bytes_(AddGauge(metrics, "vectron_process_resident_memory_bytes",
                               "Memory of the process that is in RAM")),
      cpu_seconds_(prometheus::BuildCounter()
                       .Name("vectron_process_cpu_seconds_total")
                       .Help("CPU time that the process has used, user and system")
                       .Register(*metrics)
                       .Add({})),
      open_files_(AddGauge(metrics, "vectron_process_open_files", "Open file descriptors")),
      uptime_seconds_(
          AddGauge(metrics, "vectron_process_uptime_seconds", "Time since the process started")),
      thread_("housekeeper", ThreadPriority::kBackground, [this] { Run(); }) {}

Housekeeper::~Housekeeper() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.NotifyAll();
  thread_.Join();
}

void Housekeeper::Run() {
  for (;;) {
    UpdateMetrics();
    TrimHeap();
    MutexLock lock(mutex_);
    if (!stopping_) wake_.WaitFor(mutex_, kInterval);
    if (stopping_) return;
  }
}

void Housekeeper::TrimHeap() {
#if defined(__GLIBC__)
  const size_t free_bytes = mallinfo2().fordblks;
  const double resident = resident_bytes_.Value();
  trimmed_free_bytes_ = std::min(trimmed_free_bytes_, free_bytes);
  trimmed_resident_bytes_ = std::min(trimmed_resident_bytes_, resident);
  if (free_bytes < kTrimBytesMin) return;
  const bool is_more = free_bytes >= trimmed_free_bytes_ + kGrowthBytesMin ||
                       resident >= trimmed_resident_bytes_ + kGrowthBytesMin;
  if (!is_more) return;
  malloc_trim(0);
  trimmed_free_bytes_ = free_bytes;
  trimmed_resident_bytes_ = ResidentBytes();
#endif
}

void Housekeeper::UpdateMetrics() {
  resident_bytes_.Set(ResidentBytes());
  cpu_seconds_.Increment(std::max(0.0, CpuSeconds() - cpu_seconds_.Value()));
  open_files_.Set(OpenFiles());
  uptime_seconds_.Set(std::chrono::duration<double>(clock_->Now() - start_).count());
}

void SetUpProcess() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  std::signal(SIGPIPE, SIG_IGN);
#if defined(__GLIBC__)
  // Memory moves between threads (a request is read on one, applied on another), so
  // arenas of their own would each keep what the others gave them.
  mallopt(M_ARENA_MAX, std::max(2, UsableCores()));
  // Fixed: glibc otherwise raises it to the largest block that was freed, and batches
  // of vectors then fragment the heap.
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  mallopt(M_TRIM_THRESHOLD, 16 << 20);
#endif
}

}  // namespace vectron::cmd
