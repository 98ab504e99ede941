#include "format/plain_tensors.h"

#include <sys/mman.h>

#include <algorithm>
#include <utility>

namespace cairn::format {
namespace {

// Of many tensors, the columns take some ten megabytes, and to get them as small pages takes longer
// than to fill them. So huge pages are wished for. This is the only thing that this room asks of
// the system.
std::unique_ptr<std::byte[]> columns_memory(std::size_t size_bytes) {
  constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;
  auto memory = std::make_unique_for_overwrite<std::byte[]>(size_bytes);
  void* begin = memory.get();
  std::size_t left_bytes = size_bytes;
  if (size_bytes >= 2 * kHugePageBytes &&
      std::align(kHugePageBytes, kHugePageBytes, begin, left_bytes) != nullptr)
    ::madvise(begin, left_bytes / kHugePageBytes * kHugePageBytes, MADV_HUGEPAGE);
  return memory;
}

}  // namespace

// In the order of their alignment, so that each starts where the one before ends.
PlainTensors::PlainTensors(const Sizes& room)
    : memory_(columns_memory(sizeof(TensorRecord) * room.tensors +
                             sizeof(std::int64_t) * room.dims + room.names_bytes)),
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
