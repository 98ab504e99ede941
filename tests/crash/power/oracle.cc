#include "oracle.h"

#include <algorithm>
#include <sstream>

#include "host.h"

namespace power {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kNone = "none";
constexpr std::string_view kUnsynced = "unsynced";
constexpr std::string_view kResume = "resume";

Finding lost(std::string what) { return {Verdict::Lost, std::move(what)}; }

// A file that neither belongs to one of these checkpoints nor to the directory itself.
std::optional<Finding> left_over(const fs::path& dir, const std::vector<fs::path>& prefixes) {
  for (const auto& entry : fs::directory_iterator(dir)) {
    const std::string name = entry.path().filename().string();
    const bool known = name == "checkpoint" || name == ".cairn-lock" ||
                       std::ranges::any_of(prefixes, [&](auto& p) {
                         return name.starts_with(p.filename().string() + ".");
                       });
    if (!known || name.find(".cairn-tmp-") != name.npos)
      return lost("the next save has left " + name);
  }
  return std::nullopt;
}

}  // namespace

void Oracle::hear(std::string_view mark) {
  std::istringstream words{std::string(mark)};
  std::string verb, view, subject, version;
  if (!(words >> verb >> view >> subject >> version)) die("not a mark: " + std::string(mark));
  Story& story = stories_[{view, subject}];
  writes_ = writes_ || view == kResume;
  if (verb == "begin") {
    story.versions.push_back(version);
    return;
  }
  if (story.versions.back() != version) die("done, but not begun: " + std::string(mark));
  story.done = story.versions.size() - 1;
}

std::vector<Finding> Oracle::look(const fs::path& root) {
  root_ = root;
  seen_.clear();
  std::vector<Finding> findings;
  for (const auto& [name, story] : stories_) {  // by view, in the order of their names: resume last
    auto found = judge(name, story);
    if (!found) continue;
    found->what = name.first + " " + name.second + ": " + found->what;
    findings.push_back(*std::move(found));
  }
  return findings;
}

std::optional<Finding> Oracle::judge(const Name& name, const Story& story) {
  const auto& [view, subject] = name;
  if (view == kResume) return judge_resume(story, subject);
  if (view == "latest") return judge_latest(story, subject);
  if (view == "index") return judge_checkpoint(story, open_index(root_ / subject));
  return judge_checkpoint(story, seen(subject));
}

const Oracle::Seen& Oracle::seen(const std::string& prefix) {
  const auto [at, is_new] = seen_.try_emplace(prefix);
  if (is_new) at->second = open(root_ / prefix, false);
  return at->second;
}

Oracle::Seen Oracle::open(const fs::path& path, bool follow_links) const {
  cairn::OpenOptions options;
  options.verify = cairn::Verify::Full;
  options.follow_links = follow_links;
  options.exec.threads_max = 1;
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

std::optional<Finding> Oracle::judge_latest(const Story& story, const std::string& dir) {
  const auto state = cairn::get_checkpoint_state(root_ / dir);
  const auto latest = cairn::latest_checkpoint(root_ / dir);
  if (!state || !latest) return lost(state ? latest.error().what : state.error().what);
  const auto relative = [&](const fs::path& path) {
    return path.lexically_relative(root_).string();
  };
  const std::string prefix = *latest ? relative(**latest) : std::string(kNone);
  const auto allowed = story.versions.begin() + static_cast<std::ptrdiff_t>(story.done);
  if (std::find(allowed, story.versions.end(), prefix) == story.versions.end())
    return lost("wanted " + *allowed + " or newer, found " + prefix);
  if (!*state) return std::nullopt;
  for (const fs::path& listed : (*state)->all_model_checkpoint_paths) {
    const Seen& there = seen(relative(listed));
    if (!there.contents) return lost(relative(listed) + " is listed, but " + there.why);
    const auto story_of_it = stories_.find({"open", relative(listed)});
    if (story_of_it == stories_.end())
      return Finding{Verdict::Wrong, relative(listed) + " is listed, which nobody saved"};
    if (auto found = judge_checkpoint(story_of_it->second, there)) return found;
  }
  return std::nullopt;
}

std::optional<Finding> Oracle::judge_resume(const Story& story, const std::string& dir) {
  constexpr std::uint64_t kNextSeed = 999;
  cairn::SaverOptions keeping;
  keeping.keep_any_of = {cairn::Retention::newest(std::stoull(story.versions.back()))};
  auto saver = cairn::Saver::open(root_ / dir, keeping);
  if (!saver) return lost(saver.error().what);
  const Contents next = made(kNextSeed);
  const Named named(next);
  cairn::SaveOptions options;
  options.step = kNextSeed;
  const auto saved = saver->save("m", named.tensors(), options);
  if (!saved) return lost(saved.error().what);
  const Seen newest = open(root_ / dir, false);
  if (newest.contents != next) return lost("the next save: " + newest.why);
  if (saved->kept.size() > keeping.keep_any_of.front().count)
    return lost("too many stay after the next save");
  for (const fs::path& kept : saved->kept) {
    const Seen there = open(kept, false);
    if (!there.contents) return lost("after the next save: " + there.why);
  }
  return left_over(root_ / dir, saved->kept);
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
