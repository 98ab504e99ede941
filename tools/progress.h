#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

#include "cairn/exec_options.h"

namespace cairn::tools {

// A bar on stderr for what takes longer than a second; nothing where stderr is no terminal, or one
// that cannot clear a line (TERM=dumb). It has no colours, so NO_COLOR changes nothing. It takes
// itself away when it goes out of scope.
class ProgressBar {
 public:
  explicit ProgressBar(std::string label);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // The options for one call of the library that this bar follows, and that Ctrl-C stops. The bar
  // must outlive the call.
  ExecOptions exec(unsigned threads);

 private:
  void show(const Progress& progress);

  std::string label_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::optional<std::size_t> columns_;  // of the terminal; nothing: no bar
  bool shown_ = false;
};

}  // namespace cairn::tools
