#include "format/tensorflow/bundle.h"

// An index is decoded whole and strictly: one entry that cannot be what TensorFlow wrote makes the
// file Corrupt. TensorFlow finds most of these when a tensor is asked for, some never, and some
// abort the process; a checkpoint that opens here is one whose every entry makes sense.
//
// Slices of a partitioned variable come before the variable, because their keys begin with 00, and
// only the variable says that they are slices. So entries are decoded as tensors first, and when
// all are there, those that a variable lists move under it. What no variable lists is an ordinary
// tensor, whatever its name looks like.

#include <algorithm>
#include <optional>
#include <utility>

#include "format/checked.h"
#include "format/digest.h"
#include "format/dtype.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/tensorflow/table.h"
#include "format/tensorflow/wire.h"

namespace cairn::format::tensorflow {

namespace {

constexpr std::int32_t kVersion = 1;  // of the bundles that this reader knows

// Entries in an index are guessed from its size, rather too many than too few: growing a vector of
// tensors costs a third of all decoding, and what is reserved in vain is never touched. An entry
// whose key shares its front with the one before takes 25 bytes and more.
constexpr std::size_t kEntryBytesUsual = 24;
constexpr std::size_t kReservedMax = 1u << 18;
constexpr std::size_t kReservedNamesMax = 1u << 24;

// A tensor, but for its name, whose entry lies in the block at `at`.
struct Entry {
  TensorFacts& tensor;
  std::string_view name;
  std::uint64_t at = 0;

