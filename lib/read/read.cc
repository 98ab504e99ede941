// Bytes: a view of the mapping, if the tensor is in one place and in native byte order; else a
// copy.

#include <algorithm>
#include <cstring>

#include "format/checked.h"
#include "format/digest.h"
#include "format/dtype.h"
#include "format/quoted.h"
#include "format/tensorflow/bundle.h"
#include "lib/os/parallel.h"
#include "lib/read/open_checkpoint.h"
#include "lib/read/run_copier.h"
#include "lib/read/slices.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

// How many bytes are swapped together; 1: they are in native order; std::nullopt: TensorFlow does
// not define the dtype in the other byte order.
std::optional<std::uint32_t> swap_width(const format::IndexView::Tensor& tensor) {
  if (!tensor.big_endian || tensor.encoding == format::Encoding::TensorFlowString) return 1;
  return format::swap_bytes(tensor.dtype);
}

// The bytes of a span in memory, or one more copy of them.
Result<std::span<const std::byte>> stored_bytes(const OpenCheckpoint& checkpoint,
                                                const format::Span& piece,
                                                std::vector<std::vector<std::byte>>* copies) {
  if (copies == nullptr) {
    CAIRN_CHECK(checkpoint.shards().fetch(piece));
    return std::span<const std::byte>(checkpoint.shards().in_memory(piece));
  }
  std::vector<std::byte>& copy = copies->emplace_back(piece.size_bytes);
  CAIRN_CHECK(checkpoint.shards().copy_out(piece.shard, piece.offset_bytes, copy));
  return std::span<const std::byte>(copy);
}

// The beginning of a stored piece of strings that holds their lengths, however long these are.
Result<std::vector<std::byte>> string_head(const OpenCheckpoint& checkpoint,
                                           const StoredPart& part) {
  constexpr std::uint64_t kLengthBytesMax = 10;  // a varint of 64 bits
  constexpr std::uint64_t kSumBytes = 4;
  const std::uint64_t count = element_count(part.box);
  // A string takes a byte at least, so there are no more than bytes.
  const std::uint64_t most = std::min(count, part.span.size_bytes) * kLengthBytesMax + kSumBytes;
  std::vector<std::byte> head(std::min(most, part.span.size_bytes));
  CAIRN_CHECK(checkpoint.shards().copy_out(part.span.shard, part.span.offset_bytes, head));
  return head;
}

// The strings of one stored piece, whose bytes are checked already, as views into `stored`.
Result<std::vector<std::string_view>> stored_strings(const OpenCheckpoint& checkpoint,
                                                     std::size_t position, const StoredPart& part,
                                                     std::span<const std::byte> stored) {
  CAIRN_TRY(head, string_head(checkpoint, part));
  auto layout = format::tensorflow::decode_string_lengths(
      head, element_count(part.box), checkpoint.index().big_endian(), stored.size());
  if (!layout) {
    return Error{layout.error().code, 0,
                 checkpoint.shard_path(part.span.shard) + ": tensor " +
                     format::quoted(checkpoint.index().tensor_name(position)) + ", byte " +
                     std::to_string(part.span.offset_bytes + layout.error().byte_offset) + ": " +
                     layout.error().what};
  }
  std::vector<std::string_view> values;
  values.reserve(layout->lengths.size());
  const char* at = reinterpret_cast<const char*>(stored.data()) + layout->payload_offset;
  for (const std::uint64_t length : layout->lengths) {
    values.emplace_back(at, length);
    at += length;
  }
  return values;
}

}  // namespace

Result<std::span<const std::byte>> OpenCheckpoint::bytes(std::size_t position) const {
  CAIRN_TRY(span, row_major_span(position));
  return std::span<const std::byte>(shards_.in_memory(span));
}

Result<std::span<const std::byte>> OpenCheckpoint::strided_bytes(std::size_t position) const {
  CAIRN_TRY(span, checked_span(position));
  return std::span<const std::byte>(shards_.in_memory(span));
}

Result<format::Span> OpenCheckpoint::row_major_span(std::size_t position) const {
  if (!index().tensor(position).strides.empty())
    return refused(position, "is not stored row-major: use values() or read()");
  return checked_span(position);
}

Result<format::Span> OpenCheckpoint::checked_span(std::size_t position) const {
  CAIRN_CHECK(ensure_has_bytes());
  const auto tensor = index().tensor(position);
  const auto span = one_span(position);
  if (!span) {
    return refused(
        position,
        "is partitioned into " + std::to_string(tensor.slices_end - tensor.slices_begin) +
            " slices that are not contiguous: use values() or read(), or strings() for strings");
  }
  if (swap_width(tensor) != 1u) {
    return refused(position, "is stored big-endian: use values() or read()");
  }
  CAIRN_CHECK(shards_.ensure_not_faulted(span->shard));
  CAIRN_CHECK(checks_.ensure(position));
  CAIRN_CHECK(shards_.fetch(*span));
  return *span;
}

