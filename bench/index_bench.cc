// Measures the vector index beside the distribution's hnswlib: the same data,
// parameters, machine and run. Rounds of the two alternate, so that what else the
// machine does meets both. README.md says how to run it.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/thread.h"
#include "contender.h"
#include "data_set.h"
#include "index/kernels/kernels.h"
#include "index_report.h"

namespace vectron::bench {
namespace {

struct Arguments {
  DataSetFiles files;
  std::string metric = "l2";
  std::string quantization = "sq8";
  std::string json;
  std::string checkpoint;
  int rounds = 3;
  int search_threads = 2;
  BuildOptions build;
  bool skip_hnswlib = false;
  bool cpu_time = false;
};

constexpr uint32_t kEfs[] = {10, 12, 14, 16,  20,  24,  28,  32,  40,  48, 56,
                             64, 80, 96, 112, 128, 160, 192, 256, 384, 512};
// No beam is tried beyond this recall.
constexpr double kRecallEnough = 0.995;
// At the beam that reaches this, threads are added.
constexpr double kRecallOfThreads = 0.95;

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

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
  times.load_seconds = Median(seconds);
  return times;
}

// One pass over the queries at each beam; interleaves the contenders.
void Sweep(const Arguments& arguments, const DataSet& data, std::vector<Contender>* contenders) {
  const Watch watch = arguments.cpu_time ? Watch::kThread : Watch::kWall;
  for (const uint32_t ef : kEfs) {
    std::vector<std::vector<double>> qps(contenders->size());
    std::vector<double> recall(contenders->size());
    for (int round = 0; round < arguments.rounds; ++round) {
      for (size_t c = 0; c < contenders->size(); ++c) {
        const Contender& contender = (*contenders)[c];
        if (!contender.points.empty() && contender.points.back().recall > kRecallEnough) continue;
        contender.set_ef(ef);
        std::vector<std::vector<uint32_t>> found(data.query_count());
        const double start = Seconds(watch);
        for (size_t i = 0; i < found.size(); ++i) contender.search(data.Query(i), &found[i]);
        qps[c].push_back(static_cast<double>(found.size()) / (Seconds(watch) - start));
        recall[c] = RecallOf(found, data);
      }
    }
    for (size_t c = 0; c < contenders->size(); ++c) {
      if (!qps[c].empty()) (*contenders)[c].points.push_back({ef, recall[c], Median(qps[c])});
    }
  }
}

// Searches for all queries on each of `threads`, which begin at different ones. By processor
// time, as if every thread had a core to itself.
double QpsOn(int threads, Watch watch, const DataSet& data, const Contender& contender) {
  const double start = Seconds(watch);
  RunInParallel("search", threads, [&](int thread) {
    std::vector<uint32_t> labels;
    const size_t count = data.query_count();
    const size_t first = count / static_cast<size_t>(threads) * static_cast<size_t>(thread);
    for (size_t i = 0; i < count; ++i) contender.search(data.Query((first + i) % count), &labels);
  });
  const double seconds = Seconds(watch) - start;
  const double searches = static_cast<double>(data.query_count()) * threads;
  return searches / (watch == Watch::kWall ? seconds : seconds / threads);
}

// What more threads bring, at the beam that reaches kRecallOfThreads.
void AddThreads(const Arguments& arguments, const DataSet& data,
                std::vector<Contender>* contenders) {
  const Watch watch = arguments.cpu_time ? Watch::kProcess : Watch::kWall;
  std::vector<std::vector<double>> one(contenders->size());
  std::vector<std::vector<double>> many(contenders->size());
  std::vector<std::vector<double>> ratio(contenders->size());
  for (Contender& contender : *contenders) {
    for (const Point& point : contender.points) {
      contender.threads.ef = point.ef;
      if (point.recall >= kRecallOfThreads) break;
    }
    contender.set_ef(contender.threads.ef);
  }
  for (int round = 0; round < arguments.rounds; ++round) {
    for (size_t c = 0; c < contenders->size(); ++c) {
      one[c].push_back(QpsOn(1, watch, data, (*contenders)[c]));
      many[c].push_back(QpsOn(arguments.search_threads, watch, data, (*contenders)[c]));
      ratio[c].push_back(many[c].back() / one[c].back());
    }
  }
  for (size_t c = 0; c < contenders->size(); ++c) {
    ThreadGain& gain = (*contenders)[c].threads;
    gain.one_qps = Median(one[c]);
    gain.many_qps = Median(many[c]);
    gain.ratio = Median(ratio[c]);
  }
}

Status Run(Arguments arguments) {
  VECTRON_ASSIGN_OR_RETURN(arguments.build.metric, MetricFromName(arguments.metric));
  VECTRON_ASSIGN_OR_RETURN(arguments.build.quantization,
                           QuantizationFromName(arguments.quantization));
  if (arguments.build.metric == Metric::kManhattan && !arguments.skip_hnswlib) {
    return InvalidArgument("hnswlib has no manhattan: --skip-hnswlib");
  }
  arguments.build.watch = arguments.cpu_time ? Watch::kProcess : Watch::kWall;
  std::ofstream json;
  if (!arguments.json.empty()) {
    json.open(arguments.json);  // now: a run takes minutes
    if (!json) return InvalidArgument(fmt::format("cannot write {}", arguments.json));
  }
  VECTRON_ASSIGN_OR_RETURN(DataSet data, ReadDataSet(arguments.files, arguments.build.metric));
  IndexReport report{.vectors = data.count(),
                     .queries = data.query_count(),
                     .dimension = data.dimension,
                     .metric = arguments.metric,
                     .isa = index::BestKernels().name,
                     .build = arguments.build,
                     .rounds = arguments.rounds,
                     .search_threads = arguments.search_threads};
  fmt::print("{} vectors, {} queries, {} dimensions, {}; isa: {}\n", report.vectors, report.queries,
             report.dimension, report.metric, report.isa);
  std::shared_ptr<index::VectorIndex> ours;
  report.contenders.push_back(BuildOurs(arguments.build, data, &ours));
  fmt::print("vectron built in {:.2f} s\n", report.contenders[0].build_seconds);
  std::fflush(stdout);
  if (!arguments.checkpoint.empty()) {
    VECTRON_ASSIGN_OR_RETURN(report.checkpoint, MeasureCheckpoint(arguments, *ours));
    fmt::print("checkpoint of {} bytes written in {:.2f} s, loaded in {:.3f} s\n",
               report.checkpoint->size_bytes, report.checkpoint->write_seconds,
               report.checkpoint->load_seconds);
    std::fflush(stdout);
  }
  if (!arguments.skip_hnswlib) {
    report.contenders.push_back(BuildTheirs(arguments.build, data));
    fmt::print("hnswlib built in {:.2f} s\n", report.contenders[1].build_seconds);
    std::fflush(stdout);
  }
  if (data.truth.empty()) FindTruth(*ours, &data);
  Sweep(arguments, data, &report.contenders);
  AddThreads(arguments, data, &report.contenders);
  PrintTables(report);
  if (arguments.json.empty()) return OkStatus();
  json << Json(report);
  json.close();
  return json.good() ? OkStatus() : Internal(fmt::format("cannot write {}", arguments.json));
}

}  // namespace
}  // namespace vectron::bench

