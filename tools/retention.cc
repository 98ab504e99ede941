#include "retention.h"

#include <fmt/format.h>

#include <charconv>
#include <map>
#include <optional>
#include <string_view>

#include "verb.h"

namespace cairn::tools {
namespace {

constexpr double kLockWaitSecondsMax = 1e6;  // some days; its nanoseconds fit 64 bits

// What follows the last ':' of `text`, which loses it. Nothing: there is no ':'.
std::optional<std::string_view> cut_last(std::string_view& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view last = text.substr(colon + 1);
  text = text.substr(0, colon);
  return last;
}

// CLI11 takes -1 for the largest number that there is.
std::string not_negative(const std::string& word) {
  return word.starts_with('-') ? "'" + word + "' is negative" : "";
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

void add_retention(CLI::App& app, RetentionOptions& options) {
  const std::map<std::string, Policy> policies = {{"newest", Policy::Newest},
                                                  {"saver", Policy::TensorFlowSaver},
                                                  {"manager", Policy::TensorFlowManager}};
  app.add_option("--max-to-keep", options.max_to_keep,
                 "How many of the newest checkpoints stay (5); 0: all")
      ->type_name("K")
      ->check(not_negative);
  app.add_option("--keep-every", options.keep_every_hours, "One for every so many hours stays too")
      ->type_name("HOURS");
  app.add_option("--every-steps", options.every_steps,
                 "Those whose step is a multiple of N stay too")
      ->type_name("N")
      ->allow_extra_args(false)
      ->check(not_negative);
  app.add_option("--best", options.best,
                 "The N best by a metric stay too, lowest first unless\n"
                 "METRIC:N:highest is said")
      ->type_name("METRIC:N")
      ->allow_extra_args(false);
  add_choice(app, "--policy", options.policy, policies)
      ->description(
          "newest (the rules above together), or TensorFlow's own\n"
          "algorithm of K and HOURS: saver (tf.compat.v1.train.Saver) or\n"
          "manager (tf.train.CheckpointManager)")
      ->type_name("POLICY");
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

void add_lock_wait(CLI::App& app, std::chrono::milliseconds& wait) {
  app.add_option_function<double>(
         "--lock-wait",
         [&wait](double seconds) {
           wait = std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::duration<double>(seconds));
         },
         "How long to wait for another writer (0: not at all)")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, kLockWaitSecondsMax).description(""));
}

}  // namespace cairn::tools
