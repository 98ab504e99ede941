#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cairn/catalog.h"
#include "cairn/checkpoint.h"
#include "output.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Print the catalog of a directory (its file 'checkpoint'): the checkpoints it names, oldest "
    "first,\n"
    "which one it calls the latest, and of each whether its indexes are valid and its shards all\n"
    "there. Reads indexes, not tensors; 'cairn verify' reads those.";

constexpr const char* kFooter =
    "Exit status: 0 printed, 1 there is no catalog, 2 it could not be read.\n\n"
    "JSON: {\"latest\",\"latest_whole\",\"checkpoints\":[{\"prefix\",\"whole\",\"why\"}]}, where "
    "latest_whole\n"
    "is the newest that is whole, and why is null for what is.\n\n"
    "Example:\n"
    "  cairn state saved --json | jq -r .latest_whole";

struct Entry {
  std::string prefix;
  std::optional<std::string> why;  // nothing: it is whole
};

struct State {
  std::optional<std::string> latest;
  std::optional<std::string> latest_whole;
  std::vector<Entry> entries;
};

// What was passed over on the way to the newest whole one has been looked at already.
Entry look_at(const std::filesystem::path& prefix, const LatestWhole& whole) {
  for (const PassedOver& passed : whole.passed_over) {
    if (passed.prefix == prefix) return {prefix.native(), passed.why};
  }
  OpenOptions options;
  options.verify = Verify::None;
  const auto checkpoint = Checkpoint::open(prefix, options);
  if (checkpoint) return {prefix.native(), std::nullopt};
  return {prefix.native(), checkpoint.error().what};
}

Result<State> read_state(const std::string& dir) {
  const auto catalog = get_checkpoint_state(dir);
  if (!catalog) return catalog.error();
  if (!catalog->has_value()) return State{};
  const auto whole = latest_whole(dir);
  if (!whole) return whole.error();
  State state;
  state.latest = (*catalog)->model_checkpoint_path.native();
  if (whole->prefix) state.latest_whole = whole->prefix->native();
  for (const auto& prefix : (*catalog)->all_model_checkpoint_paths) {
    state.entries.push_back(look_at(prefix, *whole));
  }
  return state;
}

void print_json(const State& state) {
  Json json;
  json.begin_object().text_or_null("latest", state.latest);
  json.text_or_null("latest_whole", state.latest_whole);
  json.begin_array("checkpoints");
  for (const Entry& entry : state.entries) {
    json.begin_object().text("prefix", entry.prefix).flag("whole", !entry.why);
    json.text_or_null("why", entry.why).end_object();
  }
  json.end_array().end_object().finish();
}

void print_text(const State& state) {
  print(fmt::format("latest:       {}\n", safe(*state.latest)));
  print(fmt::format("latest whole: {}\n", safe(state.latest_whole.value_or("none"))));
  std::size_t width = 0;
  for (const Entry& entry : state.entries) width = std::max(width, safe(entry.prefix).size());
  for (const Entry& entry : state.entries) {
    const std::string verdict = entry.why ? "not whole: " + *entry.why : "whole";
    print(fmt::format("  {:<{}}  {}\n", safe(entry.prefix), width, safe(verdict)));
  }
}

}  // namespace

int state(Arguments arguments) {
  std::string dir;
  bool json = false;
  CLI::App app{kDescription, "cairn state"};
  app.footer(kFooter);
  add_directory(app, dir);
  add_json(app, json);
  if (const auto exit = parse(app, arguments)) return *exit;

  const auto state = read_state(dir);
  if (!state) {
    complain(state.error());
    return kFailed;
  }
  if (json) print_json(*state);
  if (!state->latest) {
    complain(fmt::format("{} has no catalog (no file 'checkpoint')", dir));
    return kNo;
  }
  if (!json) print_text(*state);
  return kYes;
}

}  // namespace cairn::tools
