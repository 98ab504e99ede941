#include "lib/saver/without_room.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "format/checked.h"
#include "lib/open/load.h"
#include "lib/read/names.h"
#include "lib/saver/journal.h"
#include "lib/try.h"
#include "lib/write/lock.h"
#include "lib/write/publisher.h"
#include "lib/write/temp_file.h"

namespace cairn::internal {
namespace {

constexpr unsigned kBlockBytes = 4096;  // what a file system takes for a small file

// The index that says all goes last: until then the checkpoint is there. A P.cairn that P.index has
// overtaken must not speak again.
std::array<std::string_view, 2> in_turn(const os::Directory& directory, const std::string& base) {
  auto twin = directory.duplicate();
  const auto location = twin ? locate_in(*std::move(twin), base, base) : twin.error();
  const auto own = location ? load_own_index(*location) : location.error();
  if (own && own->current) return {kTensorFlowSuffix, kCairnSuffix};
  return {kCairnSuffix, kTensorFlowSuffix};
}

// Gives the indexes temporary names. A link of somebody's goes as it is, with the other files.
Result<void> step_all_aside(const os::Directory& directory, const std::string& base) {
  std::vector<std::pair<std::string, std::string>> renamed;
  const auto step = [&](const std::string& name) -> Result<void> {
    CAIRN_TRY(info, directory.look(name));
    if (!info || info->kind != os::FileKind::Regular) return {};
    std::string aside = os::temporary_name(name);
    CAIRN_CHECK(directory.rename(name, aside));
    renamed.emplace_back(name, std::move(aside));
    return {};
  };
  for (const std::string_view suffix : in_turn(directory, base)) {
    auto done = step(base + std::string(suffix));
    if (done) continue;
    for (const auto& [name, aside] : renamed) (void)directory.rename_new(aside, name);
    return done;
  }
  return directory.sync();
}

// The catalog without those that are gone, as it is read. It cannot be empty.
Result<void> leave_out_gone(const Place& place) {
  CAIRN_TRY(history, read_history(place));
  if (!history.listed.empty()) return write_history(place, history);
  CAIRN_CHECK(place.directory.remove(place.latest_filename));
  return place.directory.sync();
}

// What catalogs take when they are written anew.
Result<std::uint64_t> taken_bytes(const Place& place, const std::vector<std::string>& catalogs) {
  std::uint64_t size_bytes = 0;
  for (const std::string& catalog : catalogs) {
    CAIRN_TRY(info, place.directory.look(catalog));
    if (info) size_bytes += format::round_up(info->size_bytes, kBlockBytes);
  }
  return size_bytes;
}

std::uint64_t journal_bytes(const Place& place,
                            std::span<const format::JournalCheckpoint> leaving) {
  const format::JournalFacts facts{
      std::string(place.latest_filename), {}, {leaving.begin(), leaving.end()}, {}};
  return format::round_up(format::encode_journal(facts).size(), kBlockBytes);
}

Result<bool> gives_back(const os::Directory& directory, const format::JournalCheckpoint& what,
                        std::uint64_t size_bytes) {
  std::uint64_t freed_bytes = 0;
  for (const format::JournalFile& file : what.files) {
    CAIRN_TRY(info, directory.look(file.name));
    if (info) freed_bytes += info->freed_bytes;
  }
  return freed_bytes >= size_bytes;
}

}  // namespace

bool is_full(const Error& error) noexcept {
  return error.code == Code::NoSpace && error.os_errno != EFBIG;
}

Result<RemovalResult> remove_without_journal(const os::Directory& directory,
                                             const format::JournalCheckpoint& what) {
  const auto lock = Lock::of_prefix(directory, what.base, {});
  if (!lock) return lock.error();
  return remove_without_journal_held(directory, what);
}

Result<RemovalResult> remove_without_journal_held(const os::Directory& directory,
                                                  const format::JournalCheckpoint& what) {
  CAIRN_TRY(obstacle, obstacle_to_removal(directory, what));
  if (obstacle) return *std::move(obstacle);
  CAIRN_CHECK(step_all_aside(directory, what.base));
  auto removal = remove_checkpoint_files_held(directory, what, IdentityCheck::ByFile);
  CAIRN_CHECK(sweep(directory, what.base));
  CAIRN_CHECK(directory.sync());
  return removal;
}

Result<void> with_space(const Place& place, std::span<const format::JournalCheckpoint> leaving,
                        const std::function<Result<void>(std::size_t left)>& announce) {
  std::size_t left = leaving.size();
  auto done = announce(left);
  for (std::size_t i = 0; i < leaving.size() && !done && is_full(done.error()); ++i) {
    CAIRN_TRY(own, taken_bytes(place, {std::string(place.latest_filename)}));
    CAIRN_TRY(enough, gives_back(place.directory, leaving[i], own + journal_bytes(place, leaving)));
    if (!enough) continue;
    const auto removal = remove_without_journal(place.directory, leaving[i]);
    if (!removal && !is_full(removal.error())) return removal.error();
    if (removal && removal->gone()) done = announce(--left);
  }
  // What has not gone, the catalog lists still.
  if (!done && is_full(done.error())) remove_journal(place.directory);
  return done;
}

Result<void> check_space(const Place& place, const format::JournalCheckpoint& what,
                         const Listings& listings) {
  CAIRN_TRY(size_bytes, taken_bytes(place, listings.names(place)));
  const std::vector<std::byte> nothing(size_bytes + journal_bytes(place, std::span(&what, 1)));
  CAIRN_TRY(temp, TempFile::create(place.directory, std::string(kJournalName)));
  return temp.file().write_at(0, nothing);
}

Result<bool> remove_before_unlisting(const Place& place, const format::JournalCheckpoint& what,
                                     const Listings& listings, Error full) {
  const auto stands = still_stands(place.directory, what);
  if (!stands || !*stands) return full;  // it has begun to go
  CAIRN_TRY(size_bytes, taken_bytes(place, listings.names(place)));
  CAIRN_TRY(enough, gives_back(place.directory, what, size_bytes));
  if (!enough) return full;
  const auto removal = remove_without_journal_held(place.directory, what);
  if (!removal) return is_full(removal.error()) ? full : removal.error();
  if (removal->refused) return *removal->refused;
  if (!removal->gone()) return false;
  for (const std::string& catalog : listings.names(place)) {
    auto updated = leave_out_gone({place.dir, place.directory, catalog});
    if (updated) continue;
    Error error = std::move(updated).error();
    error.what =
        (place.dir / what.base).string() + ": is gone, but \"" + catalog +
        "\" still lists it: " + error.what +
        "; repair the cause, then remove the entry with repair_catalog() (cairn state --repair)";
    return error;
  }
  return true;
}

}  // namespace cairn::internal
