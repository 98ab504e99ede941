// Which index speaks for a checkpoint.
//
// P.cairn records what P.index and the shards were when it was written: sizes, modification times,
// inodes, and the digest of P.index. TensorFlow may write the same prefix again, knowing nothing of
// P.cairn, so before P.cairn is believed:
//
//   P.index as recorded, by identity or by contents  → P.cairn
//   P.index with other contents, or new              → P.index, with a warning; but the P.cairn
//   that
//                                                      was written for it, where that one waits for
//                                                      its name (lib/open/pending_index.h)
//   P.index gone                                     → P.cairn stands alone
//   a shard of another size                          → Corrupt
//   a shard of the same size, but touched or moved   → P.cairn, with every tensor checked before
//                                                      its first use: that is a plain copy of the
//                                                      directory, or a save of TensorFlow's that
//                                                      died between its two renames, and no
//                                                      metadata can tell which

#include "lib/open/load.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>

#include "format/checked.h"
#include "format/digest.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/tensorflow/bundle.h"
#include "lib/open/catalog.h"
#include "lib/open/file_formats.h"
#include "lib/open/identify.h"
#include "lib/open/pending_index.h"
#include "lib/open/v1.h"
#include "lib/os/parallel.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

Result<os::OpenedFile> open_tensorflow_index(const Location& location) {
  return location.directory.open_seen(location.file(kTensorFlowSuffix), location.links);
}

Result<TensorFlowIndex> read_whole(const os::File& file, const os::FileInfo& info) {
  CAIRN_TRY(bytes, os::read_whole(file, info, format::limits::kForeignIndexBytesMax));
  const Digest128 digest = format::xxh3_128(bytes);
  return TensorFlowIndex{&file, std::move(bytes), {true, identity_of(info), digest}};
}

Error written_meanwhile(const Location& location) {
  return {Code::Busy, 0, location.prefix.string() + ": is being written anew"};
}

Error too_short(const std::string& path, std::uint64_t size_bytes, const std::string& tensor,
                const format::Span& span) {
  return {Code::Corrupt, 0,
          path + ": has " + std::to_string(size_bytes) + " bytes, but tensor " +
              format::quoted(tensor) + " needs " + std::to_string(span.size_bytes) + " at byte " +
              std::to_string(span.offset_bytes) +
              ": the file is truncated, or belongs to another index"};
}

// Counts the span's bytes to its shard; false where they lie outside of it.
bool place(format::Span& span, format::ShardFacts& shard) {
  const bool fits = format::inside(span.offset_bytes, span.size_bytes, shard.identity.size_bytes);
  // TensorFlow accepts any offset for a tensor without bytes.
  if (!fits && span.size_bytes == 0) span.offset_bytes = 0;
  shard.live_bytes += span.size_bytes;
  return fits || span.size_bytes == 0;
}

std::string merged_warning(const Location& location, std::int32_t header_count,
                           std::int32_t named_count) {
  return location.prefix.string() + ": " + location.file(kTensorFlowSuffix) + " counts " +
         std::to_string(header_count) + " shards, but every tensor lies in the " +
         std::to_string(named_count) +
         " that are there, which TensorFlow's merge named without those that hold none; "
         "TensorFlow cannot read it until export_index() with replace (cairn export --to "
         "tensorflow --replace) or convert() writes the index anew";
}

