// Two looks, the cheap one first. The index alone says which tensors do not lie within the shards
// that are there; without them, and with each shard as long as it is, what is left is a checkpoint
// like any other, so that reading, sums and encodings need no second implementation that puts up
// with holes. Then each of its places is read and compared, those that several tensors share once.
//
// verify() is not asked: it ends at the first read that fails, and names of tensors that share
// bytes only one.

#include "lib/edit/examine.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "format/checked.h"
#include "format/digest.h"
#include "lib/open/identify.h"
#include "lib/os/parallel.h"
#include "lib/read/open_checkpoint.h"
#include "lib/read/slices.h"
#include "lib/read/sums.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using Losses = std::vector<LostTensor>;

// Bytes of names that lie outside of what is there may add up to anything.
std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) noexcept {
  return format::checked_add(a, b).value_or(std::numeric_limits<std::uint64_t>::max());
}

LostRange whole_tensor(std::string why) {
  LostRange range;
  range.why = std::move(why);
  return range;
}

// ---- By the index alone -------------------------------------------------------------------------

// Why no Writer can write the tensor; empty: it can.
std::string_view unwritable(const format::TensorFacts& tensor) {
  if (tensor.slices.empty()) return {};
  if (tensor.dtype == DType::Opaque && (tensor.opaque_bits == 0 || tensor.opaque_bits % 8 != 0))
    return "its elements are smaller than a byte and it is stored in slices, which cannot be put "
           "together";
  if (tensor.encoding == format::Encoding::TensorFlowVariant)
    return "it is a variant that is stored in slices, which cannot be put together";
  return {};
}

// The shards that are there, as an index calls them, and the tensors that lie in them.
class PresentShards {
 public:
  explicit PresentShards(RecoverableCheckpoint& recoverable) : remains_(recoverable) {
    for (std::size_t i = 0; i < recoverable.shards.size(); ++i) add_shard(i);
  }

  // Takes the tensor over, or says which of its ranges are not there.
  void add(format::TensorFacts tensor, Losses& losses);

  Result<Checkpoint> open(const ExecOptions& exec) &&;

 private:
  void add_shard(std::size_t shard);
  bool is_there(format::Span& span) const;
  LostRange gone(const format::Span& span) const;

  RecoverableCheckpoint& remains_;
  std::vector<std::optional<std::uint32_t>> positions_;  // of the index's shards among these
  format::IndexFacts facts_;
};

// As foreign, with nothing before the first tensor: of a damaged header no tensor depends.
void PresentShards::add_shard(std::size_t shard) {
  std::optional<std::uint32_t>& position = positions_.emplace_back();
  if (!remains_.shards[shard]) return;
  position = static_cast<std::uint32_t>(facts_.shards.size());
  format::ShardFacts& facts = facts_.shards.emplace_back();
  facts.name = remains_.facts.shards[shard].name;
  facts.kind = format::ShardKind::TensorFlow;
  facts.identity = remains_.shards[shard]->identity;
}

// Whether its bytes are there, however they are; then it is given the position of its shard. A span
// without bytes lies anywhere.
bool PresentShards::is_there(format::Span& span) const {
  std::optional<std::uint32_t> position = positions_[span.shard];
  if (span.size_bytes == 0 && !facts_.shards.empty()) {
    span.shard = position.value_or(0);
    span.offset_bytes = 0;
    return true;
  }
  if (!position || !format::inside(span.offset_bytes, span.size_bytes,
                                   facts_.shards[*position].identity.size_bytes)) {
    return false;
  }
  span.shard = *position;
  return true;
}

LostRange PresentShards::gone(const format::Span& span) const {
  LostRange range;
  range.shard = remains_.facts.shards[span.shard].name;
  range.offset_bytes = span.offset_bytes;
  range.size_bytes = span.size_bytes;
  range.stored_crc32c = span.crc32c;
  const Result<OpenShard>& shard = remains_.shards[span.shard];
  if (!shard) {
    range.why = shard.error().what;
  } else {
    const Error truncated{Code::Corrupt, 0,
                          shard->file.path() + ": has " +
                              std::to_string(shard->identity.size_bytes) + " bytes, too few for " +
                              std::to_string(span.size_bytes) + " bytes at byte " +
                              std::to_string(span.offset_bytes) + ": the file is truncated"};
    range.why = named_for_what_it_is(shard->file, truncated).what;
  }
  return range;
}

