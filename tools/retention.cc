#include "retention.h"

#include <fmt/format.h>

#include <charconv>
#include <map>
#include <optional>
#include <string_view>

#include "verb.h"

namespace cairn::tools {
namespace {

constexpr double kLockWaitSecondsMax = 1e9;  // some decades; beyond it is for ever

// What follows the last ':' of `text`, which loses it. Nothing: there is no ':'.
std::optional<std::string_view> cut_last(std::string_view& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view last = text.substr(colon + 1);
  text = text.substr(0, colon);
  return last;
}

// Unchecked, -1 is taken for the largest number that there is.
std::string not_negative(const std::string& word) {
  return word.starts_with('-') ? "'" + word + "' is negative" : "";
}

// Nothing: the word says no such time.
std::optional<std::chrono::milliseconds> parse_wait(const std::string& word) {
  using std::chrono::milliseconds;
  double seconds = -1;
  const char* const end = word.data() + word.size();
  const auto parsed = std::from_chars(word.data(), end, seconds);
  if (parsed.ec != std::errc() || parsed.ptr != end || !(seconds >= 0)) return std::nullopt;
  if (seconds > kLockWaitSecondsMax) return milliseconds::max();
  return std::chrono::ceil<milliseconds>(std::chrono::duration<double>(seconds));
}

Result<Retention> parse_best(const std::string& word) {
  std::string_view metric = word;
  auto order = Retention::Order::Lowest;
  auto last = cut_last(metric);
  if (last == "highest" || last == "lowest") {
    if (last == "highest") order = Retention::Order::Highest;
    last = cut_last(metric);
  }
  std::uint64_t count = 0;
  const std::string_view digits = last.value_or("");
  const char* const end = digits.data() + digits.size();
  const auto parsed = std::from_chars(digits.data(), end, count);
  if (digits.empty() || parsed.ec != std::errc() || parsed.ptr != end || count == 0) {
    return Error{
        Code::Invalid, 0,
        fmt::format("--best: '{}' is neither METRIC:N nor METRIC:N:highest, N at least 1", word)};
  }
  return Retention::best_by(std::string(metric), order, count);
}

}  // namespace

void add_retention(CommandLine& line, RetentionOptions& options) {
  const std::map<std::string, Policy> policies = {{"newest", Policy::Newest},
                                                  {"saver", Policy::TensorFlowSaver},
                                                  {"manager", Policy::TensorFlowManager}};
  line.add("--max-to-keep", options.max_to_keep, "K", "Keep the K newest checkpoints (5); 0: all")
      .check(not_negative);
  line.add("--keep-every", options.keep_every_hours, "HOURS",
           "Also keep one checkpoint for every HOURS");
  line.add("--every-steps", options.every_steps, "N",
           "Also keep checkpoints whose step is a multiple of N")
      .one_word()
      .check(not_negative);
  line.add("--best", options.best, "METRIC:N",
           "Also keep the N checkpoints with the lowest METRIC\n"
           "(METRIC:N:highest: with the highest)")
      .one_word();
  line.add_choice("--policy", options.policy, policies, "POLICY",
                  "newest (the rules above together), or TensorFlow's own\n"
                  "algorithm of K and HOURS: saver (tf.compat.v1.train.Saver) or\n"
                  "manager (tf.train.CheckpointManager)");
}

Result<std::vector<Retention>> rules_of(const RetentionOptions& options) {
  std::vector<Retention> rules;
  const std::uint64_t count = options.max_to_keep;
  const double hours = options.keep_every_hours;
  if (options.policy == Policy::TensorFlowSaver) {
    rules.push_back(Retention::tensorflow_saver(count, hours));
  } else if (options.policy == Policy::TensorFlowManager) {
    rules.push_back(Retention::tensorflow_manager(count, hours));
  } else {
    rules.push_back(Retention::newest(count));
    if (hours != 0) rules.push_back(Retention::every_hours(hours));
  }
  for (const std::uint64_t steps : options.every_steps)
    rules.push_back(Retention::every_steps(steps));
  for (const std::string& word : options.best) {
    auto rule = parse_best(word);
    if (!rule) return std::move(rule).error();
    rules.push_back(*std::move(rule));
  }
  // Where the newest ones all stay, there is nothing that the other rules could add.
  if (options.policy == Policy::Newest && count == 0) rules.clear();
  return rules;
}

Argument add_lock_wait(CommandLine& line, std::chrono::milliseconds& wait) {
  const auto take = [&wait](const std::string& word) { wait = *parse_wait(word); };
  const auto why_not = [](const std::string& word) {
    return parse_wait(word) ? "" : "'" + word + "' is neither seconds, 0 or more, nor inf";
  };
  return line
      .add_call<std::string>("--lock-wait", take, "SECONDS",
                             "How long to wait for another writer (30; 0: not at all; inf: for\n"
                             "ever)")
      .check(why_not);
}

}  // namespace cairn::tools
