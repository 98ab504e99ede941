#include "format/tensorflow/wire.h"

#include <optional>
#include <utility>

#include "format/digest.h"
#include "format/le.h"
#include "format/tensorflow/protobuf.h"
#include "format/tensorflow/varint.h"

namespace cairn::format::tensorflow {

namespace {

void read_bad_consumers(const auto& packed, BundleHeader& header) {
  for (const std::int32_t bad : packed) header.bad_consumers.push_back(bad);
}

void read_version(Message version, BundleHeader& header) {
  while (version.next()) {
    switch (version.tag_and_type()) {
      case tag_and_type(1, kVarint):
        header.producer = version.get_int32();
        break;
      case tag_and_type(2, kVarint):
        header.min_consumer = version.get_int32();
        break;
      case tag_and_type(3, kVarint):
        header.bad_consumers.push_back(version.get_int32());
        break;
      case tag_and_type(3, kBytes):
        read_bad_consumers(version.get_packed_int32(), header);
        break;
      default:
        skip_unknown(version, 3);
    }
  }
}

BundleHeader read_header(Message message) {
  BundleHeader header;
  header.num_shards = 0;
  header.producer = 0;
  while (message.next()) {
    switch (message.tag_and_type()) {
      case tag_and_type(1, kVarint):
        header.num_shards = message.get_int32();
        break;
      // Numbers that no TensorFlow writes mean the machine's own order, as in TensorFlow.
      case tag_and_type(2, kVarint):
        header.big_endian = message.get_int32() == 1;
        break;
      case tag_and_type(3, kBytes):
        read_version(message.get_message(), header);
        break;
      default:
        skip_unknown(message, 3);
    }
  }
  return header;
}

// Dimensions have a name too, which TensorFlow leaves empty and nobody reads.
std::int64_t read_dimension(Message message) {
  std::int64_t size = 0;
  while (message.next()) {
    switch (message.tag_and_type()) {
      case tag_and_type(1, kVarint):
        size = message.get_int64();
        break;
      case tag_and_type(2, kBytes):
        message.skip();
        break;
      default:
        skip_unknown(message, 2);
    }
  }
  return size;
}

void read_shape(Message message, std::vector<std::int64_t>& shape) {
  shape.reserve(message.length() / 4);  // what a dimension below 128 takes
  while (message.next()) {
    switch (message.tag_and_type()) {
      case tag_and_type(2, kBytes):
        shape.push_back(read_dimension(message.get_message()));
        break;
      case tag_and_type(3, kVarint):
        message.skip();
        break;  // unknown_rank: read as rank 0
      default:
        skip_unknown(message, 3);
    }
  }
}

Extent read_extent(Message message) {
  Extent extent;
  while (message.next()) {
    switch (message.tag_and_type()) {
      case tag_and_type(1, kVarint):
        extent.start = message.get_int64();
        break;
      case tag_and_type(2, kVarint):
        extent.length = message.get_int64();
        if (extent.length < 0) throw Malformed("the length of a slice's extent is negative");
        break;
      default:
        skip_unknown(message, 2);
    }
  }
  // Without a length the start says nothing.
  return extent.length == Extent::kWhole ? Extent{} : extent;
}

std::vector<Extent> read_slice(Message message) {
  std::vector<Extent> extents;
  while (message.next()) {
    switch (message.tag_and_type()) {
      case tag_and_type(1, kBytes):
        extents.push_back(read_extent(message.get_message()));
        break;
      default:
        skip_unknown(message, 1);
    }
  }
  return extents;
}

void read_entry(Message message, EntryRecord& entry) {
  while (message.next()) {
    switch (message.tag_and_type()) {
      case tag_and_type(1, kVarint):
        entry.dtype = message.get_uint32();
        break;
      case tag_and_type(2, kBytes):
        read_shape(message.get_message(), entry.shape);
        break;
      case tag_and_type(3, kVarint):
        entry.shard = message.get_int32();
        break;
      case tag_and_type(4, kVarint):
        entry.offset_bytes = message.get_int64();
        break;
      case tag_and_type(5, kVarint):
        entry.size_bytes = message.get_int64();
        break;
      case tag_and_type(6, kFixed32):
        entry.masked_crc32c = message.get_fixed32();
        break;
      case tag_and_type(7, kBytes):
        entry.slices.push_back(read_slice(message.get_message()));
        break;
      default:
        skip_unknown(message, 7);
    }
  }
}

// ---- An entry as TensorFlow encodes it

// Takes expected fields from the bytes, one after another. If a function does not find what it
// expects, it returns false or std::nullopt, and the Scanner must not be used any more.
class Scanner {
 public:
  explicit Scanner(std::string_view rest) noexcept
      : at_(reinterpret_cast<const unsigned char*>(rest.data())), end_(at_ + rest.size()) {}