Error OpenCheckpoint::about(std::size_t position, Code code, const std::string& why) const {
  return {code, 0,
          parts_.prefix.string() + ": tensor " + format::quoted(index().tensor_name(position)) +
              " " + why};
}

Error OpenCheckpoint::refused(std::size_t position, const std::string& why) const {
  return about(position, Code::Unsupported, why);
}

Result<void> OpenCheckpoint::match_dtype(std::size_t position, DType wanted) const {
  const auto tensor = index().tensor(position);
  const bool raw = tensor.encoding == format::Encoding::Raw;
  if (raw && (tensor.dtype == wanted || format::storage_dtype(tensor.dtype) == wanted)) return {};
  const std::string stored(tensor.dtype == DType::Opaque ? tensor.opaque_dtype
                                                         : name(tensor.dtype));
  return about(position, Code::Invalid,
               "is " + stored + ", not " + std::string(name(wanted)) +
                   (tensor.dtype == DType::String ? ": use strings()" : ""));
}

Result<std::span<std::byte>> OpenCheckpoint::native(std::size_t position, DType wanted,
                                                    std::size_t alignment) const {
  CAIRN_CHECK(match_dtype(position, wanted));
  CAIRN_TRY(span, row_major_span(position));
  const std::span<std::byte> memory = shards_.in_memory(span);
  void* address = memory.data();
  std::size_t room = memory.size() + alignment;
  if (!memory.empty() && std::align(alignment, memory.size(), address, room) != memory.data()) {
    return refused(position, "starts at byte " + std::to_string(span.offset_bytes) + " of " +
                                 shard_path(span.shard) + ", which is not aligned to the " +
                                 std::to_string(alignment) +
                                 " bytes that a view needs: use values() or read()");
  }
  return memory;
}

Result<Strings> OpenCheckpoint::strings(std::size_t position, Slice slice) const {
  return place_strings(position, slice, nullptr)
      .transform([](std::vector<std::string_view> values) { return Strings(std::move(values)); });
}

Result<CopiedStrings> OpenCheckpoint::copy_strings(std::size_t position) const {
  CopiedStrings copied;
  CAIRN_TRY(values, place_strings(position, {}, &copied.bytes));
  copied.values = std::move(values);
  return copied;
}

Result<std::vector<std::string_view>> OpenCheckpoint::place_strings(
    std::size_t position, Slice slice, std::vector<std::vector<std::byte>>* copies) const {
  const auto tensor = index().tensor(position);
  if (tensor.encoding != format::Encoding::TensorFlowString) {
    return about(position, Code::Invalid,
                 "is " + describe(tensor.dtype, tensor.shape) + ", not strings");
  }
  CAIRN_CHECK(ensure_has_bytes());
  CAIRN_TRY(box, box_of_request(position, slice));
  if (slice.empty()) CAIRN_CHECK(checks_.ensure(position));
  CAIRN_TRY(parts, parts_of(position, box));
  std::vector<std::string_view> values(element_count(box));
  for (const StoredPart& part : parts) {
    CAIRN_CHECK(shards_.ensure_not_faulted(part.span.shard));
    CAIRN_CHECK(checks_.ensure(position, part));
    CAIRN_TRY(bytes, stored_bytes(*this, part.span, copies));
    CAIRN_TRY(stored, stored_strings(*this, position, part, bytes));
    const auto copy = [&](const Run& run) {
      std::copy_n(stored.begin() + static_cast<std::ptrdiff_t>(run.from_bytes), run.size_bytes,
                  values.begin() + static_cast<std::ptrdiff_t>(run.to_bytes));
      return Result<void>();
    };
    CAIRN_CHECK(for_each_run(part.box, box, part.shared, 1, copy));
  }
  return values;
}

Result<Box> OpenCheckpoint::box_of_request(std::size_t position, Slice slice) const {
  const auto tensor = index().tensor(position);
  auto box = box_of(slice, tensor.shape);
  if (box) return box;
  return Error{
      Code::Invalid, 0,
      parts_.prefix.string() + ": tensor " + format::quoted(tensor.name) + ": " + box.error().what};
}

Result<std::uint64_t> OpenCheckpoint::read_bytes(std::size_t position, Slice slice) const {
  const auto tensor = index().tensor(position);
  const bool as_stored = !tensor.partitioned() && tensor.strides.empty();
  if (slice.empty() && as_stored) return tensor.size_bytes;
  if (tensor.encoding == format::Encoding::TensorFlowString)
    return refused(position,
                   "holds strings: use strings() for a slice of them, or if they are "
                   "partitioned");
  if (!is_addressable(tensor))
    return refused(position, "can be read only as a whole, and only if it is not partitioned");
  CAIRN_TRY(box, box_of_request(position, slice));
  // Corrupt for a gap, so that the caller allocates no memory for elements that are not stored.
  if (tensor.partitioned()) CAIRN_CHECK(parts_of(position, box));
  return element_count(box) * (tensor.element_bits / 8);
}

