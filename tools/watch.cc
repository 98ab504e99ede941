#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <system_error>

#include "cairn/watcher.h"
#include "output.h"
#include "verb.h"

namespace cairn::tools {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr const char* kDescription =
    "Print the prefix of each checkpoint when it is published in a directory: every\n"
    "checkpoint that the catalog lists, in its order, if it is whole at its turn. Skipped\n"
    "checkpoints are named on stderr. DIR may be missing at the start.";

constexpr const char* kFooter =
    "Exit status: 0 something was printed before the timeout, 1 nothing was printed, 2 the\n"
    "catalog could not be read. Without --timeout, the command runs until it is killed.\n\n"
    "JSON: one line for each checkpoint: {\"prefix\",\"skipped\":[{\"prefix\",\"why\"}]}.\n"
    "prefix is null if all were skipped.\n\n"
    "Example:\n"
    "  cairn watch saved --cursor seen | while read -r prefix; do evaluate \"$prefix\"; done";

// What is skipped while nothing is published is named after so long at the latest.
constexpr milliseconds kSliceMax{10'000};

constexpr double kTimeoutSecondsMax = 1e9;

struct Watch {
  std::string dir;
  WatcherOptions options;
  std::string cursor_file;  // empty: none
  std::optional<double> timeout_s;
  bool json = false;
};

// What every cursor of a Watcher begins with.
constexpr std::string_view kCursorMark = "cairn-cursor ";

Error not_ours(const std::string& file, std::string_view what) {
  return {
      Code::Invalid, 0,
      fmt::format("{}: {}; --cursor overwrites only a file that 'cairn watch' wrote: name a new "
                  "file",
                  file, what)};
}

// The cursor in the file; empty where there is no file yet, or one without a byte. Invalid: what is
// there is something else, which is not to be replaced.
Result<std::string> read_cursor(const std::string& file) {
  std::error_code failed;
  const fs::file_type type = fs::symlink_status(file, failed).type();
  if (file.empty() || type == fs::file_type::not_found) return std::string();
  if (type == fs::file_type::none)
    return Error{Code::Io, failed.value(), fmt::format("{}: {}", file, failed.message())};
  if (type == fs::file_type::symlink) return not_ours(file, "is a symbolic link");
  if (type != fs::file_type::regular) return not_ours(file, "is not a regular file");
  std::ifstream in(file, std::ios::binary);
  std::string text(kCursorMark.size(), '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (!in.is_open() || in.bad())
    return Error{Code::Io, 0, fmt::format("{}: the cursor cannot be read", file)};
  if (text.empty()) return text;
  if (text != kCursorMark) return not_ours(file, "does not contain a cursor");
  text.append(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  return text;
}

Result<void> write_new(const std::string& file, const std::string& text) {
  const Error failed{Code::Io, 0, fmt::format("{}: the cursor cannot be written", file)};
  std::FILE* const out = std::fopen(file.c_str(), "wxe");
  if (out == nullptr) return failed;
  const bool written = std::fwrite(text.data(), 1, text.size(), out) == text.size();
  if (std::fclose(out) == 0 && written) return {};
  std::error_code ignored;
  fs::remove(file, ignored);
  return failed;
}

// In one step: who is killed meanwhile has the old one or the new one.
Result<void> write_cursor(const std::string& file, const std::string& text) {
  if (file.empty()) return {};
  const auto there = read_cursor(file);  // somebody may have put something else there meanwhile
  if (!there) return there.error();
  const std::string beside = fmt::format("{}.new-{:08x}", file, std::random_device{}());
  if (auto written = write_new(beside, text); !written) return written;
  std::error_code failed;
  fs::rename(beside, file, failed);
  if (!failed) return {};
  std::error_code ignored;
  fs::remove(beside, ignored);
  return Error{Code::Io, failed.value(),
               fmt::format("{}: the cursor cannot be written: {}", file, failed.message())};
}

void print_text(const Published& published) {
  for (const SkippedCheckpoint& each : published.skipped) {
    complain(fmt::format("skipped {}: {}", each.prefix.native(), each.why));
  }
  if (published.prefix) print(safe(published.prefix->native()) + "\n");
}

void print_json(const Published& published) {
  if (!published.prefix && published.skipped.empty()) return;
  const auto prefix = published.prefix ? std::optional(published.prefix->native()) : std::nullopt;
  Json json;
  json.begin_object().text_or_null("prefix", prefix).begin_array("skipped");
  for (const SkippedCheckpoint& each : published.skipped) {
    json.begin_object().text("prefix", each.prefix.native()).text("why", each.why).end_object();
  }
  json.end_array().end_object().finish();
}

milliseconds left_until(const std::optional<Clock::time_point>& deadline) {
  if (!deadline) return kSliceMax;
  const auto left = std::chrono::ceil<milliseconds>(*deadline - Clock::now());
  return std::clamp(left, milliseconds(0), kSliceMax);
}

// One wait for the next checkpoint, as long as --timeout says; false: it did not come.
Result<bool> wait_for_next(Watcher& watcher, const Watch& watch) {
  std::optional<Clock::time_point> deadline;
  if (watch.timeout_s) {
    const std::chrono::duration<double> timeout(*watch.timeout_s);
    deadline = Clock::now() + std::chrono::duration_cast<milliseconds>(timeout);
  }
  while (true) {
    const milliseconds slice = left_until(deadline);
    const auto published = watcher.next(slice);
    if (!published) return published.error();
    watch.json ? print_json(*published) : print_text(*published);
    flush_output();
    if (!published->prefix) {
      if (deadline && Clock::now() >= *deadline) return false;
      continue;
    }
    const auto stored = write_cursor(watch.cursor_file, watcher.cursor());
    if (!stored) return stored.error();
    return true;
  }
}

Result<int> follow(Watch& watch) {
  auto cursor = read_cursor(watch.cursor_file);
  if (!cursor) return std::move(cursor).error();
  watch.options.cursor = *std::move(cursor);
  auto watcher = Watcher::open(watch.dir, watch.options);
  if (!watcher) return std::move(watcher).error();
  for (int exit = kNo;; exit = kYes) {
    const auto came = wait_for_next(*watcher, watch);
    if (!came) return came.error();
    if (!*came) return exit;
  }
}

}  // namespace

int watch(Arguments arguments) {
  Watch watch;
  CommandLine line("cairn watch", kDescription, kFooter);
  line.add("DIR", watch.dir, "A directory of checkpoints").required();
  line.add("--timeout", watch.timeout_s, "S", "Stop if nothing was published for S seconds")
      .between(0.0, kTimeoutSecondsMax);
  line.add("--cursor", watch.cursor_file, "FILE",
           "Store the position in FILE, and continue after it; FILE is\n"
           "new, or was written by this verb");
  line.add_flag("--latest-only", watch.options.only_latest,
                "Print only the latest, whole or not, as\n"
                "tf.train.checkpoints_iterator does");
  add_catalog(line, watch.options.latest_filename);
  add_follow_links(line, watch.options.follow_links);
  add_json(line, watch.json);
  if (const auto exit = line.parse(arguments)) return *exit;

  const auto exit = follow(watch);
  if (exit) return *exit;
  complain(exit.error());
  return kFailed;
}

}  // namespace cairn::tools
