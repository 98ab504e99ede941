// Which index of a damaged checkpoint is used.
//
// load.cc refuses everything that is not as it was written, because a program that computes with
// tensors must not guess. Here the user wants what is left. P.cairn and P.index describe the same
// shards, so one of them is enough. Neither is trusted: each tensor is compared with its sum before
// it is kept. So if both indexes can be read, a wrong choice between them (TensorFlow may have
// written P.index again, and it was damaged since) loses tensors at worst.
//
// Damage is what the file itself cannot mend: bytes that contradict their sum, a disk that fails.
// What the caller can mend (permissions, too few descriptors) is an error as ever: a tensor must
// not be given up for it.

#include "lib/open/recoverable.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <utility>

#include "format/cairn/index.h"
#include "format/limits.h"
#include "format/tensorflow/bundle.h"
#include "lib/open/assemble.h"
#include "lib/open/catalog.h"
#include "lib/open/file_formats.h"
#include "lib/open/identify.h"
#include "lib/open/load.h"
#include "lib/open/pending_index.h"
#include "lib/open/tensorflow.h"
#include "lib/open/v1.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

// What an index says, and which it is.
struct Chosen {
  Format format{};
  format::IndexFacts facts;
};

Error nothing_there(const Location& location, std::string_view suffix) {
  return {Code::NotFound, 0, location.file(suffix) + ": does not exist"};
}

// ---- Each index by itself -----------------------------------------------------------------------

// The P.cairn that P.index waits for, where the one that stands is another's.
Result<std::optional<format::IndexFacts>> read_pending(const Location& location,
                                                       const TensorFlowIndex& foreign,
                                                       OpenAttempt& attempt) {
  CAIRN_TRY(pending, find_pending_index(location, foreign.record));
  if (!pending) return std::optional<format::IndexFacts>();
  CAIRN_CHECK(check_shard_names(pending->index, location, pending->opened.file.path()));
  attempt.keep_pending(std::move(pending->opened.file), pending->opened.info);
  return std::optional(pending->index.facts());
}

// Read, not mapped: a disk that fails then returns an error instead of killing the process.
Result<format::IndexFacts> read_own(const Location& location, OpenAttempt& attempt) {
  if (!location.has(kCairnSuffix)) return nothing_there(location, kCairnSuffix);
  CAIRN_TRY(opened, location.directory.open_seen(location.file(kCairnSuffix), location.links));
  const os::FileInfo info = opened.info;
  const os::File& file = attempt.keep_index(std::move(opened.file), info);
  CAIRN_TRY(bytes, os::read_whole(file, info, format::limits::kIndexBytesMax));
  const auto index = format::IndexView::decode(bytes);
  if (!index) return named_for_what_it_is(file, error_of(file.path(), index.error()));
  CAIRN_CHECK(check_shard_names(*index, location, file.path()));
  return index->facts();
}

// Its spans say positions among the shards that tensors lie in.
format::IndexFacts facts_of(const Location& location, format::tensorflow::BundleFacts bundle) {
  format::IndexFacts facts;
  facts.bundle = std::move(bundle.header);
  facts.tensors = std::move(bundle.tensors);
  const std::uint32_t count = named_shard_count(
      location, bundle.shards, static_cast<std::uint32_t>(facts.bundle.num_shards));
  facts.bundle.num_shards = static_cast<std::int32_t>(count);
  std::map<std::uint32_t, std::uint32_t> positions;
  for (const std::uint32_t number : bundle.shards) {
    positions[number] = static_cast<std::uint32_t>(facts.shards.size());
    facts.shards.emplace_back().name =
        location.file(format::tensorflow::shard_suffix(number, count));
  }
  for (format::TensorFacts& tensor : facts.tensors) {
    if (!tensor.slices.empty()) tensor.span = {};
    for_each_span(tensor, [&](format::Span& span) { span.shard = positions.at(span.shard); });
  }
  return facts;
}

// ---- Which of the two ---------------------------------------------------------------------------

// P.index, its bytes read, and what they mean.
struct Foreign {
  Result<TensorFlowIndex> read;
  Result<format::IndexFacts> facts;
};

Foreign read_foreign(const Location& location, OpenAttempt& attempt) {
  if (!location.has(kTensorFlowSuffix)) {
    const Error gone = nothing_there(location, kTensorFlowSuffix);
    return {gone, gone};
  }
  auto read = read_tensorflow_index(location, attempt);
  if (!read) {
    Error error = read.error();
    return {std::move(read), std::move(error)};
  }
  auto bundle = format::tensorflow::decode_bundle(read->bytes);
  if (!bundle) {
    Error error = named_for_what_it_is(*read->file, error_of(read->file->path(), bundle.error()));
    return {std::move(read), std::move(error)};
  }
  return {std::move(read), facts_of(location, *std::move(bundle))};
}

// Whether P.index is the file that P.cairn remembers: by its contents, or, where they are damaged,
// by what else it is recognised by.
bool remembers(const format::IndexFacts& own, const TensorFlowIndex& read) {
  const format::TensorFlowIndexFacts& record = own.tensorflow_index;
  return record.present &&
         (record.digest == read.record.digest || record.identity == read.record.identity);
}

bool may_be_skipped(const Error& error) noexcept {
  return error.code == Code::NotFound || is_damage(error);
}

