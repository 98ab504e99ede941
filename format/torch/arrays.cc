// An array is made by one of two functions. _reconstruct makes an empty one, whose state has
// (version, shape, dtype, whether it is column-major, bytes); _frombuffer is given (bytes, dtype,
// shape, order). A number is scalar(dtype, bytes). A dtype is dtype("f4", …) with the state
// (version, byte order, …). Protocols 0 to 2 know no bytes, and have them as text: each byte is a
// character.

#include "format/torch/arrays.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "format/checked.h"
#include "format/dtype.h"
#include "format/le.h"
#include "format/pickle/text.h"
#include "format/quoted.h"
#include "format/torch/refusals.h"
#include "lib/try.h"

namespace cairn::format::torch {
namespace {

using pickle::Kind;
using pickle::Node;
using pickle::Ref;

constexpr std::size_t kNumberBytesMax = 16;

struct NumpyType {
  std::string_view code;  // kind and bytes
  std::string_view name;
};
constexpr std::array kTypes = {
    NumpyType{"b1", "bool"},      NumpyType{"i1", "int8"},       NumpyType{"i2", "int16"},
    NumpyType{"i4", "int32"},     NumpyType{"i8", "int64"},      NumpyType{"u1", "uint8"},
    NumpyType{"u2", "uint16"},    NumpyType{"u4", "uint32"},     NumpyType{"u8", "uint64"},
    NumpyType{"f2", "float16"},   NumpyType{"f4", "float32"},    NumpyType{"f8", "float64"},
    NumpyType{"c8", "complex64"}, NumpyType{"c16", "complex128"}};

const TorchDtype* dtype_of_code(std::string_view code) noexcept {
  const auto* const found = std::ranges::find(kTypes, code, &NumpyType::code);
  return found == kTypes.end() ? nullptr : dtype_named(found->name);
}

bool is_ml_dtypes(std::string_view module) noexcept {
  return module == "ml_dtypes" || module == "ml_dtypes._ml_dtypes_ext";
}

// In elements, of a shape whose elements can be counted.
std::vector<std::int64_t> strides_of(const std::vector<std::int64_t>& shape, bool column_major) {
  std::vector<std::int64_t> strides(shape.size(), 0);
  std::int64_t next = 1;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const std::size_t d = column_major ? i : shape.size() - 1 - i;
    strides[d] = next;
    next *= shape[d];
  }
  return strides;
}

double from_float16(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const double fraction = (bits & 1023) / 1024.0;
  double value =
      exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1 + fraction, exponent - 15);
  if (exponent == 31)
    value = fraction == 0 ? std::numeric_limits<double>::infinity() : std::nan("");
  return (bits & 0x8000) != 0 ? -value : value;
}

double number_of(DType dtype, const std::byte* bytes) {
  if (dtype == DType::Float64) return std::bit_cast<double>(load_le<std::uint64_t>(bytes));
  if (dtype == DType::Float32) return double{std::bit_cast<float>(load_le<std::uint32_t>(bytes))};
  return from_float16(load_le<std::uint16_t>(bytes));
}

}  // namespace

// ---- What the pickle says -----------------------------------------------------------------------

std::vector<Ref> Arrays::elements_of(Ref sequence, std::size_t count_max) const {
  std::vector<Ref> all;
  if (!graph_.is(sequence, Kind::Tuple)) return all;
  for (const Ref each : graph_.cells(sequence)) {
    all.push_back(each);
    if (all.size() > count_max) break;
  }
  return all;
}

