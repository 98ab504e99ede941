#include "lib/open/tensorflow.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "format/checked.h"
#include "format/digest.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/tensorflow/bundle.h"
#include "lib/open/assemble.h"
#include "lib/open/identify.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

Error too_short(const std::string& path, std::uint64_t size_bytes, std::string_view tensor,
                std::uint64_t needs_at, std::uint64_t needs_bytes) {
  return {Code::Corrupt, 0,
          path + ": has " + std::to_string(size_bytes) + " bytes, but tensor " +
              format::quoted(tensor) + " needs " + std::to_string(needs_bytes) + " at byte " +
              std::to_string(needs_at) + ": the file is truncated, or it belongs to another index"};
}

// With index_only no shard is opened. Its size is then taken as what its tensors need.
void extend(format::ShardFacts& shard, const auto& span) noexcept {
  constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
  if (span.size_bytes > kMost || span.offset_bytes > kMost - span.size_bytes) return;
  shard.identity.size_bytes =
      std::max(shard.identity.size_bytes, span.offset_bytes + span.size_bytes);
}

std::string merged_warning(const Location& location, std::int32_t header_count,
                           std::int32_t named_count) {
  return location.prefix.string() + ": " + location.file(kTensorFlowSuffix) +
         " says that there are " + std::to_string(header_count) +
         " shards, but every tensor is in the " + std::to_string(named_count) +
         " shards that exist, because TensorFlow's merge does not count empty shards in the names; "
         "TensorFlow cannot read this checkpoint; to repair the index, use export_index() with "
         "replace (cairn export --to tensorflow --replace) or convert()";
}

// The shards that a bundle's tensors lie in, in the order of their numbers.
struct BundleShards {
  std::vector<os::File> files;
  std::map<std::uint32_t, std::uint32_t>
      positions;  // from a shard's number to its place in `files`
};

Result<BundleShards> open_bundle_shards(const Location& location, bool follow_links,
                                        const std::set<std::uint32_t>& numbers,
                                        format::IndexFacts& facts) {
  BundleShards shards;
  const std::uint32_t count =
      named_shard_count(location, numbers, static_cast<std::uint32_t>(facts.bundle.num_shards));
  facts.bundle.num_shards = static_cast<std::int32_t>(count);
  for (const std::uint32_t number : numbers) {
    shards.positions[number] = static_cast<std::uint32_t>(facts.shards.size());
    const std::string name = location.file(format::tensorflow::shard_suffix(number, count));
    format::ShardFacts& shard_facts = facts.shards.emplace_back();
    shard_facts.name = name;
    shard_facts.kind = format::ShardKind::TensorFlow;
    if (location.index_only) continue;
    CAIRN_TRY(shard, open_shard(location.directory, name, follow_links));
    shard_facts.identity = shard.identity;
    shards.files.push_back(std::move(shard.file));
  }
  return shards;
}

// Checks that spans lie inside their shards. Also replaces the shard's number in a span by the
// shard's position in the list of shards: TensorFlow's index says numbers, Cairn's says positions.
class Placement {
 public:
  Placement(const Location& location, const BundleShards& opened,
            std::vector<format::ShardFacts>& shards) noexcept
      : location_(location), opened_(opened), shards_(shards) {}

  // `span` is a format::Span or a format::TensorRecord. False: it lies outside its shard.
  bool place(auto& span) {
    if (!last_ || span.shard != last_->first) last_ = *opened_.positions.find(span.shard);
    span.shard = last_->second;
    format::ShardFacts& shard = shards_[span.shard];
    if (location_.index_only) extend(shard, span);
    const bool fits = format::inside(span.offset_bytes, span.size_bytes, shard.identity.size_bytes);
    // TensorFlow accepts any offset for a tensor without bytes.
    if (!fits && span.size_bytes == 0) span.offset_bytes = 0;
    shard.live_bytes += span.size_bytes;
    return fits || span.size_bytes == 0;
  }

  // The error for a span that place() has found outside.
  Error outside(std::string_view tensor, const auto& span) const {
    if (location_.index_only) {
      return {Code::Corrupt, 0,
              location_.file(kTensorFlowSuffix) + ": tensor " + format::quoted(tensor) +
                  " ends behind the last byte that a file can have"};
    }
    const os::File& file = opened_.files[span.shard];
    return named_for_what_it_is(
        file, too_short(file.path(), shards_[span.shard].identity.size_bytes, tensor,
                        span.offset_bytes, span.size_bytes));
  }

