#pragma once

#include <chrono>
#include <string>

#include "cairn/exec_options.h"

namespace cairn::tools {

// A bar on stderr for what takes longer than a second; nothing where stderr is no terminal. It
// takes itself away when it goes out of scope.
class ProgressBar {
 public:
  explicit ProgressBar(std::string label);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // The Work for one call of the library that this bar follows, and that Ctrl-C stops. The bar must
  // outlive the call.
  ExecOptions exec(unsigned threads);

 private:
  void show(const Progress& progress);

  std::string label_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  bool terminal_;
  bool shown_ = false;
};

}  // namespace cairn::tools