  bool at_end() const noexcept { return at_ == end_; }
  // A tag below 128.
  bool take_tag(std::uint32_t field, pbf_wire_type type) noexcept {
    const bool is_next = at_ != end_ && *at_ == tag(field, type);
    if (is_next) ++at_;
    return is_next;
  }
  // A number below 2^63.
  bool take_number(std::int64_t& number) noexcept {
    number = 0;
    for (int shift = 0; at_ != end_ && shift < 63; shift += 7) {
      const std::int64_t byte = *at_++;
      number |= (byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool take_le(std::uint32_t& number) noexcept {
    if (end_ - at_ < 4) return false;
    number = load_le<std::uint32_t>(reinterpret_cast<const std::byte*>(at_));
    at_ += 4;
    return true;
  }
  // A message whose length takes one byte.
  std::optional<Scanner> take_part() noexcept {
    if (at_ == end_ || *at_ >= 0x80 || *at_ >= end_ - at_) return std::nullopt;
    const std::size_t length = *at_++;
    Scanner part(*this);
    part.end_ = at_ += length;
    return part;
  }

 private:
  const unsigned char* at_;
  const unsigned char* end_;
};

bool scan_dimension(Scanner part, std::int64_t& size) noexcept {
  size = 0;
  if (part.take_tag(1, kVarint) && !part.take_number(size)) return false;
  return part.at_end();
}

bool scan_shape(Scanner part, std::vector<std::int64_t>& shape) {
  while (part.take_tag(2, kBytes)) {
    const auto dimension = part.take_part();
    if (!dimension || !scan_dimension(*dimension, shape.emplace_back())) return false;
  }
  return part.at_end();
}

// Decodes an entry whose fields ascend and occur once each, as TensorFlow writes the entry of a
// tensor that is not partitioned. protozero takes five times as long, because it decodes any other
// encoding too. False: it is another encoding, and `entry` has some of the fields.
bool scan_entry(Scanner rest, EntryRecord& entry) {
  std::int64_t dtype = 0;
  if (rest.take_tag(1, kVarint) && !(rest.take_number(dtype) && dtype < 0x80)) return false;
  entry.dtype = static_cast<std::uint64_t>(dtype);
  if (rest.take_tag(2, kBytes)) {
    const auto shape = rest.take_part();
    if (!shape || !scan_shape(*shape, entry.shape)) return false;
  }
  if (rest.take_tag(3, kVarint) && !(rest.take_number(entry.shard) && entry.shard < 0x8000'0000))
    return false;
  if (rest.take_tag(4, kVarint) && !rest.take_number(entry.offset_bytes)) return false;
  if (rest.take_tag(5, kVarint) && !rest.take_number(entry.size_bytes)) return false;
  if (rest.take_tag(6, kFixed32) && !rest.take_le(entry.masked_crc32c)) return false;
  return rest.at_end();
}

void clear(EntryRecord& entry) noexcept {
  entry.shape.clear();
  entry.slices.clear();
  entry.dtype = 0;
  entry.shard = entry.offset_bytes = entry.size_bytes = 0;
  entry.masked_crc32c = 0;
}

// ---- V1

std::string_view bytes_of(Message& message) {
  const auto view = message.get_view();
  return {view.data(), view.size()};
}

V1TensorRecord read_v1_tensor(Message message) {
  V1TensorRecord tensor;
  while (message.next()) {
    switch (message.tag_and_type()) {
      case tag_and_type(1, kBytes):
        tensor.name = bytes_of(message);
        break;
      case tag_and_type(2, kBytes):
        read_shape(message.get_message(), tensor.shape);
        break;
      case tag_and_type(3, kVarint):
        tensor.dtype = message.get_uint32();
        break;
      case tag_and_type(4, kBytes):
        tensor.slices.push_back(read_slice(message.get_message()));
        break;
      default:
        skip_unknown(message, 4);
    }
  }
  return tensor;
}

V1MetaRecord read_v1_meta(Message message) {
  V1MetaRecord meta;
  meta.header.producer = 0;
  while (message.next()) {
    switch (message.tag_and_type()) {
      case tag_and_type(1, kBytes):
        meta.tensors.push_back(read_v1_tensor(message.get_message()));
        break;
      case tag_and_type(2, kBytes):
        read_version(message.get_message(), meta.header);
        break;
      default:
        skip_unknown(message, 2);
    }
  }
  return meta;
}

// Protobuf would put two lists of values together; no writer makes two, and one is given as it
// stands.
V1SliceRecord read_v1_slice(Message message) {
  V1SliceRecord slice;
  bool has_values = false;
  while (message.next()) {
    switch (message.tag_and_type()) {
      case tag_and_type(1, kBytes):
        slice.name = bytes_of(message);
        break;
      case tag_and_type(2, kBytes):
        slice.extents = read_slice(message.get_message());
        break;
      case tag_and_type(3, kBytes):
        if (std::exchange(has_values, true)) throw Malformed("it has values twice");
        slice.values = bytes_of(message);
        break;
      default:
        skip_unknown(message, 3);
    }
  }
  return slice;
}

// SavedTensorSlices: the message in its field, which is 1 for the list of tensors, 2 for a slice.
Message read_v1_record(Message message, std::uint32_t field) {
  std::optional<Message> found;
  while (message.next()) {
    if (message.tag() == field && message.wire_type() == kBytes) {
      if (found) throw Malformed("it has two messages");
      found = Message(message.get_message());
    } else {
      skip_unknown(message, message.wire_type() == kBytes ? 0 : 2);
    }
  }
  if (!found) throw Malformed("its message is missing");
  return *found;
}

// ---- Writing

void append_shape(std::string& out, std::span<const std::int64_t> shape) {
  std::string dimensions;
  std::string dimension;
  for (const std::int64_t size : shape) {
    dimension.clear();
    append_number(dimension, 1, size);
    append_message(dimensions, 2, dimension);
  }
  append_message(out, 2, dimensions);
}

void append_slice(std::string& out, std::span<const Extent> extents) {
  std::string slice;
  std::string message;
  for (const Extent& extent : extents) {
    message.clear();
    if (extent.length != Extent::kWhole) {
      append_number(message, 1, extent.start);
      append_varint(message, tag(2, kVarint));  // a oneof's member is written even where it is 0
      append_varint(message, static_cast<std::uint64_t>(extent.length));
    }
    append_message(slice, 1, message);
  }
  append_message(out, 7, slice);
}

}  // namespace

Decoded<BundleHeader> decode_header(std::string_view record) {
  try {
    return read_header(Message(record));
  } catch (const protozero::exception& error) {
    return corrupt(0, std::string("is not a BundleHeaderProto: ") + error.what());
  }
}

Decoded<void> decode_entry(std::string_view record, EntryRecord& entry) {
  clear(entry);
  if (scan_entry(Scanner(record), entry)) return {};
  clear(entry);
  try {
    read_entry(Message(record), entry);
    return {};
  } catch (const protozero::exception& error) {
    return corrupt(0, std::string("is not a BundleEntryProto: ") + error.what());
  }
}

Decoded<V1MetaRecord> decode_v1_meta(std::string_view record) {
  try {
    return read_v1_meta(read_v1_record(Message(record), 1));
  } catch (const protozero::exception& error) {
    return corrupt(0, std::string("is not a list of tensors: ") + error.what());
  }
}

Decoded<V1SliceRecord> decode_v1_slice(std::string_view record) {
  try {
    return read_v1_slice(read_v1_record(Message(record), 2));
  } catch (const protozero::exception& error) {
    return corrupt(0, std::string("is not a slice: ") + error.what());
  }
}

std::string encode_header(const BundleHeader& header) {
  std::string bad_consumers;
  for (const std::int32_t bad : header.bad_consumers) {
    append_varint(bad_consumers, static_cast<std::uint64_t>(std::int64_t{bad}));
  }
  std::string version;
  append_number(version, 1, header.producer);
  append_number(version, 2, header.min_consumer);
  if (!bad_consumers.empty()) append_message(version, 3, bad_consumers);

  std::string out;
  append_number(out, 1, header.num_shards);
  append_number(out, 2, header.big_endian ? 1 : 0);
  append_message(out, 3, version);
  return out;
}

void append_entry(std::string& out, const EntryView& entry) {
  append_number(out, 1, static_cast<std::int64_t>(entry.dtype));
  append_shape(out, entry.shape);
  append_number(out, 3, entry.span.shard);
  for (const SliceFacts& slice : entry.slices) append_slice(out, slice.extents);
  if (!entry.slices.empty()) return;
  append_number(out, 4, static_cast<std::int64_t>(entry.span.offset_bytes));
  append_number(out, 5, static_cast<std::int64_t>(entry.span.size_bytes));
  const std::uint32_t masked = crc32c_mask(entry.span.crc32c.value_or(0));
  if (masked != 0) {
    append_varint(out, tag(6, kFixed32));
    append_le(out, masked);
  }
}

}  // namespace cairn::format::tensorflow
