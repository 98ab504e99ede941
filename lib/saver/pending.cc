#include "lib/saver/pending.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>

#include "format/le.h"
#include "lib/os/machine.h"
#include "lib/os/parallel.h"
#include "lib/try.h"
#include "lib/write/layout.h"
#include "lib/write/writer_access.h"

namespace cairn {

void PendingSave::State::finish(Result<Saved> result) {
  {
    const std::lock_guard lock(mutex_);
    result_.emplace(std::move(result));
  }
  finished_.notify_all();
}

bool PendingSave::State::done() const {
  const std::lock_guard lock(mutex_);
  return result_.has_value();
}

Result<Saved> PendingSave::State::wait() {
  std::unique_lock lock(mutex_);
  finished_.wait(lock, [&] { return result_.has_value(); });
  heard_ = true;
  return *result_;
}

std::optional<Error> PendingSave::State::unheard() {
  std::unique_lock lock(mutex_);
  finished_.wait(lock, [&] { return result_.has_value(); });
  if (std::exchange(heard_, true) || *result_) return std::nullopt;
  return result_->error();
}

PendingSave::PendingSave(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}

bool PendingSave::done() const noexcept { return state_->done(); }

Result<Saved> PendingSave::wait() const noexcept {
  return at_boundary([&] { return state_->wait(); });
}

namespace internal {
namespace {

std::uint64_t size_of(const NamedTensor& tensor) {
  std::uint64_t size_bytes = tensor.bytes.size();
  for (const std::string_view text : tensor.strings) size_bytes += text.size();
  return size_bytes;
}

// Bytes of the caller's, and where they come to lie in the staging memory.
struct CopiedRange {
  std::uint64_t offset_bytes = 0;
  std::span<const std::byte> from;
};

// The ranges fill `out` one after the other, and none is empty.
Result<void> copy_ranges(std::span<const CopiedRange> ranges, std::span<std::byte> out,
                         const ExecOptions& exec) {
  constexpr std::uint64_t kPieceBytes = 4u << 20;
  ExecOptions unstopped = exec;  // a stop request is the save's
  unstopped.stop = {};
  const auto copy_piece = [&](std::size_t piece) -> Result<std::uint64_t> {
    const std::uint64_t begin = piece * kPieceBytes;
    const std::uint64_t end = std::min<std::uint64_t>(begin + kPieceBytes, out.size());
    const auto* range =
        &*(std::ranges::upper_bound(ranges, begin, {}, &CopiedRange::offset_bytes) - 1);
    for (std::uint64_t at = begin; at < end; ++range) {
      const auto rest = range->from.subspan(at - range->offset_bytes);
      const auto part = rest.first(std::min<std::uint64_t>(rest.size(), end - at));
      std::memcpy(out.data() + at, part.data(), part.size());  // no loop of bytes
      at += part.size();
    }
    return end - begin;
  };
  const std::uint64_t pieces = (out.size() + kPieceBytes - 1) / kPieceBytes;
  return os::run_parallel(unstopped, pieces, out.size(), copy_piece);
}

}  // namespace

std::span<std::byte> StagingMemory::take(std::uint64_t wanted_bytes) {
  const std::uint64_t there_bytes = memory_ ? memory_->bytes().size() : 0;
  if (wanted_bytes > there_bytes) {
    // The page cache, to which the copies go, and the application need memory too.
    const auto spare_bytes = os::available_memory_bytes();
    const std::uint64_t more_bytes =
        std::min(wanted_bytes - there_bytes, spare_bytes.value_or(wanted_bytes) / 2);
    // Rather less than wanted than clearing all of it again for a little more.
    const std::uint64_t size_bytes = there_bytes + more_bytes;
    if (size_bytes == wanted_bytes || more_bytes > there_bytes) {
      if (auto memory = os::Mapping::allocate(size_bytes)) memory_ = *std::move(memory);
    }
  }
  const std::span<std::byte> all = memory_ ? memory_->bytes() : std::span<std::byte>();
  return all.first(std::min<std::uint64_t>(all.size(), wanted_bytes));
}

// The largest first where not all fit: the more is copied, the sooner the caller goes on.
void StagingBuffer::choose(std::span<const NamedTensor> tensors, StagingMemory& memory) {
  std::uint64_t total_bytes = 0;
  for (const NamedTensor& tensor : tensors) total_bytes += size_of(tensor);
  memory_ = memory.take(std::min(total_bytes, limits_.size_bytes_max));
  std::vector<const NamedTensor*> order;
  order.reserve(tensors.size());
  for (const NamedTensor& tensor : tensors) order.push_back(&tensor);
  if (memory_.size() < total_bytes)
    std::ranges::sort(order, std::greater(), [](const auto* each) { return size_of(*each); });
  std::uint64_t left_bytes = memory_.size();
  for (const NamedTensor* tensor : order) {
    const std::uint64_t size_bytes = size_of(*tensor);
    (size_bytes <= left_bytes ? copies_ : borrowed_).push_back(*tensor);
    if (size_bytes <= left_bytes) left_bytes -= size_bytes;
  }
}

Result<void> StagingBuffer::copy(std::span<const NamedTensor> tensors, StagingMemory& memory,
                                 const ExecOptions& exec) {
  choose(tensors, memory);
  std::vector<CopiedRange> ranges;
  ranges.reserve(copies_.size());
  std::span<std::byte> free = memory_;
  const auto place = [&](std::size_t size_bytes) {
    return std::exchange(free, free.subspan(size_bytes)).first(size_bytes);
  };
  std::uint64_t offset_bytes = 0;
  for (NamedTensor& tensor : copies_) {
    if (!tensor.bytes.empty()) ranges.push_back({offset_bytes, tensor.bytes});
    offset_bytes += tensor.bytes.size();
    tensor.bytes = place(tensor.bytes.size());
  }
  CAIRN_CHECK(copy_ranges(ranges, memory_.first(offset_bytes), exec));
  for (NamedTensor& tensor : copies_) {
    if (tensor.strings.empty()) continue;
    std::vector<std::string_view>& strings = strings_.emplace_back();
    strings.reserve(tensor.strings.size());
    for (const std::string_view text : tensor.strings) {
      const std::span<std::byte> bytes = place(text.size());
      std::ranges::copy(format::as_bytes(text), bytes.begin());
      strings.push_back(format::as_text(bytes));
    }
    tensor.strings = strings;
  }
  return {};
}

std::vector<NamedTensor> StagingBuffer::tensors() const {
  std::vector<NamedTensor> all = borrowed_;
  all.insert(all.end(), copies_.begin(), copies_.end());
  return all;
}

void StagingBuffer::wait_until_released() {
  // Then the caller need not wait until the writing end gets here, behind the disk.
  if (borrowed_.empty()) return;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return released_; });
}

