#pragma once

// Between the two forms in which decoders give tensors: facts, which say everything, and columns,
// which only plain tensors fit.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "format/facts.h"
#include "format/plain_tensors.h"

namespace cairn::format {

// A shape as it is read, if it has few dimensions: it allocates nothing.
class ShortShape {
 public:
  // False: there is no room for one more.
  bool add(std::int64_t size) noexcept {
    if (rank_ == dims_.size()) return false;
    dims_[rank_++] = size;
    return true;
  }
  std::span<const std::int64_t> dims() const noexcept { return std::span(dims_).first(rank_); }

 private:
  std::array<std::int64_t, 8> dims_{};
  std::size_t rank_ = 0;
};

// Plain tensors as facts.
inline void append_facts(const PlainTensors& from, std::vector<TensorFacts>& to) {
  to.reserve(to.size() + from.size());
  for (std::size_t i = 0; i < from.size(); ++i) {
    const TensorRecord& record = from.records()[i];
    const auto shape = from.shape(i);
    TensorFacts& tensor = to.emplace_back();
    tensor.name = from.name(i);
    tensor.dtype = static_cast<DType>(record.dtype);
    tensor.encoding = static_cast<Encoding>(record.encoding);
    tensor.shape.assign(shape.begin(), shape.end());
    tensor.span = {record.shard, record.offset_bytes, record.size_bytes, std::nullopt};
    if (record.flags != 0) tensor.span.crc32c = record.crc32c;
  }
}

}  // namespace cairn::format
