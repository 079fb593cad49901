// Measures the vector index beside the distribution's hnswlib: the same data,
// parameters, machine and run. Rounds of the two alternate, so that what else the
// machine does meets both.

#include <fmt/format.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/clock.h"
#include "common/texmex.h"
#include "common/thread.h"
#include "hnswlib_index.h"
#include "index/kernels/kernels.h"
#include "index/vector_index.h"

namespace vectron::bench {
namespace {

struct Arguments {
  std::string base;
  std::string queries;
  std::string groundtruth;
  std::string metric = "l2";
  std::string quantization = "sq8";
  std::string json;
  std::string checkpoint;
  size_t limit = std::numeric_limits<size_t>::max();
  size_t query_limit = std::numeric_limits<size_t>::max();
  int rounds = 3;
  int threads = 2;
  uint32_t m = 16;
  uint32_t ef_construction = 200;
  bool skip_hnswlib = false;
  bool cpu_time = false;
};

constexpr size_t kK = 10;
constexpr uint32_t kEfs[] = {10, 12, 14, 16,  20,  24,  28,  32,  40,  48, 56,
                             64, 80, 96, 112, 128, 160, 192, 256, 384, 512};
constexpr double kRecalls[] = {0.90, 0.95, 0.99};
// No beam is tried beyond this recall.
constexpr double kRecallEnough = 0.995;

// Seconds on the wall, or of the processor: of this thread or of all.
enum class Watch { kWall, kThread, kProcess };

double Seconds(Watch watch) {
  timespec time{};
  if (watch == Watch::kWall) {
    return std::chrono::duration<double>(SystemClock().Now().time_since_epoch()).count();
  }
  clock_gettime(watch == Watch::kThread ? CLOCK_THREAD_CPUTIME_ID : CLOCK_PROCESS_CPUTIME_ID,
                &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

struct Data {
  size_t dimension = 0;
  std::vector<float> base;
  std::vector<float> queries;
  std::vector<std::vector<uint32_t>> truth;  // the kK nearest of each query

  size_t count() const { return base.size() / dimension; }
  size_t query_count() const { return queries.size() / dimension; }
  const float* Row(size_t i) const { return base.data() + i * dimension; }
  const float* Query(size_t i) const { return queries.data() + i * dimension; }
};

struct Point {
  uint32_t ef = 0;
  double recall = 0;
  double qps = 0;  // median of the rounds
};

// One of the two that are compared.
struct Contender {
  std::string name;
  double build_seconds = 0;
  double put_seconds = 0;  // of which
  double bytes_per_vector = 0;
  std::function<void(uint32_t ef, const float* query, std::vector<uint32_t>*)> search;
  std::vector<Point> points;
};

std::vector<float> ReadRows(const VectorFile& file, size_t limit, bool normalize) {
  const size_t count = std::min(file.count(), limit);
  std::vector<float> rows(count * file.dimension());
  for (size_t i = 0; i < count; ++i) {
    const std::span<float> row(rows.data() + i * file.dimension(), file.dimension());
    file.CopyRow(i, row);
    if (!normalize) continue;
    double squares = 0;
    for (const float x : row) squares += static_cast<double>(x) * x;
    for (float& x : row) x = static_cast<float>(x / std::sqrt(squares));
  }
  return rows;
}

StatusOr<Data> ReadData(const Arguments& arguments, Metric metric) {
  VECTRON_ASSIGN_OR_RETURN(const VectorFile base, VectorFile::Open(arguments.base));
  VECTRON_ASSIGN_OR_RETURN(const VectorFile queries, VectorFile::Open(arguments.queries));
  if (base.dimension() != queries.dimension()) {
    return InvalidArgument("base and queries have different dimensions");
  }
  Data data;
  data.dimension = base.dimension();
  // hnswlib has no cosine: both get directions.
  data.base = ReadRows(base, arguments.limit, metric == Metric::kCosine);
  data.queries = ReadRows(queries, arguments.query_limit, metric == Metric::kCosine);
  if (arguments.groundtruth.empty() || data.count() < base.count()) return data;
  VECTRON_ASSIGN_OR_RETURN(const IdFile truth, IdFile::Open(arguments.groundtruth));
  if (truth.count() < data.query_count() || truth.width() < kK) {
    return InvalidArgument(
        "the ground truth has fewer rows than queries, or fewer than 10 columns");
  }
  for (size_t i = 0; i < data.query_count(); ++i) {
    const auto row = truth.Row(i).first(kK);
    data.truth.emplace_back(row.begin(), row.end());
  }
  return data;
}

void RunThreads(int count, const std::function<void()>& body) {
  std::vector<std::unique_ptr<Thread>> threads;
  for (int i = 0; i < count; ++i) {
    threads.push_back(std::make_unique<Thread>("build", ThreadPriority::kNormal, body));
  }
  for (auto& thread : threads) thread->Join();
}

Contender BuildOurs(const Arguments& arguments, const Data& data, Metric metric,
                    std::shared_ptr<index::VectorIndex>* kept) {
  index::IndexOptions options;
  options.dimension = static_cast<uint32_t>(data.dimension);
  options.metric = metric;
  options.quantization = *QuantizationFromName(arguments.quantization);
  options.m = arguments.m;
  options.ef_construction = arguments.ef_construction;
  auto created = index::VectorIndex::Create(options);
  VECTRON_CHECK_OK(created);
  std::shared_ptr<index::VectorIndex> index = std::move(created).value();

  const Watch watch = arguments.cpu_time ? Watch::kProcess : Watch::kWall;
  Contender ours{"vectron"};
  const double start = Seconds(watch);
  for (size_t i = 0; i < data.count(); ++i) {
    VECTRON_CHECK_OK(index->Put({data.Row(i), data.dimension}, i));
  }
  ours.put_seconds = Seconds(watch) - start;
  RunThreads(arguments.threads, [&] {
    while (index->LinkPending(64) > 0) {
    }
  });
  ours.build_seconds = Seconds(watch) - start;
  ours.bytes_per_vector =
      static_cast<double>(index->Stats().memory_bytes) / static_cast<double>(data.count());
  ours.search = [index, dimension = data.dimension](uint32_t ef, const float* query,
                                                    std::vector<uint32_t>* labels) {
    index::SearchOptions search;
    search.k = kK;
    search.ef = ef;
    const auto hits = index->Search({query, dimension}, search);
    labels->clear();
    for (const index::Hit& hit : *hits) labels->push_back(static_cast<uint32_t>(hit.label));
  };
  *kept = index;
  return ours;
}

Contender BuildTheirs(const Arguments& arguments, const Data& data, Metric metric) {
  const auto index = std::make_shared<HnswlibIndex>(metric, data.dimension, data.count(),
                                                    arguments.m, arguments.ef_construction);
  const Watch watch = arguments.cpu_time ? Watch::kProcess : Watch::kWall;
  Contender theirs{"hnswlib"};
  const double start = Seconds(watch);
  // Its first element must be there before others are added in parallel.
  index->Add(data.Row(0), 0);
  std::atomic<size_t> next{1};
  RunThreads(arguments.threads, [&] {
    for (size_t i = next.fetch_add(1); i < data.count(); i = next.fetch_add(1)) {
      index->Add(data.Row(i), static_cast<uint32_t>(i));
    }
  });
  theirs.build_seconds = Seconds(watch) - start;
  theirs.bytes_per_vector =
      static_cast<double>(index->memory_bytes()) / static_cast<double>(data.count());
  theirs.search = [index](uint32_t ef, const float* query, std::vector<uint32_t>* labels) {
    index->SetEf(ef);
    index->Search(query, kK, labels);
  };
  return theirs;
}

struct CheckpointTimes {
  uint64_t size_bytes = 0;
  double write_seconds = 0;
  double load_seconds = 0;  // median of the rounds
};

// Of a file that the system has in memory, mostly.
StatusOr<CheckpointTimes> MeasureCheckpoint(const Arguments& arguments, index::VectorIndex& index) {
  CheckpointTimes times;
  const double start = Seconds(Watch::kWall);
  VECTRON_RETURN_IF_ERROR(index.WriteCheckpoint(*index.Cut(), arguments.checkpoint, 0));
  times.write_seconds = Seconds(Watch::kWall) - start;
  times.size_bytes = std::filesystem::file_size(arguments.checkpoint);
  std::vector<double> seconds;
  for (int round = 0; round < arguments.rounds; ++round) {
    const double begun = Seconds(Watch::kWall);
    VECTRON_ASSIGN_OR_RETURN(const auto loaded,
                             index::VectorIndex::Load(index.options(), arguments.checkpoint));
    seconds.push_back(Seconds(Watch::kWall) - begun);
    VECTRON_CHECK(loaded->Stats().live_count == index.Stats().live_count);
  }
  std::sort(seconds.begin(), seconds.end());
  times.load_seconds = seconds[seconds.size() / 2];
  return times;
}

// For a part of the base there is no file of the truth.
void FindTruth(const index::VectorIndex& index, Data* data) {
  index::SearchOptions search;
  search.k = kK;
  search.exact = true;
  for (size_t i = 0; i < data->query_count(); ++i) {
    data->truth.emplace_back();
    const auto hits = index.Search({data->Query(i), data->dimension}, search);
    for (const index::Hit& hit : *hits) {
      data->truth.back().push_back(static_cast<uint32_t>(hit.label));
    }
  }
}

double RecallOf(const std::vector<std::vector<uint32_t>>& found, const Data& data) {
  size_t hits = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    for (const uint32_t label : found[i]) {
      hits += std::count(data.truth[i].begin(), data.truth[i].end(), label);
    }
  }
  return static_cast<double>(hits) / static_cast<double>(kK * found.size());
}

// One pass over the queries at each beam; interleaves the contenders.
void Sweep(const Arguments& arguments, const Data& data, std::vector<Contender>* contenders) {
  const Watch watch = arguments.cpu_time ? Watch::kThread : Watch::kWall;
  for (const uint32_t ef : kEfs) {
    std::vector<std::vector<double>> qps(contenders->size());
    std::vector<double> recall(contenders->size());
    for (int round = 0; round < arguments.rounds; ++round) {
      for (size_t c = 0; c < contenders->size(); ++c) {
        const Contender& contender = (*contenders)[c];
        if (!contender.points.empty() && contender.points.back().recall > kRecallEnough) continue;
        std::vector<std::vector<uint32_t>> found(data.query_count());
        const double start = Seconds(watch);
        for (size_t i = 0; i < found.size(); ++i) contender.search(ef, data.Query(i), &found[i]);
        qps[c].push_back(static_cast<double>(found.size()) / (Seconds(watch) - start));
        recall[c] = RecallOf(found, data);
      }
    }
    for (size_t c = 0; c < contenders->size(); ++c) {
      if (qps[c].empty()) continue;
      std::sort(qps[c].begin(), qps[c].end());
      (*contenders)[c].points.push_back({ef, recall[c], qps[c][qps[c].size() / 2]});
    }
  }
}

// Between the beams on both sides of it, on a logarithmic scale; NaN outside.
double QpsAt(const Contender& contender, double recall) {
  const Point* before = nullptr;
  for (const Point& point : contender.points) {
    if (point.recall >= recall) {
      if (before == nullptr || point.recall == before->recall) return point.qps;
      const double part = (recall - before->recall) / (point.recall - before->recall);
      return std::exp(std::log(before->qps) + part * (std::log(point.qps) - std::log(before->qps)));
    }
    before = &point;
  }
  return std::nan("");
}

void PrintTable(const std::vector<Contender>& contenders) {
  for (const Contender& contender : contenders) {
    fmt::print("\n{}\n  {:>5} {:>8} {:>9}\n", contender.name, "ef", "recall", "QPS");
    for (const Point& point : contender.points) {
      fmt::print("  {:>5} {:>8.4f} {:>9.0f}\n", point.ef, point.recall, point.qps);
    }
  }
  fmt::print("\n{:<22}", "");
  for (const Contender& contender : contenders) fmt::print("{:>12}", contender.name);
  if (contenders.size() == 2) fmt::print("{:>9}", "ratio");
  const auto line = [&](const std::string& name, const std::function<double(const Contender&)>& of,
                        int digits, bool inverse) {
    fmt::print("\n{:<22}", name);
    for (const Contender& contender : contenders) fmt::print("{:>12.{}f}", of(contender), digits);
    if (contenders.size() < 2) return;
    const double ratio = of(contenders[0]) / of(contenders[1]);
    fmt::print("{:>8.2f}x", inverse ? 1 / ratio : ratio);
  };
  for (const double recall : kRecalls) {
    line(
        fmt::format("QPS at recall {:.2f}", recall),
        [&](const Contender& contender) { return QpsAt(contender, recall); }, 0, false);
  }
  line(
      "build seconds", [](const Contender& contender) { return contender.build_seconds; }, 2, true);
  line(
      "bytes per vector", [](const Contender& contender) { return contender.bytes_per_vector; }, 0,
      false);
  fmt::print("\n\nOf our build, putting took {:.2f} s.\n", contenders[0].put_seconds);
}

std::string Number(double value) {
  return std::isfinite(value) ? fmt::format("{:.6g}", value) : "null";
}

std::string Json(const Arguments& arguments, const Data& data,
                 const std::vector<Contender>& contenders,
                 const std::optional<CheckpointTimes>& checkpoint) {
  std::string text = fmt::format(
      "{{\n  \"vectors\": {}, \"dimension\": {}, \"queries\": {}, \"metric\": \"{}\", \"m\": {}, "
      "\"ef_construction\": {}, \"build_threads\": {}, \"rounds\": {}, \"clock\": \"{}\", "
      "\"kernels\": \"{}\"",
      data.count(), data.dimension, data.query_count(), arguments.metric, arguments.m,
      arguments.ef_construction, arguments.threads, arguments.rounds,
      arguments.cpu_time ? "cpu" : "wall", index::BestKernels().name);
  text += fmt::format(",\n  \"bytes_per_vector\": {}", Number(contenders[0].bytes_per_vector));
  if (contenders.size() == 2) {
    text += ",\n  \"ratio\": {";
    for (const double recall : kRecalls) {
      text += fmt::format("\"qps_at_{:.2f}\": {}, ", recall,
                          Number(QpsAt(contenders[0], recall) / QpsAt(contenders[1], recall)));
    }
    text += fmt::format("\"build\": {}}}",
                        Number(contenders[1].build_seconds / contenders[0].build_seconds));
  }
  if (checkpoint.has_value()) {
    text += fmt::format(
        ",\n  \"checkpoint\": {{\"bytes\": {}, \"write_seconds\": {}, \"load_seconds\": {}}}",
        checkpoint->size_bytes, Number(checkpoint->write_seconds),
        Number(checkpoint->load_seconds));
  }
  for (const Contender& contender : contenders) {
    text += fmt::format(
        ",\n  \"{}\": {{\"build_seconds\": {}, \"bytes_per_vector\": {}, \"points\": [",
        contender.name, Number(contender.build_seconds), Number(contender.bytes_per_vector));
    for (size_t i = 0; i < contender.points.size(); ++i) {
      const Point& point = contender.points[i];
      text += fmt::format("{}\n    {{\"ef\": {}, \"recall\": {}, \"qps\": {}}}", i > 0 ? "," : "",
                          point.ef, Number(point.recall), Number(point.qps));
    }
    text += "]}";
  }
  return text + "\n}\n";
}

Status Run(const Arguments& arguments) {
  VECTRON_ASSIGN_OR_RETURN(const Metric metric, MetricFromName(arguments.metric));
  VECTRON_RETURN_IF_ERROR(QuantizationFromName(arguments.quantization).status());
  if (metric == Metric::kManhattan && !arguments.skip_hnswlib) {
    return InvalidArgument("hnswlib has no manhattan: --skip-hnswlib");
  }
  VECTRON_ASSIGN_OR_RETURN(Data data, ReadData(arguments, metric));
  fmt::print("{} vectors, {} queries, {} dimensions, {}; kernels: {}\n", data.count(),
             data.query_count(), data.dimension, arguments.metric, index::BestKernels().name);
  std::vector<Contender> contenders;
  std::shared_ptr<index::VectorIndex> ours;
  contenders.push_back(BuildOurs(arguments, data, metric, &ours));
  fmt::print("vectron built in {:.2f} s\n", contenders[0].build_seconds);
  std::fflush(stdout);
  std::optional<CheckpointTimes> checkpoint;
  if (!arguments.checkpoint.empty()) {
    VECTRON_ASSIGN_OR_RETURN(checkpoint, MeasureCheckpoint(arguments, *ours));
    fmt::print("checkpoint of {} bytes written in {:.2f} s, loaded in {:.3f} s\n",
               checkpoint->size_bytes, checkpoint->write_seconds, checkpoint->load_seconds);
    std::fflush(stdout);
  }
  if (!arguments.skip_hnswlib) {
    contenders.push_back(BuildTheirs(arguments, data, metric));
    fmt::print("hnswlib built in {:.2f} s\n", contenders[1].build_seconds);
    std::fflush(stdout);
  }
  if (data.truth.empty()) FindTruth(*ours, &data);
  Sweep(arguments, data, &contenders);
  PrintTable(contenders);
  if (!arguments.json.empty()) {
    std::ofstream out(arguments.json);
    out << Json(arguments, data, contenders, checkpoint);
    out.close();
    if (!out.good()) return Internal(fmt::format("cannot write {}", arguments.json));
  }
  return OkStatus();
}

}  // namespace
}  // namespace vectron::bench

int main(int argc, char** argv) {
  vectron::bench::Arguments arguments;
  CLI::App app{"The vector index beside hnswlib: build time, QPS at equal recall@10, memory"};
  app.add_option("--base", arguments.base, "vectors: .fvecs or .bvecs")->required();
  app.add_option("--queries", arguments.queries, "queries: .fvecs or .bvecs")->required();
  app.add_option("--groundtruth", arguments.groundtruth,
                 "true neighbours: .ivecs (else found by scanning)");
  app.add_option("--metric", arguments.metric, "l2, cosine, dot or manhattan");
  app.add_option("--quantization", arguments.quantization, "of ours: sq8 or none");
  app.add_option("--json", arguments.json, "file for the result");
  app.add_option("--checkpoint", arguments.checkpoint,
                 "write a checkpoint of ours to this file, and time that and loading it");
  app.add_option("--limit", arguments.limit, "use the first so many vectors");
  app.add_option("--query-limit", arguments.query_limit, "use the first so many queries");
  app.add_option("--rounds", arguments.rounds, "passes at each beam; the median counts")
      ->check(CLI::Range(1, 99));
  app.add_option("--threads", arguments.threads, "threads that build")->check(CLI::Range(1, 1024));
  app.add_option("--m", arguments.m, "links a node");
  app.add_option("--ef-construction", arguments.ef_construction, "beam while building");
  app.add_flag("--skip-hnswlib", arguments.skip_hnswlib, "measure ours only");
  app.add_flag("--cpu-time", arguments.cpu_time,
               "count processor time: for a machine that is shared");
  CLI11_PARSE(app, argc, argv);
  const vectron::Status status = vectron::bench::Run(arguments);
  if (status.ok()) return 0;
  fmt::print(stderr, "index_bench: {}\n", std::string(status.message()));
  return 1;
}