 private:
  const Location& location_;
  const BundleShards& opened_;
  std::vector<format::ShardFacts>& shards_;
  std::optional<std::pair<std::uint32_t, std::uint32_t>> last_;  // the last number, its position
};

Result<void> place_all(Placement placement, format::PlainTensors& plain) {
  for (std::size_t i = 0; i < plain.size(); ++i) {
    format::TensorRecord& record = plain.records()[i];
    if (!placement.place(record)) return placement.outside(plain.name(i), record);
  }
  return {};
}

Result<void> place_all(Placement placement, std::vector<format::TensorFacts>& tensors) {
  for (format::TensorFacts& tensor : tensors) {
    const format::Span* outside = nullptr;
    if (!tensor.slices.empty()) tensor.span = {};  // a merge may leave a shard's number there
    for_each_span(tensor, [&](format::Span& span) {
      if (!placement.place(span)) outside = &span;
    });
    if (outside != nullptr) return placement.outside(tensor.name, *outside);
  }
  return {};
}

// P.index, decoded. If all tensors are plain, they are in `plain`, else in `tensors`.
struct Bundle {
  format::BundleHeader header;
  std::set<std::uint32_t> shards;
  std::optional<format::PlainTensors> plain;
  std::vector<format::TensorFacts> tensors;
};

format::Decoded<Bundle> decode(std::span<const std::byte> index) {
  auto plain = format::tensorflow::decode_plain_bundle(index);
  if (!plain) return std::move(plain).error();
  if (*plain) {
    format::tensorflow::PlainBundle& found = **plain;
    return Bundle{std::move(found.header), std::move(found.shards), std::move(found.tensors), {}};
  }
  auto facts = format::tensorflow::decode_bundle(index);
  if (!facts) return std::move(facts).error();
  return Bundle{std::move(facts->header), std::move(facts->shards), {}, std::move(facts->tensors)};
}

}  // namespace

Result<os::OpenedFile> open_tensorflow_index(const Location& location) {
  return location.directory.open_seen(location.file(kTensorFlowSuffix), location.links);
}

Result<TensorFlowIndex> read_tensorflow_index(const os::File& file, const os::FileInfo& info) {
  CAIRN_TRY(bytes, os::read_whole(file, info, format::limits::kForeignIndexBytesMax));
  const Digest128 digest = format::xxh3_128(bytes);
  return TensorFlowIndex{&file, std::move(bytes), {true, identity_of(info), digest}};
}

Result<TensorFlowIndex> read_tensorflow_index(const Location& location, OpenAttempt& attempt) {
  auto opened = open_tensorflow_index(location);
  if (!opened && opened.error().code == Code::NotFound) attempt.note_index_gone();
  if (!opened) return std::move(opened).error();
  const os::FileInfo info = opened->info;
  return read_tensorflow_index(attempt.keep_index(std::move(opened->file), info), info);
}

Result<Parts> load_tensorflow(const Location& location, bool follow_links,
                              const TensorFlowIndex& index, const OpenAttempt& attempt) {
  auto bundle = decode(index.bytes);
  if (!bundle)
    return named_for_what_it_is(*index.file, error_of(index.file->path(), bundle.error()));
  format::IndexFacts facts;
  facts.bundle = bundle->header;
  facts.tensors = std::move(bundle->tensors);
  facts.tensorflow_index = index.record;
  CAIRN_TRY(shards, open_bundle_shards(location, follow_links, bundle->shards, facts));
  const Placement placement(location, shards, facts.shards);
  CAIRN_CHECK(bundle->plain ? place_all(placement, *bundle->plain)
                            : place_all(placement, facts.tensors));
  // Bytes that several names share were counted once for each name.
  for (format::ShardFacts& shard : facts.shards) {
    shard.live_bytes = std::min(shard.live_bytes, shard.identity.size_bytes);
  }
  // P.index does not record the identities of its shards. They belong to it only if it was not
  // replaced while they were opened. The same holds for a P.cairn that was not used.
  if (attempt.index_changed()) return written_meanwhile(location.prefix);
  auto parts = assemble({Format::TensorFlow, location.prefix, index.file->path()}, facts,
                        std::move(shards.files), std::move(bundle->plain));
  const std::int32_t header_count = bundle->header.num_shards;
  if (parts && facts.bundle.num_shards != header_count)
    parts->warnings.push_back(merged_warning(location, header_count, facts.bundle.num_shards));
  return parts;
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

}  // namespace cairn::internal
