// FILE.cairn says of a file of another format what the file says itself, and the sums that most of
// these formats have not: each byte of a tensor is read once for them.

#include "lib/edit/import_file.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <tuple>
#include <utility>

#include "cairn/version.h"
#include "format/digest.h"
#include "format/quoted.h"
#include "lib/edit/fit.h"
#include "lib/edit/publish.h"
#include "lib/edit/transfer.h"
#include "lib/open/assemble.h"
#include "lib/open/file_record.h"
#include "lib/open/load.h"
#include "lib/open/zip_file.h"
#include "lib/os/parallel.h"
#include "lib/read/blocks.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/read/sums.h"
#include "lib/try.h"
#include "lib/write/shard_writer.h"

namespace cairn::internal {
namespace {

Error nothing_to_point_to(const Location& location) {
  return {Code::Unsupported, 0,
          (location.prefix.parent_path() / location.base).string() +
              ": some of its values are not stored as plain bytes, so an index cannot point to "
              "them; use convert() (cairn convert)"};
}

Error only_beside(const std::filesystem::path& source) {
  return {Code::Unsupported, 0,
          source.string() +
              ": the index of a file of this format is written beside it, without an output; for "
              "a checkpoint elsewhere, use convert() (cairn convert)"};
}

Result<void> add_hash_of_values(const OpenCheckpoint& checkpoint, std::size_t position,
                                format::TensorFacts& tensor) {
  CAIRN_TRY(size_bytes, checkpoint.read_bytes(position, {}));
  std::vector<std::byte> values(size_bytes);
  CAIRN_CHECK(checkpoint.read(position, values, {}));
  tensor.content_hash = format::xxh3_128(values);
  return {};
}

Result<void> add_sums_of_slices(const OpenCheckpoint& checkpoint, std::size_t position,
                                format::TensorFacts& tensor) {
  for (format::SliceFacts& slice : tensor.slices) {
    format::Span& span = slice.span;
    CAIRN_TRY(sum,
              crc32c_of(checkpoint.shards().file(span.shard), span.offset_bytes, span.size_bytes));
    span.crc32c = sum;
  }
  return add_hash_of_values(checkpoint, position, tensor);
}

// The sums of the bytes as they are stored, and the hash of the values in row-major order.
Result<void> add_sums_of(const OpenCheckpoint& checkpoint, std::size_t position,
                         format::TensorFacts& tensor) {
  if (!tensor.slices.empty()) return add_sums_of_slices(checkpoint, position, tensor);
  const os::File& file = checkpoint.shards().file(tensor.span.shard);
  TensorSums sums(tensor.span.size_bytes);
  CAIRN_CHECK(for_each_block(file, tensor.span.offset_bytes, tensor.span.size_bytes,
                             [&](auto block) { sums.update(block); }));
  Sums found = sums.finish();
  tensor.span.crc32c = found.crc32c;
  tensor.chunk_crc32cs = std::move(found.chunk_crc32cs);
  tensor.content_hash = found.content_hash;
  if (tensor.strides.empty() && !checkpoint.index().tensor(position).big_endian) return {};
  return add_hash_of_values(checkpoint, position, tensor);
}

std::uint64_t stored_bytes(format::TensorFacts& tensor) {
  std::uint64_t bytes = 0;
  for_each_span(tensor, [&](const format::Span& span) { bytes += span.size_bytes; });
  return bytes;
}

// Tensors of which these are equal have the same values.
auto how_read(const format::TensorFacts& tensor) {
  return std::tie(tensor.span.shard, tensor.span.offset_bytes, tensor.span.size_bytes, tensor.dtype,
                  tensor.other_byte_order, tensor.shape, tensor.strides);
}

bool are_tied(const format::TensorFacts& a, const format::TensorFacts& b) {
  return a.slices.empty() && b.slices.empty() && how_read(a) == how_read(b);
}

// Tied tensors, whose bytes are the same and read in the same way, stand together.
std::vector<std::size_t> tied_together(const format::IndexFacts& facts) {
  std::vector<std::size_t> positions(facts.tensors.size());
  std::iota(positions.begin(), positions.end(), std::size_t{0});
  std::ranges::sort(positions, {}, [&facts](std::size_t i) { return how_read(facts.tensors[i]); });
  return positions;
}

Result<void> add_all_sums(const OpenCheckpoint& checkpoint, const ExecOptions& exec,
                          format::IndexFacts& facts) {
  const std::vector<std::size_t> positions = tied_together(facts);
  std::vector<std::size_t> groups;  // where each begins
  std::uint64_t total_bytes = 0;
  for (std::size_t i = 0; i < positions.size(); ++i) {
    format::TensorFacts& tensor = facts.tensors[positions[i]];
    if (i != 0 && are_tied(tensor, facts.tensors[positions[i - 1]])) continue;
    groups.push_back(i);
    total_bytes += stored_bytes(tensor);
  }
  return os::run_parallel(
      exec, groups.size(), total_bytes, [&](std::size_t group) -> Result<std::uint64_t> {
        const std::size_t first = positions[groups[group]];
        CAIRN_CHECK(add_sums_of(checkpoint, first, facts.tensors[first]));
        format::TensorFacts& known = facts.tensors[first];
        const std::size_t end = group + 1 < groups.size() ? groups[group + 1] : positions.size();
        for (std::size_t i = groups[group] + 1; i < end; ++i) {
          format::TensorFacts& same = facts.tensors[positions[i]];
          same.span.crc32c = known.span.crc32c;
          same.chunk_crc32cs = known.chunk_crc32cs;
          same.content_hash = known.content_hash;
        }
        return stored_bytes(known);
      });
}

// The bytes before and behind all tensors of the file; of a file that has none, all.
std::vector<format::FileRange> index_ranges(format::IndexFacts& facts, const std::string& name,
                                            std::uint64_t size_bytes) {
  std::uint64_t begin = size_bytes;
  std::uint64_t end = 0;
  for (format::TensorFacts& tensor : facts.tensors) {
    for_each_span(tensor, [&](const format::Span& span) {
      if (facts.shards[span.shard].name != name || span.size_bytes == 0) return;
      begin = std::min(begin, span.offset_bytes);
      end = std::max(end, span.offset_bytes + span.size_bytes);
    });
  }
  std::vector<format::FileRange> ranges;
  if (begin != 0) ranges.push_back({0, begin});
  if (end != 0 && end < size_bytes) ranges.push_back({end, size_bytes - end});
  if (ranges.empty()) ranges.push_back({0, 1});  // tensors and nothing else
  return ranges;
}

// `opened`: before it was read for the facts, so that a replacement in between shows.
Result<format::SourceIndexFacts> record_of(const std::string& name, const os::OpenedFile& opened,
                                           format::IndexFacts& facts) {
  format::SourceIndexFacts record{name, identity_of(opened.info), {}, {}};
  record.ranges = index_ranges(facts, name, opened.info.size_bytes);
  CAIRN_TRY(digest, digest_of(opened.file, record.ranges));
  record.digest = digest;
  return record;
}

// Busy: one of the files was replaced, or written to, since it was opened.
Result<void> check_files_unchanged(const Location& location, const format::IndexFacts& facts) {
  const auto check = [&](const std::string& name,
                         const format::FileIdentity& identity) -> Result<void> {
    CAIRN_TRY(now, location.directory.look_from(name, os::Links::Follow));
    if (now && identity_of(*now) == identity) return {};
    return written_anew((location.prefix.parent_path() / name).string());
  };
  CAIRN_CHECK(check(facts.source_index->name, facts.source_index->identity));
  for (const format::ShardFacts& shard : facts.shards)
    CAIRN_CHECK(check(shard.name, shard.identity));
  return {};
}

// Who opens the file by its record hears the same of it.
void record_left_out(const Parts& parts, format::IndexFacts& facts) {
  if (parts.left_out.empty()) return;
  std::string lines;
  for (const std::string& warning : parts.warnings) lines += format::one_line(warning) + '\n';
  facts.metadata.emplace_back(format::kLeftOutKey, std::move(lines));
  std::ranges::sort(facts.metadata);
}

// An index in a file opens files of its own directory only.
Result<void> check_in_directory(const Parts& parts, const std::filesystem::path& path) {
  for (std::size_t i = 0; i < parts.index.shard_count(); ++i) {
    const std::string_view name = parts.index.shard(i).name;
    if (is_bare(name)) continue;
    return Error{Code::Unsupported, 0,
                 path.string() + ": its file " + format::quoted(name) +
                     " lies in a folder, where no index finds it; convert() (cairn convert) "
                     "writes the model as one checkpoint"};
  }
  return {};
}

bool has_all_sums(const format::IndexView& index) {
  for (std::size_t i = 0; i < index.tensor_count(); ++i) {
    const auto tensor = index.tensor(i);
    if (!tensor.partitioned() && !tensor.span.crc32c) return false;
  }
  for (std::uint32_t i = 0; i < index.slice_count(); ++i) {
    if (!index.slice(i).span.crc32c) return false;
  }
  return true;
}

}  // namespace

Result<Transfer> import_file(const std::filesystem::path& source, const TransferOptions& options) {
  CAIRN_TRY(held, find_and_lock(source, options));
  Location& location = held.found->location;
  CAIRN_TRY(beside, is_beside(location, options));
  if (!beside && !options.output.empty()) return only_beside(source);
  Transfer transfer;
  transfer.prefix = location.prefix.parent_path() / location.base;
  const Parts& known = held.found->parts;
  const bool current =
      known.recorded && !known.bytes_doubtful && (!options.sums || has_all_sums(known.index));
  if (current && !options.replace) {
    transfer.warnings.push_back(transfer.prefix.string() + std::string(kCairnSuffix) +
                                ": exists already and is up to date");
    return transfer;
  }
  CAIRN_TRY(opened, location.directory.open_seen(location.base, os::Links::Follow));
  CAIRN_TRY(parts, load_file_itself(location));
  if (parts.decoded) return nothing_to_point_to(location);
  CAIRN_CHECK(check_in_directory(parts, transfer.prefix));
  if (!options.allow_lossy) CAIRN_CHECK(check_nothing_left_out(parts));
  transfer.warnings = parts.warnings;
  format::IndexFacts facts = parts.index.facts();
  facts.created_ns = os::now_ns();
  facts.producer = "cairn " + std::string(version());
  facts.chunk_bytes = kChunkBytes;
  record_left_out(parts, facts);
  CAIRN_TRY(record, record_of(location.base, opened, facts));
  facts.source_index = std::move(record);
  CAIRN_CHECK(sync_payload(parts.shards, location.directory));
  if (options.sums) {
    // What is recorded of damaged bytes would call them whole from then on.
    for (const os::File& shard : parts.shards)
      CAIRN_CHECK(check_stored_members(shard, options.exec));
    OpenOptions opening;
    opening.verify = Verify::None;
    opening.exec = options.exec;
    CAIRN_TRY(checkpoint, OpenCheckpoint::make(std::move(parts), opening));
    CAIRN_CHECK(add_all_sums(OpenCheckpoint::of(checkpoint), options.exec, facts));
  }
  CAIRN_CHECK(check_files_unchanged(location, facts));
  CAIRN_CHECK(add_indexes(held.publisher, std::move(facts), {}));
  CAIRN_CHECK(held.publisher.publish({}, {}));
  warn_if_moved(location.directory, transfer);
  return transfer;
}

}  // namespace cairn::internal
