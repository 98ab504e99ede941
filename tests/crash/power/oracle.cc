#include "oracle.h"

#include <algorithm>
#include <sstream>

#include "host.h"

namespace power {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kNone = "none";
constexpr std::string_view kUnsynced = "unsynced";

Finding lost(std::string what) { return {Verdict::Lost, std::move(what)}; }

}  // namespace

void Oracle::hear(std::string_view mark) {
  std::istringstream words{std::string(mark)};
  std::string verb, view, subject, version;
  if (!(words >> verb >> view >> subject >> version)) die("not a mark: " + std::string(mark));
  Story& story = stories_[{view, subject}];
  if (verb == "begin") {
    story.versions.push_back(version);
    return;
  }
  if (story.versions.back() != version) die("done, but not begun: " + std::string(mark));
  story.done = story.versions.size() - 1;
}

std::vector<Finding> Oracle::look(const fs::path& root) {
  std::vector<Finding> findings;
  for (const auto& [name, story] : stories_) {
    const auto& [view, subject] = name;
    std::optional<Finding> found;
    if (view == "latest") {
      found = judge_latest(story, root, subject);
    } else {
      const fs::path path = root / subject;
      found = judge_checkpoint(story, view == "index" ? open_index(path) : open(path, false));
    }
    if (!found) continue;
    found->what = view + " " + subject + ": " + found->what;
    findings.push_back(*std::move(found));
  }
  return findings;
}

Oracle::Seen Oracle::open(const fs::path& path, bool follow_links) const {
  cairn::OpenOptions options;
  options.verify = cairn::Verify::Full;
  options.follow_links = follow_links;
  options.work.threads_max = 1;
  const auto checkpoint = cairn::Checkpoint::open(path, options);
  if (!checkpoint) {
    const bool absent = checkpoint.error().code == cairn::Code::NotFound;
    return {std::nullopt, absent, checkpoint.error().what};
  }
  auto contents = contents_of(*checkpoint);
  if (!contents) return {std::nullopt, false, contents.error().what};
  return {*std::move(contents), false, {}};
}

Oracle::Seen Oracle::open_index(const fs::path& prefix) const {
  fs::remove_all(scratch_);
  fs::create_directories(scratch_);
  const std::string base = prefix.filename().string();
  std::error_code no_directory;
  for (const auto& entry : fs::directory_iterator(prefix.parent_path(), no_directory)) {
    const std::string name = entry.path().filename().string();
    if (name == base + ".index" || name.starts_with(base + ".data-"))
      fs::create_symlink(entry.path(), scratch_ / name);
  }
  if (!fs::exists(scratch_ / (base + ".index"))) return {std::nullopt, true, "no P.index"};
  return open(scratch_ / base, true);
}

std::optional<Finding> Oracle::judge_checkpoint(const Story& story, const Seen& seen) {
  for (std::size_t i = story.versions.size(); i-- > story.done;) {
    if (is_version(story, i, seen)) return std::nullopt;
  }
  const std::string wanted = "wanted " + story.versions[story.done] + " or newer, found ";
  if (!seen.contents) return lost(wanted + seen.why);
  for (std::size_t i = story.done; i-- > 0;) {
    if (is_version(story, i, seen)) return lost(wanted + story.versions[i]);
  }
  return Finding{Verdict::Wrong, wanted + "bytes that nobody wrote"};
}

std::optional<Finding> Oracle::judge_latest(const Story& story, const fs::path& root,
                                            const std::string& dir) {
  const auto latest = cairn::latest_checkpoint(root / dir);
  if (!latest) return lost(latest.error().what);
  const std::string prefix =
      *latest ? (*latest)->lexically_relative(root).string() : std::string(kNone);
  const auto allowed = story.versions.begin() + static_cast<std::ptrdiff_t>(story.done);
  if (std::find(allowed, story.versions.end(), prefix) == story.versions.end())
    return lost("wanted " + *allowed + " or newer, found " + prefix);
  if (!*latest) return std::nullopt;
  const Story& named = stories_[{"open", prefix}];
  const Seen seen = open(root / prefix, false);
  if (!seen.contents) return lost(prefix + " is named, but " + seen.why);
  return judge_checkpoint(named, seen);
}

bool Oracle::is_version(const Story& story, std::size_t position, const Seen& seen) {
  const std::string& version = story.versions[position];
  if (version == kNone) return seen.absent;
  if (version != kUnsynced) return seen.contents && *seen.contents == contents(version);
  if (!seen.contents) return true;
  return std::any_of(
      story.versions.begin(), story.versions.begin() + static_cast<std::ptrdiff_t>(position),
      [&](const std::string& earlier) {
        return earlier != kNone && earlier != kUnsynced && *seen.contents == contents(earlier);
      });
}

const Contents& Oracle::contents(const std::string& description) {
  const auto [at, is_new] = contents_.try_emplace(description);
  if (is_new) at->second = described(description, golden_);
  return at->second;
}

}  // namespace power
