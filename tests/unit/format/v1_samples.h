#pragma once

// V1 files made by hand.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/dtype.h"
#include "format/facts.h"
#include "format/tensorflow/bundle.h"
#include "format/tensorflow/table.h"
#include "format/tensorflow/varint.h"

namespace cairn::test {

using Extents = std::vector<format::Extent>;

inline std::string field(std::uint32_t number, std::string_view message) {
  std::string bytes;
  format::tensorflow::append_varint(bytes, number << 3 | 2);
  format::tensorflow::append_varint(bytes, message.size());
  return bytes.append(message);
}

inline std::string field(std::uint32_t number, std::int64_t value) {
  std::string bytes;
  format::tensorflow::append_varint(bytes, number << 3);
  format::tensorflow::append_varint(bytes, static_cast<std::uint64_t>(value));
  return bytes;
}

inline std::string varints(const std::vector<std::int64_t>& numbers) {
  std::string bytes;
  for (const std::int64_t number : numbers)
    format::tensorflow::append_varint(bytes, static_cast<std::uint64_t>(number));
  return bytes;
}

// A slice of a tensor and its TensorProto.
struct V1Piece {
  Extents extents;
  std::string values;
};

struct V1Sample {
  std::string name;
  DType dtype{};
  std::vector<std::int64_t> shape;
  std::vector<V1Piece> pieces;
};

inline std::string slice_proto(const Extents& extents) {
  std::string bytes;
  for (const format::Extent& extent : extents) {
    const bool whole = extent.length == format::Extent::kWhole;
    bytes += field(1, whole ? "" : field(1, extent.start) + field(2, extent.length));
  }
  return bytes;
}

inline std::string v1_meta(const std::vector<V1Sample>& tensors,
                           const std::string& versions = field(1, 1)) {
  std::string meta;
  for (const V1Sample& tensor : tensors) {
    std::string shape;
    for (const std::int64_t size : tensor.shape) shape += field(2, field(1, size));
    std::string record =
        field(1, tensor.name) + field(2, shape) + field(3, static_cast<std::int64_t>(tensor.dtype));
    for (const V1Piece& piece : tensor.pieces) record += field(4, slice_proto(piece.extents));
    meta += field(1, record);
  }
  return field(1, meta + field(2, versions));
}

using V1Records = std::map<std::string, std::string>;  // key → value, as a table has them

inline V1Records v1_records(const std::vector<V1Sample>& tensors) {
  V1Records records{{"", v1_meta(tensors)}};
  for (const V1Sample& tensor : tensors) {
    for (const V1Piece& piece : tensor.pieces) {
      records[format::tensorflow::slice_key(tensor.name, piece.extents)] = field(
          2, field(1, tensor.name) + field(2, slice_proto(piece.extents)) + field(3, piece.values));
    }
  }
  return records;
}

inline std::string v1_table(const V1Records& records) {
  format::tensorflow::TableWriter table;
  for (const auto& [key, value] : records) table.add(key, value);
  return table.finish();
}

inline std::string v1_file(const std::vector<V1Sample>& tensors) {
  return v1_table(v1_records(tensors));
}

// A whole tensor.
inline V1Sample v1_tensor(std::string name, DType dtype, std::vector<std::int64_t> shape,
                          std::string values) {
  const Extents whole(shape.size());
  return {std::move(name), dtype, std::move(shape), {{whole, std::move(values)}}};
}

}  // namespace cairn::test
