// Names of states, and the status in the text format of Prometheus: a name, labels, a number. In
// the value of a label, backslash, quote and line feed are escaped.

#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include "cairn/live.h"
#include "format/digest.h"
#include "lib/try.h"

namespace cairn {
namespace {

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    out += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return out;
}

std::string seconds(std::chrono::nanoseconds time) {
  return std::to_string(std::chrono::duration<double>(time).count());
}

class Text {
 public:
  void declare(std::string_view name, std::string_view type, std::string_view help) {
    name_ = "cairn_live_" + std::string(name);
    text_ += "# HELP " + name_ + " " + std::string(help) + "\n# TYPE " + name_ + " " +
             std::string(type) + "\n";
  }
  void sample(std::string_view labels, std::string_view value) {
    text_ += name_;
    if (!labels.empty()) text_ += "{" + std::string(labels) + "}";
    text_ += " " + std::string(value) + "\n";
  }
  void one(std::string_view name, std::string_view type, std::string_view help,
           std::uint64_t value) {
    declare(name, type, help);
    sample({}, std::to_string(value));
  }
  std::string take() { return std::move(text_); }

 private:
  std::string name_;
  std::string text_;
};

std::string text_of(const LiveStatus& status) {
  Text text;
  text.declare("checkpoint_info", "gauge", "The checkpoint that is published.");
  if (status.generation != 0) {
    text.sample("prefix=\"" + escaped(status.prefix.string()) + "\",digest=\"" +
                    (status.digest ? format::hex(status.digest->bytes) : std::string()) + "\"",
                "1");
  }
  text.declare("state", "gauge", "What is done at present.");
  for (const LiveState state : {LiveState::Idle, LiveState::Opening, LiveState::Checking,
                                LiveState::Populating, LiveState::Preparing})
    text.sample("state=\"" + std::string(name(state)) + "\"", status.state == state ? "1" : "0");
  text.one("generation", "gauge", "The number of the published checkpoint; 0: none.",
           status.generation);
  text.one("swaps_total", "counter", "Checkpoints that were published.", status.swap_count);
  text.one("rejected_total", "counter", "Checkpoints that were rejected.", status.rejected_count);
  text.one("rollbacks_total", "counter", "Rollbacks.", status.rollback_count);
  text.one("released_total", "counter", "Checkpoints whose pages were given back.",
           status.released_count);
  text.one("retired", "gauge", "Earlier checkpoints that snapshots still hold.",
           status.retired_count);
  text.one("quarantined", "gauge", "Checkpoints in quarantine.", status.quarantine.size());
  text.one("checked_bytes_total", "counter", "Bytes that were read and checked.",
           status.checked_bytes);
  text.one("populated_bytes_total", "counter", "Bytes whose pages were brought in.",
           status.populated_bytes);
  text.declare("last_swap_seconds", "gauge", "How long the steps of the last swap took.");
  const SwapTimes& times = status.last_swap;
  for (const auto& [step, time] :
       {std::pair("open", times.open), std::pair("check", times.check),
        std::pair("populate", times.populate), std::pair("prepare", times.prepare)})
    text.sample("step=\"" + std::string(step) + "\"", seconds(time));
  return text.take();
}

}  // namespace

std::string_view name(LiveState state) noexcept {
  switch (state) {
    case LiveState::Idle:
      return "idle";
    case LiveState::Opening:
      return "opening";
    case LiveState::Checking:
      return "checking";
    case LiveState::Populating:
      return "populating";
    case LiveState::Preparing:
      return "preparing";
  }
  return "unknown";
}

Result<std::string> prometheus_text(const LiveStatus& status) noexcept {
  return at_boundary([&]() -> Result<std::string> { return text_of(status); });
}

}  // namespace cairn