// Opens the shards that a bundle's tensors lie in, and gives the spans positions in that list.
Result<std::vector<os::File>> open_bundle_shards(const Location& location, bool follow_links,
                                                 const std::set<std::uint32_t>& numbers,
                                                 format::IndexFacts& facts) {
  std::map<std::uint32_t, std::uint32_t> positions;
  std::vector<os::File> files;
  const std::uint32_t count =
      named_shard_count(location, numbers, static_cast<std::uint32_t>(facts.bundle.num_shards));
  facts.bundle.num_shards = static_cast<std::int32_t>(count);
  for (const std::uint32_t number : numbers) {
    positions[number] = static_cast<std::uint32_t>(files.size());
    const std::string name = location.file(format::tensorflow::shard_suffix(number, count));
    CAIRN_TRY(shard, open_shard(location.directory, name, follow_links));
    format::ShardFacts shard_facts;
    shard_facts.name = name;
    shard_facts.kind = format::ShardKind::TensorFlow;
    shard_facts.identity = shard.identity;
    facts.shards.push_back(std::move(shard_facts));
    files.push_back(std::move(shard.file));
  }
  for (format::TensorFacts& tensor : facts.tensors) {
    const format::Span* outside = nullptr;
    if (!tensor.slices.empty()) tensor.span = {};  // a merge may leave a shard's number there
    for_each_span(tensor, [&](format::Span& span) {
      span.shard = positions.at(span.shard);
      if (!place(span, facts.shards[span.shard])) outside = &span;
    });
    if (outside == nullptr) continue;
    const os::File& file = files[outside->shard];
    return named_for_what_it_is(
        file, too_short(file.path(), facts.shards[outside->shard].identity.size_bytes, tensor.name,
                        *outside));
  }
  // Shared ranges were counted for each name.
  for (format::ShardFacts& shard : facts.shards) {
    shard.live_bytes = std::min(shard.live_bytes, shard.identity.size_bytes);
  }
  return files;
}

// What P.index says of P.cairn's claim to speak.
enum class IndexState : std::uint8_t { Current, Alone, Stale };

Result<IndexState> index_state(const Location& location, const format::TensorFlowIndexFacts& record,
                               std::optional<TensorFlowIndex>& foreign, OpenAttempt& attempt) {
  auto opened = open_tensorflow_index(location);
  if (!opened && opened.error().code == Code::NotFound) return IndexState::Alone;
  if (!opened) return std::move(opened).error();
  const os::FileInfo info = opened->info;
  const os::File& file = attempt.keep_index(std::move(opened->file), info);
  if (record.present && identity_of(info) == record.identity) return IndexState::Current;
  CAIRN_TRY(read, read_whole(file, info));
  const bool same = record.present && read.record.digest == record.digest;
  foreign = std::move(read);
  return same ? IndexState::Current : IndexState::Stale;
}

// Opens the shards that P.cairn names; true where one of them was touched since.
Result<bool> open_own_shards(const Location& location, bool follow_links, Parts& parts) {
  bool touched = false;
  for (std::size_t i = 0; i < parts.index.shard_count(); ++i) {
    const auto recorded = parts.index.shard(i);
    auto shard = open_shard(location.directory, std::string(recorded.name), follow_links);
    if (!shard && shard.error().code == Code::NotFound && !location.has(kTensorFlowSuffix)) {
      shard = Error{Code::NotFound, shard.error().os_errno,
                    shard.error().what + ": " + location.file(kCairnSuffix) +
                        " is a leftover of a checkpoint that was removed"};
    }
    if (!shard) return std::move(shard).error();
    if (shard->identity.size_bytes != recorded.identity.size_bytes) {
      const Error resized{Code::Corrupt, 0,
                          shard->file.path() + ": has " +
                              std::to_string(shard->identity.size_bytes) + " bytes, but " +
                              location.file(kCairnSuffix) + " was written for " +
                              std::to_string(recorded.identity.size_bytes) +
                              ": the file is truncated or another one"};
      return named_for_what_it_is(shard->file, resized);
    }
    touched |= shard->identity != recorded.identity;
    parts.shards.push_back(std::move(shard->file));
  }
  return touched;
}

// Whether two threads see to an index: one takes tens of microseconds to start.
bool is_shared(std::uint64_t size_bytes, unsigned threads_max) noexcept {
  return size_bytes >= std::uint64_t{2} << 20 && threads_max != 1;
}

Result<void> in_halves(unsigned threads_max, const std::function<Result<void>(bool first)>& half) {
  ExecOptions exec;
  exec.threads_max = threads_max;
  return os::run_parallel(exec, 2, 0, [&](std::size_t i) -> Result<std::uint64_t> {
    CAIRN_CHECK(half(i == 0));
    return std::uint64_t{0};
  });
}

