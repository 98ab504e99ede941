#pragma once

// Columns as facts, to compare the two ways in which an index is decoded.

#include <optional>
#include <vector>

#include "format/facts.h"
#include "format/plain_tensors.h"

namespace cairn::tests {

inline std::vector<format::TensorFacts> facts_of(const format::PlainTensors& plain) {
  std::vector<format::TensorFacts> all;
  for (std::size_t i = 0; i < plain.size(); ++i) {
    const format::TensorRecord& record = plain.records()[i];
    format::TensorFacts& facts = all.emplace_back();
    facts.name = plain.name(i);
    facts.dtype = static_cast<DType>(record.dtype);
    facts.encoding = static_cast<format::Encoding>(record.encoding);
    facts.shape.assign(plain.shape(i).begin(), plain.shape(i).end());
    facts.span = {record.shard, record.offset_bytes, record.size_bytes, std::nullopt};
    if (record.flags != 0) facts.span.crc32c = record.crc32c;
  }
  return all;
}

}  // namespace cairn::tests
