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
#include "lib/open/catalog.h"
#include "lib/open/file_formats.h"
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
Result<void> take_graph(bool follow_links, Cargo& cargo) {
  const Location& location = cargo.location;
  if (location.kind == Kind::File || !location.has(kMetaSuffix)) return {};
  CAIRN_TRY(file, location.directory.open_file(location.file(kMetaSuffix), links(follow_links)));
  cargo.graph.emplace(std::move(file));
  return {};
}

Result<void> take_file(const std::string& name, bool follow_links, Cargo& cargo) {
  // The user names it himself, and may name a link.
  const bool follow = follow_links || cargo.location.kind == Kind::File;
  CAIRN_TRY(file, cargo.location.directory.open_file(name, links(follow)));
  cargo.file.emplace(std::move(file));
  return {};
}

// Shards of as many as there are, in which no tensor lies: TensorFlow writes them for a device that
// holds no variable.
Result<void> take_idle(bool follow_links, Cargo& cargo) {
  const Location& location = cargo.location;
  const format::IndexView& index = cargo.parts->index;
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
    cargo.parts->shards.push_back(std::move(shard.file));
    cargo.idle.push_back(std::move(name));
  }
  return {};
}

// Whether P.safetensors is another name of a shard.
Result<void> take_alias(Cargo& cargo) {
  const Location& location = cargo.location;
  CAIRN_TRY(alias, location.directory.look(location.file(kSafetensorsSuffix)));
  if (!alias || alias->kind != os::FileKind::Regular) return {};
  for (std::size_t i = 0; i < cargo.parts->index.shard_count(); ++i) {
    CAIRN_TRY(shard, cargo.parts->shards[i].info());
    if (same_file(shard, *alias)) cargo.safetensors = i;
  }
  return {};
}

Result<void> take_index(Cargo& cargo) {
  const Location& location = cargo.location;
  if (!location.has(kTensorFlowSuffix)) return {};
  CAIRN_TRY(file,
            location.directory.open_file(location.file(kTensorFlowSuffix), os::Links::Follow));
  CAIRN_TRY(bytes, os::read_whole(file, format::limits::kForeignIndexBytesMax));
  const auto record = cargo.parts->index.tensorflow_index();
  if (cargo.own_index && record.present && format::xxh3_128(bytes) != record.digest) {
    return Error{Code::Corrupt, 0,
                 file.path() + ": is damaged: its digest is not the one that " +
                     location.file(kCairnSuffix) +
                     " remembers; export with replace writes it anew"};
  }
  cargo.index_file.emplace(std::move(file));
  cargo.index_bytes.emplace(std::move(bytes));
  return {};
}

Result<void> take_prefix(bool follow_links, Trail& trail, Cargo& cargo) {
  CAIRN_TRY(parts, load_quietly(cargo.location, follow_links, trail));
  cargo.notices = parts.notices;
  cargo.own_index = parts.format == Format::Cairn;
  cargo.parts.emplace(std::move(parts));
  CAIRN_CHECK(take_index(cargo));
  CAIRN_CHECK(take_idle(follow_links, cargo));
  return take_alias(cargo);
}

}  // namespace

Result<Cargo> take(Location location, bool follow_links, Trail& trail) {
  CAIRN_TRY(seen, index_identities(location.directory, location.base));
  Cargo cargo{.location = std::move(location), .seen = std::move(seen)};
  const Location& from = cargo.location;
  if (from.v1_files.size() > 1) {
    return Error{Code::Unsupported, 0,
                 from.prefix.string() +
                     ": is a V1 checkpoint in several files, which no one step can publish; "
                     "convert() writes them as one checkpoint"};
  }
  if (from.kind == Kind::Prefix) {
    CAIRN_CHECK(take_prefix(follow_links, trail, cargo));
  } else {
    CAIRN_CHECK(take_file(from.kind == Kind::TensorFlowV1 ? from.v1_files.front() : from.base,
                          follow_links, cargo));
    cargo.notices = from.notices;
  }
  CAIRN_CHECK(take_graph(follow_links, cargo));
  CAIRN_CHECK(check_unchanged(cargo.location, cargo.seen));
  return cargo;
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
                     " is a symbolic link to the checkpoint itself; choose another place"};
  }
  return {};
}

