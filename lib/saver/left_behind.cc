// What processes that died left, for who asks.
//
// Nothing but the locks tells a dead process from one that lives, and a reader takes none that
// others wait for. A journal is a dead one's where nobody holds the directory's lock while it is
// there: it goes before its writer lets go. A temporary file is locked a moment after it is made,
// so it is taken for a dead one's only if nobody holds it at two looks, and time has passed between
// them; each look holds it for so short a time that who sweeps at that very moment leaves it to the
// next.

#include <algorithm>
#include <chrono>
#include <iterator>
#include <set>
#include <thread>
#include <utility>

#include "cairn/catalog.h"
#include "lib/os/file.h"
#include "lib/read/identity.h"
#include "lib/saver/journal.h"
#include "lib/saver/orphan_indexes.h"
#include "lib/try.h"
#include "lib/write/lock.h"
#include "lib/write/publisher.h"

namespace cairn {
namespace {

// From the making of a file to its lock, where its maker does not get the processor.
constexpr std::chrono::milliseconds kBetweenLooks{50};

Result<std::set<std::string>> look_once(const os::Directory& directory) {
  CAIRN_TRY(names, directory.names());
  CAIRN_TRY(left, internal::stale_temporary_files(directory, names));
  const double now_s = static_cast<double>(os::now_ns()) / 1e9;
  std::ranges::move(internal::orphan_indexes(directory, names, now_s), std::back_inserter(left));
  return std::set<std::string>(left.begin(), left.end());
}

Result<std::set<std::string>> look_twice(const os::Directory& directory) {
  std::set<std::string> names;
  CAIRN_TRY(first, look_once(directory));
  if (first.empty()) return names;
  std::this_thread::sleep_for(kBetweenLooks);
  CAIRN_TRY(second, look_once(directory));
  std::ranges::set_intersection(first, second, std::inserter(names, names.end()));
  return names;
}

// Adds what a journal says, if whoever wrote it has ended. `names`: of the files that go.
Result<void> add_unfinished(const internal::Place& place, LeftBehind& left,
                            std::set<std::string>& names) {
  CAIRN_TRY(journal, place.directory.look(internal::kJournalName));
  if (!journal) return {};
  const auto held = internal::Lock::directory_is_held(place.directory);
  if (!held) {
    left.warnings.push_back(
        (place.dir / internal::kJournalName).string() +
        ": it is not known whether its writer still runs: " + held.error().what);
    return {};
  }
  if (*held) return {};
  auto foreseen = internal::preview_journal(place);
  CAIRN_TRY(now, place.directory.look(internal::kJournalName));
  // Another finishes it at this moment, or has.
  if (!now || !internal::same_file(*now, *journal) || now->ctime_ns != journal->ctime_ns) return {};
  if (!foreseen) {
    left.warnings.push_back(
        (place.dir / internal::kJournalName).string() +
        ": a dead process left it, and it is not known how its work will be finished: " +
        foreseen.error().what);
    return {};
  }
  left.unfinished = std::move(foreseen->checkpoints);
  names.insert(foreseen->files.begin(), foreseen->files.end());
  if (auto refused = internal::refusal_of_journal(place.directory))
    left.warnings.push_back(std::move(refused->what));
  return {};
}

Result<LeftBehind> look(const std::filesystem::path& dir) {
  CAIRN_TRY(directory, os::Directory::open(dir));
  LeftBehind left;
  CAIRN_TRY(names, look_twice(directory));
  CAIRN_CHECK(add_unfinished({dir, directory, internal::kCatalogName}, left, names));
  std::size_t others = 0;
  for (const std::string& name : names) {
    CAIRN_TRY(info, directory.look(name));
    if (info) left.files.push_back({dir / name, info->size_bytes});
    others += info && !directory.may_replace(name) ? 1 : 0;
  }
  if (others > 0) {
    left.warnings.push_back(
        dir.string() + ": of the files that dead processes left, " + std::to_string(others) +
        (others == 1 ? " belongs" : " belong") +
        " to another user; only the next change by that user, by the owner of the directory or by "
        "root removes them, because the directory has the sticky bit");
  }
  return left;
}

}  // namespace

Result<LeftBehind> left_behind(const std::filesystem::path& dir) noexcept {
  return at_boundary([&] { return look(dir); });
}

}  // namespace cairn
