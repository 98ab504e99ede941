#pragma once

// Counts of requests and a histogram of their times, for Prometheus and for the page.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

class Metrics {
 public:
  // An answer was sent. A path that the server does not have counts as "other".
  void count(std::string_view path, int status);

  // An /embed took so long, from the whole body to the whole answer.
  void observe(std::chrono::nanoseconds time);

  std::string prometheus_text() const;

  // {"bounds_seconds": [...], "counts": [...]}; the last count is of what is above all bounds.
  std::string histogram_json() const;

 private:
  static constexpr std::array kBoundsMicroseconds{50,      100,     250,     500,      1000,
                                                  2500,    5000,    10'000,  25'000,   50'000,
                                                  100'000, 250'000, 500'000, 1'000'000};
  static constexpr std::array<std::string_view, 8> kPaths{
      "/embed",  "/healthz",         "/readyz",  "/metrics",
      "/models", "/models/rollback", "/tensors", "other"};
  static constexpr std::size_t kClasses = 6;  // 2xx is the class 2

  std::array<std::array<std::atomic<std::uint64_t>, kClasses>, kPaths.size()> requests_{};
  std::array<std::atomic<std::uint64_t>, kBoundsMicroseconds.size() + 1> buckets_{};
  std::atomic<std::uint64_t> nanoseconds_{0};
};
