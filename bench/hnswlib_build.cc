// Builds an index with the distribution's libhnswlib in memory, and prints how long
// that took as JSON: the yardstick that bench/standalone.sh measures Vectron against.
//
//   hnswlib_build FILE [THREADS [M [EF_CONSTRUCTION]]]

#include <fmt/format.h>
#include <hnswlib/hnswlib.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/texmex.h"
#include "common/thread.h"

namespace {

struct Settings {
  std::string path;
  int threads = 2;
  size_t m = 16;
  size_t ef_construction = 200;
};

// Seconds it took to insert every row; reading the file is not counted.
double Build(const Settings& settings, const vectron::VectorFile& file) {
  const size_t dimension = file.dimension();
  std::vector<float> rows(file.count() * dimension);
  for (size_t i = 0; i < file.count(); ++i) {
    file.CopyRow(i, std::span<float>(rows.data() + i * dimension, dimension));
  }
  hnswlib::L2Space space(dimension);
  hnswlib::HierarchicalNSW<float> index(&space, file.count(), settings.m, settings.ef_construction);
  const vectron::TimePoint start = vectron::SystemClock().Now();
  // Alone, as hnswlib's own examples do: the entry point must exist.
  index.addPoint(rows.data(), 0);
  std::atomic<size_t> next{1};
  std::vector<std::unique_ptr<vectron::Thread>> threads;
  for (int t = 0; t < settings.threads; ++t) {
    threads.push_back(std::make_unique<vectron::Thread>(
        fmt::format("build-{}", t), vectron::ThreadPriority::kNormal, [&] {
          for (size_t i = next.fetch_add(1); i < file.count(); i = next.fetch_add(1)) {
            index.addPoint(rows.data() + i * dimension, i);
          }
        }));
  }
  for (auto& thread : threads) thread->Join();
  return std::chrono::duration<double>(vectron::SystemClock().Now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  if (argc > 1) settings.path = argv[1];
  if (argc > 2) settings.threads = std::atoi(argv[2]);
  if (argc > 3) settings.m = static_cast<size_t>(std::atoi(argv[3]));
  if (argc > 4) settings.ef_construction = static_cast<size_t>(std::atoi(argv[4]));
  if (argc < 2 || argc > 5 || settings.threads < 1 || settings.m < 2 ||
      settings.ef_construction < 1) {
    fmt::print(stderr, "usage: hnswlib_build FILE [THREADS [M [EF_CONSTRUCTION]]]\n");
    return 2;
  }
  const auto file = vectron::VectorFile::Open(settings.path);
  if (!file.ok()) {
    fmt::print(stderr, "hnswlib_build: {}\n", std::string(file.status().message()));
    return 2;
  }
  const double seconds = Build(settings, *file);
  fmt::print("{{\"points\": {}, \"dimension\": {}, \"threads\": {}, \"seconds\": {:.3f}}}\n",
             file->count(), file->dimension(), settings.threads, seconds);
  return 0;
}
