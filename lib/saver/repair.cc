// The catalog, rebuilt from the files that are there.
//
// What it cannot know is why a whole checkpoint is not listed. TensorFlow's retention preserves
// some for ever by taking them out of the catalog and leaving their files; to list such a one again
// would hand it to retention, and the next save but a few would remove it. So a catalog that can be
// read is believed: what it lists and what is whole stays, in its order; of the others only those
// are added that are younger than all it lists, which a save that died, or a Writer without a
// Saver, has left. Where there is no catalog to believe, all are listed: to lose sight of a
// checkpoint is worse than to let go of an old one.

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <tuple>

#include "cairn/catalog.h"
#include "format/safetensors/header.h"
#include "lib/open/catalog.h"
#include "lib/open/load.h"
#include "lib/saver/catalog_file.h"
#include "lib/saver/checkpoint_files.h"
#include "lib/saver/history.h"
#include "lib/saver/journal.h"
#include "lib/saver/other_catalogs.h"
#include "lib/try.h"
#include "lib/write/lock.h"
#include "lib/write/publisher.h"

namespace cairn {
namespace {

using internal::HistoryEntry;

auto by_age(const HistoryEntry& listed) {
  return std::tuple(listed.known.saved_s, listed.known.step.value_or(-1), listed.base);
}

// Why a checkpoint of this directory cannot be listed; nothing: it can.
Result<std::optional<std::string>> obstacle(const internal::Place& place, const std::string& base) {
  const std::string prefix = (place.dir / base).string();
  if (base.empty())
    return std::optional(prefix +
                         ": its files have no name before the suffix, so a catalog cannot list it");
  if (base == place.latest_filename) return std::optional(prefix + ": has the name of the catalog");
  if (!format::safetensors::is_utf8(base))
    return std::optional(prefix + ": its name is not UTF-8, which a catalog needs");
  auto whole = internal::check_openable_in(place.directory, base, place.dir / base);
  if (whole) return std::optional<std::string>();
  if (internal::may_pass(whole.error())) return std::move(whole).error();
  return std::optional(std::move(whole).error().what);
}

class Repair {
 public:
  Repair(const internal::Place& place, bool all) : place_(place), all_(all) {}

  // The entries of a catalog that can be read: those that are whole stay.
  Result<void> keep(const CheckpointState& state) {
    believed_ = !all_;
    const auto& paths = state.all_model_checkpoint_paths;
    const auto& times = state.all_model_checkpoint_timestamps_s;
    history_.has_timestamps = !times.empty() && times.size() == paths.size();
    history_.last_preserved_s = state.last_preserved_timestamp_s;
    std::optional<double> latest_s;
    for (std::size_t i = 0; i < paths.size(); ++i) {
      const auto time_s = history_.has_timestamps ? std::optional(times[i]) : std::nullopt;
      if (paths[i] == state.model_checkpoint_path) latest_s = time_s;
      CAIRN_CHECK(keep(paths[i], time_s));
    }
    CAIRN_CHECK(keep(state.model_checkpoint_path, latest_s));
    for (const HistoryEntry& listed : history_.listed) before_.push_back(listed.path);
    sound_ = sound_ && left_out_.empty() && before_.size() == paths.size();
    return {};
  }

  // The checkpoints in the directory that the catalog does not list.
  Result<void> look_around() {
    CAIRN_TRY(names, place_.directory.names());
    const auto elsewhere = internal::other_listings(place_, names);
    const auto bases = internal::checkpoints_among(names);
    for (const std::string& base : bases) {
      if (seen_.contains(base)) continue;
      const std::string prefix = (place_.dir / base).string();
      const auto other = elsewhere.listed.find(base);
      const auto original = all_ ? std::nullopt : internal::original_of(place_, base, bases);
      // Who asks for all may mean what a damaged catalog lists, not what one of another's does.
      const auto& doubt = all_ || elsewhere.unread ? elsewhere.unread : elsewhere.damaged;
      if (other != elsewhere.listed.end()) {
        leave_out(prefix, prefix + ": is listed by " + other->second +
                              ", another catalog of this directory");
      } else if (doubt) {
        leave_out(prefix, prefix + ": may be listed by another catalog: " + doubt->what);
      } else if (original) {
        leave_out(
            prefix,
            prefix + ": is a copy of " + *original +
                "; to list it too, use repair_catalog() with all (cairn state --repair --all)");
      } else {
        CAIRN_CHECK(look_at(base));
      }
    }
    return {};
  }

  // `history` is what is to be written.
  Repaired finish(internal::History& history) {
    std::ranges::sort(found_, {}, by_age);
    std::ranges::move(found_, std::back_inserter(history_.listed));
    if (!believed_) std::ranges::sort(history_.listed, {}, by_age);
    Repaired repaired;
    std::vector<std::filesystem::path> after;
    for (const HistoryEntry& listed : history_.listed) {
      after.push_back(listed.path);
      repaired.state.all_model_checkpoint_paths.push_back(listed.path);
      if (history_.has_timestamps)
        repaired.state.all_model_checkpoint_timestamps_s.push_back(listed.known.saved_s);
    }
    repaired.state.last_preserved_timestamp_s = history_.last_preserved_s;
    if (!after.empty()) repaired.state.model_checkpoint_path = history_.listed.back().path;
    repaired.left_out = std::move(left_out_);
    repaired.kept = std::move(kept_);
    repaired.changed = !after.empty() && !(sound_ && after == before_);
    history = std::move(history_);
    return repaired;
  }