Decoded<Arrays::Parts> Arrays::parts_of(Ref object) const {
  constexpr std::size_t kPartsMax = 5;
  const Node& node = graph_[object];
  const auto arguments = elements_of(node.b, kPartsMax);
  if (graph_.text(graph_[node.a].b) == "_frombuffer") {
    if (arguments.size() != 4) return broken("_frombuffer has ", arguments.size(), " arguments");
    return Parts{arguments[1], arguments[2], arguments[0], graph_.text(arguments[3]) == "F"};
  }
  if (arguments.empty() || !graph_.names(arguments.front(), "numpy", "ndarray"))
    return not_readable("it is a NumPy array of a class of its own");
  const auto state = elements_of(node.c, kPartsMax);
  if (state.size() != kPartsMax) return broken("the state of a NumPy array has no five parts");
  const Ref order = state[3];
  const bool column_major =
      order == pickle::kTrue || (graph_.is(order, Kind::Int) && graph_[order].integer != 0);
  return Parts{state[2], state[1], state[4], column_major};
}

Decoded<Arrays::ArrayDtype> Arrays::dtype_of(Ref object) const {
  constexpr std::size_t kStateMax = 9;
  const Node& node = graph_[object];
  if (node.kind != Kind::Object || !graph_.names(node.a, "numpy", "dtype"))
    return broken("its dtype is none of NumPy's");
  const auto arguments = elements_of(node.b, 3);
  if (arguments.empty()) return broken("its dtype has no name");
  const Ref name = arguments.front();
  ArrayDtype found;
  std::string_view code = graph_.text(name);
  if (graph_.is(name, Kind::Global)) {
    code = graph_.text(graph_[name].b);
    if (is_ml_dtypes(graph_.text(graph_[name].a))) found.dtype = dtype_named(code);
  } else {
    found.dtype = dtype_of_code(code);
  }
  if (found.dtype == nullptr && code.starts_with('O'))
    return not_readable("it is a NumPy array of Python objects");
  if (found.dtype == nullptr)
    return not_readable("it is a NumPy array of the dtype ", quoted(code), ", which is not known");
  const auto state = elements_of(node.c, kStateMax);
  found.big_endian = state.size() > 1 && graph_.text(state[1]) == ">" &&
                     swap_bytes(found.dtype->dtype).value_or(1) > 1;
  return found;
}

// ---- Bytes --------------------------------------------------------------------------------------

// Bytes as they are, or a call of _codecs.encode(text, "latin1").
Decoded<Arrays::Bytes> Arrays::bytes_of(Ref data) const {
  const Node& node = graph_[data];
  if (node.kind == Kind::Bytes || node.kind == Kind::Text) return Bytes{data, PickledForm::Bytes};
  const auto arguments = node.kind == Kind::Object ? elements_of(node.b, 2) : std::vector<Ref>();
  const auto is_call = [&](std::string_view module, std::string_view name) {
    return node.kind == Kind::Object && graph_.names(node.a, module, name);
  };
  const bool is_empty = is_call("__builtin__", "bytes") || is_call("builtins", "bytes");
  if (is_empty && arguments.empty()) return Bytes{pickle::kNone, PickledForm::Bytes};
  if (!is_call("_codecs", "encode") || arguments.size() != 2 ||
      !graph_.is(arguments[0], Kind::Text) || !graph_.text(arguments[1]).starts_with("latin"))
    return not_readable("it is a NumPy array whose bytes are not in the pickle");
  return Bytes{arguments[0], PickledForm::Latin1};
}

Decoded<Storage> Arrays::storage_of(const Bytes& bytes) const {
  Storage storage;
  storage.element_bytes = 1;
  storage.form = bytes.form;
  storage.pickled = graph_.text(bytes.text);
  storage.size_bytes = storage.pickled.size();
  if (bytes.form == PickledForm::Bytes) return storage;
  const auto size = pickle::latin1_bytes(storage.pickled);
  if (!size) return broken("the text of its bytes has a character that is none of Latin-1");
  storage.size_bytes = *size;
  return storage;
}

