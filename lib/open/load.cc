// Which index of a checkpoint is valid.
//
// P.cairn records P.index and the shards as they were when it was written: sizes, modification
// times, inodes, and the digest of P.index. TensorFlow does not know P.cairn and may write the same
// prefix again. So this is compared before P.cairn is used:
//
// clang-format off
//   P.index as recorded, by identity or by contents → P.cairn
//   P.index with other contents, or new             → P.index, with a warning; but the P.cairn that
//                                                     was written for it, if that one still has a
//                                                     temporary name (lib/open/pending_index.h)
//   P.index gone                                    → P.cairn alone
//   a shard of another size                         → Corrupt
//   a shard of the same size, but touched or moved  → P.cairn, with every tensor checked before
//                                                     its first use: the directory was copied, or
//                                                     a save of TensorFlow's died between its two
//                                                     renames, and metadata cannot distinguish
//                                                     the two
// clang-format on

#include "lib/open/load.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include "format/limits.h"
#include "lib/open/assemble.h"
#include "lib/open/catalog.h"
#include "lib/open/file_formats.h"
#include "lib/open/file_record.h"
#include "lib/open/identify.h"
#include "lib/open/own_index.h"
#include "lib/open/pending_index.h"
#include "lib/open/tensorflow.h"
#include "lib/open/v1.h"
#include "lib/open/zip_file.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

// Which index is valid if there is a P.cairn. Only choose_index() decides this.
struct Choice {
  bool current = false;                    // P.cairn: P.index is as recorded, or gone
  std::optional<PendingIndex> pending;     // this one, instead of P.cairn
  std::optional<TensorFlowIndex> foreign;  // P.index, if it had to be read
};

Result<Choice> choose_index(const Location& location, const format::IndexView& own,
                            OpenAttempt& attempt) {
  const format::TensorFlowIndexFacts record = own.tensorflow_index();
  Choice choice;
  auto opened = open_tensorflow_index(location);
  choice.current = !opened && opened.error().code == Code::NotFound;
  if (choice.current) return choice;
  if (!opened) return std::move(opened).error();
  const os::FileInfo info = opened->info;
  const os::File& file = attempt.keep_index(std::move(opened->file), info);
  choice.current = record.present && identity_of(info) == record.identity;
  if (choice.current) return choice;
  CAIRN_TRY(read, read_tensorflow_index(file, info));
  choice.current = record.present && read.record.digest == record.digest;
  choice.foreign = std::move(read);
  if (choice.current) return choice;
  CAIRN_TRY(pending, find_pending_index(location, choice.foreign->record));
  choice.pending = std::move(pending);
  return choice;
}

// The parts from the file itself; FILE.cairn is not used.
Result<Parts> read_parts(const Location& location, OpenAttempt& attempt) {
  CAIRN_TRY(read, read_file(location, {.plain = true}));
  return assemble_file(std::move(read), *location.file_format, location.prefix, attempt);
}

// For a file that the caller wants read in a certain way: FILE.cairn is not used.
Result<FileRecord> record_not_used(const Location& location) {
  FileRecord record;
  if (location.has(kCairnSuffix)) {
    record.not_used = location.file(kCairnSuffix) +
                      ": not used, because the options say how the file itself is read";
  }
  return record;
}

Result<Parts> load_file(const Location& location, unsigned threads_max, OpenAttempt& attempt) {
  CAIRN_TRY(record, location.formats == FormatOptions() ? load_record(location, threads_max)
                                                        : record_not_used(location));
  if (record.parts) {
    record.parts->compare_own_sums = &compare_stored_members;
    if (attempt.links_moved(record.parts->shards)) return written_meanwhile(location.prefix);
    return *std::move(record.parts);
  }
  auto parts = read_parts(location, attempt);
  if (parts && record.not_used) parts->warnings.push_back(*std::move(record.not_used));
  return parts;
}

Result<Parts> load_v1_whole(const Location& location, bool follow_links, OpenAttempt& attempt) {
  if (!location.index_only) return load_v1(location, follow_links, attempt);
  return Error{Code::Unsupported, 0,
               location.prefix.string() +
                   ": is a V1 checkpoint, whose index holds the values, so it cannot be opened "
                   "without them; open it without index_only"};
}

