#include "cmd/bench/bench_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "cmd/bench/ground_truth.h"
#include "cmd/bench/ingest.h"
#include "cmd/bench/rpc_baseline.h"
#include "cmd/bench/search.h"
#include "cmd/bench/verify.h"
#include "cmd/exit_codes.h"

namespace vectron::cmd {
namespace {

constexpr char kDefaultServer[] = "127.0.0.1:6334";
constexpr char kDefaultCollection[] = "bench";

Duration FromSeconds(double seconds) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

void AddServerFlag(CLI::App* command, std::string* server) {
  *server = kDefaultServer;
  command->add_option("--server", *server, "gRPC address")
      ->type_name("HOST:PORT")
      ->capture_default_str();
}

void AddLoadFlags(CLI::App* command, LoadOptions* load) {
  command->add_option("--clients", load->client_count, "connections, one request under way on each")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command
      ->add_option("--server-pid", load->server_pid, "measure the CPU time of this process as well")
      ->type_name("PID");
}

void SetExitCode(const Status& status, int* exit_code) {
  *exit_code = status.ok() ? kExitOk : ReportError(status);
}

void AddIngest(CLI::App* bench, int* exit_code) {
  struct Flags {
    IngestOptions options;
    std::string metric = "l2";
    std::string quantization = "sq8";
    double retry_seconds = 0;
  };
  auto flags = std::make_shared<Flags>();
  IngestOptions& options = flags->options;
  options.load.client_count = 8;
  options.collection.name = kDefaultCollection;
  options.collection.vectors.resize(1);
  HnswConfig& hnsw = options.collection.vectors.front().hnsw;
  CLI::App* command = bench->add_subcommand("ingest", "Store the vectors of a file");
  AddServerFlag(command, &options.server);
  command->add_option("--input", options.input_path, "vectors, .fvecs or .bvecs; ids are rows")
      ->required();
  command->add_option("--collection", options.collection.name, "where to")->capture_default_str();
  command->add_option("--first-row", options.first_row, "row to begin at")->capture_default_str();
  command->add_option("--rows", options.row_count, "how many; 0: all")->capture_default_str();
  command->add_option("--batch", options.batch_size, "points in one request")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  AddLoadFlags(command, &options.load);
  command
      ->add_option("--rate", options.points_per_second,
                   "open loop: points a second; 0: as fast as acknowledged")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_flag("--payload", options.payload, "give each point a payload that can be checked");
  command
      ->add_option("--retry-seconds", flags->retry_seconds,
                   "retry for this long when the server is gone or slow")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_flag("--stop-on-error", options.load.stop_on_error, "end at the first failed batch");
  command->add_flag("--create", options.create, "make the collection, with the settings below");
  command->add_option("--metric", flags->metric, "l2, cosine or dot")->capture_default_str();
  command->add_option("--quantization", flags->quantization, "sq8 or none")->capture_default_str();
  command->add_option("--m", hnsw.m, "links of a point")->capture_default_str();
  command->add_option("--ef-construction", hnsw.ef_construction, "search breadth when linking")
      ->capture_default_str();
  command->add_option("--shards", options.collection.shard_count, "0: one for each worker")
      ->capture_default_str();
  command->add_flag("--wait-indexed", options.wait_indexed,
                    "wait until all is linked, and time it");
  command->add_option("--ack-log", options.ack_log_path,
                      "append which rows were acknowledged to this file, for bench verify");
  command->add_flag("--quiet", options.quiet, "no progress");
  command->callback([flags, exit_code] {
    const auto metric = MetricFromName(flags->metric);
    const auto quantization = QuantizationFromName(flags->quantization);
    for (const Status& status : {metric.status(), quantization.status()}) {
      if (!status.ok()) return SetExitCode(status, exit_code);
    }
    const Status served = ValidateServedMetric(*metric);
    if (!served.ok()) return SetExitCode(served, exit_code);
    VectorConfig& vector = flags->options.collection.vectors.front();
    vector.metric = *metric;
    vector.quantization = *quantization;
    flags->options.retry =
        std::chrono::duration_cast<std::chrono::milliseconds>(FromSeconds(flags->retry_seconds));
    SetExitCode(RunIngest(flags->options), exit_code);
  });
}

void AddSearch(CLI::App* bench, int* exit_code) {
  struct Flags {
    SearchOptions options;
    double duration_seconds = 0;
  };
  auto flags = std::make_shared<Flags>();
  SearchOptions& options = flags->options;
  options.collection = kDefaultCollection;
  CLI::App* command =
      bench->add_subcommand("search", "Search for the vectors of a file; measure speed and recall");
  AddServerFlag(command, &options.server);
  command->add_option("--queries", options.query_path, "queries, .fvecs or .bvecs")->required();
  command->add_option("--groundtruth", options.ground_truth_path,
                      "true neighbours, .ivecs, to measure recall against");
  command->add_option("--collection", options.collection, "where")->capture_default_str();
  command->add_option("--query-count", options.query_count, "the file's first rows; 0: all")
      ->capture_default_str();
  command->add_option("--k", options.k, "neighbours to find")->capture_default_str();
  CLI::Option* ef = command->add_option("--ef", options.ef, "search breadth; 0: the collection's")
                        ->capture_default_str();
  CLI::Option* sweep =
      command->add_option("--ef-sweep", options.ef_sweep, "measure each of these")->delimiter(',');
  command
      ->add_option("--target-recall", options.target_recall,
                   "find the smallest ef that reaches it, and measure that")
      ->check(CLI::Range(0.0, 1.0))
      ->excludes(ef)
      ->excludes(sweep);
  command->add_flag("--exact", options.exact, "compare with every point");
  command->add_flag("--with-payload", options.with_payload, "fetch payloads");
  AddLoadFlags(command, &options.load);
  command
      ->add_option("--count", options.load.op_count,
                   "searches; 0: each query once, unless --duration says how long")
      ->capture_default_str();
  command->add_option("--duration", flags->duration_seconds, "seconds; queries repeat")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--rate", options.load.ops_per_second,
                   "open loop: searches a second, latency from when each was due; 0: closed")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--warm-up", options.warm_up_count, "searches before the measured ones")
      ->capture_default_str();
  command->add_option("--dump", options.dump_path, "write ids and scores to this file, JSON lines");
  command->add_flag("--quiet", options.quiet, "no progress");
  command->callback([flags, exit_code] {
    flags->options.load.duration = FromSeconds(flags->duration_seconds);
    SetExitCode(RunSearch(flags->options), exit_code);
  });
}

void AddRpcBaseline(CLI::App* bench, int* exit_code) {
  struct Flags {
    RpcBaselineOptions options;
    double duration_seconds = 0;
  };
  auto flags = std::make_shared<Flags>();
  RpcBaselineOptions& options = flags->options;
  options.load.op_count = 10'000;
  CLI::App* command = bench->add_subcommand("rpc", "Measure what an empty RPC costs");
  AddServerFlag(command, &options.server);
  AddLoadFlags(command, &options.load);
  command->add_option("--count", options.load.op_count, "calls")->capture_default_str();
  command->add_option("--rate", options.load.ops_per_second, "open loop: calls a second; 0: closed")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->callback([flags, exit_code] { SetExitCode(RunRpcBaseline(flags->options), exit_code); });
}

void AddVerify(CLI::App* bench, int* exit_code) {
  auto options = std::make_shared<VerifyOptions>();
  options->collection = kDefaultCollection;
  CLI::App* command = bench->add_subcommand(
      "verify", "Check that a collection has all that was acknowledged, and nothing else");
  AddServerFlag(command, &options->server);
  command->add_option("--input", options->input_path, "the file that was ingested")->required();
  command->add_option("--ack-log", options->ack_log_paths, "what bench ingest --ack-log wrote")
      ->required();
  command->add_option("--collection", options->collection, "where")->capture_default_str();
  command->add_flag("--payload", options->payload, "it was ingested with --payload");
  command->add_option("--searches", options->search_count, "points to search for")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "of their choice")->capture_default_str();
  command->add_flag("--quiet", options->quiet, "no progress");
  command->callback([options, exit_code] { SetExitCode(RunVerify(*options), exit_code); });
}

