#pragma once

// An ONNX model: its tensors and what it says of itself. Its graph is walked, and nothing of it is
// kept but what names the tensors. FORMAT.md, "ONNX".

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/dtype.h"
#include "format/decode_error.h"
#include "format/facts.h"
#include "format/onnx/wire.h"

namespace cairn::format::onnx {

// A type of ONNX, by its number in TensorProto.DataType.
struct Type {
  std::uint32_t number = 0;
  std::string_view name;        // "INT4"
  DType dtype = DType::Opaque;  // Opaque: what Cairn knows by name and bits only
  std::uint16_t bits = 0;  // of an element; of several bytes packed together: no padding between
  std::uint32_t list = 0;  // field of a TensorProto that holds elements which are not raw
};

// nullptr: no such type.
const Type* type_of(std::uint32_t number) noexcept;

// Bytes that so many elements take: packed, the last byte filled up. Nothing: more than 2^64.
std::optional<std::uint64_t> bytes_of(const Type& type, std::uint64_t count) noexcept;

// Where the elements of a tensor are.
enum class Storage : std::uint8_t {
  InPlace,   // in this file, as they are: `bytes`
  Listed,    // in this file, as numbers or strings of protobuf: decoded by ListedValues
  External,  // in another file
};

// A tensor's place in another file.
struct External {
  std::string location;  // of the file, below the model's directory
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;  // what type and shape need, and `length` where it is given
};

struct TensorRecord {
  std::string name;      // unique in the model
  std::uint64_t at = 0;  // in the file, for complaints
  const Type* type = nullptr;
  std::vector<std::int64_t> shape;
  std::uint64_t count = 0;  // of elements
  Storage storage{};
  FileRange bytes;  // of the elements, or of the whole message, where Listed
  External external;
};

struct Model {
  KeyValues metadata;                 // sorted by key
  std::vector<TensorRecord> tensors;  // sorted by name
  // What the file has and the above does not, a sentence without a full stop for each: tensors of
  // unknown types, sparse ones, metadata that is called as Cairn's own is, or twice.
  std::vector<std::string> left_out;
};

struct ModelOptions {
  bool whole = true;  // not: what stands in front of the damage, which `left_out` names
};

// Errors: Corrupt (no protobuf, two initializers of one name, elements that are not as many as the
// shape says); Unsupported (a limit of limits.h).
Decoded<Model> decode_model(WireReader& reader, const ModelOptions& options);

}  // namespace cairn::format::onnx