void PresentShards::add(format::TensorFacts tensor, Losses& losses) {
  LostTensor lost;
  if (const std::string_view why = unwritable(tensor); !why.empty())
    lost.ranges.push_back(whole_tensor(std::string(why)));
  for_each_span(tensor, [&](format::Span& span) {
    const format::Span recorded = span;
    lost.size_bytes = saturating_add(lost.size_bytes, recorded.size_bytes);
    if (!is_there(span)) lost.ranges.push_back(gone(recorded));
  });
  if (lost.ranges.empty()) {
    facts_.tensors.push_back(std::move(tensor));
  } else {
    lost.name = std::move(tensor.name);
    losses.push_back(std::move(lost));
  }
}

Result<Checkpoint> PresentShards::open(const ExecOptions& exec) && {
  const format::IndexFacts& said = remains_.facts;
  facts_.step = said.step;
  facts_.chunk_bytes = said.chunk_bytes;
  facts_.metadata = said.metadata;
  facts_.safetensors_metadata = said.safetensors_metadata;
  facts_.bundle = said.bundle;
  std::vector<os::File> files;
  for (Result<OpenShard>& shard : remains_.shards) {
    if (shard) files.push_back(std::move(shard->file));
  }
  const std::filesystem::path& prefix = remains_.location.prefix;
  CAIRN_TRY(parts, assemble({remains_.format, prefix, prefix.string()}, facts_, std::move(files)));
  OpenOptions options;
  options.exec = exec;
  return OpenCheckpoint::make(std::move(parts), options);
}

// ---- By the bytes -------------------------------------------------------------------------------

// What is read and compared at once.
struct Place {
  Piece piece;
  bool summed = false;

  auto key() const noexcept { return std::pair(piece.key(), summed); }
};

std::vector<Place> places_of(const format::IndexView& index, std::size_t position) {
  const auto tensor = index.tensor(position);
  std::vector<Place> places;
  if (!tensor.partitioned())
    places.push_back({piece_of(index, position), tensor.span.crc32c.has_value()});
  for (std::uint32_t i = tensor.slices_begin; i < tensor.slices_end; ++i) {
    places.push_back({piece_of_slice(index, position, i), index.slice(i).span.crc32c.has_value()});
  }
  return places;
}

LostRange range_of(const OpenCheckpoint& source, const Piece& piece) {
  LostRange range;
  range.shard = source.index().shard(piece.shard).name;
  range.offset_bytes = piece.offset_bytes;
  range.size_bytes = piece.size_bytes;
  return range;
}

void differ(LostRange& range, std::uint32_t stored, std::uint32_t computed) {
  range.stored_crc32c = stored;
  range.computed_crc32c = computed;
  range.why = std::to_string(range.size_bytes) + " bytes from " +
              std::to_string(range.offset_bytes) + " of " + range.shard + " have CRC32C " +
              format::crc32c_hex(computed) + ", but the stored CRC32C is " +
              format::crc32c_hex(stored);
}

// Which ranges of a place are lost: by its chunks where these have sums.
Result<std::vector<LostRange>> compare(const OpenCheckpoint& source, const Place& place) {
  const Piece& piece = place.piece;
  const Checksummer summer(source);
  const bool chunked = !piece.chunk_crc32cs.empty();
  const std::uint64_t step = chunked ? source.index().chunk_bytes() : piece.size_bytes;
  std::vector<LostRange> lost;
  std::uint32_t whole = 0;
  std::uint64_t done = 0;
  for (std::size_t i = 0; i == 0 || done < piece.size_bytes; ++i) {
    LostRange range = range_of(source, piece);
    range.offset_bytes += done;
    range.size_bytes = std::min(step, piece.size_bytes - done);
    done += range.size_bytes;
    const std::uint32_t stored = chunked ? piece.chunk_crc32cs[i] : piece.crc32c;
    const auto sum = summer.sum(piece, range.offset_bytes, range.size_bytes);
    if (sum) {
      whole = format::crc32c_combine(whole, *sum, range.size_bytes);
      if (!place.summed || *sum == stored) continue;
      differ(range, stored, *sum);
    } else if (is_damage(sum.error()) || sum.error().code == Code::Unsupported) {
      if (place.summed) range.stored_crc32c = stored;
      range.why = sum.error().what;
    } else {
      return sum.error();
    }
    lost.push_back(std::move(range));
  }
  if (lost.empty() && place.summed && whole != piece.crc32c)
    differ(lost.emplace_back(range_of(source, piece)), piece.crc32c, whole);
  return lost;
}

