// usage: open_file < PATHS
//
// Reads a path on each line, and answers with the microseconds that Checkpoint::open of it takes:
// the mean over 20 ms. formats.py asks it and the real libraries in turn.

#include <chrono>
#include <cstdio>
#include <iostream>
#include <string>

#include "cairn/checkpoint.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr Clock::duration kMeasured = std::chrono::milliseconds(20);

// Closing is not timed.
cairn::Result<double> mean_us(const std::string& path) {
  Clock::duration spent{};
  int opened = 0;
  while (spent < kMeasured) {
    const Clock::time_point start = Clock::now();
    const auto checkpoint = cairn::Checkpoint::open(path);
    spent += Clock::now() - start;
    if (!checkpoint) return checkpoint.error();
    ++opened;
  }
  return std::chrono::duration<double, std::micro>(spent).count() / opened;
}

}  // namespace

int main() {
  for (std::string path; std::getline(std::cin, path);) {
    const auto answer = mean_us(path);
    if (answer) {
      std::printf("%.3f\n", *answer);
    } else {
      std::printf("error: %s\n", answer.error().what.c_str());
    }
    std::fflush(stdout);
  }
  return 0;
}
