#pragma once

// The protobuf records of a bundle's index, BundleHeaderProto and BundleEntryProto, and those of a
// V1 file, SavedTensorSlices. Fields are taken as they stand; what they mean is for
// bundle_decode.cc and v1.cc. FORMAT.md, "TensorFlow's bundle" and "V1 files".

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/decode_error.h"
#include "format/facts.h"

namespace cairn::format::tensorflow {

// BundleEntryProto. A field that is absent has its default.
struct EntryRecord {
  std::uint64_t dtype = 0;
  std::vector<std::int64_t> shape;
  std::int64_t shard = 0;
  std::int64_t offset_bytes = 0;
  std::int64_t size_bytes = 0;
  std::uint32_t masked_crc32c = 0;
  std::vector<std::vector<Extent>> slices;
  friend bool operator==(const EntryRecord&, const EntryRecord&) = default;
};

// What TensorFlow writes of an entry: a stored tensor has a span, a partitioned one has slices.
struct EntryView {
  DType dtype{};
  std::span<const std::int64_t> shape;
  const Span& span;
  std::span<const SliceFacts> slices;
};

// Unknown fields are skipped. `entry` may hold another one, whose memory is used again. Errors:
// Corrupt (no protobuf, a known field of another type).
Decoded<BundleHeader> decode_header(std::string_view record);
Decoded<void> decode_entry(std::string_view record, EntryRecord& entry);

// SavedSliceMeta: a tensor as a V1 file lists it.
struct V1TensorRecord {
  std::string name;
  std::uint64_t dtype = 0;
  std::vector<std::int64_t> shape;
  std::vector<std::vector<Extent>> slices;
};

// The SavedTensorSliceMeta of a V1 file's first record.
struct V1MetaRecord {
  BundleHeader header;  // of which it has the versions alone
  std::vector<V1TensorRecord> tensors;
};

// The SavedSlice of every other record.
struct V1SliceRecord {
  std::string_view name;
  std::vector<Extent> extents;
  std::string_view values;  // a TensorProto
};

Decoded<V1MetaRecord> decode_v1_meta(std::string_view record);
Decoded<V1SliceRecord> decode_v1_slice(std::string_view record);

// Fields ascend and defaults are left out, as TensorFlow serializes them.
std::string encode_header(const BundleHeader& header);
void append_entry(std::string& out, const EntryView& entry);

}  // namespace cairn::format::tensorflow