Result<void> StagingBuffer::write(Writer& writer, const ExecOptions& exec) {
  CAIRN_CHECK(write_all(writer, borrowed_, exec));
  release();
  WriterAccess::in_idle_time(writer, limits_.idle_max);
  return write_all(writer, copies_, exec);
}

void StagingBuffer::release() {
  const std::lock_guard lock(mutex_);
  released_ = true;
  changed_.notify_all();
}

Result<void> write_all(Writer& writer, std::span<const NamedTensor> tensors,
                       const ExecOptions& exec) {
  std::vector<NamedBytes> raw;
  raw.reserve(tensors.size());
  for (const NamedTensor& tensor : tensors) {
    if (!is_encoded(tensor.spec.dtype) && !WriterAccess::is_whole(writer, tensor.spec.name))
      raw.push_back({tensor.spec.name, tensor.bytes});
  }
  CAIRN_CHECK(writer.write_all(raw, exec));
  for (const NamedTensor& tensor : tensors) {
    const std::string& name = tensor.spec.name;
    if (!is_encoded(tensor.spec.dtype) || WriterAccess::is_whole(writer, name)) continue;
    CAIRN_CHECK(tensor.spec.dtype == DType::String ? writer.write_strings(name, tensor.strings)
                                                   : writer.write_encoded(name, tensor.bytes));
  }
  return {};
}

}  // namespace internal
}  // namespace cairn
