#include "format/hdf5/attribute.h"

#include <algorithm>
#include <array>
#include <bit>

#include "format/checked.h"
#include "format/hdf5/btree2.h"
#include "format/hdf5/datatype.h"
#include "format/json_text.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/sentence.h"

namespace cairn::format::hdf5 {
namespace {

// The bits of a 16-bit float with this many of exponent and mantissa as a float.
float widened(std::uint16_t bits, int mantissa_bits) noexcept {
  if (mantissa_bits == 7) return std::bit_cast<float>(std::uint32_t{bits} << 16);
  const std::uint32_t sign = std::uint32_t{bits & 0x8000u} << 16;
  const std::uint32_t exponent = bits >> 10 & 31u;
  const std::uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float small = static_cast<float>(mantissa) * 0x1p-24f;
  return sign != 0 ? -small : small;
}

template <class T>
T load_as(std::span<const std::byte> bytes, bool swaps) noexcept {
  std::array<std::byte, sizeof(T)> value{};
  std::ranges::copy(bytes.first(sizeof(T)), value.begin());
  if (swaps) std::ranges::reverse(value);
  return std::bit_cast<T>(value);
}

// Empty: its numbers are not known as text.
std::string number_as_text(const Datatype& type, std::span<const std::byte> bytes) {
  const bool swaps = type.other_byte_order;
  switch (type.dtype) {
    case DType::Int8:
      return number_text(load_as<std::int8_t>(bytes, swaps));
    case DType::Int16:
      return number_text(load_as<std::int16_t>(bytes, swaps));
    case DType::Int32:
      return number_text(load_as<std::int32_t>(bytes, swaps));
    case DType::Int64:
      return number_text(load_as<std::int64_t>(bytes, swaps));
    case DType::Uint8:
      return number_text(load_as<std::uint8_t>(bytes, swaps));
    case DType::Uint16:
      return number_text(load_as<std::uint16_t>(bytes, swaps));
    case DType::Uint32:
      return number_text(load_as<std::uint32_t>(bytes, swaps));
    case DType::Uint64:
      return number_text(load_as<std::uint64_t>(bytes, swaps));
    case DType::Float16:
      return float_text(widened(load_as<std::uint16_t>(bytes, swaps), 10));
    case DType::Bfloat16:
      return float_text(widened(load_as<std::uint16_t>(bytes, swaps), 7));
    case DType::Float32:
      return float_text(load_as<float>(bytes, swaps));
    case DType::Float64:
      return float_text(load_as<double>(bytes, swaps));
    case DType::Bool:
      return bytes[0] == std::byte{} ? "false" : "true";
    default:
      return {};
  }
}

std::string_view without_padding(const Datatype& type, std::string_view text) noexcept {
  text = text.substr(0, text.find('\0'));
  while (type.pads_with_spaces && text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

class AttributeReader {
 public:
  AttributeReader(File& file, GlobalHeaps& heaps, std::uint64_t& text_bytes)
      : file_(file), heaps_(heaps), text_bytes_(text_bytes) {}

  Decoded<std::vector<Attribute>> read(const Object& object) {
    for (const Message& message : object.messages) {
      Decoded<void> done;
      if (message.type == static_cast<std::uint8_t>(MessageType::Attribute)) {
        const auto resolved = Resolved::of(file_, message);
        if (!resolved) return resolved.error();
        done = take(resolved->cursor());
      }
      if (message.type == static_cast<std::uint8_t>(MessageType::AttributeInfo))
        done = read_dense({message.bytes, message.at, file_.widths()});
      if (!done) return std::move(done).error();
    }
    return std::move(attributes_);
  }

 private:
  Decoded<void> read_dense(Cursor cursor) {
    const std::uint64_t at = cursor.at();
    cursor.skip(1);
    if ((cursor.byte() & 1) != 0) cursor.skip(2);
    const std::uint64_t heap_address = cursor.offset();
    const std::uint64_t tree_address = cursor.offset();
    if (cursor.failed()) return corrupt(at, "what says where attributes are is too short");
    if (file_.is_undefined(heap_address) || file_.is_undefined(tree_address)) return {};
    auto heap = FractalHeap::open(file_, heap_address);
    if (!heap) return std::move(heap).error();
    return visit_records(file_, tree_address, RecordType::AttributeByName,
                         [&](Cursor record) -> Decoded<void> {
                           constexpr unsigned kShared = 2;
                           const std::uint64_t id_at = record.at();
                           const Cursor id(record.take(heap->id_bytes()), id_at, file_.widths());
                           if ((record.byte() & kShared) != 0 || record.failed())
                             return unsupported(id_at, "its attributes are shared messages");
                           auto found = heap->object(id);
                           if (!found) return std::move(found).error();
                           return take(*found);
                         });
  }

  // A part of an attribute; before version 2 it is padded to eight bytes.
  static Cursor part(Cursor& cursor, std::uint64_t size_bytes, bool padded) {
    const std::uint64_t at = cursor.at();
    const Cursor taken(cursor.take(size_bytes), at, cursor.widths());
    if (padded) cursor.skip((8 - size_bytes % 8) % 8);
    return taken;
  }

  Decoded<Resolved> resolve(Cursor bytes, MessageType type, bool shared) {
    return Resolved::of(file_, {static_cast<std::uint8_t>(type), shared, bytes.rest(), bytes.at()});
  }

  Decoded<void> take(Cursor cursor) {
    const std::uint64_t at = cursor.at();
    const unsigned version = cursor.byte();
    const unsigned flags = cursor.byte();
    if (version < 1 || version > 3)
      return unsupported(
          at, sentence("an attribute is of version ", version, ", but only 1 to 3 are known"));
    const std::uint64_t name_bytes = cursor.number(2);
    const std::uint64_t type_bytes = cursor.number(2);
    const std::uint64_t space_bytes = cursor.number(2);
    if (version == 3) cursor.skip(1);
    const std::string_view name = as_text(part(cursor, name_bytes, version == 1).rest());
    const Cursor type_part = part(cursor, type_bytes, version == 1);
    const Cursor space_part = part(cursor, space_bytes, version == 1);
    if (cursor.failed()) return corrupt(at, "an attribute is too short");
    const bool has_shared = version > 1;
    const auto type_at = resolve(type_part, MessageType::Datatype, has_shared && (flags & 1) != 0);
    if (!type_at) return type_at.error();
    const auto space_at =
        resolve(space_part, MessageType::Dataspace, has_shared && (flags & 2) != 0);
    if (!space_at) return space_at.error();
    const auto type = decode_datatype(type_at->cursor());
    if (!type) return type.error();
    const auto space = decode_dataspace(space_at->cursor());
    if (!space) return space.error();
    Attribute attribute{std::string(name.substr(0, name.find('\0'))), {}, {}};
    if (auto done = take_value(cursor, *type, *space, attribute); !done) return done;
    text_bytes_ += attribute.text.size();
    attributes_.push_back(std::move(attribute));
    return {};
  }

  Decoded<void> take_value(Cursor& cursor, const Datatype& type, const Dataspace& space,
                           Attribute& attribute) {
    std::vector<std::uint64_t> shape = space.dimensions;
    for (const std::int64_t size : type.inner) shape.push_back(static_cast<std::uint64_t>(size));
    const std::uint64_t at = cursor.at();
    std::uint64_t count = 1;
    for (const std::uint64_t size : shape) {
      const auto product = checked_mul(count, size);
      if (!product) return corrupt(at, "an attribute's shape is too large");
      count = *product;
    }
    if (space.has_no_shape) {
      attribute.text = "null";
      return {};
    }
    if (type.kind == Datatype::Kind::Other) {
      attribute.left_out = type.why;
      return {};
    }
    const std::uint64_t element_bytes =
        type.kind == Datatype::Kind::Number && type.dtype != DType::Opaque
            ? cairn::element_bytes(type.dtype)
            : type.size_bytes;
    // So that a shape without elements does not stand for any number of brackets.
    const bool fits = count <= cursor.left_bytes() &&
                      count * element_bytes <= cursor.left_bytes() && element_bytes != 0;
    if (!fits && count != 0)
      return corrupt(at, sentence("an attribute of ", count, " elements of ", element_bytes,
                                  " bytes has ", cursor.left_bytes()));
    if (count == 0) {
      attribute.text = "[]";
      return {};
    }
    return put_elements(cursor, type, shape, attribute);
  }

  Decoded<void> put_elements(Cursor& cursor, const Datatype& type,
                             const std::vector<std::uint64_t>& shape, Attribute& attribute) {
    std::uint64_t count = 1;
    for (const std::uint64_t size : shape) count *= size;
    const bool alone = shape.empty();
    for (std::uint64_t i = 0; i < count && attribute.left_out.empty(); ++i) {
      attribute.text += brackets(shape, i, '[');
      if (auto done = put_element(cursor, type, alone, attribute); !done) return done;
      attribute.text += brackets(shape, i + 1, ']');
      if (i + 1 < count) attribute.text += ',';
      check_length(attribute);
    }
    return {};
  }

  void check_length(Attribute& attribute) const {
    if (attribute.text.size() <= limits::kHdf5MetadataBytesMax - text_bytes_) return;
    attribute.text.clear();
    attribute.left_out = sentence("with it all attributes would be longer than the limit of ",
                                  limits::kHdf5MetadataBytesMax, " bytes of text");
  }

  // Those of the dimensions that begin or end at the element.
  static std::string brackets(const std::vector<std::uint64_t>& shape, std::uint64_t element,
                              char bracket) {
    std::string text;
    for (std::size_t i = shape.size(); i-- > 0;) {
      if (element % shape[i] != 0) break;
      text += bracket;
      element /= shape[i];
    }
    return text;
  }

  Decoded<void> put_element(Cursor& cursor, const Datatype& type, bool alone,
                            Attribute& attribute) {
    std::string_view text;
    if (type.kind == Datatype::Kind::Number) {
      const std::string number =
          number_as_text(type, cursor.take(cairn::element_bytes(type.dtype)));
      attribute.text += number;
      if (number.empty()) attribute.left_out = "its elements have no form as text";
      return {};
    }
    if (type.kind == Datatype::Kind::Text) {
      text = without_padding(type, as_text(cursor.take(type.size_bytes)));
    } else {
      GlobalReference reference;
      reference.size = cursor.number(4);
      reference.heap_address = cursor.offset();
      reference.index = cursor.number(4);
      if (cursor.failed()) return corrupt(cursor.at(), "an attribute is too short");
      if (reference.size != 0) {
        const auto value = heaps_.value(reference);
        if (!value) return value.error();
        text = without_padding(type, as_text(*value));
      }
    }
    attribute.text += alone ? std::string(text) : json_text(text);
    return {};
  }

  File& file_;
  GlobalHeaps& heaps_;
  std::uint64_t& text_bytes_;
  std::vector<Attribute> attributes_;
};

}  // namespace

Decoded<std::vector<Attribute>> Attributes::read(const Object& object) {
  return AttributeReader(file_, heaps_, text_bytes_).read(object);
}

}  // namespace cairn::format::hdf5