Result<os::Bytes> read_index(const os::File& file, const os::FileInfo& info, unsigned threads_max) {
  if (!is_shared(info.size_bytes, threads_max) || info.size_bytes > format::limits::kIndexBytesMax)
    return os::read_whole(file, info, format::limits::kIndexBytesMax);
  os::Bytes bytes(info.size_bytes);
  const std::size_t middle = bytes.size() / 2;
  CAIRN_CHECK(in_halves(threads_max, [&](bool first) {
    const std::span all(bytes);
    return first ? file.read_at(0, all.first(middle)) : file.read_at(middle, all.subspan(middle));
  }));
  return bytes;
}

format::Decoded<format::IndexView> decode(std::span<const std::byte> bytes, unsigned threads_max) {
  if (!is_shared(bytes.size(), threads_max)) return format::IndexView::decode(bytes);
  format::Decoded<void> digest;
  std::optional<format::Decoded<format::IndexView>> contents;
  const auto done = in_halves(threads_max, [&](bool first) -> Result<void> {
    if (first) {
      contents = format::IndexView::check_contents(bytes);
    } else {
      digest = format::IndexView::check_digest(bytes);
    }
    return {};
  });
  if (!done) return format::DecodeError{done.error().code, 0, done.error().what};
  if (!digest) return std::move(digest).error();
  return *std::move(contents);
}

// What a load is allowed.
struct LoadOptions {
  bool follow_links;
  unsigned threads_max;
};

Result<Parts> load_cairn(Location& location, LoadOptions allowed, OpenAttempt& attempt,
                         os::OpenedFile opened) {
  const os::FileInfo info = opened.info;
  const os::File& file = attempt.keep_index(std::move(opened.file), info);
  // Not mapped: every call relies on it without bounds checks, and who truncated the file would end
  // the process.
  CAIRN_TRY(bytes, read_index(file, info, allowed.threads_max));
  auto index = decode(bytes, allowed.threads_max);
  if (!index) {
    Error error = named_for_what_it_is(file, error_of(file.path(), index.error()));
    if (location.has(kTensorFlowSuffix)) {
      error.what += std::string(error.code == Code::Unsupported ? "; a newer Cairn reads it" : "") +
                    "; TensorFlow's index " + location.file(kTensorFlowSuffix) +
                    " is there: import with --replace writes this one anew, without what it alone "
                    "held";
    }
    return error;
  }
  CAIRN_CHECK(check_shard_names(*index, location, file.path()));
  std::optional<TensorFlowIndex> foreign;
  CAIRN_TRY(standing, index_state(location, index->tensorflow_index(), foreign, attempt));
  std::optional<PendingIndex> pending;
  if (standing == IndexState::Stale) {
    CAIRN_TRY(found, find_pending_index(location, foreign->record));
    pending = std::move(found);
  }
  if (pending) {
    CAIRN_CHECK(check_shard_names(pending->index, location, pending->opened.file.path()));
    attempt.keep_pending(std::move(pending->opened.file), pending->opened.info);
    bytes = std::move(pending->bytes);
    index = pending->index;
  } else if (standing == IndexState::Stale) {
    location.warnings.push_back(file.path() + ": skipped, since " +
                                location.file(kTensorFlowSuffix) +
                                " was written anew; import it again to refresh");
    return load_tensorflow(location, allowed.follow_links, *foreign, attempt);
  }
  auto kept = std::make_shared<const os::Bytes>(std::move(bytes));
  Parts parts{Format::Cairn, location.prefix, std::move(kept), *index};
  CAIRN_TRY(touched, open_own_shards(location, allowed.follow_links, parts));
  if (touched) {
    // A name is used again by the save after the next.
    if (attempt.index_changed()) return written_meanwhile(location);
    parts.bytes_doubtful = true;
  }
  return parts;
}

Result<Parts> load_file(const Location& location) {
  CAIRN_TRY(read, read_file(location, true));
  std::string path = read.shard.file.path();
  std::vector<os::File> files;
  files.push_back(std::move(read.shard.file));
  return assemble({location.file_format->format, location.prefix, std::move(path)}, read.facts,
                  std::move(files));
}

}  // namespace

std::string doubt_warning(const std::filesystem::path& prefix) {
  return prefix.string() +
         ": a shard was touched or copied since its index was written; tensors are checked before "
         "use; 'cairn import " +
         prefix.string() + "' (import_index) checks them once and ends this warning";
}