 private:
  void leave_out(const std::filesystem::path& prefix, std::string why) {
    left_out_.push_back({prefix, std::move(why)});
  }

  Result<void> keep(const std::filesystem::path& path, std::optional<double> time_s) {
    const auto entry = internal::resolve_entry(place_, path, false);
    if (!entry || entry->base.empty()) return keep_unreadable(path, entry, time_s);
    if (!entry->warning.empty()) sound_ = false;  // it is not where the catalog says
    const std::string& base = entry->base;
    std::erase_if(history_.listed, [&](const HistoryEntry& other) { return other.base == base; });
    CAIRN_TRY(known, internal::checkpoint_facts(place_, base));
    const double saved_s = time_s.value_or(std::nan(""));
    if (!std::isnan(saved_s)) known.saved_s = saved_s;
    newest_s_ = std::max(newest_s_, known.saved_s);
    CAIRN_TRY(why, obstacle(place_, base));
    if (why) {
      if (seen_.insert(base).second) leave_out(path, *std::move(why));
      return {};
    }
    seen_.insert(base);
    history_.listed.push_back({place_.dir / base, base, std::move(known), {}});
    return {};
  }

  // An entry that is not to be opened: a symbolic link, or in another directory. It stays where
  // something is there.
  Result<void> keep_unreadable(const std::filesystem::path& path,
                               const Result<internal::Entry>& entry, std::optional<double> time_s) {
    if (!entry && entry.error().code != Code::Unsafe) return entry.error();
    const std::string base = path.filename().string();
    const std::string why =
        entry ? path.string() + ": is in a subdirectory, which repair does not read"
              : entry.error().what;
    // What stands here under a link's name is not to be added as another one.
    if (path == place_.dir / base) seen_.insert(base);
    const auto same = [&](const auto& other) { return other.path == path; };
    if (std::erase_if(history_.listed, same) == 0) {
      if (!internal::checkpoint_exists(place_, path)) {
        leave_out(path, path.string() + ": is gone");
        return {};
      }
      kept_.push_back({path, why});
    }
    internal::CheckpointFacts known;
    if (time_s && !std::isnan(*time_s)) known.saved_s = *time_s;
    history_.listed.push_back({path, {}, std::move(known), {}});
    return {};
  }

  Result<void> look_at(const std::string& base) {
    CAIRN_TRY(why, obstacle(place_, base));
    if (why) {
      leave_out(place_.dir / base, *std::move(why));
      return {};
    }
    CAIRN_TRY(known, internal::checkpoint_facts(place_, base));
    if (!believed_ || known.saved_s > newest_s_) {
      found_.push_back({place_.dir / base, base, std::move(known), {}});
      return {};
    }
    leave_out(place_.dir / base,
              (place_.dir / base).string() +
                  ": is whole, but older than the checkpoints in the catalog, so it may have been "
                  "removed from the catalog on purpose; to list it too, use repair_catalog() with "
                  "all (cairn state --repair --all)");
    return {};
  }

  const internal::Place& place_;
  bool all_;
  bool believed_ = false;
  bool sound_ = true;  // the catalog lists what it should, and where it is
  double newest_s_ = -std::numeric_limits<double>::infinity();
  std::set<std::string> seen_;
  std::vector<std::filesystem::path> before_;
  std::vector<HistoryEntry> found_;
  internal::History history_;
  std::vector<SkippedCheckpoint> left_out_;
  std::vector<SkippedCheckpoint> kept_;
};

// What publishers left that died may fill the disk. Otherwise it stays for recover_from_journal(),
// which says what becomes of it.
Result<void> write(const internal::Place& place, const internal::History& history) {
  auto written = internal::write_history(place, history);
  if (written || written.error().code != Code::NoSpace) return written;
  CAIRN_CHECK(internal::sweep_all(place.directory));
  return internal::write_history(place, history);
}

Result<Repaired> repair(const internal::Place& place, const RepairOptions& options) {
  std::optional<internal::Lock> lock;
  if (!options.dry_run) {
    CAIRN_TRY(taken, internal::Lock::of_directory(place.directory, {options.lock_wait, {}}));
    lock.emplace(std::move(taken));
  }
  internal::OpenAttempt attempt;
  const auto state = internal::read_catalog(place, attempt);
  const bool damaged =
      !state && (state.error().code == Code::Corrupt || state.error().code == Code::Unsupported);
  if (!state && !damaged) return state.error();
  Repair repair(place, options.all);
  if (state && *state) CAIRN_CHECK(repair.keep(**state));
  CAIRN_CHECK(repair.look_around());
  internal::History history;
  Repaired repaired = repair.finish(history);
  if (options.dry_run) return repaired;
  if (repaired.changed) CAIRN_CHECK(write(place, history));
  // What a save that died left needs a catalog that can be read, or none, so it comes second.
  if (!repaired.changed && damaged) {
    CAIRN_CHECK(internal::sweep_all(place.directory));
    return repaired;
  }
  CAIRN_TRY(recovery, internal::recover_from_journal(place));
  repaired.warnings = std::move(recovery.warnings);
  return repaired;
}

}  // namespace

Result<Repaired> repair_catalog(const std::filesystem::path& dir, std::string_view latest_filename,
                                const RepairOptions& options) noexcept {
  return at_boundary([&]() -> Result<Repaired> {
    CAIRN_CHECK(internal::check_written_name(dir, latest_filename));
    CAIRN_TRY(directory, os::Directory::open(dir));
    return repair({dir, directory, latest_filename}, options);
  });
}

}  // namespace cairn