// What the caller allows a load to do.
struct LoadOptions {
  bool follow_links;
  unsigned threads_max;
};

Result<Parts> load_cairn(Location& location, LoadOptions allowed, OpenAttempt& attempt,
                         os::OpenedFile opened) {
  const os::FileInfo info = opened.info;
  const os::File& file = attempt.keep_index(std::move(opened.file), info);
  CAIRN_TRY(bytes, read_index(file, info, allowed.threads_max));
  auto index = decode_index(bytes, allowed.threads_max);
  if (!index) {
    Error error = named_for_what_it_is(file, error_of(file.path(), index.error()));
    if (location.has(kTensorFlowSuffix)) {
      error.what +=
          std::string(error.code == Code::Unsupported ? "; a newer version of Cairn can read it"
                                                      : "") +
          "; TensorFlow's index " + location.file(kTensorFlowSuffix) +
          " exists; to write P.cairn again from it, use import_index() with replace (cairn import "
          "--replace), without what only P.cairn held";
    }
    return error;
  }
  CAIRN_CHECK(check_shard_names(*index, location, file.path()));
  if (index->source_index()) {
    if (auto source = as_file(location)) {
      location = *std::move(source);
      return load_file(location, allowed.threads_max, attempt);
    }
    return Error{Code::NotFound, 0,
                 location.prefix.string() + ": does not exist; " + file.path() +
                     " records only where the tensors of a file are, here of \"" +
                     index->source_index()->name + "\""};
  }
  CAIRN_TRY(choice, choose_index(location, *index, attempt));
  if (auto& pending = choice.pending) {
    CAIRN_CHECK(check_shard_names(pending->index, location, pending->opened.file.path()));
    attempt.keep_pending(std::move(pending->opened.file), pending->opened.info);
    bytes = std::move(pending->bytes);
    index = pending->index;
  } else if (!choice.current) {
    location.warnings.push_back(file.path() + ": not used, because " +
                                location.file(kTensorFlowSuffix) +
                                " is not the one that it records; to renew it, use import_index()");
    return load_tensorflow(location, allowed.follow_links, *choice.foreign, attempt);
  }
  auto kept = std::make_shared<const os::Bytes>(std::move(bytes));
  Parts parts{Format::Cairn, location.prefix, std::move(kept), *index};
  if (location.index_only) return parts;
  CAIRN_TRY(touched, open_own_shards(location, allowed.follow_links, parts));
  if (touched) {
    // Two saves later, a shard may have the same name again. So the index must be the same file.
    if (attempt.index_changed()) return written_meanwhile(location.prefix);
    parts.bytes_doubtful = true;
  }
  return parts;
}

}  // namespace

Result<Parts> assemble_file(FileIndex read, const FileFormat& format,
                            const std::filesystem::path& prefix, OpenAttempt& attempt) {
  std::string path = read.shard.file.path();
  std::vector<os::File> files;
  files.push_back(std::move(read.shard.file));
  for (OpenShard& other : read.others) files.push_back(std::move(other.file));
  if (attempt.links_moved(files)) return written_meanwhile(prefix);
  if (read.decoded) files.push_back(std::move(read.decoded->file));
  auto parts = assemble({format.format, prefix, std::move(path)}, read.facts, std::move(files),
                        std::move(read.plain));
  if (parts) parts->compare_own_sums = &compare_stored_members;
  if (parts) parts->decoded = read.decoded.has_value();
  if (parts) parts->decoded_members = std::move(read.decoded_members);
  if (parts && !read.left_out.empty()) parts->left_out = read.left_out.front();
  if (parts) parts->warnings = std::move(read.left_out);
  if (parts) std::ranges::move(read.warnings, std::back_inserter(parts->warnings));
  return parts;
}

void leave_shards(Parts& parts) {
  parts.index_only = true;
  parts.shards.clear();
  parts.decoded = false;
  parts.decoded_members = nullptr;
  parts.bytes_doubtful = false;
}

Result<Parts> load_file_itself(const Location& location) {
  OpenAttempt attempt;
  return retry_until_stable(attempt, [&] { return read_parts(location, attempt); });
}

