#pragma once

// One tensor of an ONNX model (TensorProto): its type, its shape, and where its elements are.

#include <optional>
#include <string>

#include "format/onnx/model.h"
#include "format/onnx/wire.h"

namespace cairn::format::onnx {

struct ParsedTensor {
  TensorRecord record;  // its name is what the tensor says itself
  // Why the record is not to be used, where the message itself is whole.
  std::optional<DecodeError> problem;  // it contradicts itself, or a limit
  std::string left_out;                // it is fine, and not known: a sentence
};

// Takes the tensor from a message of the reader's file. False: reader.error().
bool take_tensor(WireReader& reader, const FileRange& message, ParsedTensor& tensor);

// The name and shape of a sparse one (SparseTensorProto), as a sentence that leaves it out.
bool take_sparse_tensor(WireReader& reader, const FileRange& message, std::string& left_out);

// "[2,3]".
std::string shape_text(const std::vector<std::int64_t>& shape);

// The text of a field, at most so long.
bool take_text(WireReader& reader, const Field& field, std::uint64_t bytes_max, std::string& text);

// A key and its value (StringStringEntryProto).
bool take_pair(WireReader& reader, const FileRange& message, std::uint64_t bytes_max,
               std::pair<std::string, std::string>& pair);

// Whether a known field has its wire type; otherwise the file is broken.
bool is_of(WireReader& reader, const Field& field, WireType type);

}  // namespace cairn::format::onnx
