#include "format/plain_tensors.h"

#include <utility>

namespace cairn::format {

// In the order of their alignment, so that each starts where the one before ends.
PlainTensors::PlainTensors(const Sizes& room)
    : memory_(std::make_unique_for_overwrite<std::byte[]>(sizeof(TensorRecord) * room.tensors +
                                                          sizeof(std::int64_t) * room.dims +
                                                          room.names_bytes)),
      records_(reinterpret_cast<TensorRecord*>(memory_.get())),
      dims_(reinterpret_cast<std::int64_t*>(records_ + room.tensors)),
      names_(reinterpret_cast<char*>(dims_ + room.dims)),
      room_(room) {}

void PlainTensors::grow(const Sizes& least) {
  const auto enough = [](std::size_t now, std::size_t wanted) { return std::max(2 * now, wanted); };
  PlainTensors larger({enough(room_.tensors, least.tensors),
                       enough(room_.names_bytes, least.names_bytes),
                       enough(room_.dims, least.dims)});
  const auto copy = [](const auto& from, auto* to) { std::copy(from.begin(), from.end(), to); };
  copy(records(), larger.records_);
  copy(names(), larger.names_);
  copy(dims(), larger.dims_);
  larger.used_ = used_;
  *this = std::move(larger);
}

}  // namespace cairn::format
