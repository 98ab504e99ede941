#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <string>

#include "cairn/catalog.h"
#include "cairn/checkpoint.h"
#include "output.h"
#include "retention.h"
#include "verb.h"

namespace cairn::tools {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDescription =
    "Make a checkpoint the latest one of its directory. The catalog (the file 'checkpoint')\n"
    "keeps its entries, and PREFIX moves to the end. The catalog is replaced in one step,\n"
    "durably.";

constexpr const char* kFooter =
    "Exit status: 0 done, and the prefix was printed; 2 it could not be done (PREFIX is not a\n"
    "checkpoint, another process writes to DIR).\n\n"
    "PREFIX is a path, or the name of a checkpoint in DIR.\n\n"
    "Examples:\n"
    "  cairn set-latest saved saved/train2-7\n"
    "  cairn set-latest saved train2-7";

// The checkpoint that PREFIX means, spelt through `dir` where it lies there, since that is how the
// catalog's other entries come back.
Result<fs::path> resolve(const fs::path& dir, const fs::path& given, bool follow_links) {
  OpenOptions options;
  options.follow_links = follow_links;
  options.verify = Verify::None;
  auto checkpoint = Checkpoint::open(given, options);
  if (!checkpoint && !given.empty() && !given.has_parent_path()) {
    // Where both are refused, the one that is there says why.
    auto inside = Checkpoint::open(dir / given, options);
    if (inside || checkpoint.error().code == Code::NotFound) checkpoint = std::move(inside);
  }
  if (!checkpoint) return checkpoint.error();
  const Format format = checkpoint->format();
  if (format != Format::Cairn && format != Format::TensorFlow && format != Format::TensorFlowV1) {
    return Error{Code::Invalid, 0,
                 fmt::format("{} is a {} file, which a catalog cannot name: convert it first "
                             "(cairn convert)",
                             given.native(), name(format))};
  }
  const fs::path& prefix = checkpoint->prefix();
  const fs::path parent = prefix.has_parent_path() ? prefix.parent_path() : fs::path(".");
  std::error_code ignored;
  if (fs::equivalent(parent, dir, ignored)) return dir / prefix.filename();
  return fs::absolute(prefix);
}

struct How {
  std::string catalog = "checkpoint";
  bool follow_links = false;
  std::chrono::milliseconds lock_wait{30'000};
};

Result<fs::path> change_catalog(const fs::path& dir, const fs::path& given, const How& how) {
  auto prefix = resolve(dir, given, how.follow_links);
  if (!prefix) return prefix;
  const auto done = set_latest_checkpoint(dir, *prefix, how.catalog, how.lock_wait);
  if (!done) return done.error();
  return prefix;
}

}  // namespace

int set_latest(Arguments arguments) {
  std::string dir;
  std::string prefix;
  How how;
  CommandLine line("cairn set-latest", kDescription, kFooter);
  add_directory(line, dir);
  line.add("PREFIX", prefix, "The checkpoint").required();
  add_catalog(line, how.catalog);
  add_follow_links(line, how.follow_links);
  add_lock_wait(line, how.lock_wait);
  if (const auto exit = line.parse(arguments)) return *exit;

  const auto changed = change_catalog(dir, prefix, how);
  if (!changed) {
    complain(changed.error());
    return kFailed;
  }
  print(safe(changed->native()) + "\n");
  return kYes;
}

}  // namespace cairn::tools
