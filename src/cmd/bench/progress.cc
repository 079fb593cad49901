#include "cmd/bench/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace vectron::cmd {
namespace {

constexpr Duration kRedraw = std::chrono::milliseconds(100);
constexpr Duration kLineEvery = std::chrono::seconds(5);
constexpr int kBarWidth = 30;

std::string Bar(double fraction) {
  const int full = static_cast<int>(fraction * kBarWidth);
  return std::string(static_cast<size_t>(full), '#') +
         std::string(static_cast<size_t>(kBarWidth - full), '.');
}

}  // namespace

Progress::Progress(std::string label, std::string unit, uint64_t total, bool quiet)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      quiet_(quiet),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(SystemClock().Now()),
      next_draw_(start_ + (terminal_ ? kRedraw : kLineEvery)) {}

Progress::~Progress() {
  MutexLock lock(mutex_);
  if (quiet_) return;
  Draw(SystemClock().Now());
  if (terminal_) fmt::print(stderr, "\n");
}

void Progress::Update(uint64_t done) {
  MutexLock lock(mutex_);
  done_ = std::max(done_, done);
  const TimePoint now = SystemClock().Now();
  if (quiet_ || now < next_draw_) return;
  next_draw_ = now + (terminal_ ? kRedraw : kLineEvery);
  Draw(now);
}

void Progress::Draw(TimePoint now) {
  const double seconds = std::max(1e-9, std::chrono::duration<double>(now - start_).count());
  const double rate = static_cast<double>(done_) / seconds;
  std::string line = label_ + " ";
  if (total_ != 0) {
    const double fraction = std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_));
    if (terminal_) line += fmt::format("[{}] ", Bar(fraction));
    line += fmt::format("{:3.0f}% ", fraction * 100);
  }
  line += fmt::format("{} {}, {:.0f}/s, {:.1f} s", done_, unit_, rate, seconds);
  if (terminal_) {
    fmt::print(stderr, "\r\x1b[K{}", line);
    std::fflush(stderr);
  } else {
    fmt::print(stderr, "{}\n", line);
  }
}

}  // namespace vectron::cmd
