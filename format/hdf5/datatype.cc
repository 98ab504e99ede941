#include "format/hdf5/datatype.h"

#include <algorithm>
#include <array>
#include <limits>

#include "format/checked.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/sentence.h"

namespace cairn::format::hdf5 {
namespace {

enum class Class : std::uint8_t {
  Integer = 0,
  Float = 1,
  Time = 2,
  Text = 3,
  Bits = 4,
  Opaque = 5,
  Compound = 6,
  Reference = 7,
  Enumeration = 8,
  Variable = 9,
  Array = 10,
  Complex = 11,
};

struct Head {
  Class class_{};
  unsigned version = 0;
  std::uint32_t bits = 0;
};

constexpr int kDepthMax = 4;  // an array of enumerations of integers is 3 deep

Decoded<Datatype> decode(Cursor& cursor, int depth);

Datatype other(Datatype type, std::string why) {
  type.kind = Datatype::Kind::Other;
  type.why = std::move(why);
  return type;
}

Datatype number(Datatype type, DType dtype) {
  type.kind = Datatype::Kind::Number;
  type.dtype = dtype;
  return type;
}

// Bytes under a name that says how many.
Datatype opaque(Datatype type, std::string name) {
  constexpr std::uint32_t kBytesMax = std::numeric_limits<std::uint16_t>::max() / 8;
  if (type.size_bytes == 0 || type.size_bytes > kBytesMax)
    return other(std::move(type), sentence("its elements have ", type.size_bytes,
                                           " bytes, and 1 to ", kBytesMax, " are allowed"));
  type.opaque_dtype = std::move(name);
  return number(std::move(type), DType::Opaque);
}

Datatype take_integer(Cursor& cursor, const Head& head, Datatype type) {
  const std::uint64_t offset = cursor.number(2);
  const std::uint64_t precision = cursor.number(2);
  const bool is_signed = head.class_ == Class::Integer && (head.bits & 8) != 0;
  type.other_byte_order = (head.bits & 1) != 0 && type.size_bytes > 1;
  if (offset != 0 || precision != 8 * std::uint64_t{type.size_bytes}) {
    return other(std::move(type), sentence("its integers have ", precision, " bits, from bit ",
                                           offset, ", of ", type.size_bytes, " bytes"));
  }
  switch (type.size_bytes) {
    case 1:
      return number(std::move(type), is_signed ? DType::Int8 : DType::Uint8);
    case 2:
      return number(std::move(type), is_signed ? DType::Int16 : DType::Uint16);
    case 4:
      return number(std::move(type), is_signed ? DType::Int32 : DType::Uint32);
    case 8:
      return number(std::move(type), is_signed ? DType::Int64 : DType::Uint64);
    default:
      return other(std::move(type), sentence("its integers have ", type.size_bytes, " bytes"));
  }
}

Datatype take_float(Cursor& cursor, const Head& head, Datatype type) {
  struct Layout {
    std::uint64_t size_bytes, sign_at, offset, precision;
    std::uint64_t exponent_at, exponent_bits, mantissa_at, mantissa_bits, bias;
    bool operator==(const Layout&) const = default;
  };
  struct Row {
    Layout layout;
    DType dtype;
  };
  static constexpr Row kRows[] = {
      {{4, 31, 0, 32, 23, 8, 0, 23, 127}, DType::Float32},
      {{8, 63, 0, 64, 52, 11, 0, 52, 1023}, DType::Float64},
      {{2, 15, 0, 16, 10, 5, 0, 10, 15}, DType::Float16},
      {{2, 15, 0, 16, 7, 8, 0, 7, 127}, DType::Bfloat16},
      {{1, 7, 0, 8, 3, 4, 0, 3, 7}, DType::Float8E4M3FN},
      {{1, 7, 0, 8, 2, 5, 0, 2, 15}, DType::Float8E5M2},
  };
  Layout found{};
  found.size_bytes = type.size_bytes;
  found.sign_at = head.bits >> 8 & 0xff;
  for (auto* const field : {&found.offset, &found.precision}) *field = cursor.number(2);
  for (auto* const field :
       {&found.exponent_at, &found.exponent_bits, &found.mantissa_at, &found.mantissa_bits})
    *field = cursor.byte();
  found.bias = cursor.number(4);
  constexpr unsigned kOrder = 0x41;
  constexpr unsigned kBig = 1;
  constexpr unsigned kNormalization = 0x30;
  constexpr unsigned kImplied = 0x20;  // the mantissa's first bit is 1 and not stored
  const auto* const row = std::ranges::find(kRows, found, &Row::layout);
  const bool is_known = row != std::end(kRows) && (head.bits & kNormalization) == kImplied &&
                        (head.bits & kOrder) <= kBig;
  type.other_byte_order = (head.bits & kOrder) == kBig && type.size_bytes > 1;
  if (is_known) return number(std::move(type), row->dtype);
  return other(std::move(type),
               sentence("its floats, of ", type.size_bytes, " bytes with an exponent of ",
                        found.exponent_bits, " bits and a mantissa of ", found.mantissa_bits,
                        ", have no dtype of a checkpoint"));
}

// NumPy's dates, as h5py names them, are what they are called; the rest is bytes.
Datatype take_opaque(Cursor& cursor, const Head& head, Datatype type) {
  std::string_view tag = as_text(cursor.take(head.bits & 0xff));
  tag = tag.substr(0, tag.find('\0'));
  constexpr std::string_view kNumpy = "NUMPY:<";
  if (tag.starts_with(kNumpy))
    return opaque(std::move(type), std::string(tag.substr(kNumpy.size())));
  std::string name = "V" + std::to_string(type.size_bytes);
  return opaque(std::move(type), std::move(name));
}

// Names are padded to eight bytes before version 3.
std::string_view take_name(Cursor& cursor, const Head& head) {
  const std::size_t before = cursor.left_bytes();
  const std::string_view name = cursor.text();
  const std::size_t taken = before - cursor.left_bytes();
  if (head.version < 3) cursor.skip((8 - taken % 8) % 8);
  return name;
}

// Bytes that say an offset in an element of so many bytes.
unsigned offset_width(std::uint32_t size_bytes) noexcept {
  return size_bytes < 0x100 ? 1 : size_bytes < 0x10000 ? 2 : size_bytes < 0x1000000 ? 3 : 4;
}

bool is_complex(const Datatype& part, std::uint32_t size_bytes) noexcept {
  return part.kind == Datatype::Kind::Number && part.inner.empty() &&
         (part.dtype == DType::Float32 || part.dtype == DType::Float64) &&
         size_bytes == 2 * part.size_bytes;
}

Datatype complex_of(Datatype type, const Datatype& part) {
  type.other_byte_order = part.other_byte_order;
  return number(std::move(type),
                part.dtype == DType::Float32 ? DType::Complex64 : DType::Complex128);
}

// Of compound types only the pair of two floats is known.
Decoded<Datatype> take_compound(Cursor& cursor, const Head& head, Datatype type, int depth) {
  const auto is_not = [&] {
    return other(std::move(type),
                 "its elements are structures, which have no dtype of a checkpoint");
  };
  if ((head.bits & 0xffff) != 2) return is_not();
  Datatype parts[2];
  std::uint64_t offsets[2]{};
  for (int i = 0; i < 2; ++i) {
    const std::string_view name = take_name(cursor, head);
    if (name != (i == 0 ? "r" : "i")) return is_not();
    offsets[i] = cursor.number(head.version < 3 ? 4 : offset_width(type.size_bytes));
    if (head.version == 1) cursor.skip(28);  // an array's dimensions, of old files
    auto part = decode(cursor, depth + 1);
    if (!part) return part;
    parts[i] = *std::move(part);
  }
  const bool same = parts[0].dtype == parts[1].dtype && offsets[0] == 0 &&
                    offsets[1] == parts[0].size_bytes &&
                    parts[0].other_byte_order == parts[1].other_byte_order;
  return same && is_complex(parts[0], type.size_bytes) ? complex_of(std::move(type), parts[0])
                                                       : is_not();
}

// h5py's bool has two values; any other enumeration is its integers.
Decoded<Datatype> take_enumeration(Cursor& cursor, const Head& head, int depth) {
  auto base = decode(cursor, depth + 1);
  if (!base || base->kind != Datatype::Kind::Number || (head.bits & 0xffff) != 2) return base;
  const std::string_view first = take_name(cursor, head);
  const std::string_view second = take_name(cursor, head);
  const bool is_bool = base->dtype == DType::Int8 && first == "FALSE" && second == "TRUE" &&
                       cursor.number(1) == 0 && cursor.number(1) == 1;
  if (is_bool) base->dtype = DType::Bool;
  return base;
}

Decoded<Datatype> take_array(Cursor& cursor, const Head& head, Datatype type, int depth) {
  const unsigned rank = cursor.byte();
  if (head.version < 3) cursor.skip(3);
  std::uint64_t count = 1;
  for (unsigned i = 0; i < rank && !cursor.failed(); ++i) {
    const std::uint64_t size = cursor.number(4);
    type.inner.push_back(static_cast<std::int64_t>(size));
    count = checked_mul(count, size).value_or(0);
  }
  if (head.version < 3) cursor.skip(4 * rank);
  auto base = decode(cursor, depth + 1);
  if (!base) return base;
  if (base->kind != Datatype::Kind::Number || !base->inner.empty())
    return other(std::move(type), "its elements are arrays of what is no number");
  if (checked_mul(count, base->size_bytes) != type.size_bytes || count == 0)
    return corrupt(cursor.at(),
                   sentence("an array of ", count, " elements in ", type.size_bytes, " bytes"));
  base->inner = std::move(type.inner);
  base->size_bytes = type.size_bytes;
  return base;
}

Decoded<Datatype> take_class(Cursor& cursor, const Head& head, Datatype type, int depth) {
  switch (head.class_) {
    case Class::Integer:
    case Class::Bits:
      return take_integer(cursor, head, std::move(type));
    case Class::Float:
      return take_float(cursor, head, std::move(type));
    case Class::Text:
      type.pads_with_spaces = (head.bits & 15) == 2;
      type.kind = Datatype::Kind::Text;
      return type;
    case Class::Opaque:
      return take_opaque(cursor, head, std::move(type));
    case Class::Compound:
      return take_compound(cursor, head, std::move(type), depth);
    case Class::Enumeration:
      return take_enumeration(cursor, head, depth);
    case Class::Array:
      return take_array(cursor, head, std::move(type), depth);
    case Class::Variable:
      if ((head.bits & 15) == 1) type.kind = Datatype::Kind::VariableText;
      type.why = "its elements are of variable length";
      return type;
    case Class::Complex: {
      auto part = decode(cursor, depth + 1);
      if (!part) return part;
      if (is_complex(*part, type.size_bytes)) return complex_of(std::move(type), *part);
      return other(std::move(type), "its complex numbers have no dtype of a checkpoint");
    }
    case Class::Reference:
      return other(std::move(type), "its elements are references to other objects");
    case Class::Time:
      return other(std::move(type), "its elements are times");
  }
  return other(std::move(type),
               sentence("its type, ", static_cast<unsigned>(head.class_), ", is not known"));
}

Decoded<Datatype> decode(Cursor& cursor, int depth) {
  const std::uint64_t at = cursor.at();
  Datatype type;
  const unsigned first = cursor.byte();
  const Head head{static_cast<Class>(first & 15), first >> 4,
                  static_cast<std::uint32_t>(cursor.number(3))};
  type.size_bytes = static_cast<std::uint32_t>(cursor.number(4));
  if (depth >= kDepthMax) return other(std::move(type), "its type is made of types too deep");
  auto taken = take_class(cursor, head, std::move(type), depth);
  if (taken && cursor.failed()) return corrupt(at, "a datatype is too short");
  return taken;
}

}  // namespace

std::uint64_t Datatype::item_bytes() const noexcept {
  std::uint64_t count = 1;
  for (const std::int64_t size : inner) count *= static_cast<std::uint64_t>(size);
  return size_bytes / count;
}

Decoded<Datatype> decode_datatype(Cursor cursor) {
  const std::uint64_t at = cursor.at();
  auto type = decode(cursor, 0);
  if (type && type->size_bytes == 0) return corrupt(at, "a datatype of 0 bytes");
  return type;
}

void name_dtype(Datatype& type, std::string_view dtype) {
  if (type.kind != Datatype::Kind::Number || type.dtype != DType::Opaque) return;
  const auto named = dtype_from_name(dtype);
  if (!named || element_bytes(*named) != type.item_bytes()) return;
  type.dtype = *named;
  type.opaque_dtype.clear();
}

Decoded<Dataspace> decode_dataspace(Cursor cursor) {
  const std::uint64_t at = cursor.at();
  const unsigned version = cursor.byte();
  const unsigned rank = cursor.byte();
  const unsigned flags = cursor.byte();
  const unsigned kind = cursor.byte();  // of version 2
  if (version != 1 && version != 2)
    return unsupported(
        at, sentence("a dataspace of version ", version, ", but only 1 and 2 are known"));
  if (version == 1) cursor.skip(4);
  Dataspace space;
  space.has_no_shape = version == 2 && kind == 2;
  if (rank > limits::kHdf5RankMax)
    return corrupt(at,
                   sentence(rank, " dimensions, more than HDF5's limit of ", limits::kHdf5RankMax));
  for (unsigned i = 0; i < rank; ++i) space.dimensions.push_back(cursor.length());
  space.dimensions_max = space.dimensions;
  if ((flags & 1) != 0) {
    const unsigned width = cursor.widths().length_bytes;
    for (std::uint64_t& size : space.dimensions_max) {
      size = cursor.length();
      if (width < 8 && size == (std::uint64_t{1} << (8 * width)) - 1) size = Dataspace::kUnlimited;
    }
  }
  if (cursor.failed()) return corrupt(at, "a dataspace is too short");
  return space;
}

}  // namespace cairn::format::hdf5