// Each text is measured and stored once, however many arrays are made of it.
Decoded<std::uint32_t> Arrays::position_of(const Bytes& bytes) {
  const auto key = std::uint64_t{bytes.text} * 2 + (bytes.form == PickledForm::Latin1 ? 1 : 0);
  const auto found = position_of_.find(key);
  if (found != position_of_.end()) return found->second;
  CAIRN_TRY(storage, storage_of(bytes));
  const auto position = first_ + static_cast<std::uint32_t>(storages_.size());
  storages_.push_back(storage);
  position_of_.emplace(key, position);
  return position;
}

// ---- Values -------------------------------------------------------------------------------------

Decoded<StoredTensor> Arrays::read(Ref object) {
  CAIRN_TRY(parts, parts_of(object));
  CAIRN_TRY(dtype, dtype_of(parts.dtype));
  View view;
  view.dtype = dtype.dtype;
  if (!graph_.is(parts.shape, Kind::Tuple)) return broken("its shape is no tuple");
  CAIRN_TRY(shape, numbers_of(graph_, parts.shape, "its shape has"));
  view.shape = std::move(shape);
  const auto count = element_count(view.shape);
  const auto size = count ? checked_mul(*count, dtype.dtype->bytes) : std::nullopt;
  if (!size) return broken("its shape is too large");
  view.strides = *count == 0 ? std::vector<std::int64_t>(view.shape.size(), 0)
                             : strides_of(view.shape, parts.column_major);
  CAIRN_TRY(bytes, bytes_of(parts.data));
  CAIRN_TRY(position, position_of(bytes));
  const std::uint64_t stored_bytes = storages_[position - first_].size_bytes;
  if (stored_bytes != *size)
    return broken("it has ", stored_bytes, " bytes, and its shape and dtype take ", *size);
  CAIRN_TRY(stored, placed(Place{position, 0, stored_bytes}, std::move(view)));
  stored.has_own_order = true;
  stored.facts.other_byte_order = dtype.big_endian;
  return std::move(stored);
}

Decoded<std::string> Arrays::read_number(Ref object) const {
  const auto arguments = elements_of(graph_[object].b, 2);
  if (arguments.size() != 2) return broken("a NumPy number has no two parts");
  CAIRN_TRY(dtype, dtype_of(arguments[0]));
  CAIRN_TRY(stored, bytes_of(arguments[1]));
  if (graph_.text(stored.text).size() > 2 * kNumberBytesMax)
    return broken("a NumPy number has too many bytes");
  CAIRN_TRY(storage, storage_of(stored));
  std::array<std::byte, kNumberBytesMax> bytes{};
  if (storage.size_bytes != dtype.dtype->bytes)
    return broken("a NumPy number has ", storage.size_bytes, " bytes, and not ",
                  dtype.dtype->bytes);
  const auto number = std::span(bytes).first(dtype.dtype->bytes);
  if (storage.form == PickledForm::Latin1) {
    pickle::take_latin1(storage.pickled, number);
  } else {
    std::ranges::copy(as_bytes(storage.pickled), number.begin());
  }
  if (dtype.big_endian) std::ranges::reverse(number);
  const std::byte* const at = bytes.data();
  switch (dtype.dtype->dtype) {
    case DType::Bool:
      return std::string(at[0] == std::byte{} ? "false" : "true");
    case DType::Int8:
      return std::to_string(load_le<std::int8_t>(at));
    case DType::Int16:
      return std::to_string(load_le<std::int16_t>(at));
    case DType::Int32:
      return std::to_string(load_le<std::int32_t>(at));
    case DType::Int64:
      return std::to_string(load_le<std::int64_t>(at));
    case DType::Uint8:
    case DType::Uint16:
    case DType::Uint32:
    case DType::Uint64:
      return std::to_string(load_le<std::uint64_t>(at));  // the rest is zero
    case DType::Float16:
    case DType::Float32:
    case DType::Float64:
      return pickle::float_text(number_of(dtype.dtype->dtype, at));
    default:
      return not_readable("it is a NumPy number of the dtype ", quoted(dtype.dtype->name));
  }
}

}  // namespace cairn::format::torch
