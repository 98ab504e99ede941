#pragma once

// Columns as facts, to compare the two ways in which an index is decoded.

#include <vector>

#include "format/facts.h"
#include "format/plain_facts.h"
#include "format/plain_tensors.h"

namespace cairn::tests {

inline std::vector<format::TensorFacts> facts_of(const format::PlainTensors& plain) {
  std::vector<format::TensorFacts> all;
  format::append_facts(plain, all);
  return all;
}

// Whether PlainTensors can hold all that the facts say.
inline bool is_plain(const format::TensorFacts& tensor) noexcept {
  return tensor.dtype != DType::Opaque && tensor.opaque_dtype.empty() && !tensor.other_byte_order &&
         tensor.encoding == format::encoding_of(tensor.dtype) && tensor.strides.empty() &&
         tensor.chunk_crc32cs.empty() && !tensor.content_hash && tensor.slices.empty();
}

}  // namespace cairn::tests
