#include "progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "interruption.h"
#include "output.h"
#include "terminal.h"

namespace cairn::tools {
namespace {

constexpr std::size_t kBarWidth = 30;
constexpr const char* kClearLine = "\r\x1b[K";

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

ProgressBar::ProgressBar(std::string label)
    : label_(std::move(label)), columns_(columns_of_bars()) {}

ProgressBar::~ProgressBar() {
  if (shown_) print_to_stderr(kClearLine);
}

ExecOptions ProgressBar::exec(unsigned threads) {
  ExecOptions exec;
  exec.threads_max = threads;
  exec.stop = stopped_by_signals();
  if (columns_) exec.progress = [this](const Progress& progress) { show(progress); };
  return exec;
}

void ProgressBar::show(const Progress& progress) {
  const double seconds = seconds_since(start_);
  if (seconds < 1 || progress.total_bytes == 0) return;
  const double share = std::min(
      1.0, static_cast<double>(progress.done_bytes) / static_cast<double>(progress.total_bytes));
  const auto full = static_cast<std::size_t>(share * static_cast<double>(kBarWidth));
  const double gigabytes_per_s = static_cast<double>(progress.done_bytes) / 1e9 / seconds;
  const std::string bar = fmt::format("[{:#<{}}{:.<{}}] {:3.0f} %  {:.2f} GB/s", "", full, "",
                                      kBarWidth - full, share * 100, gigabytes_per_s);
  // A line that does not fit would be two, of which the next one clears the second.
  const std::size_t taken = bar.size() + 2;
  const std::string label = shortened(safe(label_), *columns_ > taken ? *columns_ - taken : 0);
  print_to_stderr(fmt::format("{}{} {}", kClearLine, label, bar));
  shown_ = true;
}

}  // namespace cairn::tools