// A V1 file may have any name, but by some it would be taken for something else.
Result<void> check_v1_name(const std::filesystem::path& prefix, const std::string& base) {
  const auto shard = v1_name(base);
  std::string_view taken_for;
  if (base.starts_with(".cairn-") || os::is_temporary_name(base)) {
    taken_for = "a file of Cairn's own, which it may remove";
  } else if (base == kCatalogName) {
    taken_for = "the directory's catalog";
  } else if (base_of_file(base)) {
    taken_for = "a file of another checkpoint";
  } else if (shard && shard->count != 1) {
    taken_for = "one of several files of a V1 checkpoint";
  }
  if (taken_for.empty()) return {};
  return Error{Code::Invalid, 0,
               prefix.string() + ": a V1 checkpoint is one file, and one of this name would be " +
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
                     ": is no directory that is there, and no prefix, which has a name "
                     "behind the last slash"};
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
    return Error{Code::Invalid, 0,
                 prefix.string() + ": is where the checkpoint lies already; choose another place"};
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

void tell_of_unsummed(const std::string& shown, std::uint64_t bytes, Transfer& transfer) {
  if (bytes == 0) return;
  transfer.notices.push_back(shown + ": " + std::to_string(bytes) +
                             " bytes of tensors have no checksum: they were copied as they are, "
                             "and nobody can say whether they are as they were written");
}

// Compares what has arrived with the sums of the index.
Result<void> compare(const Cargo& cargo, const Destination& to, std::span<const Draft> drafts,
                     const TransferOptions& options, Transfer& transfer) {
  const Parts& source = *cargo.parts;
  Parts parts{source.format, source.prefix, source.index_bytes, source.index};
  for (std::size_t i = 0; i < source.index.shard_count(); ++i) {
    CAIRN_TRY(file, to.directory.open_file(drafts[i].temporary_name(), os::Links::Refuse));
    parts.shards.push_back(std::move(file));
  }
  OpenOptions opening;
  opening.verify = Verify::Full;
  opening.work.threads_max = options.work.threads_max;
  opening.work.stop = options.work.stop;
  auto checked = OpenCheckpoint::make(std::move(parts), opening);
  if (!checked && checked.error().code == Code::Corrupt) {
    Error error = std::move(checked).error();
    error.what += "; it was not copied: salvage() keeps what is whole";
    return error;
  }
  if (!checked) return std::move(checked).error();
  tell_of_unsummed(source.prefix.string(), unsummed_bytes(source.index), transfer);
  return {};
}

// The shards' names under another base, with their numbers; none where they are not numbered.
std::vector<std::string> names_under(const Cargo& cargo, const std::string& to) {
  const std::string& from = cargo.location.base;
  std::vector<std::string> names;
  const auto add = [&](std::string_view name) {
    if (shard_number(name, from)) names.push_back(to + std::string(name.substr(from.size())));
  };
  const format::IndexView& index = cargo.parts->index;
  for (std::size_t i = 0; i < index.shard_count(); ++i) add(index.shard(i).name);
  for (const std::string& name : cargo.idle) add(name);
  if (names.size() != cargo.parts->shards.size()) names.clear();
  return names;
}

// Which shards are not those that P.cairn remembers: nobody has compared them since.
Result<std::vector<bool>> doubtful(const Cargo& cargo) {
  std::vector<bool> doubtful;
  if (!cargo.own_index) return doubtful;
  for (std::size_t i = 0; i < cargo.parts->index.shard_count(); ++i) {
    CAIRN_TRY(info, cargo.parts->shards[i].info());
    doubtful.push_back(identity_of(info) != cargo.parts->index.shard(i).identity);
  }
  doubtful.resize(doubtful.size() + cargo.idle.size(), false);
  return doubtful;
}

// What the checkpoint does away with where it is to go; empty: nothing.
std::string what_goes_at(const Destination& to, const format::IndexView& index) {
  std::vector<TensorSpec> specs;
  for (std::size_t i = 0; i < index.tensor_count(); ++i) specs.push_back(spec_of(index.tensor(i)));
  const auto goes = what_goes(to.directory, to.base, specs);
  if (goes) return first_of(*goes);
  return "nobody can tell which tensors went with what was there: " + goes.error().what;
}

Result<void> put_prefix(const Cargo& cargo, const Destination& to, const Errand& errand,
                        const TransferOptions& options, Transfer& transfer) {
  transfer.prefix = to.prefix;
  CAIRN_TRY(doubts, doubtful(cargo));
  Arrival arrival;
  arrival.facts = cargo.parts->index.facts();
  arrival.facts.tensorflow_index = {};
  if (!arrival.facts.step) arrival.facts.step = step_of(cargo.location.base);
  for (std::size_t i = 0; i < cargo.idle.size(); ++i)
    arrival.facts.shards.emplace_back().kind = format::ShardKind::TensorFlow;
  arrival.files = cargo.parts->shards;
  arrival.doubtful = std::move(doubts);
  arrival.own_index = cargo.own_index;
  arrival.names = names_under(cargo, to.base);
  if (cargo.index_bytes) arrival.tensorflow_index = *cargo.index_bytes;
  arrival.unchanged = errand.unchanged;
  TakenAlong& whole = arrival.whole.emplace();
  whole.tensorflow = cargo.index_file.has_value();
  whole.index_file = cargo.index_file ? &*cargo.index_file : nullptr;
  whole.graph = cargo.graph ? &*cargo.graph : nullptr;
  whole.safetensors = cargo.safetensors;
  whole.independent = errand.how == Carry::Copy;
  whole.hold = errand.hold;
  whole.check = [&](std::span<const Draft> drafts) -> Result<bool> {
    if (errand.how == Carry::Move && transfer.used <= Link::Hard) return false;
    CAIRN_CHECK(compare(cargo, to, drafts, options, transfer));
    return true;
  };
  const auto goes = options.replace ? what_goes_at(to, cargo.parts->index) : std::string();
  CAIRN_CHECK(publish_elsewhere(to, std::move(arrival), options, transfer));
  if (!goes.empty()) transfer.notices.push_back(to.prefix.string() + ": " + goes);
  return {};
}

// ---- One file -----------------------------------------------------------------------------------

Error not_copied(Error error) {
  if (error.code == Code::Corrupt) error.what += "; it was not copied";
  return error;
}

// What was copied opens as what it is; a V1 file's blocks are compared with their sums.
Result<void> check_file(const Cargo& cargo, const Destination& to, const Draft& draft,
                        Transfer& transfer) {
  CAIRN_TRY(copy, open_shard(to.directory, draft.temporary_name(), false));
  copy.file.call(cargo.file->path());  // the copy itself nobody will see
  if (cargo.location.kind == Kind::TensorFlowV1) {
    auto loaded = load_v1_file(std::move(copy.file), cargo.location.prefix);
    return loaded ? Result<void>() : not_copied(std::move(loaded).error());
  }
  auto read = cargo.location.file_format->read(std::move(copy), draft.name(), true);
  if (!read) return not_copied(std::move(read).error());
  tell_of_unsummed(cargo.file->path(), read->facts.shards.front().live_bytes, transfer);
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
                     " is there, which a V1 file of this name would hide; choose another output, "
                     "or say replace"};
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
                   ": is there, and is no checkpoint, which alone is replaced; choose another "
                   "output"};
}