bool may_pass(const Error& error) noexcept {
  return error.code == Code::Io || error.code == Code::OutOfMemory || error.code == Code::NoSpace ||
         error.code == Code::Busy;
}

Result<Parts> load(Location& location, bool follow_links, OpenAttempt& attempt,
                   unsigned threads_max) {
  auto parts = load_quietly(location, follow_links, attempt, threads_max);
  if (parts && parts->bytes_doubtful) parts->warnings.push_back(doubt_warning(location.prefix));
  return parts;
}

Result<Parts> load_quietly(Location& location, bool follow_links, OpenAttempt& attempt,
                           unsigned threads_max) {
  location.links = links_of(follow_links);
  auto parts = [&]() -> Result<Parts> {
    if (location.kind == Kind::File) return load_file(location);
    if (location.kind == Kind::TensorFlowV1) return load_v1(location, follow_links, attempt);
    auto own = location.directory.open_seen(location.file(kCairnSuffix), location.links);
    if (own) return load_cairn(location, {follow_links, threads_max}, attempt, *std::move(own));
    if (own.error().code != Code::NotFound) return std::move(own).error();
    CAIRN_TRY(index, read_tensorflow_index(location, attempt));
    // A first save gives P.cairn its name before it gives P.index one.
    CAIRN_TRY(came, location.directory.look_from(location.file(kCairnSuffix), location.links));
    if (came) attempt.note_index_gone();
    if (came) return written_meanwhile(location);
    return load_tensorflow(location, follow_links, index, attempt);
  }();
  const bool from_files = location.kind != Kind::TensorFlowV1;  // which has looked itself
  if (parts && from_files && attempt.links_moved(parts->shards)) return written_meanwhile(location);
  if (parts && location.kind == Kind::Prefix) parts->origin = attempt.origin(location.base);
  if (parts)
    parts->warnings.insert(parts->warnings.begin(), location.warnings.begin(),
                           location.warnings.end());
  return parts;
}

Result<Found> find(const std::filesystem::path& path, bool follow_links) {
  OpenAttempt attempt;
  auto found = retry_until_stable(attempt, [&]() -> Result<Found> {
    CAIRN_TRY(location, locate(path, follow_links, attempt));
    CAIRN_TRY(seen, index_identities(location.directory, location.base));
    CAIRN_TRY(parts, load(location, follow_links, attempt));
    return Found{std::move(location), std::move(parts), std::move(seen)};
  });
  if (found) return found;
  return with_newest_whole(attempt.explain(path, std::move(found).error()), attempt, follow_links);
}

Result<TensorFlowIndex> read_tensorflow_index(const Location& location, OpenAttempt& attempt) {
  auto opened = open_tensorflow_index(location);
  if (!opened && opened.error().code == Code::NotFound) attempt.note_index_gone();
  if (!opened) return std::move(opened).error();
  const os::FileInfo info = opened->info;
  return read_whole(attempt.keep_index(std::move(opened->file), info), info);
}

Result<Parts> load_tensorflow(const Location& location, bool follow_links,
                              const TensorFlowIndex& index, const OpenAttempt& attempt) {
  auto bundle = format::tensorflow::decode_bundle(index.bytes);
  if (!bundle)
    return named_for_what_it_is(*index.file, error_of(index.file->path(), bundle.error()));
  format::IndexFacts facts;
  facts.bundle = bundle->header;
  facts.tensors = std::move(bundle->tensors);
  facts.tensorflow_index = index.record;
  CAIRN_TRY(files, open_bundle_shards(location, follow_links, bundle->shards, facts));
  // P.index records nothing by which its shards are recognised, so it must be there still; and
  // where P.cairn was skipped for it, a save may have replaced the one before, the other after.
  if (attempt.index_changed()) return written_meanwhile(location);
  auto parts =
      assemble({Format::TensorFlow, location.prefix, index.file->path()}, facts, std::move(files));
  const std::int32_t header_count = bundle->header.num_shards;
  if (parts && facts.bundle.num_shards != header_count)
    parts->warnings.push_back(merged_warning(location, header_count, facts.bundle.num_shards));
  return parts;
}

