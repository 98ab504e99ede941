// A V1 file holds its values in protobuf, so there is nothing in it that could be mapped. They are
// decoded once, while opening, into memory that has descriptors as files have: whatever comes after
// (views, slices, checksums, copies, conversion) sees shards like any others, aligned, and with
// sums that were computed while the bytes went by.
//
// Rejected: memory of the process, which all of lib/read would have to be told about; and decoding
// a tensor on its first use, which saves nothing where a block's checksum covers many tensors, and
// would find damage late.
//
// The file itself is read block by block, so that opening takes the values' size in memory, one
// block more, and not twice of it. A mapping would do without that block, which holds at least one
// slice whole; but whoever truncates the file while it is being opened would kill the process.

#include "lib/open/v1.h"

#include <algorithm>
#include <map>
#include <set>

#include "format/checked.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/tensorflow/bundle.h"
#include "format/tensorflow/v1.h"
#include "lib/open/assemble.h"
#include "lib/open/identify.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using format::tensorflow::V1Reader;
using format::tensorflow::V1Tensor;

constexpr unsigned kAlignmentBytes = 64;  // of each tensor and slice

using Tensors = std::map<std::string, format::TensorFacts>;

// A file as the table that it is. It must outlive what it becomes.
format::tensorflow::TableFile table_of(const os::File& file, const os::FileInfo& info) {
  using format::tensorflow::TableRange;
  return {info.size_bytes,
          [&file, block = std::vector<std::byte>()](
              const TableRange& range) mutable -> format::Decoded<std::string_view> {
            block.resize(range.size);
            if (const auto done = file.read_at(range.offset, block); !done) {
              std::string why = done.error().what.substr(file.path().size() + 2);
              return format::DecodeError{done.error().code, range.offset, std::move(why)};
            }
            return format::as_text(block);
          }};
}

// ---- Which files ------------------------------------------------------------------------------

Result<bool> is_v1_file(const os::Directory& directory, const std::string& name) {
  auto file = directory.open_file(name, os::Links::Follow);
  if (!file && file.error().code == Code::Io) return std::move(file).error();
  if (!file) return false;
  CAIRN_TRY(type, identify(*file));
  if (type != FileType::Table) return false;
  CAIRN_TRY(info, file->info());
  const auto found = format::tensorflow::is_v1(table_of(*file, info));
  if (!found) return error_of(file->path(), found.error());
  return *found;
}

// All shards, or the error that names one which is missing.
Result<V1Files> all_shards(const os::Directory& directory, const V1Name& name) {
  if (name.count > format::limits::kShardsMax) {
    return Error{Code::Unsupported, 0,
                 name.base + ": has " + std::to_string(name.count) +
                     " shards, more than the limit of " +
                     std::to_string(format::limits::kShardsMax)};
  }
  V1Files files{name.base, {}};
  for (std::uint32_t i = 0; i < name.count; ++i) {
    files.names.push_back(v1_file_name(name.base, i, name.count));
    if (directory.exists(files.names.back())) continue;
    return Error{Code::NotFound, 0,
                 (std::filesystem::path(directory.path()) / files.names.back()).string() +
                     ": is missing, one of the " + std::to_string(name.count) +
                     " files of a V1 checkpoint"};
  }
  return files;
}

// What lies under a prefix that is no file itself; `count`: of so many files.
Result<std::optional<V1Name>> sharded_under(const os::Directory& directory, const std::string& base,
                                            std::optional<std::uint32_t> count = {}) {
  CAIRN_TRY(names, directory.names());
  std::map<std::uint32_t, std::string> first;  // a file of each number of shards
  for (const std::string& name : names) {
    const auto v1 = v1_name(name);
    if (!v1 || !v1->shard || v1->base != base || first.contains(v1->count)) continue;
    if (count && v1->count != *count) continue;
    CAIRN_TRY(is_v1, is_v1_file(directory, name));
    if (is_v1) first[v1->count] = name;
  }
  if (first.empty()) return std::optional<V1Name>();
  if (first.size() > 1) {
    return Error{Code::Invalid, 0,
                 (std::filesystem::path(directory.path()) / base).string() +
                     ": there are several V1 checkpoints with this prefix; give a file of one of "
                     "them, for example " +
                     first.begin()->second + " or " + first.rbegin()->second};
  }
  return v1_name(first.begin()->second);
}