// An index under the name would be preferred to a V1 file.
Result<void> refuse_hidden(const Cargo& cargo, const Destination& to, bool replace) {
  if (cargo.location.kind != Kind::TensorFlowV1) return {};
  CAIRN_CHECK(replace ? refuse_to_overwrite(to) : refuse_to_hide(to));
  for (const std::string_view suffix : {kCairnSuffix, kTensorFlowSuffix}) {
    if (!to.directory.exists(to.base + std::string(suffix))) continue;
    return Error{Code::Exists, 0,
                 to.prefix.string() + ": " + to.base + std::string(suffix) +
                     " is there, and would be read in place of a V1 file; choose another output, "
                     "or remove_checkpoint() it first"};
  }
  return {};
}

Result<Draft> draft_file(const Cargo& cargo, const std::string& name, const Destination& to,
                         const Errand& errand, const TransferOptions& options, Transfer& transfer) {
  const std::span<const os::File> file(&*cargo.file, 1);
  const std::span<const std::string> names(&name, 1);
  CAIRN_TRY(drafts, errand.how == Carry::Copy ? duplicate_shards(file, names, to, options, transfer)
                                              : draft_shards(file, names, to, options, transfer));
  return std::move(drafts.front());
}

Result<void> publish_graph(const Cargo& cargo, const Destination& to, Publisher& publisher,
                           bool replace) {
  if (!cargo.graph) return {};
  CAIRN_TRY(bytes, os::read_whole(*cargo.graph, format::limits::kForeignIndexBytesMax));
  CAIRN_TRY(draft, draft_with(to.directory, to.base + std::string(kMetaSuffix), bytes));
  return publisher.publish_file(draft, replace);
}

