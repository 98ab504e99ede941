// The labels are words of this file: nothing that a client sends becomes a label.

#include "metrics.h"

#include <algorithm>

#include "json.h"

void Metrics::count(std::string_view path, int status) {
  const auto found = std::find(kPaths.begin(), kPaths.end() - 1, path);
  const auto row = static_cast<std::size_t>(found - kPaths.begin());
  ++requests_[row][static_cast<std::size_t>(std::clamp(status / 100, 0, 5))];
}

void Metrics::observe(std::chrono::nanoseconds time) {
  const auto after =
      std::find_if(kBoundsMicroseconds.begin(), kBoundsMicroseconds.end(),
                   [&](int bound) { return time <= std::chrono::microseconds(bound); });
  ++buckets_[static_cast<std::size_t>(after - kBoundsMicroseconds.begin())];
  nanoseconds_ += static_cast<std::uint64_t>(time.count());
}

std::string Metrics::prometheus_text() const {
  std::string out =
      "# HELP embedding_server_requests_total Answers, by path and class of the status.\n"
      "# TYPE embedding_server_requests_total counter\n";
  for (std::size_t row = 0; row < kPaths.size(); ++row)
    for (std::size_t status = 1; status < kClasses; ++status)
      if (const auto count = requests_[row][status].load())
        out += "embedding_server_requests_total{path=\"" + std::string(kPaths[row]) +
               "\",status=\"" + std::to_string(status) + "xx\"} " + std::to_string(count) + "\n";
  out +=
      "# HELP embedding_server_embed_seconds How long /embed took.\n"
      "# TYPE embedding_server_embed_seconds histogram\n";
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    sum += buckets_[i].load();
    const std::string bound =
        i < kBoundsMicroseconds.size() ? json_number(kBoundsMicroseconds[i] / 1e6) : "+Inf";
    out +=
        "embedding_server_embed_seconds_bucket{le=\"" + bound + "\"} " + std::to_string(sum) + "\n";
  }
  out += "embedding_server_embed_seconds_sum " +
         json_number(static_cast<double>(nanoseconds_.load()) / 1e9) + "\n";
  return out + "embedding_server_embed_seconds_count " + std::to_string(sum) + "\n";
}

std::string Metrics::histogram_json() const {
  return "{\"bounds_seconds\":" +
         json_array(kBoundsMicroseconds, [](int bound) { return json_number(bound / 1e6); }) +
         ",\"counts\":" +
         json_array(
             buckets_,
             [](const std::atomic<std::uint64_t>& count) { return std::to_string(count.load()); }) +
         "}";
}