void AddGroundTruth(CLI::App* bench, int* exit_code) {
  struct Flags {
    GroundTruthOptions options;
    std::string metric = "l2";
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = bench->add_subcommand(
      "groundtruth", "Compute exact nearest neighbours of query vectors (no server needed)");
  command->add_option("--base", flags->options.base_path, "vectors, .fvecs or .bvecs")->required();
  command->add_option("--queries", flags->options.query_path, "queries, .fvecs or .bvecs")
      ->required();
  command->add_option("--out", flags->options.out_path, "result, .ivecs")->required();
  command->add_option("--metric", flags->metric, "l2, cosine or dot")->capture_default_str();
  command->add_option("--k", flags->options.k, "neighbours a query")->capture_default_str();
  command->add_option("--threads", flags->options.thread_count, "0: one a core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command->add_flag("--quiet", flags->options.quiet, "no progress");
  command->callback([flags, exit_code] {
    const auto metric = MetricFromName(flags->metric);
    if (!metric.ok()) return SetExitCode(metric.status(), exit_code);
    const Status served = ValidateServedMetric(*metric);
    if (!served.ok()) return SetExitCode(served, exit_code);
    flags->options.metric = *metric;
    SetExitCode(ComputeGroundTruth(flags->options), exit_code);
  });
}

}  // namespace

void AddBenchCommand(CLI::App* app, int* exit_code) {
  CLI::App* bench = app->add_subcommand("bench", "Generate load and measure, over gRPC");
  bench->require_subcommand(1);
  AddIngest(bench, exit_code);
  AddSearch(bench, exit_code);
  AddRpcBaseline(bench, exit_code);
  AddVerify(bench, exit_code);
  AddGroundTruth(bench, exit_code);
}

}  // namespace vectron::cmd