Result<void> put_file(const Cargo& cargo, const Destination& to, const Errand& errand,
                      const TransferOptions& options, Transfer& transfer) {
  transfer.prefix = to.prefix;
  const std::string name = to.prefix.filename().string();
  const Target target{to.directory, to.base, to.prefix.string()};
  CAIRN_CHECK(refuse_hidden(cargo, to, options.replace));
  const Target itself{to.directory, name, to.prefix.string()};
  constexpr std::array<std::string_view, 1> kItself{""};
  if (!options.replace) CAIRN_CHECK(refuse_existing(itself, kItself));
  CAIRN_TRY(draft, draft_file(cargo, name, to, errand, options, transfer));
  if (transfer.used > Link::Hard) CAIRN_CHECK(check_file(cargo, to, draft, transfer));
  CAIRN_TRY(publisher, begin_with(target, options, errand.hold));
  if (errand.unchanged) CAIRN_CHECK(errand.unchanged());
  CAIRN_CHECK(refuse_hidden(cargo, to, options.replace));
  CAIRN_CHECK(publish_graph(cargo, to, publisher, options.replace));
  CAIRN_CHECK(publisher.publish_file(draft, options.replace));
  tell_where(to.directory, transfer);
  return {};
}

// Files of V1 would lie beside, unread.
Result<void> refuse_beside_v1(const Destination& to) {
  const auto v1 = find_v1(to.directory, to.base);
  if (!v1 || !*v1) return {};
  return Error{Code::Exists, 0,
               to.prefix.string() +
                   ": a V1 checkpoint is there; choose another output, or remove_checkpoint() it "
                   "first"};
}

// TensorFlow keeps a step in the name alone.
void tell_of_step(const Cargo& cargo, const Destination& to, Transfer& transfer) {
  if (cargo.own_index || cargo.location.kind == Kind::File) return;
  const auto step = step_of(cargo.location.base);
  if (!step || step == step_of(to.base)) return;
  transfer.notices.push_back(to.prefix.string() + ": does not say the step of its source, " +
                             std::to_string(*step) +
                             ", which TensorFlow's files have in their name alone");
}

}  // namespace

std::string lock_base(const Location& location) {
  if (location.kind != Kind::File) return location.base;
  return std::filesystem::path(location.base).stem().string();
}

Result<void> put_down(const Cargo& cargo, const Destination& to, const Errand& errand,
                      const TransferOptions& options, Transfer& transfer) {
  transfer.notices.insert(transfer.notices.end(), cargo.notices.begin(), cargo.notices.end());
  // It tells what to type, so it names the checkpoint as that is called when it is read.
  if (cargo.parts && cargo.parts->bytes_doubtful) {
    const bool moves = errand.how == Carry::Move;
    transfer.notices.push_back(doubt_notice(moves ? to.prefix : cargo.location.prefix));
  }
  tell_of_step(cargo, to, transfer);
  if (cargo.file) return put_file(cargo, to, errand, options, transfer);
  CAIRN_CHECK(refuse_beside_v1(to));
  return put_prefix(cargo, to, errand, options, transfer);
}

}  // namespace cairn::internal
