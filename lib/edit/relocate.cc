// What is carried is a moment: every file is opened, and then the indexes are looked at again. Who
// saves over the source afterwards takes its names away, not these files, so a copy of a checkpoint
// that is saved again each minute is whole, and need not begin again.
//
// P.index says the numbers of shards and not their names, so its bytes are right under any base, as
// long as that many shards' names are free. P.cairn names them, and is encoded anew with what it
// says of all else. What is copied is compared with its sums where it has arrived: that finds what
// was damaged before, and what was damaged on the way.

#include "lib/edit/relocate.h"

#include <algorithm>
#include <array>
#include <utility>

#include "format/digest.h"
#include "format/limits.h"
#include "format/tensorflow/bundle.h"
#include "lib/edit/publish.h"
#include "lib/open/assemble.h"
#include "lib/open/catalog.h"
#include "lib/open/file_formats.h"
#include "lib/open/file_record.h"
#include "lib/open/v1.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/read/open_checkpoint.h"
#include "lib/try.h"
#include "lib/write/remarks.h"

namespace cairn::internal {
namespace {

os::Links links(bool follow) noexcept { return follow ? os::Links::Follow : os::Links::Inside; }

// P.meta, which lies beside V1 files too.
Result<void> take_graph(bool follow_links, CheckpointSnapshot& snapshot) {
  const Location& location = snapshot.location;
  if (location.kind == Kind::File || !location.has(kMetaSuffix)) return {};
  CAIRN_TRY(file, location.directory.open_file(location.file(kMetaSuffix), links(follow_links)));
  snapshot.graph.emplace(std::move(file));
  return {};
}

Result<void> take_file(const std::string& name, bool follow_links, CheckpointSnapshot& snapshot) {
  // The user names it himself, and may name a link.
  const bool follow = follow_links || snapshot.location.kind == Kind::File;
  CAIRN_TRY(file, snapshot.location.directory.open_file(name, links(follow)));
  snapshot.file.emplace(std::move(file));
  return {};
}

// Shards of as many as there are, in which no tensor lies: TensorFlow writes them for a device that
// holds no variable.
Result<void> take_idle(bool follow_links, CheckpointSnapshot& snapshot) {
  const Location& location = snapshot.location;
  const format::IndexView& index = snapshot.parts->index;
  std::vector<std::string> known;
  for (std::size_t i = 0; i < index.shard_count(); ++i) known.emplace_back(index.shard(i).name);
  const auto counted =
      known.empty() ? std::optional<ShardNumber>() : shard_number(known.front(), location.base);
  if (!counted || counted->count == known.size()) return {};
  CAIRN_TRY(names, location.directory.names());
  std::ranges::sort(names);
  for (std::string& name : names) {
    const auto number = shard_number(name, location.base);
    if (!number || number->count != counted->count) continue;
    if (std::ranges::find(known, name) != known.end()) continue;
    CAIRN_TRY(shard, open_shard(location.directory, name, follow_links));
    snapshot.parts->shards.push_back(std::move(shard.file));
    snapshot.idle.push_back(std::move(name));
  }
  return {};
}

// Whether P.safetensors is another name of a shard.
Result<void> take_alias(CheckpointSnapshot& snapshot) {
  const Location& location = snapshot.location;
  CAIRN_TRY(alias, location.directory.look(location.file(kSafetensorsSuffix)));
  if (!alias || alias->kind != os::FileKind::Regular) return {};
  for (std::size_t i = 0; i < snapshot.parts->index.shard_count(); ++i) {
    CAIRN_TRY(shard, snapshot.parts->shards[i].info());
    if (same_file(shard, *alias)) snapshot.safetensors = i;
  }
  return {};
}

Result<void> take_index(CheckpointSnapshot& snapshot) {
  const Location& location = snapshot.location;
  if (!location.has(kTensorFlowSuffix)) return {};
  CAIRN_TRY(file,
            location.directory.open_file(location.file(kTensorFlowSuffix), os::Links::Follow));
  CAIRN_TRY(bytes, os::read_whole(file, format::limits::kForeignIndexBytesMax));
  const auto record = snapshot.parts->index.tensorflow_index();
  if (snapshot.own_index && record.present && format::xxh3_128(bytes) != record.digest) {
    return Error{Code::Corrupt, 0,
                 file.path() + ": is damaged: its digest is not the one that " +
                     location.file(kCairnSuffix) +
                     " records; to write it again, use export_index() with replace (cairn export "
                     "--to tensorflow --replace)"};
  }
  snapshot.index_file.emplace(std::move(file));
  snapshot.index_bytes.emplace(std::move(bytes));
  return {};
}

Result<void> take_prefix(bool follow_links, OpenAttempt& attempt, CheckpointSnapshot& snapshot) {
  CAIRN_TRY(parts, load_quietly(snapshot.location, follow_links, attempt));
  snapshot.warnings = parts.warnings;
  snapshot.own_index = parts.format == Format::Cairn;
  snapshot.parts.emplace(std::move(parts));
  CAIRN_CHECK(take_index(snapshot));
  CAIRN_CHECK(take_idle(follow_links, snapshot));
  return take_alias(snapshot);
}

}  // namespace

Result<CheckpointSnapshot> open_snapshot(Location location, bool follow_links,
                                         OpenAttempt& attempt) {
  CAIRN_TRY(seen, index_identities(location.directory, location.base));
  CheckpointSnapshot snapshot{.location = std::move(location), .seen = std::move(seen)};
  const Location& from = snapshot.location;
  if (from.v1_files.size() > 1) {
    return Error{Code::Unsupported, 0,
                 from.prefix.string() +
                     ": is a V1 checkpoint in several files, which cannot be published in one "
                     "step; use convert() (cairn convert)"};
  }
  CAIRN_CHECK(check_in_one_file(from));
  if (from.kind == Kind::Prefix) {
    CAIRN_CHECK(take_prefix(follow_links, attempt, snapshot));
  } else {
    CAIRN_CHECK(take_file(from.kind == Kind::TensorFlowV1 ? from.v1_files.front() : from.base,
                          follow_links, snapshot));
    snapshot.warnings = from.warnings;
  }
  CAIRN_CHECK(take_graph(follow_links, snapshot));
  CAIRN_CHECK(check_unchanged(snapshot.location, snapshot.seen));
  return snapshot;
}

// ---- Where it goes ------------------------------------------------------------------------------

namespace {

// What stands there is the checkpoint itself, by symbolic links.
Result<void> refuse_links_to(const Location& source, const Destination& to) {
  const bool is_file = source.kind == Kind::File;
  const std::string base = is_file ? to.prefix.filename().string() : to.base;
  for (const std::string_view suffix : {std::string_view(), kCairnSuffix, kTensorFlowSuffix}) {
    const std::string name = base + std::string(suffix);
    CAIRN_TRY(there, to.directory.look(name));
    if (!there || there->kind != os::FileKind::Link) continue;
    const auto led_to = to.directory.look_from(name, os::Links::Follow);
    const auto own = source.directory.look_from(source.file(suffix), os::Links::Follow);
    const bool both = led_to && *led_to && own && *own;
    if (!both || !same_file(**led_to, **own)) continue;
    return Error{Code::Invalid, 0,
                 to.prefix.string() + ": " + name +
                     " is a symbolic link to the checkpoint itself; choose another output"};
  }
  return {};
}

// A V1 file may have any name, but by some it would be taken for something else.
Result<void> check_v1_name(const std::filesystem::path& prefix, const std::string& base) {
  const auto shard = v1_name(base);
  std::string_view taken_for;
  if (base.starts_with(".cairn-") || os::is_temporary_name(base)) {
    taken_for = "one of Cairn's own files, which Cairn may remove";
  } else if (base == kCatalogName) {
    taken_for = "the directory's catalog";
  } else if (base_of_file(base)) {
    taken_for = "a file of another checkpoint";
  } else if (shard && shard->count != 1) {
    taken_for = "one of several files of a V1 checkpoint";
  }
  if (taken_for.empty()) return {};
  return Error{Code::Invalid, 0,
               prefix.string() +
                   ": a V1 checkpoint is one file, and a file with this name would be taken for " +
                   std::string(taken_for) + "; choose another name"};
}

}  // namespace

NewDirectories::NewDirectories(const std::filesystem::path& to) {
  for (auto parent = to.parent_path(); !parent.empty(); parent = parent.parent_path()) {
    const auto info = os::look(parent);
    if (!info || *info || parent == parent.parent_path()) break;
    missing_.push_back(parent);
  }
}

NewDirectories::~NewDirectories() {
  std::error_code ignored;
  for (const std::filesystem::path& directory : missing_) {
    const auto there = std::filesystem::symlink_status(directory, ignored);
    if (!std::filesystem::is_directory(there)) return;
    if (!std::filesystem::remove(directory, ignored)) return;  // somebody has put a file there
  }
}

Result<Destination> destination_of(const Location& source, const std::filesystem::path& to) {
  CAIRN_TRY(info, os::look(to));
  const bool into = info && info->kind == os::FileKind::Directory;
  std::filesystem::path prefix = into ? to / source.base : to;
  std::string base = prefix.filename().string();
  if (to.empty() || !is_bare(base)) {
    return Error{Code::Invalid, 0,
                 to.string() +
                     ": is neither an existing directory nor a prefix, which has a name after the "
                     "last slash"};
  }
  if (source.kind == Kind::File) {
    if (!into) prefix.replace_filename(with_suffix(base, source.file_format->suffix));
    base = prefix.stem().string();
  }
  if (source.kind == Kind::TensorFlowV1) CAIRN_CHECK(check_v1_name(prefix, base));
  CAIRN_TRY(directory, os::Directory::open_or_create(Prefix::of(prefix).directory));
  const bool is_file = source.kind == Kind::File;
  CAIRN_TRY(same, same_place({directory, is_file ? prefix.filename().string() : base},
                             {source.directory, source.base}));
  if (same) {
    return Error{
        Code::Invalid, 0,
        prefix.string() + ": is the place of the checkpoint itself; choose another output"};
  }
  Destination destination{std::move(directory), std::move(base), std::move(prefix)};
  CAIRN_CHECK(refuse_links_to(source, destination));
  return destination;
}

namespace {

// ---- A prefix -----------------------------------------------------------------------------------

std::uint64_t unsummed_bytes(const format::IndexView& index) {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < index.tensor_count(); ++i) {
    const auto tensor = index.tensor(i);
    if (!tensor.partitioned() && !tensor.span.crc32c) bytes += tensor.size_bytes;
    for (std::uint32_t j = tensor.slices_begin; j < tensor.slices_end; ++j) {
      const format::Span span = index.slice(j).span;
      if (!span.crc32c) bytes += span.size_bytes;
    }
  }
  return bytes;
}

void warn_of_missing_sums(const std::string& shown, std::uint64_t bytes, Transfer& transfer) {
  if (bytes == 0) return;
  transfer.warnings.push_back(
      shown + ": " + std::to_string(bytes) +
      " bytes of tensors have no checksum; they were copied without a check");
}

Result<void> compare(Parts parts, const TransferOptions& options) {
  OpenOptions opening;
  opening.verify = Verify::Full;
  opening.exec.threads_max = options.exec.threads_max;
  opening.exec.stop = options.exec.stop;
  auto checked = OpenCheckpoint::make(std::move(parts), opening);
  if (!checked && checked.error().code == Code::Corrupt) {
    Error error = std::move(checked).error();
    error.what += "; it was not copied; salvage() keeps the tensors that are whole";
    return error;
  }
  if (!checked) return std::move(checked).error();
  return {};
}

// Compares what has arrived with the sums of the index.
Result<void> compare(const CheckpointSnapshot& snapshot, const Destination& to,
                     std::span<const TempFile> temps, const TransferOptions& options,
                     Transfer& transfer) {
  const Parts& source = *snapshot.parts;
  Parts parts{source.format, source.prefix, source.index_bytes, source.index};
  for (std::size_t i = 0; i < source.index.shard_count(); ++i) {
    CAIRN_TRY(file, to.directory.open_file(temps[i].temporary_name(), os::Links::Refuse));
    parts.shards.push_back(std::move(file));
  }
  CAIRN_CHECK(compare(std::move(parts), options));
  warn_of_missing_sums(source.prefix.string(), unsummed_bytes(source.index), transfer);
  return {};
}

// The shards' names under another base, with their numbers; none where they are not numbered.
std::vector<std::string> names_under(const CheckpointSnapshot& snapshot, const std::string& to) {
  const std::string& from = snapshot.location.base;
  std::vector<std::string> names;
  const auto add = [&](std::string_view name) {
    if (shard_number(name, from)) names.push_back(to + std::string(name.substr(from.size())));
  };
  const format::IndexView& index = snapshot.parts->index;
  for (std::size_t i = 0; i < index.shard_count(); ++i) add(index.shard(i).name);
  for (const std::string& name : snapshot.idle) add(name);
  if (names.size() != snapshot.parts->shards.size()) names.clear();
  return names;
}

// Which shards are not those that P.cairn remembers: nobody has compared them since.
Result<std::vector<bool>> doubtful(const CheckpointSnapshot& snapshot) {
  std::vector<bool> doubtful;
  if (!snapshot.own_index) return doubtful;
  for (std::size_t i = 0; i < snapshot.parts->index.shard_count(); ++i) {
    CAIRN_TRY(info, snapshot.parts->shards[i].info());
    doubtful.push_back(identity_of(info) != snapshot.parts->index.shard(i).identity);
  }
  doubtful.resize(doubtful.size() + snapshot.idle.size(), false);
  return doubtful;
}

// What the checkpoint does away with where it is to go; empty: nothing.
std::string what_goes_at(const Destination& to, const format::IndexView& index) {
  const auto goes = replaced_tensors(to.directory, to.base, specs_of(index));
  if (goes) return first_of(*goes);
  return "it is not known which tensors the replaced checkpoint had: " + goes.error().what;
}

Result<void> publish_prefix_at(const CheckpointSnapshot& snapshot, const Destination& to,
                               const RelocateOptions& relocation, const TransferOptions& options,
                               Transfer& transfer) {
  transfer.prefix = to.prefix;
  CAIRN_TRY(doubts, doubtful(snapshot));
  LinkedCheckpoint linked;
  linked.facts = snapshot.parts->index.facts();
  linked.facts.tensorflow_index = {};
  if (!linked.facts.step) linked.facts.step = step_of(snapshot.location.base);
  for (std::size_t i = 0; i < snapshot.idle.size(); ++i)
    linked.facts.shards.emplace_back().kind = format::ShardKind::TensorFlow;
  linked.files = snapshot.parts->shards;
  linked.doubtful = std::move(doubts);
  linked.own_index = snapshot.own_index;
  linked.names = names_under(snapshot, to.base);
  if (snapshot.index_bytes) linked.tensorflow_index = *snapshot.index_bytes;
  linked.unchanged = relocation.unchanged;
  Companions& whole = linked.whole.emplace();
  whole.tensorflow = snapshot.index_file.has_value();
  whole.index_file = snapshot.index_file ? &*snapshot.index_file : nullptr;
  whole.graph = snapshot.graph ? &*snapshot.graph : nullptr;
  whole.safetensors = snapshot.safetensors;
  whole.independent = relocation.how == TransferMode::Copy;
  whole.hold = relocation.hold;
  whole.check = [&](std::span<const TempFile> temps) -> Result<bool> {
    if (relocation.how == TransferMode::Move && transfer.used <= Link::Hard) return false;
    CAIRN_CHECK(compare(snapshot, to, temps, options, transfer));
    return true;
  };
  const auto goes = options.replace ? what_goes_at(to, snapshot.parts->index) : std::string();
  CAIRN_CHECK(publish_elsewhere(to, std::move(linked), options, transfer));
  if (!goes.empty()) transfer.warnings.push_back(to.prefix.string() + ": " + goes);
  return {};
}

// ---- One file -----------------------------------------------------------------------------------

Error not_copied(Error error) {
  if (error.code == Code::Corrupt) error.what += "; it was not copied";
  return error;
}

// By FILE.cairn, where it has all sums of the file that was copied. Whether it has.
Result<bool> compare_with_record(const CheckpointSnapshot& snapshot, os::File copy,
                                 const TransferOptions& options) {
  CAIRN_TRY(record, load_record(snapshot.location, options.exec.threads_max));
  if (!record.parts || record.parts->shards.size() != 1) return false;
  Parts parts = *std::move(record.parts);
  if (unsummed_bytes(parts.index) != 0) return false;
  CAIRN_TRY(recorded, parts.shards.front().info());
  CAIRN_TRY(copied, snapshot.file->info());
  if (identity_of(recorded) != identity_of(copied)) return false;
  parts.shards.front() = std::move(copy);
  CAIRN_CHECK(compare(std::move(parts), options));
  return true;
}

// What was copied opens as what it is, and has the sums that are known of it; a V1 file's blocks
// are compared with theirs.
Result<void> check_file(const CheckpointSnapshot& snapshot, const Destination& to,
                        const TempFile& temp, const TransferOptions& options, Transfer& transfer) {
  CAIRN_TRY(copy, open_shard(to.directory, temp.temporary_name(), false));
  copy.file.call(snapshot.file->path());  // the copy itself nobody will see
  if (snapshot.location.kind == Kind::TensorFlowV1) {
    auto loaded = load_v1_file(std::move(copy.file), snapshot.location.prefix);
    return loaded ? Result<void>() : not_copied(std::move(loaded).error());
  }
  auto read = snapshot.location.file_format->read(std::move(copy), {temp.name()});
  if (!read) return not_copied(std::move(read).error());
  CAIRN_TRY(again, open_shard(to.directory, temp.temporary_name(), false));
  again.file.call(snapshot.file->path());
  CAIRN_TRY(compared, compare_with_record(snapshot, std::move(again.file), options));
  if (compared) return {};
  warn_of_missing_sums(snapshot.file->path(), read->facts.shards.front().live_bytes, transfer);
  return {};
}

// Files of a sharded V1 checkpoint, which nobody would read beside one in a single file.
Result<void> refuse_to_hide(const Destination& to) {
  CAIRN_TRY(names, to.directory.names());
  for (const std::string& name : names) {
    const auto v1 = v1_name(name);
    if (!v1 || !v1->shard || v1->base != to.base) continue;
    return Error{Code::Exists, 0,
                 to.prefix.string() + ": " + name +
                     " exists, and a V1 file of this name would hide it; choose another output, or "
                     "use replace (--replace)"};
  }
  return {};
}

// Only another V1 checkpoint is replaced by one: whatever else has the name is no checkpoint.
Result<void> refuse_to_overwrite(const Destination& to) {
  CAIRN_TRY(there, to.directory.look(to.base));
  if (!there) return {};
  const auto v1 = find_v1(to.directory, to.base);
  if (v1 ? v1->has_value() : v1.error().code == Code::Corrupt) return {};
  return Error{Code::Exists, 0,
               to.prefix.string() +
                   ": exists and is not a checkpoint, so it is not replaced; choose another "
                   "output"};
}

// An index under the name would be preferred to a V1 file.
Result<void> refuse_hidden(const CheckpointSnapshot& snapshot, const Destination& to,
                           bool replace) {
  if (snapshot.location.kind != Kind::TensorFlowV1) return {};
  CAIRN_CHECK(replace ? refuse_to_overwrite(to) : refuse_to_hide(to));
  for (const std::string_view suffix : {kCairnSuffix, kTensorFlowSuffix}) {
    if (!to.directory.exists(to.base + std::string(suffix))) continue;
    return Error{Code::Exists, 0,
                 to.prefix.string() + ": " + to.base + std::string(suffix) +
                     " exists and would be read instead of the V1 file; choose another output, or "
                     "remove it first with remove_checkpoint() (cairn rm)"};
  }
  return {};
}

Result<TempFile> create_temp_file(const CheckpointSnapshot& snapshot, const std::string& name,
                                  const Destination& to, const RelocateOptions& relocation,
                                  const TransferOptions& options, Transfer& transfer) {
  const std::span<const os::File> file(&*snapshot.file, 1);
  const std::span<const std::string> names(&name, 1);
  CAIRN_TRY(temps, relocation.how == TransferMode::Copy
                       ? reflink_or_copy_shards(file, names, to, options, transfer)
                       : link_or_copy_shards(file, names, to, options, transfer));
  return std::move(temps.front());
}

Result<void> publish_graph(const CheckpointSnapshot& snapshot, const Destination& to,
                           Publisher& publisher, bool replace) {
  if (!snapshot.graph) return {};
  CAIRN_TRY(bytes, os::read_whole(*snapshot.graph, format::limits::kForeignIndexBytesMax));
  CAIRN_TRY(temp, write_temp_file(to.directory, to.base + std::string(kMetaSuffix), bytes));
  return publisher.publish_file(temp, replace);
}

Result<void> publish_file_at(const CheckpointSnapshot& snapshot, const Destination& to,
                             const RelocateOptions& relocation, const TransferOptions& options,
                             Transfer& transfer) {
  transfer.prefix = to.prefix;
  const std::string name = to.prefix.filename().string();
  const Target target{to.directory, to.base, to.prefix.string()};
  CAIRN_CHECK(refuse_hidden(snapshot, to, options.replace));
  const Target itself{to.directory, name, to.prefix.string()};
  constexpr std::array<std::string_view, 1> kItself{""};
  if (!options.replace) CAIRN_CHECK(refuse_existing(itself, kItself));
  CAIRN_TRY(temp, create_temp_file(snapshot, name, to, relocation, options, transfer));
  if (transfer.used > Link::Hard) CAIRN_CHECK(check_file(snapshot, to, temp, options, transfer));
  CAIRN_TRY(publisher, begin_with(target, options, relocation.hold));
  if (relocation.unchanged) CAIRN_CHECK(relocation.unchanged());
  CAIRN_CHECK(refuse_hidden(snapshot, to, options.replace));
  CAIRN_CHECK(publish_graph(snapshot, to, publisher, options.replace));
  CAIRN_CHECK(publisher.publish_file(temp, options.replace));
  warn_if_moved(to.directory, transfer);
  return {};
}

// Files of V1 would lie beside, unread.
Result<void> refuse_beside_v1(const Destination& to) {
  const auto v1 = find_v1(to.directory, to.base);
  if (!v1 || !*v1) return {};
  return Error{Code::Exists, 0,
               to.prefix.string() +
                   ": a V1 checkpoint exists there; choose another output, or remove it first with "
                   "remove_checkpoint() (cairn rm)"};
}

// TensorFlow keeps a step in the name alone.
void warn_of_step(const CheckpointSnapshot& snapshot, const Destination& to, Transfer& transfer) {
  if (snapshot.own_index || snapshot.location.kind == Kind::File) return;
  const auto step = step_of(snapshot.location.base);
  if (!step || step == step_of(to.base)) return;
  transfer.warnings.push_back(to.prefix.string() + ": does not have the step of its source, " +
                              std::to_string(*step) +
                              ": TensorFlow reads the step only from the name");
}

}  // namespace

std::string lock_base(const Location& location) {
  if (location.kind != Kind::File) return location.base;
  return std::filesystem::path(location.base).stem().string();
}

Result<void> publish_snapshot(const CheckpointSnapshot& snapshot, const Destination& to,
                              const RelocateOptions& relocation, const TransferOptions& options,
                              Transfer& transfer) {
  transfer.warnings.insert(transfer.warnings.end(), snapshot.warnings.begin(),
                           snapshot.warnings.end());
  // It tells what to type, so it names the checkpoint as that is called when it is read.
  if (snapshot.parts && snapshot.parts->bytes_doubtful) {
    const bool moves = relocation.how == TransferMode::Move;
    transfer.warnings.push_back(doubt_warning(moves ? to.prefix : snapshot.location.prefix));
  }
  warn_of_step(snapshot, to, transfer);
  if (snapshot.file) return publish_file_at(snapshot, to, relocation, options, transfer);
  CAIRN_CHECK(refuse_beside_v1(to));
  return publish_prefix_at(snapshot, to, relocation, options, transfer);
}

}  // namespace cairn::internal
