#include "cmd/bench/bench_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "cmd/bench/ground_truth.h"
#include "cmd/exit_codes.h"

namespace vectron::cmd {
namespace {

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
      ->capture_default_str();
  command->add_flag("--quiet", flags->options.quiet, "no progress");
  command->callback([flags, exit_code] {
    const auto metric = MetricFromName(flags->metric);
    if (!metric.ok()) {
      *exit_code = ReportError(metric.status());
      return;
    }
    flags->options.metric = *metric;
    const Status status = ComputeGroundTruth(flags->options);
    if (!status.ok()) *exit_code = ReportError(status);
  });
}

}  // namespace

void AddBenchCommand(CLI::App* app, int* exit_code) {
  CLI::App* bench = app->add_subcommand("bench", "Generate load and measure, over gRPC");
  bench->require_subcommand(1);
  AddGroundTruth(bench, exit_code);
}

}  // namespace vectron::cmd