// One of them, and what it was when it was opened.
struct Opened {
  os::File file;
  os::FileInfo info;
};

// Whether another file has its name by now: a save came between.
bool replaced(const os::Directory& directory, const Opened& source) {
  const auto name = std::filesystem::path(source.file.path()).filename();
  const auto now = directory.look_from(name, os::Links::Follow);
  return !now || !*now || !is_unchanged(**now, source.info);
}

// ---- Their values -----------------------------------------------------------------------------

Error disagreement(const std::string& path, const V1Tensor& tensor) {
  return {Code::Corrupt, 0,
          path + ": tensor " + format::quoted(tensor.name) +
              " has a different dtype or shape than in another file of the checkpoint"};
}

// What the checkpoint knows of the tensor so far.
Result<format::TensorFacts*> facts_of(Tensors& tensors, const V1Tensor& tensor,
                                      const std::string& path) {
  const auto [at, is_new] = tensors.try_emplace(tensor.name);
  format::TensorFacts& facts = at->second;
  if (is_new) {
    facts.name = tensor.name;
    facts.dtype = tensor.dtype;
    facts.encoding =
        tensor.dtype == DType::String ? format::Encoding::TensorFlowString : format::Encoding::Raw;
    facts.shape = tensor.shape;
  }
  if (facts.dtype != tensor.dtype || facts.shape != tensor.shape) return disagreement(path, tensor);
  return &facts;
}

// One file's values in memory, and what they are.
class Decoding {
 public:
  Decoding(const std::string& path, const os::File& memory, std::uint32_t shard) noexcept
      : path_(path), memory_(memory), shard_(shard) {}

  Result<void> run(V1Reader& reader, Tensors& tensors) {
    while (true) {
      const auto more = reader.next();
      if (!more) return error_of(path_, more.error());
      if (!*more) return {};
      const V1Tensor& tensor = reader.tensors()[reader.tensor()];
      CAIRN_TRY(facts, facts_of(tensors, tensor, path_));
      CAIRN_TRY(span, take_slice(reader));
      facts->slices.push_back({tensor.slices[reader.slice()], span});
      live_bytes_ += span.size_bytes;
    }
  }

  std::uint64_t live_bytes() const noexcept { return live_bytes_; }

 private:
  Result<format::Span> take_slice(V1Reader& reader) {
    format::Span span{shard_, format::round_up(end_, kAlignmentBytes), 0, {}};
    while (true) {
      const auto block = reader.next_block();
      if (!block) return error_of(path_, block.error());
      if (block->empty()) break;
      CAIRN_CHECK(memory_.write_at(span.offset_bytes + span.size_bytes, *block));
      span.size_bytes += block->size();
    }
    span.crc32c = reader.crc32c();
    if (span.size_bytes == 0) span.offset_bytes = end_;
    end_ = span.offset_bytes + span.size_bytes;
    return span;
  }

  const std::string& path_;
  const os::File& memory_;
  std::uint32_t shard_;
  std::uint64_t end_ = 0;
  std::uint64_t live_bytes_ = 0;
};

// A file on the disk, decoded.
Result<os::File> decode(const Opened& source, format::IndexFacts& facts, Tensors& tensors) {
  const std::string& path = source.file.path();
  auto reader = V1Reader::open(table_of(source.file, source.info));
  if (!reader) return error_of(path, reader.error());
  CAIRN_TRY(memory, os::memory_file(path + " (decoded)"));
  Decoding decoding(path, memory, static_cast<std::uint32_t>(facts.shards.size()));
  CAIRN_CHECK(decoding.run(*reader, tensors));
  CAIRN_CHECK(memory.seal());
  CAIRN_TRY(decoded, memory.info());
  format::ShardFacts shard;
  shard.name = std::filesystem::path(path).filename().string();
  shard.kind = format::ShardKind::TensorFlow;
  shard.identity = identity_of(decoded);
  shard.live_bytes = decoding.live_bytes();
  facts.shards.push_back(std::move(shard));
  return std::move(memory);
}

