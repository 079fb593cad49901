#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <string>

namespace vectron {

// The process's metrics: one prometheus registry, handed to what reports.
// Metric objects are thread-safe and live as long as the registry; look them up
// once and keep the reference, a look-up takes a lock. Names begin with
// "vectron_", units last (_seconds, _bytes, _total).
using MetricsRegistry = prometheus::Registry;

// Upper bounds, in seconds, from 50 us to 10 s: for request latencies.
prometheus::Histogram::BucketBoundaries LatencyBuckets();

// The text exposition format (version 0.0.4) of all metrics.
std::string RenderMetrics(const MetricsRegistry& registry);

}  // namespace vectron