  DecodeError wrong(const std::string& what) const {
    return corrupt(at, "tensor " + format::quoted(name) + " " + what);
  }
  DecodeError beyond(const std::string& what) const {
    return unsupported(at, "tensor " + format::quoted(name) + " " + what);
  }
};

Decoded<BundleHeader> read_header(TableReader& table) {
  const auto first = table.next();
  if (!first) return first.error();
  if (!*first || !table.key().empty()) {
    return corrupt(0, "the index has no header: its first key is not empty");
  }
  auto header = decode_header(table.value());
  if (!header) return corrupt(table.block_offset(), "the index's header " + header.error().what);
  if (header->num_shards < 0) {
    return corrupt(table.block_offset(), "the index's header says that there are " +
                                             std::to_string(header->num_shards) + " shards");
  }
  if (std::in_range<std::uint32_t>(header->num_shards) &&
      static_cast<std::uint32_t>(header->num_shards) > limits::kShardsMax) {
    return unsupported(table.block_offset(), "the index's header says that there are " +
                                                 std::to_string(header->num_shards) +
                                                 " shards, more than the limit of " +
                                                 std::to_string(limits::kShardsMax));
  }
  return header;
}

// TensorFlow's rules for versions.
Decoded<void> check_version(const BundleHeader& header) {
  if (header.producer < 0) {
    return unsupported(0, "the bundle has the version " + std::to_string(header.producer));
  }
  if (header.min_consumer > kVersion) {
    return unsupported(0, "the bundle needs readers of version " +
                              std::to_string(header.min_consumer) +
                              " or later; this one has version " + std::to_string(kVersion));
  }
  if (std::ranges::find(header.bad_consumers, kVersion) != header.bad_consumers.end()) {
    return unsupported(0, "the bundle forbids readers of version " + std::to_string(kVersion));
  }
  return {};
}

// Whether so many elements can have the entry's size. Strings have a varint each, and a checksum of
// all; variants a varint and a checksum each.
Decoded<void> check_size(const Entry& entry, std::uint64_t count) {
  const std::uint64_t size = entry.tensor.span.size_bytes;
  const auto wrong = [&](const std::string& expected) {
    return entry.wrong("has " + std::to_string(size) + " bytes and " + std::to_string(count) +
                       " elements, but they need " + expected);
  };
  if (entry.tensor.encoding == Encoding::TensorFlowString) {
    if (count == 0 && (size == 0 || size == 4)) return {};
    if (count != 0 && size >= 4 && size - 4 >= count) return {};
    return wrong("at least one byte each, and 4 for their checksum");
  }
  if (entry.tensor.encoding == Encoding::TensorFlowVariant) {
    if (size / 5 >= count && (count != 0 || size == 0)) return {};
    return wrong("at least 5 bytes each");
  }
  const auto expected = checked_mul(count, element_bytes(entry.tensor.dtype));
  if (expected == size) return {};
  return wrong(std::to_string(element_bytes(entry.tensor.dtype)) + " bytes each");
}

Decoded<void> read_dtype(const Entry& entry, const EntryRecord& record) {
  const auto dtype = dtype_from_number(record.dtype);
  if (!dtype || !storable(*dtype)) {
    return entry.beyond("has a dtype that no checkpoint holds (number " +
                        std::to_string(record.dtype) + ")");
  }
  entry.tensor.dtype = *dtype;
  entry.tensor.encoding = encoding_of(*dtype);
  return {};
}

// Where the tensor lies: inside which shard, and that its end can be named.
Decoded<void> read_span(const Entry& entry, const EntryRecord& record, const BundleHeader& header) {
  if (record.shard < 0 || record.shard >= header.num_shards) {
    return entry.wrong("is in shard " + std::to_string(record.shard) + " of " +
                       std::to_string(header.num_shards));
  }
  if (record.offset_bytes < 0 || record.size_bytes < 0 ||
      record.size_bytes > std::numeric_limits<std::int64_t>::max() - record.offset_bytes) {
    return entry.wrong("has " + std::to_string(record.size_bytes) + " bytes at offset " +
                       std::to_string(record.offset_bytes));
  }
  entry.tensor.span = {
      static_cast<std::uint32_t>(record.shard), static_cast<std::uint64_t>(record.offset_bytes),
      static_cast<std::uint64_t>(record.size_bytes), crc32c_unmask(record.masked_crc32c)};
  return {};
}

bool fits_into(std::span<const Extent> extents, std::span<const std::int64_t> shape) noexcept {
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const auto [start, length] = extents[i];
    if (length == Extent::kWhole) continue;
    if (start < 0 || length <= 0 || length > shape[i] || start > shape[i] - length) return false;
  }
  return true;
}

Decoded<void> read_slices(const Entry& entry, EntryRecord& record) {
  TensorFacts& tensor = entry.tensor;
  // After a merge of bundles it carries a shard, which says nothing but is written again.
  tensor.span.shard = fits<std::uint32_t>(record.shard).value_or(0);
  tensor.slices.reserve(record.slices.size());
  for (std::vector<Extent>& extents : record.slices) {
    if (extents.size() != tensor.shape.size() || !fits_into(extents, tensor.shape)) {
      return entry.wrong("lists a slice, number " + std::to_string(tensor.slices.size()) +
                         ", that does not fit its shape");
    }
    tensor.slices.push_back({std::move(extents), {}});
  }
  return {};
}

// `record`: for what is decoded on the way, so that its memory is used again.
Decoded<void> read_tensor(const TableReader& table, const BundleHeader& header, EntryRecord& record,
                          TensorFacts& tensor) {
  const Entry entry{tensor, table.key(), table.block_offset()};
  if (auto decoded = decode_entry(table.value(), record); !decoded)
    return entry.wrong(decoded.error().what);

  auto checked = read_dtype(entry, record);
  if (!checked) return checked.error();
  std::swap(tensor.shape, record.shape);
  if (tensor.shape.size() > limits::kRankMax) {
    return entry.beyond("has the rank " + std::to_string(tensor.shape.size()));
  }
  const auto count = element_count(tensor.shape);
  if (!count) return entry.wrong("has a negative dimension or more than 2^63 - 1 elements");

  if (!record.slices.empty()) return read_slices(entry, record);
  checked = read_span(entry, record, header);
  return checked ? check_size(entry, *count) : checked;
}

// ---- Slices

// Whether a slice's own entry says what its variable says of it.
bool agrees(const TensorFacts& piece, const TensorFacts& variable,
            std::span<const Extent> extents) {
  if (piece.dtype != variable.dtype || !piece.slices.empty()) return false;
  if (piece.shape.size() != extents.size()) return false;
  for (std::size_t i = 0; i < extents.size(); ++i) {
    const bool whole = extents[i].length == Extent::kWhole;
    if (piece.shape[i] != (whole ? variable.shape[i] : extents[i].length)) return false;
  }
  return true;
}

// Gives the slices of a variable the spans of their own entries, and marks these as gathered.
// `tensors` is sorted by key.
Decoded<void> gather_slices_of(TensorFacts& variable, std::span<const TensorFacts> tensors,
                               std::vector<bool>& gathered) {
  for (SliceFacts& slice : variable.slices) {
    const std::string key = slice_key(variable.name, slice.extents);
    const auto piece = std::ranges::lower_bound(tensors, key, {}, &TensorFacts::name);
    const auto at = static_cast<std::size_t>(piece - tensors.begin());
    const std::string which = "slice " + std::to_string(&slice - variable.slices.data()) +
                              " of tensor " + format::quoted(variable.name);
    if (piece == tensors.end() || piece->name != key) {
      return corrupt(0, which + " is listed but has no entry");
    }
    if (gathered[at]) return corrupt(0, which + " is listed twice");
    if (!agrees(*piece, variable, slice.extents)) {
      return corrupt(0, which + " has a different dtype or shape in its own entry");
    }
    slice.span = piece->span;
    gathered[at] = true;
  }
  return {};
}

// Moves the entries of slices under their variables. `tensors` is sorted by key.
Decoded<void> gather_slices(std::vector<TensorFacts>& tensors) {
  std::vector<bool> gathered(tensors.size());
  for (TensorFacts& variable : tensors) {
    auto done = gather_slices_of(variable, tensors, gathered);
    if (!done) return done;
  }
  const auto is_slice = [&](const TensorFacts& tensor) {
    return gathered[static_cast<std::size_t>(&tensor - tensors.data())];
  };
  // Slices stand in front; what is kept is moved, so positions are asked for before they change.
  std::vector<TensorFacts> kept;
  kept.reserve(tensors.size());
  for (TensorFacts& tensor : tensors) {
    if (!is_slice(tensor)) kept.push_back(std::move(tensor));
  }
  tensors = std::move(kept);
  return {};
}

// A table behind its first entry, the header.
struct Begun {
  TableReader table;
  BundleHeader header;
};

Decoded<Begun> begin(std::span<const std::byte> index) {
  auto table = TableReader::open(TableFile(index));
  if (!table) return table.error();
  auto header = read_header(*table);
  if (!header) return header.error();
  const auto version = check_version(*header);
  if (!version) return version.error();
  return Begun{*std::move(table), *std::move(header)};
}

// The numbers of the shards that spans lie in. The last one is often the next one's too, which
// saves a look-up.
class Shards {
 public:
  explicit Shards(std::set<std::uint32_t>& numbers) noexcept : numbers_(numbers) {}
  void add(std::uint32_t number) {
    if (number == last_) return;
    numbers_.insert(number);
    last_ = number;
  }

