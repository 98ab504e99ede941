#include "format/tensorflow/wire.h"

// The one file that includes protozero. It asks for tag and wire type before it reads a field,
// because protozero asserts where they disagree, and nothing that protozero throws leaves it.

#include <limits>
#include <protozero/exception.hpp>
#include <protozero/pbf_reader.hpp>

#include "format/digest.h"
#include "format/le.h"
#include "format/tensorflow/varint.h"

namespace cairn::format::tensorflow {

namespace {

using protozero::pbf_reader;
using protozero::pbf_wire_type;
using protozero::tag_and_type;

constexpr pbf_wire_type kVarint = pbf_wire_type::varint;
constexpr pbf_wire_type kBytes = pbf_wire_type::length_delimited;
constexpr pbf_wire_type kFixed32 = pbf_wire_type::fixed32;

// What protozero does not notice itself.
class Malformed : public protozero::exception {
 public:
  explicit Malformed(const char* what) noexcept : what_(what) {}
  const char* what() const noexcept override { return what_; }

 private:
  const char* what_;
};

// protozero takes tags and lengths of any spelling and keeps 32 bits of them. Protobuf refuses
// those of more than 5 bytes, and lengths of more than 31 bits.
class Message : public pbf_reader {
 public:
  Message(const pbf_reader& message) noexcept : pbf_reader(message) {}

  bool next() {
    const auto before = length();
    const bool more = pbf_reader::next();
    if (more && before - length() > kSpelledMax) throw Malformed("a tag is too long");
    return more;
  }

  Message get_message() {
    check_length();
    return pbf_reader::get_message();
  }

  void skip() {
    if (wire_type() == kBytes) check_length();
    pbf_reader::skip();
  }

 private:
  static constexpr std::size_t kSpelledMax = 5;

  void check_length() const {
    std::string_view rest(data().data(), data().size());
    const auto size = take_varint(rest);
    const bool fits = size && *size <= std::numeric_limits<std::int32_t>::max();
    if (!fits || length() - rest.size() > kSpelledMax) throw Malformed("a length is too long");
  }
};

// Steps over a field whose tag and type fit nothing that is known. Tags up to `last_known` do not
// come here but by a wrong type.
void skip_unknown(Message& message, std::uint32_t last_known) {
  if (message.tag() <= last_known) throw Malformed("a known field has another wire type");
  message.skip();
}

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

EntryRecord read_entry(Message message) {
  EntryRecord entry;
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
  return entry;
}

// ---- Writing

constexpr std::uint64_t tag(std::uint32_t field, pbf_wire_type type) {
  return std::uint64_t{field} << 3 | static_cast<std::uint64_t>(type);
}

// Left out where it is 0, as proto3 does.
void append_number(std::string& out, std::uint32_t field, std::int64_t value) {
  if (value == 0) return;
  append_varint(out, tag(field, kVarint));
  append_varint(out, static_cast<std::uint64_t>(value));
}

// Written even where it is empty: that says that it is there.
void append_message(std::string& out, std::uint32_t field, std::string_view message) {
  append_varint(out, tag(field, kBytes));
  append_varint(out, message.size());
  out.append(message);
}

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
    return read_header(pbf_reader(record.data(), record.size()));
  } catch (const protozero::exception& error) {
    return corrupt(0, std::string("is no BundleHeaderProto: ") + error.what());
  }
}

Decoded<EntryRecord> decode_entry(std::string_view record) {
  try {
    return read_entry(pbf_reader(record.data(), record.size()));
  } catch (const protozero::exception& error) {
    return corrupt(0, std::string("is no BundleEntryProto: ") + error.what());
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