Result<std::uint32_t> OpenCheckpoint::check_request(std::size_t position, std::span<std::byte> out,
                                                    Slice slice) const {
  CAIRN_TRY(wanted_bytes, read_bytes(position, slice));
  const auto tensor = index().tensor(position);
  if (wanted_bytes != out.size()) {
    return about(position, Code::Invalid,
                 "needs a buffer of " + std::to_string(wanted_bytes) + " bytes, not " +
                     std::to_string(out.size()));
  }
  const auto width = swap_width(tensor);
  if (!width) return refused(position, "is stored big-endian, but its dtype has no byte order");
  return *width;
}

Result<void> OpenCheckpoint::read(std::size_t position, std::span<std::byte> out,
                                  Slice slice) const {
  CAIRN_CHECK(ensure_has_bytes());
  CAIRN_TRY(width, check_request(position, out, slice));
  const auto tensor = index().tensor(position);
  if (slice.empty() && !tensor.partitioned() && tensor.strides.empty()) {
    CAIRN_CHECK(read_whole(position, out));
  } else {
    CAIRN_TRY(box, box_of_request(position, slice));
    CAIRN_CHECK(tensor.strides.empty() ? read_box(position, out, box)
                                       : read_strided(position, out, box));
  }
  swap_in_place(out, width);
  return {};
}

// One pass: each block is summed while it is in the cache. If the caller may have changed the
// memory, the file is checked instead.
Result<void> OpenCheckpoint::read_whole(std::size_t position, std::span<std::byte> out) const {
  const auto tensor = index().tensor(position);
  CAIRN_CHECK(shards_.ensure_not_faulted(tensor.span.shard));
  const bool in_one_pass = access() != Access::Private && tensor.span.crc32c &&
                           tensor.encoding == format::Encoding::Raw &&
                           !checks_.is_checked(position);
  if (!in_one_pass) CAIRN_CHECK(checks_.ensure(position));
  std::uint32_t crc = 0;
  for (std::uint64_t done = 0; done < out.size();) {
    const auto block =
        out.subspan(done, std::min<std::uint64_t>(kCachedBlockBytes, out.size() - done));
    CAIRN_CHECK(shards_.copy_out(tensor.span.shard, tensor.span.offset_bytes + done, block));
    if (in_one_pass) crc = format::crc32c(block, crc);
    done += block.size();
  }
  if (!in_one_pass) return {};
  if (crc != *tensor.span.crc32c) return damaged(position, tensor.span, crc);
  checks_.mark_checked(position);
  return {};
}

Result<void> OpenCheckpoint::read_box(std::size_t position, std::span<std::byte> out,
                                      const Box& box) const {
  const std::uint64_t element_bytes = index().tensor(position).element_bits / 8;
  CAIRN_TRY(parts, parts_of(position, box));
  for (const StoredPart& part : parts) {
    CAIRN_CHECK(shards_.ensure_not_faulted(part.span.shard));
    CAIRN_CHECK(checks_.ensure(position, part));
    RunCopier copier(*this, part.span);
    const auto copy = [&](const Run& run) {
      return copier.copy(run.from_bytes, out.subspan(run.to_bytes, run.size_bytes));
    };
    CAIRN_CHECK(for_each_run(part.box, box, part.shared, element_bytes, copy));
  }
  return {};
}

Result<void> OpenCheckpoint::prefetch(std::span<const std::string_view> names,
                                      const ExecOptions& exec) const {
  CAIRN_CHECK(ensure_has_bytes());
  constexpr std::uint64_t kStepBytes = 4u << 20;
  std::vector<format::Span> steps;
  std::uint64_t total_bytes = 0;
  const auto add = [&](const format::Span& span) {
    for (std::uint64_t done = 0; done < span.size_bytes; done += kStepBytes) {
      steps.push_back(
          {span.shard, span.offset_bytes + done, std::min(kStepBytes, span.size_bytes - done), {}});
    }
    total_bytes += span.size_bytes;
  };
  for (const std::string_view name : names) {
    CAIRN_TRY(position, find(name));
    const auto tensor = index().tensor(position);
    if (!tensor.partitioned()) add(tensor.span);
    for (std::uint32_t i = tensor.slices_begin; i < tensor.slices_end; ++i)
      add(index().slice(i).span);
  }
  for (std::uint32_t shard = 0; names.empty() && shard < index().shard_count(); ++shard) {
    add({shard, 0, index().shard(shard).identity.size_bytes, {}});
  }
  return os::run_parallel(exec, steps.size(), total_bytes,
                          [&](std::size_t i) -> Result<std::uint64_t> {
                            CAIRN_CHECK(shards_.populate(steps[i]));
                            return steps[i].size_bytes;
                          });
}

}  // namespace cairn::internal
