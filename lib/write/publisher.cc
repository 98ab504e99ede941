// Publishing, in the one order that loses nothing (docs/ARCHITECTURE.md, "The life of a save"):
//
// clang-format off
//   1. Write the shards under temporary names and sync them. Take the prefix's lock.
//   2. Write the indexes under temporary names and sync them.
//   3. Give the shards their names. Sync the directory.
//   4. Give P.meta, P.index and P.cairn their names. Sync the directory.
//   5. Remove the indexes that are not wanted. Sync the directory. Remove the old shards. Unlock.
//
// A published shard's name is never given to another file: a save over a prefix takes a number N of
// shards for which there is no P.data-?????-of-N. So the old indexes point to the old bytes until
// the rename.
//
// P.cairn may know what P.index cannot say (metadata, a pin, tensors of other dtypes). So a P.index
// that has a P.cairn must never be the only index, at no moment. How that is kept depends on what
// was there (the table in format/FORMAT.md, "Commit states"):
//
//   was there                     order
//   P.index, and a P.cairn that   P.index first. Before anything is named, the old P.cairn and the
//   decides                       new one have temporary names and are durable. For each P.index
//                                 that may stand then, the P.cairn that was written for it is
//                                 there, and readers find it (lib/open/pending_index.h).
//   P.index decides, or there     P.cairn first. The old P.index does not know it and still
//   is no P.index                 decides, or P.cairn is the only index. If no P.cairn was there,
//                                 the directory is synced before P.index gets its name, because
//                                 no reader looks for a P.cairn that waits.
// clang-format on
//
// If a publisher dies in between, the next one that takes the prefix's lock gives the waiting index
// its name: finish_pair(). If P.index is refused its name after P.cairn: roll_back().
//
// Which shards are removed? Those that the replaced indexes name, and those of a publisher that
// died. Nobody knows whose the others are: of a copy that is still running, or of a save of
// TensorFlow's. So an index is written under its temporary name before its shards get their names,
// and a replaced index gets a temporary name before it is replaced. If a publisher dies, a
// temporary index that no process holds names what must go. sweep() reads it, and removes the
// shards that no index names. (A power cut may leave a shard and not the temporary name; that costs
// space.)

#include "lib/write/publisher.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "format/cairn/index.h"
#include "format/digest.h"
#include "format/limits.h"
#include "format/tensorflow/bundle.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/try.h"
#include "lib/write/layout.h"
#include "lib/write/shard_names.h"

