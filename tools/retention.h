#pragma once

// The options by which save and prune are told which checkpoints stay.

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "cairn/error.h"
#include "cairn/saver.h"
#include "command_line.h"

namespace cairn::tools {

enum class Policy { Newest, TensorFlowSaver, TensorFlowManager };

struct RetentionOptions {
  Policy policy = Policy::Newest;
  std::uint64_t max_to_keep = 5;  // 0: all
  double keep_every_hours = 0;    // 0: none for that
  std::vector<std::uint64_t> every_steps;
  std::vector<std::string> best;  // METRIC:N, or METRIC:N:highest
};

void add_retention(CommandLine& line, RetentionOptions& options);

// Errors: Invalid (a --best that is none). Whether the rules go together, Saver::open says.
Result<std::vector<Retention>> rules_of(const RetentionOptions& options);

Argument add_lock_wait(CommandLine& line, std::chrono::milliseconds& wait);

}  // namespace cairn::tools