Result<Chosen> choose(const Location& location, OpenAttempt& attempt,
                      std::vector<std::string>& warnings) {
  auto own = read_own(location, attempt);
  Foreign foreign = read_foreign(location, attempt);
  if (!own && !may_be_skipped(own.error())) return std::move(own).error();
  if (!foreign.read && !may_be_skipped(foreign.read.error()))
    return std::move(foreign.read).error();
  const std::string own_name = location.file(kCairnSuffix);
  const std::string foreign_name = location.file(kTensorFlowSuffix);
  if (own && foreign.read && !remembers(*own, *foreign.read)) {
    CAIRN_TRY(pending, read_pending(location, *foreign.read, attempt));
    if (pending) own = *std::move(pending);
  }
  if (own && (!foreign.facts || remembers(*own, *foreign.read))) {
    if (!foreign.facts && foreign.facts.error().code != Code::NotFound)
      warnings.push_back(foreign.facts.error().what + "; " + own_name + " is whole and was used");
    return Chosen{Format::Cairn, *std::move(own)};
  }
  if (!foreign.facts) {
    const bool one_is_there = own.error().code != Code::NotFound;
    Error error = one_is_there ? own.error() : foreign.facts.error();
    if (one_is_there && foreign.facts.error().code != Code::NotFound)
      error.what += "; also: " + foreign.facts.error().what;
    if (is_damage(error))
      error.what += "; without a whole index it is not known where the tensors are";
    return error;
  }
  if (own) {
    warnings.push_back(own_name + ": not used, because " + foreign_name +
                       " is not the one that it records");
  } else if (own.error().code != Code::NotFound) {
    warnings.push_back(own.error().what + "; " + foreign_name +
                       " is whole and was used; it is not known whether " + own_name +
                       " held more (" + std::string(kHeldByOwnAlone) + ")");
  }
  return Chosen{Format::TensorFlow, *std::move(foreign.facts)};
}

// ---- Shards -------------------------------------------------------------------------------------

Result<RecoverableCheckpoint> with_shards(Location location, Chosen chosen, bool follow_links,
                                          std::vector<std::string> warnings) {
  RecoverableCheckpoint recoverable{
      std::move(location), chosen.format, std::move(chosen.facts), {}, std::move(warnings)};
  for (const format::ShardFacts& recorded : recoverable.facts.shards) {
    auto shard = open_shard(recoverable.location.directory, recorded.name, follow_links);
    if (!shard && !may_be_skipped(shard.error())) return std::move(shard).error();
    const bool resized = shard && recoverable.format == Format::Cairn &&
                         shard->identity.size_bytes != recorded.identity.size_bytes;
    if (resized) {
      recoverable.warnings.push_back(
          shard->file.path() + ": has " + std::to_string(shard->identity.size_bytes) +
          " bytes, but its index was written for " + std::to_string(recorded.identity.size_bytes));
    }
    recoverable.shards.push_back(std::move(shard));
  }
  return recoverable;
}

Result<RecoverableCheckpoint> of_file(Location location, std::vector<std::string> warnings) {
  CAIRN_TRY(read, read_file(location, {.whole = false}));
  const Format format = location.file_format->format;
  RecoverableCheckpoint recoverable{
      std::move(location), format, std::move(read.facts), {}, std::move(warnings)};
  recoverable.shards.emplace_back(std::move(read.shard));
  for (OpenShard& other : read.others) recoverable.shards.emplace_back(std::move(other));
  if (read.decoded) recoverable.shards.emplace_back(*std::move(read.decoded));
  std::ranges::move(read.left_out, std::back_inserter(recoverable.warnings));
  return recoverable;
}

// Its values are decoded, and every block compared with its sum on the way: it is whole, or an
// error.
Result<RecoverableCheckpoint> of_v1(Location location, bool follow_links, OpenAttempt& attempt,
                                    std::vector<std::string> warnings) {
  CAIRN_TRY(parts, load_v1(location, follow_links, attempt));
  RecoverableCheckpoint recoverable{
      std::move(location), parts.format, parts.index.facts(), {}, std::move(warnings)};
  for (std::size_t i = 0; i < parts.shards.size(); ++i) {
    recoverable.shards.emplace_back(
        OpenShard{std::move(parts.shards[i]), recoverable.facts.shards[i].identity});
  }
  return recoverable;
}

Result<RecoverableCheckpoint> look(const std::filesystem::path& path, bool follow_links,
                                   OpenAttempt& attempt) {
  CAIRN_TRY(location, locate(path, follow_links, attempt));
  std::vector<std::string> warnings = location.warnings;
  if (location.kind == Kind::File) return of_file(std::move(location), std::move(warnings));
  if (location.kind == Kind::TensorFlowV1)
    return of_v1(std::move(location), follow_links, attempt, std::move(warnings));
  CAIRN_TRY(chosen, choose(location, attempt, warnings));
  CAIRN_TRY(recoverable,
            with_shards(std::move(location), std::move(chosen), follow_links, std::move(warnings)));
  // Shards that seem to be lost may be those of a checkpoint that was just replaced.
  if (attempt.index_changed()) return written_meanwhile(path);
  return std::move(recoverable);
}

}  // namespace

Result<RecoverableCheckpoint> find_recoverable(const std::filesystem::path& path,
                                               bool follow_links) {
  OpenAttempt attempt;
  auto found = retry_until_stable(attempt, [&] { return look(path, follow_links, attempt); });
  if (found) return found;
  return with_newest_whole(attempt.explain(path, std::move(found).error()), attempt, follow_links);
}

// EBADMSG and EUCLEAN are what file systems with sums of their own say, ENODATA what a disk with a
// bad sector makes of some of them.
bool is_damage(const Error& error) noexcept {
  constexpr std::array kOfTheDisk{EIO, EBADMSG, EUCLEAN, ENODATA};
  return error.code == Code::Corrupt ||
         (error.code == Code::Io &&
          std::ranges::find(kOfTheDisk, error.os_errno) != kOfTheDisk.end());
}

}  // namespace cairn::internal