namespace cairn::internal {
namespace {

constexpr std::array kIndexSuffixes{kTensorFlowSuffix, kCairnSuffix};

// What P.cairn says, and of which P.index.
struct OwnIndex {
  std::vector<std::string> shards;
  format::TensorFlowIndexFacts recorded;
  bool pinned = false;
};

// What P.index says, and by what it is recognised.
struct ForeignIndex {
  std::uint32_t shard_count = 0;
  Digest128 digest;
};

// Nothing: it is too large to be an index. Errors: it cannot be read.
Result<std::optional<os::Bytes>> read_bytes(const os::File& file, std::uint64_t size_bytes_max) {
  auto bytes = os::read_whole(file, size_bytes_max);
  if (!bytes && bytes.error().code == Code::Unsupported) return std::optional<os::Bytes>();
  return std::move(bytes).transform([](os::Bytes read) { return std::optional(std::move(read)); });
}

// Nothing: it is not whole. Errors: it cannot be read.
Result<std::optional<OwnIndex>> read_own(const os::File& file) {
  CAIRN_TRY(bytes, read_bytes(file, format::limits::kIndexBytesMax));
  if (!bytes) return std::optional<OwnIndex>();
  const auto index = format::IndexView::decode(*bytes);
  if (!index) return std::optional<OwnIndex>();
  OwnIndex own{{}, index->tensorflow_index(), index->metadata(format::kPinnedKey).has_value()};
  for (std::size_t i = 0; i < index->shard_count(); ++i)
    own.shards.emplace_back(index->shard(i).name);
  return std::optional(std::move(own));
}

Result<std::optional<ForeignIndex>> read_foreign(const os::File& file) {
  CAIRN_TRY(bytes, read_bytes(file, format::limits::kForeignIndexBytesMax));
  if (!bytes) return std::optional<ForeignIndex>();
  const auto header = format::tensorflow::decode_bundle_header(*bytes);
  if (!header) return std::optional<ForeignIndex>();
  return std::optional(
      ForeignIndex{static_cast<std::uint32_t>(header->num_shards), format::xxh3_128(*bytes)});
}

// Of an index that nobody holds. One that was torn has named nothing yet. Errors: it cannot be
// read, so nobody knows.
Result<void> add_references(const os::File& file, std::string_view name,
                            ShardReferences& references) {
  if (name.ends_with(kCairnSuffix)) {
    CAIRN_TRY(own, read_own(file));
    if (own) references.names.insert(own->shards.begin(), own->shards.end());
  } else if (name.ends_with(kTensorFlowSuffix)) {
    CAIRN_TRY(foreign, read_foreign(file));
    if (foreign) references.counts.insert(foreign->shard_count);
  }
  return {};
}

// Whether P.cairn was written for this P.index: by identity, or by contents.
Result<bool> knows(const OwnIndex& own, const os::File& foreign) {
  if (!own.recorded.present) return false;
  CAIRN_TRY(info, foreign.info());
  if (own.recorded.identity == identity_of(info)) return true;
  CAIRN_TRY(read, read_foreign(foreign));
  return read && read->digest == own.recorded.digest;
}

// Whether nothing stands under the name that could be opened: it is gone, or is no regular file.
bool is_nothing(const Error& error) noexcept {
  return error.code == Code::NotFound || error.code == Code::Unsafe;
}

Result<bool> all_there(const os::Directory& directory, const OwnIndex& own) {
  for (const std::string& name : own.shards) {
    CAIRN_TRY(shard, directory.look_from(name, os::Links::Follow));
    if (!shard) return false;
  }
  return true;
}

// A temporary name for an index (or P.meta) that is there: a copy, where it cannot be linked.
Result<TempFile> second_name(const os::Directory& directory, const std::string& name,
                             const os::File& index) {
  auto temp = TempFile::link(directory, name, index);
  if (temp) return temp;
  const int number = temp.error().os_errno;
  constexpr std::array kImpossible{EPERM, EOPNOTSUPP, ENOSYS, EMLINK, EXDEV, ENOENT};
  if (std::ranges::find(kImpossible, number) == kImpossible.end()) return temp;
  CAIRN_TRY(bytes, os::read_whole(index, format::limits::kForeignIndexBytesMax));
  return write_temp_file(directory, name, bytes);
}

// Whether this P.cairn was written for this P.index, and its shards are there.
Result<bool> match(const os::Directory& directory, const std::optional<OwnIndex>& own,
                   const os::File& foreign) {
  if (!own) return false;
  CAIRN_TRY(known, knows(*own, foreign));
  return known ? all_there(directory, *own) : Result<bool>(false);
}

// The temporary name under which one index waits for the other, which stands: a P.cairn of this
// P.index, or the P.index of a P.cairn that stands alone. Empty: none does, or its writer lives.
// Errors: one cannot be looked at, so nobody knows; who took that for none would remove it.
Result<std::string> awaited(const os::Directory& directory, const std::string& wanted,
                            const std::optional<OwnIndex>& own, const Result<os::File>& foreign) {
  CAIRN_TRY(names, directory.names());
  for (const std::string& name : names) {
    if (!os::is_temporary_name(name) || os::without_temporary_tail(name) != wanted) continue;
    const auto file = directory.open_file(name, os::Links::Refuse);
    if (!file && is_nothing(file.error())) continue;
    if (!file) return file.error();
    CAIRN_TRY(nobodys, file->try_lock());
    if (!nobodys) continue;
    CAIRN_TRY(waiting, foreign ? read_own(*file) : own);
    CAIRN_TRY(found, match(directory, waiting, foreign ? *foreign : *file));
    if (found) return name;
  }
  return std::string();
}

enum class PairState : std::uint8_t { Whole, Finished, Unknown };

// Where a publisher died or failed between the names of its two indexes, the one that waits gets
// its name. Unknown: it could not, or nobody knows whether one waits. The caller holds the prefix's
// lock. Errors: that of a sync.
Result<PairState> finish_pair(const os::Directory& directory, const std::string& base) {
  const auto own_file = directory.open_file(base + std::string(kCairnSuffix), os::Links::Refuse);
  const auto foreign =
      directory.open_file(base + std::string(kTensorFlowSuffix), os::Links::Refuse);
  for (const auto* file : {&own_file, &foreign}) {
    if (!*file && file->error().code == Code::Unsafe)
      return PairState::Whole;  // a link of somebody's
    if (!*file && file->error().code != Code::NotFound) return PairState::Unknown;
  }
  const auto own = own_file ? read_own(*own_file) : std::optional<OwnIndex>();
  if (!own) return PairState::Unknown;
  if (own_file && !*own) return PairState::Whole;  // a damaged one: nothing waits for it
  const auto known = foreign && *own ? knows(**own, *foreign) : Result<bool>(false);
  if (!known) return PairState::Unknown;
  if (*known || (!foreign && (!*own || !(*own)->recorded.present))) return PairState::Whole;
  const std::string wanted = base + std::string(foreign ? kCairnSuffix : kTensorFlowSuffix);
  const auto waiting = awaited(directory, wanted, *own, foreign);
  if (!waiting) return PairState::Unknown;
  if (waiting->empty()) return PairState::Whole;
  if (foreign && own_file) {
    // Its shards are known for what they are until they have gone.
    auto replaced = second_name(directory, wanted, *own_file);
    if (!replaced) return PairState::Unknown;
    replaced->abandon();
  }
  if (!directory.rename(*waiting, wanted)) return PairState::Unknown;
  CAIRN_CHECK(directory.sync());
  return PairState::Finished;
}

// The temporary files of publishers under `base`, or with nothing the directory's own.
std::vector<std::string> temporaries_of(std::span<const std::string> names,
                                        const std::optional<std::string>& base) {
  std::vector<std::string> found;
  for (const std::string& name : names) {
    if (os::is_temporary_name(name) && base_of_file(os::without_temporary_tail(name)) == base)
      found.push_back(name);
  }
  return found;
}

// Removes the shards that a dead publisher named and no index does. false: some are still there.
bool remove_dead(const os::Directory& directory, std::span<const std::string> names,
                 const std::string& base, const ShardReferences& dead) {
  const auto alive = shard_references(directory, base);
  if (!alive || !*alive) return false;
  bool all = true;
  for (const std::string& name : names) {
    if (dead.has(name, base) && !(*alive)->has(name, base))
      all = static_cast<bool>(directory.remove(name)) && all;
  }
  return all;
}

// The prefixes that temporary files are those of.
std::set<std::string> bases_of_temporaries(std::span<const std::string> names) {
  std::set<std::string> bases;
  for (const std::string& name : names) {
    const auto base =
        os::is_temporary_name(name) ? base_of_file(os::without_temporary_tail(name)) : std::nullopt;
    if (base) bases.insert(*base);
  }
  return bases;
}

// Adds the temporary files under `base` that nobody holds, and the shards that they alone name: by
// the rules of sweep().
Result<void> add_left(const os::Directory& directory, std::span<const std::string> names,
                      const std::optional<std::string>& base, std::vector<std::string>& left) {
  ShardReferences dead;
  ShardReferences alive;
  bool known = base.has_value();
  for (const std::string& name : temporaries_of(names, base)) {
    const auto file = directory.open_file(name, os::Links::Refuse);
    if (!file) continue;
    const bool nobodys = file->try_lock().value_or(false);
    file->unlock();
    const auto read =
        add_references(*file, os::without_temporary_tail(name), nobodys ? dead : alive);
    if (nobodys && read) left.push_back(name);
    known = known && read;
  }
  if (!known) return {};
  CAIRN_TRY(named, shard_references(directory, *base));
  if (!named) return {};
  for (const std::string& name : names) {
    if (dead.has(name, *base) && !named->has(name, *base) && !alive.has(name, *base))
      left.push_back(name);
  }
  return {};
}

void sweep(const os::Directory& directory, std::span<const std::string> names,
           const std::optional<std::string>& base) {
  ShardReferences dead;
  std::vector<std::string> going;
  for (const std::string& name : temporaries_of(names, base)) {
    const auto file = directory.open_file(name, os::Links::Refuse);
    if (!file || !file->try_lock().value_or(false)) continue;
    // One that cannot be read today goes when it can: it may be all that tells what else goes.
    if (add_references(*file, os::without_temporary_tail(name), dead)) going.push_back(name);
  }
  const bool named = !dead.names.empty() || !dead.counts.empty();
  // They stay named until they have gone.
  if (named && !remove_dead(directory, names, *base, dead)) return;
  for (const std::string& name : going) remove_unheld(directory, name);
}

}  // namespace

bool ShardReferences::has(std::string_view shard, std::string_view base) const {
  const auto number = shard_number(shard, base);
  return number && (counts.contains(number->count) || names.contains(shard));
}

std::set<std::string> ShardReferences::shards_of(const std::string& base) const {
  std::set<std::string> shards;
  for (const std::string& name : names) {
    if (shard_number(name, base)) shards.insert(name);
  }
  for (const std::uint32_t count : counts) {
    for (std::string& name : shard_names(base, count, count)) shards.insert(std::move(name));
  }
  return shards;
}

Result<std::optional<ShardReferences>> shard_references(const os::Directory& directory,
                                                        const std::string& base) {
  using Nobody = std::optional<ShardReferences>;
  ShardReferences references;
  const auto own_file = directory.open_file(base + std::string(kCairnSuffix), os::Links::Refuse);
  const auto file = directory.open_file(base + std::string(kTensorFlowSuffix), os::Links::Refuse);
  for (const auto* each : {&own_file, &file}) {
    if (!*each && each->error().code == Code::Unsafe) return Nobody();
    if (!*each && each->error().code != Code::NotFound) return each->error();
  }
  std::optional<ForeignIndex> foreign;
  std::optional<OwnIndex> own;
  if (file) {
    CAIRN_TRY(read, read_foreign(*file));
    foreign = std::move(read);
  }
  if (own_file) {
    CAIRN_TRY(read, read_own(*own_file));
    own = std::move(read);
  }
  if ((file && !foreign) || (own_file && !own)) return Nobody();
  if (foreign) references.counts.insert(foreign->shard_count);
  // One that P.index has overtaken speaks for nothing.
  const bool overtaken =
      own && foreign && (!own->recorded.present || own->recorded.digest != foreign->digest);
  if (own && !overtaken) references.names.insert(own->shards.begin(), own->shards.end());
  return Nobody(std::move(references));
}

Result<bool> is_index_pair(const os::Directory& directory, const std::string& base) {
  const auto own_file = directory.open_file(base + std::string(kCairnSuffix), os::Links::Follow);
  const auto foreign =
      directory.open_file(base + std::string(kTensorFlowSuffix), os::Links::Follow);
  for (const auto* file : {&own_file, &foreign}) {
    if (!*file && is_nothing(file->error())) return false;
    if (!*file) return file->error();
  }
  CAIRN_TRY(own, read_own(*own_file));
  return own ? knows(*own, *foreign) : Result<bool>(false);
}

Result<ShardReferences> temporary_shard_references(const os::Directory& directory,
                                                   std::span<const std::string> names,
                                                   const std::string& base) {
  ShardReferences references;
  for (const std::string& name : temporaries_of(names, base)) {
    const auto file = directory.open_file(name, os::Links::Refuse);
    if (!file && file.error().code == Code::NotFound) continue;
    if (!file) return file.error();
    CAIRN_CHECK(add_references(*file, os::without_temporary_tail(name), references));
  }
  return references;
}

Result<Lock> lock_prefix(const os::Directory& directory, const std::string& base,
                         const LockWait& wait) {
  CAIRN_TRY(lock, Lock::of_prefix(directory, base, wait));
  CAIRN_TRY(pair, finish_pair(directory, base));
  if (pair == PairState::Finished) CAIRN_CHECK(sweep(directory, base));
  return std::move(lock);
}

Result<Publisher> Publisher::begin(Target target, const LockWait& wait) {
  CAIRN_TRY(lock, lock_prefix(target.directory, target.base, wait));
  return Publisher(std::move(target), std::move(lock));
}

Result<void> Publisher::refuse(std::span<const std::string_view> suffixes) const {
  return refuse_existing(target_, suffixes);
}

Result<void> refuse_existing(const Target& target, std::span<const std::string_view> suffixes) {
  for (const std::string_view suffix : suffixes) {
    const std::string file = target.base + std::string(suffix);
    if (!target.directory.exists(file)) continue;
    return Error{Code::Exists, 0,
                 target.shown + ": " + file + " is there; choose another output, or say replace"};
  }
  return {};
}

Result<const os::File*> Publisher::add(std::string_view suffix, std::span<const std::byte> bytes) {
  CAIRN_TRY(temp, write_temp_file(target_.directory, name(suffix), bytes));
  indexes_.push_back(std::move(temp));
  return &indexes_.back().file();
}

Result<const os::File*> Publisher::add_link(std::string_view suffix, const os::File& file) {
  CAIRN_TRY(info, file.info());
  CAIRN_TRY(there, target_.directory.look(name(suffix)));
  // To give a file the name that it has does nothing, and its temporary name would stay.
  if (there && same_file(*there, info)) {
    CAIRN_TRY(bytes, os::read_whole(file, info, format::limits::kForeignIndexBytesMax));
    return add(suffix, bytes);
  }
  CAIRN_CHECK(file.sync());
  CAIRN_TRY(temp, second_name(target_.directory, name(suffix), file));
  indexes_.push_back(std::move(temp));
  return &indexes_.back().file();
}

// Second names for the indexes that are replaced or go, so that their shards are known for what
// they are until they have gone.
Result<std::vector<TempFile>> Publisher::keep_replaced(
    std::span<const std::string_view> unwanted) const {
  std::vector<TempFile> kept;
  for (const std::string_view suffix : kIndexSuffixes) {
    const std::string index = name(suffix);
    const bool goes = std::ranges::find(indexes_, index, &TempFile::name) != indexes_.end() ||
                      std::ranges::find(unwanted, suffix) != unwanted.end();
    auto file = target_.directory.open_file(index, os::Links::Refuse);
    // A link of somebody's: what it leads to is not ours to remove.
    if (!goes || (!file && is_nothing(file.error()))) continue;
    if (!file) return std::move(file).error();
    CAIRN_TRY(temp, second_name(target_.directory, index, *file));
    kept.push_back(std::move(temp));
  }
  return kept;
}

// After an error the names are gone again.
Result<void> Publisher::name_shards(std::span<TempFile> shards) {
  std::size_t named = 0;
  const auto name_all = [&]() -> Result<void> {
    for (; named < shards.size(); ++named)
      CAIRN_CHECK(shards[named].publish(TempFile::Taken::Refuse));
    return target_.directory.sync();
  };
  auto done = name_all();
  for (std::size_t i = 0; !done && i < named; ++i) (void)target_.directory.remove(shards[i].name());
  return done;
}

Result<void> Publisher::name_index(TempFile& index) {
  auto done = index.publish(TempFile::Taken::Replace);
  if (!done) {
    // Over a network a rename that is reported as failed may have happened.
    const auto info = index.file().info();
    const auto there = target_.directory.look(index.name());
    const bool surely_not = info && there && (!*there || (*there)->inode != info->inode);
    refused_ = surely_not;
    changed_ = changed_ || !surely_not;
    return done;
  }
  changed_ = changed_ || !index.name().ends_with(kMetaSuffix);  // a graph names no shards
  return {};
}

// `pair`: as they stood before, which decides the order.
Result<void> Publisher::name_indexes(bool pair) {
  const std::array order{kMetaSuffix, pair ? kTensorFlowSuffix : kCairnSuffix,
                         pair ? kCairnSuffix : kTensorFlowSuffix};
  for (const std::string_view suffix : order) {
    const auto index = std::ranges::find(indexes_, name(suffix), &TempFile::name);
    if (index == indexes_.end()) continue;
    if (changed_ && !replaces_own_) CAIRN_CHECK(target_.directory.sync());
    CAIRN_CHECK(name_index(*index));
  }
  return target_.directory.sync();
}

// An index of the kind that is not wanted would be preferred to, or contradict, the new one, so its
// removal is the moment of the commit.
Result<void> Publisher::drop(std::span<const std::string_view> unwanted) const {
  for (const std::string_view suffix : unwanted) {
    CAIRN_TRY(there, target_.directory.look(name(suffix)));
    if (!there) continue;
    CAIRN_CHECK(target_.directory.remove(name(suffix)));
    CAIRN_CHECK(target_.directory.sync());
  }
  return {};
}

// What to say of the pin of what stands there, where what is to take its place is not pinned;
// empty: there is none.
std::string Publisher::pin_lost() const {
  // Nothing: nobody can say.
  const auto is_pinned = [](const os::File& file) {
    const auto own = read_own(file);
    return own && *own ? std::optional((*own)->pinned) : std::nullopt;
  };
  const auto stands = target_.directory.look(name(kCairnSuffix));
  if (stands && !*stands) return {};
  const auto there = target_.directory.open_file(name(kCairnSuffix), os::Links::Inside);
  const auto before = there ? is_pinned(*there) : std::nullopt;
  const bool stays = std::ranges::any_of(indexes_, [&](const TempFile& index) {
    return index.name() == name(kCairnSuffix) && is_pinned(index.file()).value_or(false);
  });
  if (stays || before == false) return {};
  return before ? "was pinned" : "may have been pinned, for its P.cairn cannot be read";
}

// A P.cairn that went before the P.index it was written for, which was refused its name: it goes,
// or gives way to the one before. Where that fails the new checkpoint stands.
void Publisher::roll_back(std::span<TempFile> replaced) {
  const auto foreign = std::ranges::find(indexes_, name(kTensorFlowSuffix), &TempFile::name);
  if (foreign == indexes_.end() || foreign->temporary_name().empty()) return;
  const auto before = std::ranges::find(replaced, name(kCairnSuffix), &TempFile::name);
  // A link of somebody's cannot come back.
  if (before == replaced.end() && replaces_own_) return;
  const auto done = before != replaced.end() ? before->publish(TempFile::Taken::Replace)
                                             : target_.directory.remove(name(kCairnSuffix));
  changed_ = !done || !target_.directory.sync();  // or its shards would go before it does
}

Result<void> Publisher::publish(std::span<TempFile> shards, const How& how) {
  const bool two = indexes_.size() > 1;
  CAIRN_TRY(pair, two || !how.unwanted.empty() ? is_index_pair(target_.directory, target_.base)
                                               : Result<bool>(false));
  std::vector<TempFile> replaced;
  if (!shards.empty() || !how.unwanted.empty() || pair) {
    pin_lost_ = pin_lost();
    CAIRN_TRY(kept, keep_replaced(how.unwanted));
    replaced = std::move(kept);
  }
  CAIRN_TRY(own, target_.directory.look_from(name(kCairnSuffix), os::Links::Follow));
  replaces_own_ = own.has_value();
  // The names are durable, of shards before an index says them, of an index before it waits.
  if (!shards.empty() || two) CAIRN_CHECK(name_shards(shards));
  auto done = name_indexes(pair);
  if (changed_ && refused_ && !pair) roll_back(replaced);
  if (!done && !changed_) {
    for (const TempFile& shard : shards) (void)target_.directory.remove(shard.name());
    return done;
  }
  if (done) done = drop(how.unwanted);
  // To be read by a sweep, this one or a later one; where it failed, one may be the other half.
  for (std::vector<TempFile>* temps : {&replaced, &indexes_}) {
    for (TempFile& index : *temps) index.abandon();
  }
  replaced.clear();
  return done ? sweep(target_.directory, target_.base) : done;
}

std::optional<std::string> Publisher::warning() const {
  if (pin_lost_.empty()) return std::nullopt;
  return target_.shown + ": " + pin_lost_ +
         ", and what took its place is not; Saver::pin() (cairn pin) pins it";
}

Result<void> Publisher::publish_file(TempFile& file, bool replace) {
  CAIRN_TRY(there, target_.directory.look(file.name()));
  CAIRN_TRY(info, file.file().info());
  // To give a file the name that it has does nothing, and its temporary name would stay.
  const bool same = there && same_file(*there, info);
  if (there && !same && !replace) {
    return Error{
        Code::Exists, 0,
        target_.shown + ": " + file.name() + " is there; choose another output, or say replace"};
  }
  if (!same)
    CAIRN_CHECK(file.publish(replace ? TempFile::Taken::Replace : TempFile::Taken::Refuse));
  auto done = target_.directory.sync();
  // What was replaced does not come back, and the new file is whole.
  if (!done && !there) (void)target_.directory.remove(file.name());
  return done ? sweep(target_.directory, target_.base) : done;
}

Result<void> sweep(const os::Directory& directory, const std::string& base) {
  CAIRN_TRY(pair, finish_pair(directory, base));
  if (pair == PairState::Unknown) return {};
  const auto names = directory.names();
  if (names) sweep(directory, *names, base);
  return {};
}

Result<void> sweep_all(const os::Directory& directory) {
  const auto names = directory.names();
  return names ? sweep_all(directory, *names) : Result<void>();
}

Result<void> sweep_all(const os::Directory& directory, std::span<const std::string> names) {
  for (const std::string& base : bases_of_temporaries(names)) {
    // Who publishes there sweeps too.
    const auto lock = Lock::of_prefix(directory, base, {std::chrono::milliseconds(0), {}});
    if (lock) CAIRN_CHECK(sweep(directory, base));
  }
  sweep(directory, names, std::nullopt);
  return {};
}

Result<std::vector<std::string>> stale_temporary_files(const os::Directory& directory,
                                                       std::span<const std::string> names) {
  std::vector<std::string> left;
  for (const std::string& base : bases_of_temporaries(names))
    CAIRN_CHECK(add_left(directory, names, base, left));
  CAIRN_CHECK(add_left(directory, names, std::nullopt, left));
  return left;
}

}  // namespace cairn::internal