// The places of all tensors, each once, and what of them is lost.
class Places {
 public:
  explicit Places(const OpenCheckpoint& source) : source_(source) {
    for (std::size_t i = 0; i < source.index().tensor_count(); ++i)
      std::ranges::move(places_of(source.index(), i), std::back_inserter(places_));
    std::ranges::sort(places_, {}, &Place::key);
    const auto twice = std::ranges::unique(places_, {}, &Place::key);
    places_.erase(twice.begin(), twice.end());
    for (const Place& place : places_) bytes_ += place.piece.size_bytes;
  }

  std::uint64_t bytes() const noexcept { return bytes_; }

  Result<void> read(const ExecOptions& exec) {
    lost_.resize(places_.size());
    return os::run_parallel(exec, places_.size(), bytes_,
                            [&](std::size_t i) -> Result<std::uint64_t> {
                              CAIRN_TRY(lost, compare(source_, places_[i]));
                              lost_[i] = std::move(lost);
                              return places_[i].piece.size_bytes;
                            });
  }

  // Whether every byte of the tensor has a sum.
  bool summed(std::size_t position) const {
    return std::ranges::all_of(places_of(source_.index(), position), &Place::summed);
  }

  // After read(): what of a tensor is lost.
  std::vector<LostRange> lost_of(std::size_t position) const {
    std::vector<LostRange> lost;
    for (const Place& place : places_of(source_.index(), position)) {
      const auto at = std::ranges::lower_bound(places_, place.key(), {}, &Place::key);
      const auto& ranges = lost_[static_cast<std::size_t>(at - places_.begin())];
      lost.insert(lost.end(), ranges.begin(), ranges.end());
    }
    const Box whole = whole_box(source_.index().tensor_shape(position));
    if (const auto parts = source_.parts_of(position, whole); !parts)
      lost.push_back(whole_tensor(parts.error().what));
    return lost;
  }

 private:
  const OpenCheckpoint& source_;
  std::vector<Place> places_;                 // sorted by key
  std::vector<std::vector<LostRange>> lost_;  // parallel
  std::uint64_t bytes_ = 0;
};

}  // namespace

Result<SalvageScan> examine(RecoverableCheckpoint recoverable, const ExecOptions& exec,
                            unsigned passes) {
  Salvageable found;
  found.warnings = std::move(recoverable.warnings);
  found.tensors_total = recoverable.facts.tensors.size();
  PresentShards present(recoverable);
  for (format::TensorFacts& tensor : recoverable.facts.tensors)
    present.add(std::move(tensor), found.lost);
  CAIRN_TRY(checkpoint, std::move(present).open(exec));
  const OpenCheckpoint& source = OpenCheckpoint::of(checkpoint);
  Places places(source);
  CAIRN_CHECK(places.read(os::part_of(exec, {0, passes * places.bytes()})));
  std::vector<std::size_t> whole;
  std::size_t unsummed = 0;
  for (std::size_t i = 0; i < source.index().tensor_count(); ++i) {
    const auto tensor = source.index().tensor(i);
    std::vector<LostRange> ranges = places.lost_of(i);
    if (ranges.empty()) {
      whole.push_back(i);
      if (!places.summed(i)) ++unsummed;
      found.bytes_kept = saturating_add(found.bytes_kept, tensor.size_bytes);
    } else {
      found.lost.push_back({std::string(tensor.name), tensor.size_bytes, std::move(ranges)});
    }
  }
  if (unsummed != 0) {
    found.warnings.push_back(recoverable.location.prefix.string() + ": " +
                             std::to_string(unsummed) +
                             " of its tensors have no checksum; they are kept without a check, "
                             "because they are inside the file");
  }
  std::ranges::sort(found.lost, {}, &LostTensor::name);
  found.tensors_kept = whole.size();
  found.bytes_total = found.bytes_kept;
  for (const LostTensor& tensor : found.lost)
    found.bytes_total = saturating_add(found.bytes_total, tensor.size_bytes);
  return SalvageScan{std::move(recoverable.location), std::move(checkpoint), std::move(whole),
                     std::move(found), places.bytes()};
}

}  // namespace cairn::internal