int main(int argc, char** argv) {
  vectron::bench::Arguments arguments;
  CLI::App app{"The vector index beside hnswlib: build time, QPS at equal recall@10, memory"};
  app.add_option("--base", arguments.files.base, "vectors: .fvecs or .bvecs")->required();
  app.add_option("--queries", arguments.files.queries, "queries: .fvecs or .bvecs")->required();
  app.add_option("--groundtruth", arguments.files.truth,
                 "true neighbours: .ivecs (else found by scanning)");
  app.add_option("--metric", arguments.metric, "l2, cosine, dot or manhattan");
  app.add_option("--quantization", arguments.quantization, "of ours: sq8 or none");
  app.add_option("--json", arguments.json, "file for the result");
  app.add_option("--checkpoint", arguments.checkpoint,
                 "write a checkpoint of ours to this file, and time that and loading it");
  app.add_option("--limit", arguments.files.base_limit, "use the first so many vectors")
      ->check(CLI::PositiveNumber);
  app.add_option("--query-limit", arguments.files.query_limit, "use the first so many queries")
      ->check(CLI::PositiveNumber);
  app.add_option("--rounds", arguments.rounds, "passes at each beam; the median counts")
      ->check(CLI::Range(1, 99));
  app.add_option("--threads", arguments.build.threads, "threads that build")
      ->check(CLI::Range(1, 1024));
  app.add_option("--search-threads", arguments.search_threads,
                 "threads whose QPS is compared with that of one")
      ->check(CLI::Range(1, 1024));
  app.add_option("--m", arguments.build.m, "links a node")
      ->check(CLI::Range(vectron::index::kMMin, vectron::index::kMMax));
  app.add_option("--ef-construction", arguments.build.ef_construction, "beam while building")
      ->check(CLI::Range(1u, vectron::index::kEfConstructionMax));
  app.add_flag("--skip-hnswlib", arguments.skip_hnswlib, "measure ours only");
  app.add_flag("--cpu-time", arguments.cpu_time,
               "count processor time: for a machine that is shared");
  CLI11_PARSE(app, argc, argv);
  const vectron::Status status = vectron::bench::Run(arguments);
  if (status.ok()) return 0;
  fmt::print(stderr, "index_bench: {}\n", std::string(status.message()));
  return 1;
}