std::string doubt_warning(const std::filesystem::path& prefix) {
  return prefix.string() +
         ": a shard was touched or copied after its index was written, so each tensor is checked "
         "before its use; to check them once and end this warning, run 'cairn import " +
         prefix.string() + "' (import_index)";
}

bool may_pass(const Error& error) noexcept {
  return error.code == Code::Io || error.code == Code::OutOfMemory || error.code == Code::NoSpace ||
         error.code == Code::Busy;
}

Result<Parts> load(Location& location, bool follow_links, OpenAttempt& attempt,
                   unsigned threads_max) {
  auto parts = load_quietly(location, follow_links, attempt, threads_max);
  if (!parts || !parts->bytes_doubtful) return parts;
  // A file is imported by its own name.
  const bool is_file = location.kind == Kind::File;
  parts->warnings.push_back(
      doubt_warning(is_file ? location.prefix.parent_path() / location.base : location.prefix));
  return parts;
}

Result<Parts> load_quietly(Location& location, bool follow_links, OpenAttempt& attempt,
                           unsigned threads_max) {
  location.links = links_of(follow_links);
  auto parts = [&]() -> Result<Parts> {
    if (location.kind == Kind::File) return load_file(location, threads_max, attempt);
    if (location.kind == Kind::TensorFlowV1) return load_v1_whole(location, follow_links, attempt);
    auto own = location.directory.open_seen(location.file(kCairnSuffix), location.links);
    if (own) return load_cairn(location, {follow_links, threads_max}, attempt, *std::move(own));
    if (own.error().code != Code::NotFound) return std::move(own).error();
    CAIRN_TRY(index, read_tensorflow_index(location, attempt));
    // A first save renames P.cairn before it renames P.index.
    CAIRN_TRY(came, location.directory.look_from(location.file(kCairnSuffix), location.links));
    if (came) attempt.note_index_gone();
    if (came) return written_meanwhile(location.prefix);
    return load_tensorflow(location, follow_links, index, attempt);
  }();
  // The loaders of the other kinds have checked this: some of their shards are in memory.
  if (parts && location.kind == Kind::Prefix) {
    if (attempt.links_moved(parts->shards)) return written_meanwhile(location.prefix);
    parts->origin = attempt.origin(location.base);
  }
  if (parts && location.index_only) leave_shards(*parts);
  if (parts)
    parts->warnings.insert(parts->warnings.begin(), location.warnings.begin(),
                           location.warnings.end());
  return parts;
}

Result<Found> find(const std::filesystem::path& path, bool follow_links,
                   const FormatOptions& formats) {
  OpenAttempt attempt;
  auto found = retry_until_stable(attempt, [&]() -> Result<Found> {
    CAIRN_TRY(location, locate(path, follow_links, attempt));
    location.formats = formats;
    CAIRN_TRY(seen, index_identities(location.directory, location.base));
    CAIRN_TRY(parts, load(location, follow_links, attempt));
    return Found{std::move(location), std::move(parts), std::move(seen)};
  });
  if (found) return found;
  return with_newest_whole(attempt.explain(path, std::move(found).error()), attempt, follow_links);
}

Result<OwnIndex> load_own_index(const Location& location) {
  CAIRN_TRY(file, location.directory.open_file(location.file(kCairnSuffix), location.links));
  CAIRN_TRY(bytes, os::read_whole(file, format::limits::kIndexBytesMax));
  auto index = format::IndexView::decode(bytes);
  if (!index) return error_of(file.path(), index.error());
  OpenAttempt attempt;
  CAIRN_TRY(choice, choose_index(location, *index, attempt));
  if (choice.pending)
    return OwnIndex{std::move(choice.pending->bytes), choice.pending->index, true};
  return OwnIndex{std::move(bytes), *index, choice.current};
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

Result<FileIndex> read_file(const Location& location, ReadFileOptions how) {
  CAIRN_TRY(file,
            open_shard(location.directory, location.base, location.links == os::Links::Follow));
  return location.file_format->read(
      std::move(file), {location.base, how.whole, &location, location.formats, how.plain});
}

}  // namespace cairn::internal
