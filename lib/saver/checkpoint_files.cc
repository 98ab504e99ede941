#include "lib/saver/checkpoint_files.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <set>

#include "lib/open/load.h"
#include "lib/open/v1.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/saver/history.h"
#include "lib/saver/other_catalogs.h"
#include "lib/try.h"
#include "lib/write/lock.h"
#include "lib/write/publisher.h"

namespace cairn::internal {
namespace {

constexpr std::array kIndexSuffixes{kTensorFlowSuffix, kCairnSuffix};

bool is_shard(std::string_view name, std::string_view base) noexcept {
  return shard_number(name, base).has_value();
}

bool is_index(std::string_view name, std::string_view base) noexcept {
  return std::ranges::find(kIndexSuffixes, name.substr(base.size())) != kIndexSuffixes.end();
}

// Which of the two indexes goes first, so that the other, which stands alone then, is the one that
// speaks.
Result<std::string_view> first_to_remove(const os::Directory& directory, const std::string& base) {
  CAIRN_TRY(pair, is_index_pair(directory, base));
  return pair ? kTensorFlowSuffix : kCairnSuffix;
}

// 0 and 1: an index, 2: anything else, 3: a shard.
int turn(std::string_view name, std::string_view base, std::string_view first) noexcept {
  if (name.starts_with(base) && is_index(name, base))
    return name.substr(base.size()) == first ? 0 : 1;
  return is_shard(name, base) ? 3 : 2;
}

// Named as a V1 checkpoint's file is: as the base, or as one of those that the base stands for.
bool is_named_v1(std::string_view file_name, std::string_view base) {
  if (file_name == base) return true;
  const auto one = v1_name(file_name);
  const auto all = v1_name(base);
  if (!one || !one->shard) return false;
  return all ? one->base == all->base && one->count == all->count : one->base == base;
}

// The files of the V1 checkpoint that the base is; none where it is none. Errors: the disk's, which
// may pass.
Result<std::vector<std::string>> v1_files(const os::Directory& directory, std::string_view base) {
  auto v1 = find_v1(directory, std::string(base));
  if (!v1 && may_pass(v1.error())) return std::move(v1).error();
  return v1 && *v1 ? (*std::move(v1))->names : std::vector<std::string>();
}

// Whether a graph of this name is the V1 checkpoint's: where what the base stands for has an index
// of its own, the graph belongs to that.
bool is_graph_of_v1(std::string_view name, std::string_view base,
                    std::span<const std::string> names) {
  const std::string whole(without_v1_tail(base));
  return name == whole + std::string(kMetaSuffix) &&
         std::ranges::none_of(names, [&](const std::string& other) {
           return other.starts_with(whole) && is_index(other, whole);
         });
}

// The numbered shards among the names. Where no index tells whose they are and `unread` takes them,
// those of one count are taken for the checkpoint's; of several counts nobody knows.
void add_unreadable(std::span<const std::string> names, std::string_view base,
                    UnreadableIndex unread, ShardReferences& references) {
  std::set<std::uint32_t> counts;
  for (const std::string& name : names) {
    if (const auto number = shard_number(name, base)) counts.insert(number->count);
  }
  if (unread == UnreadableIndex::Take && counts.size() == 1)
    references.counts.insert(*counts.begin());
}

// The shards that the checkpoint's indexes name. Errors: the disk's, which may pass.
Result<ShardReferences> references_of_files(const os::Directory& directory,
                                            std::span<const std::string> names,
                                            const std::string& base, UnreadableIndex unread) {
  auto read = shard_references(directory, base);
  if (!read && may_pass(read.error())) return std::move(read).error();
  const bool known = read && *read;
  ShardReferences references = known ? **std::move(read) : ShardReferences();
  const auto unnamed = [&](const std::string& name) {
    return is_shard(name, base) && !references.has(name, base);
  };
  if (std::ranges::none_of(names, unnamed)) return references;
  const bool opened = add_opened(directory, base, references);
  const bool nothing = references.shards_of(base).empty() && !references.names.empty();
  if (!opened && (!known || nothing)) add_unreadable(names, base, unread, references);
  return references;
}

}  // namespace

bool add_opened(const os::Directory& directory, const std::string& base,
                ShardReferences& references) {
  auto twin = directory.duplicate();
  if (!twin) return false;
  auto location = locate_in(*std::move(twin), base, base);
  if (!location) return false;
  OpenAttempt attempt(directory);
  const auto parts = load(*location, true, attempt);
  for (std::size_t i = 0; parts && i < parts->index.shard_count(); ++i)
    references.names.emplace(parts->index.shard(i).name);
  return parts.has_value();
}

bool is_checkpoint_file(std::string_view file_name, std::string_view base) {
  if (is_named_v1(file_name, base)) return true;
  if (file_name == std::string(without_v1_tail(base)).append(kMetaSuffix)) return true;
  if (!file_name.starts_with(base)) return false;
  const std::string_view suffix = file_name.substr(base.size());
  return suffix == kTensorFlowSuffix || suffix == kCairnSuffix || suffix == kMetaSuffix ||
         suffix == kSafetensorsSuffix || is_shard(file_name, base);
}

std::vector<std::string> checkpoints_among(std::span<const std::string> names) {
  std::set<std::string> bases;
  for (const std::string& name : names) {
    for (const std::string_view suffix : kIndexSuffixes) {
      if (name.ends_with(suffix)) bases.insert(name.substr(0, name.size() - suffix.size()));
    }
  }
  return {bases.begin(), bases.end()};
}

Result<format::JournalCheckpoint> checkpoint_files(const os::Directory& directory,
                                                   std::span<const std::string> names,
                                                   std::string_view base, UnreadableIndex unread) {
  format::JournalCheckpoint what{std::string(base), {}};
  std::set<std::uint64_t> shard_inodes;
  // What is named like a V1 file, beside an index or without being one, is somebody else's.
  const bool indexed = std::ranges::any_of(names, [&](const std::string& name) {
    return name.starts_with(base) && is_index(name, base);
  });
  CAIRN_TRY(v1, indexed ? Result<std::vector<std::string>>(std::vector<std::string>())
                        : v1_files(directory, base));
  CAIRN_TRY(references, references_of_files(directory, names, what.base, unread));
  // Where P.cairn is a link it names the shards of what it leads to, as do links beside it.
  const auto is_own_shard = [&](const std::string& name) {
    if (references.has(name, base)) return true;
    const auto text = directory.link_text(name);
    return text && *text &&
           references.names.contains(std::filesystem::path(**text).filename().string());
  };
  const auto is_others = [&](const std::string& name) {
    if (is_named_v1(name, base)) return std::ranges::find(v1, name) == v1.end();
    if (is_shard(name, base)) return !is_own_shard(name);
    return !name.starts_with(base) && (v1.empty() || !is_graph_of_v1(name, base, names));
  };
  for (const std::string& name : names) {
    if (!is_checkpoint_file(name, base) || is_others(name)) continue;
    if (name.ends_with(kMetaSuffix)) {
      CAIRN_TRY(catalog, reads_as_catalog(directory, name));
      if (catalog) continue;
    }
    CAIRN_TRY(info, directory.look(name));
    if (!info) continue;
    if (is_shard(name, base)) shard_inodes.insert(info->inode);
    what.files.push_back({name, identity_of(*info), info->ctime_ns});
  }
  std::erase_if(what.files, [&](const format::JournalFile& file) {
    return file.name.ends_with(kSafetensorsSuffix) && !shard_inodes.contains(file.identity.inode);
  });
  CAIRN_TRY(first, first_to_remove(directory, what.base));
  std::ranges::sort(what.files, {}, [&](const format::JournalFile& file) {
    return std::pair(turn(file.name, base, first), file.name);
  });
  return what;
}

namespace {

// What an index is to the others: as long as it is there, so is the checkpoint.
bool makes(std::string_view name, std::string_view base) {
  return (name.starts_with(base) && is_index(name, base)) || is_named_v1(name, base);
}

const format::JournalFile* find(const format::JournalCheckpoint& what, const std::string& name) {
  const auto file = std::ranges::find(what.files, name, &format::JournalFile::name);
  return file == what.files.end() ? nullptr : &*file;
}

bool is_meant(const format::JournalCheckpoint& what, const std::string& name,
              const os::FileInfo& info, IdentityCheck recognised) {
  const format::JournalFile* file = find(what, name);
  if (file == nullptr || identity_of(info) != file->identity) return false;
  // A shard's names change when another name of it goes.
  const bool by_names = recognised == IdentityCheck::ByFileAndNames && makes(name, what.base);
  return !by_names || info.ctime_ns == file->ctime_ns;
}

// Whether of what makes it a checkpoint something is there that was not meant.
Result<bool> is_another(const os::Directory& directory, const format::JournalCheckpoint& what,
                        IdentityCheck recognised) {
  std::set<std::string> names;
  for (const std::string_view suffix : kIndexSuffixes)
    names.insert(what.base + std::string(suffix));
  for (const format::JournalFile& file : what.files) {
    if (is_named_v1(file.name, what.base)) names.insert(file.name);
  }
  for (const std::string& name : names) {
    CAIRN_TRY(info, directory.look(name));
    if (info && !is_meant(what, name, *info, recognised)) return true;
  }
  return false;
}

bool may_not(const Error& error) noexcept {
  constexpr std::array kRefusals{EPERM, EACCES, EROFS, EBUSY};
  return std::ranges::find(kRefusals, error.os_errno) != kRefusals.end();
}

}  // namespace

std::string describe_remaining(const RemovalResult& removal) {
  using Outcome = RemovalResult::Outcome;
  const std::string refused = removal.refused ? removal.refused->what : std::string();
  if (removal.outcome == Outcome::Stays) {
    return "stays, and the catalog does not list it, because it could not be removed: " + refused +
           "; a user who has the permission can remove it with remove_checkpoint() (cairn rm)";
  }
  if (removal.outcome == Outcome::RecoverableCheckpoint) {
    return "is removed, except files that could not be removed: " + refused +
           "; a user who has the permission can remove them by hand (rm)";
  }
  return "another process has replaced it in the meantime; its files stay, and the catalog does "
         "not list it";
}

Result<bool> still_stands(const os::Directory& directory, const format::JournalCheckpoint& what) {
  for (const std::string_view suffix : kIndexSuffixes) {
    CAIRN_TRY(info, directory.look(what.base + std::string(suffix)));
    if (info) return true;
  }
  bool v1 = false;
  for (const format::JournalFile& file : what.files) {
    if (makes(file.name, what.base) && !is_named_v1(file.name, what.base)) return false;
    if (!is_named_v1(file.name, what.base)) continue;
    CAIRN_TRY(info, directory.look(file.name));
    if (!info) return false;
    v1 = true;
  }
  return v1;
}

Result<std::string> set_index_aside(const os::Directory& directory,
                                    const format::JournalCheckpoint& what) {
  CAIRN_TRY(first, first_to_remove(directory, what.base));
  const std::string name = what.base + std::string(first);
  for (const std::string_view suffix : kIndexSuffixes) {
    const std::string index = what.base + std::string(suffix);
    CAIRN_TRY(info, directory.look(index));
    if (!info || (index == name && !is_meant(what, name, *info, IdentityCheck::ByFile)))
      return std::string();
  }
  std::string aside = os::temporary_name(name);
  CAIRN_CHECK(directory.rename(name, aside));
  return aside;
}

Result<void> restore_index(const os::Directory& directory, const format::JournalCheckpoint& what) {
  std::vector<const format::JournalFile*> gone;
  for (const std::string_view suffix : kIndexSuffixes) {
    const format::JournalFile* before = find(what, what.base + std::string(suffix));
    if (before == nullptr) return {};
    CAIRN_TRY(info, directory.look(before->name));
    if (!info) gone.push_back(before);
    if (info && !is_meant(what, before->name, *info, IdentityCheck::ByFileAndNames)) return {};
  }
  if (gone.size() != 1) return {};
  CAIRN_TRY(names, directory.names());
  for (const std::string& name : names) {
    if (!os::is_temporary_name(name) || os::without_temporary_tail(name) != gone[0]->name) continue;
    CAIRN_TRY(info, directory.look(name));
    if (!info || identity_of(*info) != gone[0]->identity) continue;
    return directory.rename_new(name, gone[0]->name);
  }
  return {};
}

std::optional<Error> refusal_of(const os::Directory& directory,
                                const format::JournalCheckpoint& what) {
  for (const format::JournalFile& file : what.files) {
    if (directory.may_replace(file.name)) continue;
    return Error{Code::Io, EPERM,
                 (std::filesystem::path(directory.path()) / file.name).string() +
                     ": belongs to another user; only that user can remove it, because the "
                     "directory has the sticky bit"};
  }
  return std::nullopt;
}

Result<std::vector<std::string>> what_is_left(const os::Directory& directory,
                                              const format::JournalCheckpoint& what,
                                              IdentityCheck recognised) {
  std::vector<std::string> left;
  CAIRN_TRY(another, is_another(directory, what, recognised));
  if (another) return left;
  for (const format::JournalFile& file : what.files) {
    if (!is_checkpoint_file(file.name, what.base)) continue;
    CAIRN_TRY(info, directory.look(file.name));
    if (info && is_meant(what, file.name, *info, recognised)) left.push_back(file.name);
  }
  return left;
}

Result<std::optional<RemovalResult>> obstacle_to_removal(const os::Directory& directory,
                                                         const format::JournalCheckpoint& what,
                                                         IdentityCheck recognised) {
  using Obstacle = std::optional<RemovalResult>;
  CAIRN_TRY(another, is_another(directory, what, recognised));
  if (another) return Obstacle(RemovalResult{RemovalResult::Outcome::Another, {}});
  CAIRN_TRY(stands, still_stands(directory, what));
  auto refused = refusal_of(directory, what);
  if (!refused || !stands) return Obstacle();
  return Obstacle(RemovalResult{RemovalResult::Outcome::Stays, std::move(refused)});
}

Result<RemovalResult> remove_checkpoint_files(const os::Directory& directory,
                                              const format::JournalCheckpoint& what,
                                              IdentityCheck recognised) {
  const auto lock = Lock::of_prefix(directory, what.base, {});
  if (!lock) return lock.error();
  return remove_checkpoint_files_held(directory, what, recognised);
}

Result<RemovalResult> remove_checkpoint_files_held(const os::Directory& directory,
                                                   const format::JournalCheckpoint& what,
                                                   IdentityCheck recognised) {
  using Outcome = RemovalResult::Outcome;
  CAIRN_TRY(obstacle, obstacle_to_removal(directory, what, recognised));
  if (obstacle) return *std::move(obstacle);
  // The files were listed while others published, so shards of these very indexes may be missing.
  CAIRN_TRY(references, shard_references(directory, what.base));
  RemovalResult removal;
  // What this user may not remove stays, and the rest goes on. true: it has gone.
  const auto remove = [&](const std::string& name) -> Result<bool> {
    auto removed = directory.remove(name);
    if (removed) return true;
    if (!may_not(removed.error())) return std::move(removed).error();
    if (!removal.refused) removal = {Outcome::RecoverableCheckpoint, std::move(removed).error()};
    return false;
  };
  for (const format::JournalFile& file : what.files) {
    if (!is_checkpoint_file(file.name, what.base)) continue;
    CAIRN_TRY(info, directory.look(file.name));
    if (!info || !is_meant(what, file.name, *info, recognised)) continue;
    CAIRN_TRY(gone, remove(file.name));
    if (gone) continue;
    CAIRN_TRY(named, still_stands(directory, what));  // it names the shards
    if (named) return RemovalResult{Outcome::Stays, std::move(removal.refused)};
  }
  for (const std::string& shard :
       references ? references->shards_of(what.base) : std::set<std::string>())
    CAIRN_CHECK(remove(shard));
  return removal;
}

}  // namespace cairn::internal
