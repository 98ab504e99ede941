// Readers take no lock, so a writer may replace files between any two steps of a reader. What it
// publishes is whole at each moment (lib/write/publisher.cc). But a reader that has read the old
// index looks for shards that are gone, or finds other shards under names that are used again.
//
// The reader notices this: something is missing, or has another size or time. The index then tells
// whether it is a race or damage. If the index was replaced since the attempt read it, the next
// attempt begins with the new index. If it was not, the damage is real and is reported at once. So
// a race costs only the reader that loses it: an open that succeeds makes no additional system
// call.
//
// Symbolic links are the exception. Who publishes by turning one (Kubernetes does, with ..data)
// changes all names at once and nothing behind them: an index of before and a shard of afterwards
// may agree in size. So where a name was a link, every name is looked at once more after the open,
// as the links lead at one moment: a link may be turned there and back between two looks.
//
// Rejected: a lock for readers, which one that hangs would hold against all writers; and a look at
// the index afterwards, at every open, for what one open in a thousand needs beside a busy writer.

#include "lib/open/attempt.h"

#include <algorithm>

#include "lib/os/link_snapshot.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

// Also one under a temporary name.
bool is_own(const os::File& file) {
  std::string_view path = file.path();
  if (os::is_temporary_name(path)) path = os::without_temporary_tail(path);
  return path.ends_with(kCairnSuffix);
}

}  // namespace

void OpenAttempt::begin() {
  const os::Retries retries = retries_;
  *this = within_ == nullptr ? OpenAttempt() : OpenAttempt(*within_);
  retries_ = retries;
}

const os::File& OpenAttempt::keep_catalog(os::File file, const os::FileInfo& info) {
  return catalog_.emplace(Kept{std::move(file), info}).file;
}

const os::File& OpenAttempt::keep_index(os::File file, const os::FileInfo& info) {
  const auto place = std::ranges::find_if_not(indexes_, &std::optional<Kept>::has_value);
  CAIRN_ASSERT(place != indexes_.end());
  return place->emplace(Kept{std::move(file), info}).file;
}

void OpenAttempt::keep_pending(os::File file, const os::FileInfo& info) {
  const auto place =
      std::ranges::find_if(indexes_, [](const auto& kept) { return kept && is_own(kept->file); });
  CAIRN_ASSERT(place != indexes_.end());
  place->emplace(Kept{std::move(file), info});
}

Result<void> OpenAttempt::keep_directory(const os::Directory& directory) {
  CAIRN_TRY(held, directory.duplicate());
  directory_.emplace(std::move(held));
  return {};
}

bool OpenAttempt::directory_changed() const {
  if (!directory_) return false;
  const auto opened = directory_->info();
  const auto now = os::look(directory_->path());
  return !opened || !now || !*now || !same_file(*opened, **now);
}

bool OpenAttempt::was_replaced(os::LinkSnapshot& links, const os::File& file,
                               const os::FileInfo& info) const {
  const std::filesystem::path path = file.path();
  // What was opened without a link needs no snapshot of them: one look finds it, or another file.
  const auto look = [&]() -> Result<std::optional<os::FileInfo>> {
    if (file.through_link()) return links.look(within_ == nullptr ? path : path.filename());
    return within_ == nullptr ? os::look(path)
                              : within_->look_from(path.filename(), os::Links::Follow);
  };
  const auto now = look();
  return !now || !*now || !is_unchanged(**now, info);
}

bool OpenAttempt::replaced(os::LinkSnapshot& links, const std::optional<Kept>& kept) const {
  return kept && was_replaced(links, kept->file, kept->info);
}

bool OpenAttempt::index_changed(os::LinkSnapshot& links) const {
  return lost_index_ ||
         std::ranges::any_of(indexes_, [&](const auto& kept) { return replaced(links, kept); });
}

bool OpenAttempt::index_changed() const {
  os::LinkSnapshot links(within_);
  return index_changed(links);
}

bool OpenAttempt::changed() const {
  os::LinkSnapshot links(within_);
  return index_changed(links) || replaced(links, catalog_) || directory_changed();
}

bool OpenAttempt::links_moved(std::span<const os::File> shards) {
  const auto linked = [](const std::optional<Kept>& kept) {
    return kept && kept->file.through_link();
  };
  const bool any = linked(catalog_) || std::ranges::any_of(indexes_, linked) ||
                   std::ranges::any_of(shards, &os::File::through_link);
  if (!any) return false;
  os::LinkSnapshot links(within_);
  const bool moved = index_changed(links) || replaced(links, catalog_) ||
                     std::ranges::any_of(shards, [&](const os::File& shard) {
                       const auto opened = shard.info();
                       return !opened || was_replaced(links, shard, *opened);
                     });
  lost_index_ |= moved;
  return moved;
}

Origin OpenAttempt::origin(std::string base) const {
  Origin origin{std::move(base), {}};
  for (const auto& kept : indexes_) {
    if (!kept) continue;
    origin.indexes[is_own(kept->file) ? 1 : 0] = {identity_of(kept->info), kept->info.device};
  }
  return origin;
}

Error OpenAttempt::explain(const std::filesystem::path& path, Error error) const {
  if (!may_be_a_race(error)) return error;
  if (retries_.calls() == os::Retries::kCallsMax && changed()) {
    return {Code::Busy, error.os_errno,
            path.string() + ": is replaced faster than it can be opened; try again: " + error.what};
  }
  if (retries_.calls() > 0 && error.code == Code::NotFound && !catalog_dir)
    return {Code::NotFound, 0, path.string() + ": was removed while it was being opened"};
  return error;
}

bool may_be_a_race(const Error& error) noexcept {
  return error.code == Code::NotFound || error.code == Code::Corrupt || error.code == Code::Io ||
         error.code == Code::Busy;
}

Error written_meanwhile(const std::filesystem::path& prefix) {
  return {Code::Busy, 0, prefix.string() + ": another process replaces it now; try again"};
}

}  // namespace cairn::internal
