#include "npy.h"

#include <fmt/format.h>

namespace cairn::tools {

std::string_view npy_description(DType dtype) {
  switch (dtype) {
    case DType::Float16:
      return "<f2";
    case DType::Float32:
      return "<f4";
    case DType::Float64:
      return "<f8";
    case DType::Int8:
    case DType::Qint8:
      return "|i1";
    case DType::Int16:
    case DType::Qint16:
      return "<i2";
    case DType::Int32:
    case DType::Qint32:
      return "<i4";
    case DType::Int64:
      return "<i8";
    case DType::Uint8:
    case DType::Quint8:
      return "|u1";
    case DType::Uint16:
    case DType::Quint16:
      return "<u2";
    case DType::Uint32:
      return "<u4";
    case DType::Uint64:
      return "<u8";
    case DType::Bool:
      return "|b1";
    case DType::Complex64:
      return "<c8";
    case DType::Complex128:
      return "<c16";
    default:
      break;
  }
  switch (element_bytes(dtype)) {
    case 1:
      return "|V1";
    case 2:
      return "|V2";
    default:
      return {};
  }
}

std::string npy_header(std::string_view description, std::span<const std::int64_t> shape) {
  constexpr std::size_t kAlignment = 64;
  std::string dictionary =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", description,
                  fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
  // Magic, version, length of what follows (2 bytes in version 1.0, 4 in 2.0); ends with a newline.
  const bool version_2 = dictionary.size() + kAlignment > 0xffff;
  const std::size_t before = version_2 ? 12 : 10;
  const std::size_t unpadded = before + dictionary.size() + 1;
  dictionary.append((kAlignment - unpadded % kAlignment) % kAlignment, ' ');
  dictionary += '\n';
  std::string header("\x93NUMPY");
  header += version_2 ? '\2' : '\1';
  header += '\0';
  for (std::size_t i = 0; i < before - 8; ++i) {
    header += static_cast<char>(dictionary.size() >> (8 * i) & 0xff);
  }
  return header + dictionary;
}

}  // namespace cairn::tools
