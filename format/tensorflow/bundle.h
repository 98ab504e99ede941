#pragma once

// A tensor bundle's index ("V2 checkpoint"): the protobuf records in the table, to and from facts.
// FORMAT.md, "TensorFlow's bundle".

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/decode_error.h"
#include "format/facts.h"
#include "format/plain_tensors.h"

namespace cairn::format::tensorflow {

// Facts of a bundle: header, and tensors sorted by name. Slices of partitioned variables are
// gathered under their variable, in stored order. Spans say shard numbers. The caller, who has the
// files, must check that they lie inside.
struct BundleFacts {
  BundleHeader header;
  std::vector<TensorFacts> tensors;
  std::set<std::uint32_t> shards;  // those that spans lie in
};

// Decodes P.index, strictly: what TensorFlow refuses with an error is refused, and what makes it
// abort or lose entries too (bad blocks behind the first, negative dimensions, unknown dtypes,
// sizes that disagree with the shape, a missing header, duplicate or unsorted keys, shard numbers
// beyond the header's). Unknown fields are skipped. Errors: Corrupt; Unsupported (a version this
// reader must not read, a dtype that cannot be stored).
Decoded<BundleFacts> decode_bundle(std::span<const std::byte> index);

// The same as columns, in an eighth of the time. std::nullopt: a variable is partitioned, or names
// are too long; call decode_bundle. Errors: as decode_bundle.
struct PlainBundle {
  BundleHeader header;
  PlainTensors tensors;
  std::set<std::uint32_t> shards;
};
Decoded<std::optional<PlainBundle>> decode_plain_bundle(std::span<const std::byte> index);

// The header alone, strictly, whatever stands behind it. Errors: as decode_bundle.
Decoded<BundleHeader> decode_bundle_header(std::span<const std::byte> index);

// The bytes of P.index, exactly as TensorFlow writes them for these facts. Every span must carry a
// checksum. `shard_numbers` are what TensorFlow calls the shards that spans say the positions of;
// empty: spans say numbers. Errors: Invalid (no checksum; a name that is empty or cannot be told
// from a slice's key).
Decoded<std::string> encode_bundle(const BundleHeader& header, std::span<const TensorFacts> tensors,
                                   std::span<const std::uint32_t> shard_numbers = {});

// The key under which a slice of `name` is stored: OrderedCode of name, rank and extents.
std::string slice_key(std::string_view name, std::span<const Extent> extents);

// "P.data-00003-of-00007" without the P: ".data-00003-of-00007".
std::string shard_suffix(std::uint32_t shard, std::uint32_t shard_count);

// ---- Stored strings and variants ----------------------------------------------------------------

// The running checksum over a string tensor's bytes, as TensorFlow feeds it, and what it needs on
// the way.
struct StringLayout {
  std::vector<std::uint64_t> lengths;
  std::uint64_t payload_offset = 0;  // where the first string starts
  std::uint32_t crc32c = 0;          // what the entry stores, unmasked
};

// The sum of a length, as it is fed: an integer of four bytes, where they suffice, else of eight,
// in the writer's byte order. How many those are.
std::uint32_t feed_length(std::uint32_t crc, std::uint64_t length, bool big_endian) noexcept;
std::uint64_t fed_length_bytes(std::uint64_t length) noexcept;

// Reads and checks a whole stored string tensor. Errors: Corrupt (lengths that do not add up,
// length checksum).
Decoded<StringLayout> decode_strings(std::span<const std::byte> stored, std::uint64_t count,
                                     bool big_endian);

// The same without a look at the strings themselves: `crc32c` is the sum up to them. `head` is the
// beginning of `size_bytes` stored ones, with all lengths and their checksum.
Decoded<StringLayout> decode_string_lengths(std::span<const std::byte> head, std::uint64_t count,
                                            bool big_endian, std::uint64_t size_bytes);

// The bytes of a string tensor in TensorFlow's encoding up to the first string: lengths and their
// checksum. The strings follow one after another; `crc32c` is the sum so far, to be continued over
// their bytes.
struct StringHead {
  std::string bytes;
  std::uint32_t crc32c = 0;
};
StringHead encode_string_head(std::span<const std::string_view> values);

// The checksum that an entry stores for these bytes of a string tensor: decode_strings without the
// lengths.
Decoded<std::uint32_t> strings_crc32c(std::span<const std::byte> stored, std::uint64_t count,
                                      bool big_endian);

// The same of a variant tensor. Errors: Corrupt.
Decoded<std::uint32_t> variant_crc32c(std::span<const std::byte> stored, std::uint64_t count);

}  // namespace cairn::format::tensorflow