 private:
  std::set<std::uint32_t>& numbers_;
  std::uint64_t last_ = ~std::uint64_t{0};  // none has this number
};

}  // namespace

Decoded<BundleHeader> decode_bundle_header(std::span<const std::byte> index) {
  auto begun = begin(index);
  if (!begun) return begun.error();
  return std::move(begun->header);
}

Decoded<BundleFacts> decode_bundle(std::span<const std::byte> index) {
  auto begun = begin(index);
  if (!begun) return begun.error();
  TableReader& table = begun->table;
  BundleFacts facts{std::move(begun->header), {}, {}};
  facts.tensors.reserve(std::min(index.size() / kEntryBytesUsual, kReservedMax));
  bool partitioned = false;
  bool any_long = false;  // a pass over all facts costs more than the question
  Shards shards(facts.shards);
  EntryRecord record;
  while (true) {
    const auto more = table.next();
    if (!more) return more.error();
    if (!*more) break;
    TensorFacts& tensor = facts.tensors.emplace_back();
    tensor.name = table.key();
    const auto read = read_tensor(table, facts.header, record, tensor);
    if (!read) return read.error();
    any_long |= tensor.name.size() > limits::kNameBytesMax;
    if (!tensor.slices.empty()) {
      partitioned = true;
    } else {
      shards.add(tensor.span.shard);
    }
  }
  if (partitioned) {
    const auto gathered = gather_slices(facts.tensors);
    if (!gathered) return gathered.error();
  }
  if (!any_long) return facts;
  for (const TensorFacts& tensor : facts.tensors) {
    if (tensor.name.size() > limits::kNameBytesMax) {
      return unsupported(0, "the name of tensor " + format::quoted(tensor.name) +
                                " is longer than " + std::to_string(limits::kNameBytesMax) +
                                " bytes");
    }
  }
  return facts;
}

Decoded<std::optional<PlainBundle>> decode_plain_bundle(std::span<const std::byte> index) {
  auto begun = begin(index);
  if (!begun) return begun.error();
  TableReader& table = begun->table;
  PlainBundle bundle{std::move(begun->header), {}, {}};
  const std::size_t usual = std::min(index.size() / kEntryBytesUsual, kReservedMax);
  bundle.tensors = PlainTensors({usual, std::min(2 * index.size(), kReservedNamesMax), 2 * usual});
  Shards shards(bundle.shards);
  EntryRecord record;
  TensorFacts tensor;  // each one in turn
  while (true) {
    const auto more = table.next();
    if (!more) return more.error();
    if (!*more) return std::optional(std::move(bundle));
    const auto read = read_tensor(table, bundle.header, record, tensor);
    if (!read) return read.error();
    const std::string_view name = table.key();
    if (!tensor.slices.empty() || name.size() > limits::kNameBytesMax ||
        name.size() > limits::kIndexBytesMax - bundle.tensors.names().size()) {
      return std::optional<PlainBundle>();
    }
    const Span& span = tensor.span;
    shards.add(span.shard);
    bundle.tensors.add(name, tensor.dtype, tensor.shape, span);
  }
}

}  // namespace cairn::format::tensorflow
