#include "index_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

namespace vectron::bench {
namespace {

constexpr double kRecalls[] = {0.90, 0.95, 0.99};

// A beam that both were measured with.
struct EqualBeam {
  uint32_t ef = 0;
  double ours = 0;
  double theirs = 0;
};

std::vector<EqualBeam> EqualBeams(const IndexReport& report) {
  std::vector<EqualBeam> beams;
  if (report.contenders.size() < 2) return beams;
  for (const Point& ours : report.contenders[0].points) {
    for (const Point& theirs : report.contenders[1].points) {
      if (ours.ef == theirs.ef) beams.push_back({ours.ef, ours.recall, theirs.recall});
    }
  }
  return beams;
}

// Ours minus theirs, where that is least; NaN if no beam is common.
double LeastDifference(const std::vector<EqualBeam>& beams) {
  double least = std::nan("");
  for (const EqualBeam& beam : beams) least = std::fmin(least, beam.ours - beam.theirs);
  return least;
}

void PrintPoints(const IndexReport& report) {
  for (const Contender& contender : report.contenders) {
    fmt::print("\n{}\n  {:>5} {:>8} {:>9}\n", contender.name, "ef", "recall", "QPS");
    for (const Point& point : contender.points) {
      fmt::print("  {:>5} {:>8.4f} {:>9.0f}\n", point.ef, point.recall, point.qps);
    }
  }
}

void PrintEqualBeams(const IndexReport& report) {
  const std::vector<EqualBeam> beams = EqualBeams(report);
  if (beams.empty()) return;
  fmt::print("\nrecall at equal ef\n  {:>5} {:>8} {:>8} {:>11}\n", "ef", "vectron", "hnswlib",
             "difference");
  for (const EqualBeam& beam : beams) {
    fmt::print("  {:>5} {:>8.4f} {:>8.4f} {:>+11.4f}\n", beam.ef, beam.ours, beam.theirs,
               beam.ours - beam.theirs);
  }
}

std::string Number(double value) {
  return std::isfinite(value) ? fmt::format("{:.6g}", value) : "null";
}

std::string ThreadsJson(const ThreadGain& gain) {
  return fmt::format("{{\"ef\": {}, \"qps_on_one\": {}, \"qps\": {}, \"ratio\": {}}}", gain.ef,
                     Number(gain.one_qps), Number(gain.many_qps), Number(gain.ratio));
}

std::string RatioJson(const IndexReport& report) {
  std::string text = "{";
  const Contender& ours = report.contenders[0];
  if (report.contenders.size() == 2) {
    const Contender& theirs = report.contenders[1];
    for (const double recall : kRecalls) {
      text += fmt::format("\"qps_at_{:.2f}\": {}, ", recall,
                          Number(QpsAt(ours, recall) / QpsAt(theirs, recall)));
    }
    text += fmt::format("\"build\": {}, \"bytes_per_vector\": {}, ",
                        Number(theirs.build_seconds / ours.build_seconds),
                        Number(ours.bytes_per_vector / theirs.bytes_per_vector));
  }
  return text + fmt::format("\"threads\": {}}}", Number(ours.threads.ratio));
}

std::string EqualBeamsJson(const std::vector<EqualBeam>& beams) {
  std::string text =
      fmt::format("{{\"least_difference\": {}, \"points\": [", Number(LeastDifference(beams)));
  for (size_t i = 0; i < beams.size(); ++i) {
    text +=
        fmt::format("{}\n    {{\"ef\": {}, \"vectron\": {}, \"hnswlib\": {}}}", i > 0 ? "," : "",
                    beams[i].ef, Number(beams[i].ours), Number(beams[i].theirs));
  }
  return text + "]}";
}

std::string ContenderJson(const Contender& contender) {
  std::string text = fmt::format(
      "{{\"build_seconds\": {}, \"bytes_per_vector\": {}, \"hot_bytes_per_vector\": {}, "
      "\"threads\": {}, \"points\": [",
      Number(contender.build_seconds), Number(contender.bytes_per_vector),
      Number(contender.hot_bytes_per_vector), ThreadsJson(contender.threads));
  for (size_t i = 0; i < contender.points.size(); ++i) {
    const Point& point = contender.points[i];
    text += fmt::format("{}\n    {{\"ef\": {}, \"recall\": {}, \"qps\": {}}}", i > 0 ? "," : "",
                        point.ef, Number(point.recall), Number(point.qps));
  }
  return text + "]}";
}

}  // namespace

void PrintTables(const IndexReport& report) {
  PrintPoints(report);
  PrintEqualBeams(report);
  const std::vector<Contender>& contenders = report.contenders;
  fmt::print("\n{:<24}", "");
  for (const Contender& contender : contenders) fmt::print("{:>12}", contender.name);
  if (contenders.size() == 2) fmt::print("{:>9}", "ratio");
  const auto line = [&](const std::string& name, const std::function<double(const Contender&)>& of,
                        int digits, bool inverse) {
    fmt::print("\n{:<24}", name);
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
      "build seconds", [](const Contender& of) { return of.build_seconds; }, 2, true);
  line(
      "bytes per vector", [](const Contender& of) { return of.bytes_per_vector; }, 0, false);
  line(
      "hot bytes per vector", [](const Contender& of) { return of.hot_bytes_per_vector; }, 0,
      false);
  line(
      fmt::format("QPS on {} threads to 1", report.search_threads),
      [](const Contender& of) { return of.threads.ratio; }, 2, false);
  fmt::print("\n");
  if (contenders.size() == 2) {
    fmt::print("{:<24}{:>+12.4f}\n", "recall, least more", LeastDifference(EqualBeams(report)));
  }
  fmt::print("\nOf our build, putting took {:.2f} s.\n", contenders[0].put_seconds);
}

std::string Json(const IndexReport& report) {
  std::string text = fmt::format(
      "{{\n  \"vectors\": {}, \"dimension\": {}, \"queries\": {}, \"metric\": \"{}\", \"m\": {}, "
      "\"ef_construction\": {}, \"build_threads\": {}, \"search_threads\": {}, \"rounds\": {}, "
      "\"clock\": \"{}\", \"isa\": \"{}\"",
      report.vectors, report.dimension, report.queries, report.metric, report.build.m,
      report.build.ef_construction, report.build.threads, report.search_threads, report.rounds,
      report.build.watch == Watch::kWall ? "wall" : "cpu", report.isa);
  text += fmt::format(",\n  \"bytes_per_vector\": {}, \"hot_bytes_per_vector\": {}",
                      Number(report.contenders[0].bytes_per_vector),
                      Number(report.contenders[0].hot_bytes_per_vector));
  text += ",\n  \"ratio\": " + RatioJson(report);
  if (report.contenders.size() == 2) {
    text += ",\n  \"recall_at_equal_ef\": " + EqualBeamsJson(EqualBeams(report));
  }
  if (report.checkpoint.has_value()) {
    text += fmt::format(
        ",\n  \"checkpoint\": {{\"bytes\": {}, \"write_seconds\": {}, \"load_seconds\": {}}}",
        report.checkpoint->size_bytes, Number(report.checkpoint->write_seconds),
        Number(report.checkpoint->load_seconds));
  }
  for (const Contender& contender : report.contenders) {
    text += fmt::format(",\n  \"{}\": {}", contender.name, ContenderJson(contender));
  }
  return text + "\n}\n";
}

}  // namespace vectron::bench