Result<OwnIndex> load_own_index(const Location& location) {
  CAIRN_TRY(file, location.directory.open_file(location.file(kCairnSuffix), location.links));
  CAIRN_TRY(bytes, os::read_whole(file, format::limits::kIndexBytesMax));
  auto index = format::IndexView::decode(bytes);
  if (!index) return error_of(file.path(), index.error());
  OpenAttempt attempt;
  std::optional<TensorFlowIndex> foreign;
  CAIRN_TRY(standing, index_state(location, index->tensorflow_index(), foreign, attempt));
  if (standing != IndexState::Stale) return OwnIndex{std::move(bytes), *index, true};
  CAIRN_TRY(pending, find_pending_index(location, foreign->record));
  if (pending) return OwnIndex{std::move(pending->bytes), pending->index, true};
  return OwnIndex{std::move(bytes), *index, false};
}

Result<void> check_openable(const std::filesystem::path& prefix, bool follow_links) {
  OpenAttempt attempt;
  auto done = retry_until_stable(attempt, [&]() -> Result<void> {
    CAIRN_TRY(location, locate_prefix(prefix));
    CAIRN_CHECK(load(location, follow_links, attempt));
    return {};
  });
  if (done) return done;
  return attempt.explain(prefix, done.error());
}

Result<void> check_openable_in(const os::Directory& directory, const std::string& base,
                               const std::filesystem::path& prefix) {
  OpenAttempt attempt(directory);
  auto done = retry_until_stable(attempt, [&]() -> Result<void> {
    CAIRN_TRY(twin, directory.duplicate());
    CAIRN_TRY(location, locate_in(std::move(twin), base, prefix));
    CAIRN_CHECK(load(location, false, attempt));
    return {};
  });
  if (done) return done;
  return attempt.explain(prefix, done.error());
}

Result<OpenShard> open_shard(const os::Directory& directory, const std::string& name,
                             bool follow_links) {
  CAIRN_TRY(opened, directory.open_seen(name, links_of(follow_links)));
  return OpenShard{std::move(opened.file), identity_of(opened.info)};
}

Result<FileIndex> read_file(const Location& location, bool whole) {
  CAIRN_TRY(file,
            open_shard(location.directory, location.base, location.links == os::Links::Follow));
  return location.file_format->read(std::move(file), location.base, whole);
}

std::uint32_t named_shard_count(const Location& location, const std::set<std::uint32_t>& numbers,
                                std::uint32_t header_count) {
  const auto used = static_cast<std::uint32_t>(numbers.size());
  const bool without_gaps = used != 0 && *numbers.rbegin() == used - 1;
  if (!without_gaps || used >= header_count) return header_count;
  const auto there = [&](std::uint32_t count) {
    return [&location, count](std::uint32_t number) {
      return location.has(format::tensorflow::shard_suffix(number, count));
    };
  };
  if (std::ranges::any_of(numbers, there(header_count))) return header_count;
  return std::ranges::all_of(numbers, there(used)) ? used : header_count;
}

Result<void> check_shard_names(const format::IndexView& index, const Location& location,
                               const std::string& path) {
  for (std::size_t i = 0; i < index.shard_count(); ++i) {
    std::string_view name = index.shard(i).name;
    if (name.starts_with(location.base)) name.remove_prefix(location.base.size());
    if (!has_control_characters(name)) continue;
    return Error{Code::Unsafe, 0,
                 path + ": shard " + format::quoted(index.shard(i).name) +
                     ": its name holds control characters that the prefix does not have"};
  }
  return {};
}

Error error_of(const std::string& path, const format::DecodeError& reason) {
  return {reason.code, 0,
          path + ": byte " + std::to_string(reason.byte_offset) + ": " + reason.what};
}

Result<Parts> assemble(const IndexSource& what, const format::IndexFacts& facts,
                       std::vector<os::File> shards) {
  auto index = format::build_index(facts);
  if (!index) return Error{Code::Corrupt, 0, what.index_path + ": " + index.error().what};
  auto kept = std::make_shared<const std::vector<std::byte>>(std::move(index->bytes));
  return Parts{what.format, what.prefix, std::move(kept), index->view, std::move(shards)};
}

}  // namespace cairn::internal