// A slice that is the whole tensor is no slice.
bool is_whole(const format::TensorFacts& tensor) noexcept {
  if (tensor.slices.size() != 1) return false;
  const auto& extents = tensor.slices.front().extents;
  for (std::size_t i = 0; i < extents.size(); ++i) {
    const bool all = extents[i].length == format::Extent::kWhole ||
                     (extents[i].start == 0 && extents[i].length == tensor.shape[i]);
    if (!all) return false;
  }
  return true;
}

// Two files may list the same slice, and then it is not known which counts.
Result<void> refuse_twice(const std::filesystem::path& prefix, const format::TensorFacts& tensor) {
  std::set<std::string> keys;
  for (const format::SliceFacts& slice : tensor.slices) {
    if (keys.insert(format::tensorflow::slice_key({}, slice.extents)).second) continue;
    return Error{Code::Corrupt, 0,
                 prefix.string() + ": tensor " + format::quoted(tensor.name) +
                     " has the same slice in two files"};
  }
  return {};
}

Result<Parts> load_opened(const std::filesystem::path& prefix, std::span<const Opened> sources) {
  format::IndexFacts facts;
  Tensors tensors;
  std::vector<os::File> shards;
  for (const Opened& source : sources) {
    CAIRN_TRY(memory, decode(source, facts, tensors));
    shards.push_back(std::move(memory));
  }
  for (auto& [name, tensor] : tensors) {
    CAIRN_CHECK(refuse_twice(prefix, tensor));
    if (is_whole(tensor)) {
      tensor.span = tensor.slices.front().span;
      tensor.slices.clear();
    }
    facts.tensors.push_back(std::move(tensor));
  }
  auto parts = assemble({Format::TensorFlowV1, prefix, prefix.string()}, facts, std::move(shards));
  if (parts) parts->decoded = true;
  return parts;
}

}  // namespace

Result<std::optional<V1Files>> find_v1(const os::Directory& directory, const std::string& name) {
  using Answer = std::optional<V1Files>;
  const auto v1 = v1_name(name);
  CAIRN_TRY(is_file, is_v1_file(directory, name));
  if (is_file && !v1) return Answer(V1Files{name, {name}});
  std::optional<V1Name> sharded = v1;
  if (!is_file) {
    const bool all_meant = v1 && !v1->shard;
    if (!all_meant && directory.exists(name)) return Answer();
    CAIRN_TRY(under, all_meant ? sharded_under(directory, v1->base, v1->count)
                               : sharded_under(directory, name));
    sharded = under;
  }
  if (!sharded) return Answer();
  CAIRN_TRY(files, all_shards(directory, *sharded));
  return Answer(std::move(files));
}

Result<Parts> load_v1(const Location& location, bool follow_links, OpenAttempt& attempt) {
  const os::Links links = links_of(follow_links);
  std::vector<Opened> sources;
  for (const std::string& name : location.v1_files) {
    auto file = location.directory.open_file(name, links);
    if (!file && file.error().code == Code::NotFound) attempt.note_index_gone();
    if (!file) return std::move(file).error();
    CAIRN_TRY(info, file->info());
    sources.push_back({*std::move(file), info});
  }
  auto parts = load_opened(location.prefix, sources);
  const auto gone = [&](const Opened& source) { return replaced(location.directory, source); };
  if (std::ranges::none_of(sources, gone)) return parts;
  attempt.note_index_gone();
  return written_meanwhile(location.prefix);
}

Result<Parts> load_v1_file(os::File file, const std::filesystem::path& prefix) {
  CAIRN_TRY(info, file.info());
  const Opened source{std::move(file), info};
  return load_opened(prefix, std::span(&source, 1));
}

}  // namespace cairn::internal
