// The rules for what few indexes have, each announced by a feature: the file that an index was made
// from, and tensors that are not row-major.

#include <optional>
#include <string>

#include "format/cairn/index_layout.h"
#include "format/checked.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/sentence.h"

namespace cairn::format::index {

namespace {

template <class... Parts>
DecodeError refused(std::span<const std::byte> file, const void* where, const Parts&... parts) {
  const auto offset = static_cast<const std::byte*>(where) - file.data();
  return corrupt(static_cast<std::uint64_t>(offset), sentence(parts...));
}

struct Strided {
  const fbs::TensorRecord& record;
  std::string name;  // quoted
  std::span<const std::int64_t> shape;
  bool partitioned;
};

// Of one whose ends are known to ascend.
Strided strided_tensor(const Columns& columns, std::size_t position) {
  const Starts starts = starts_of(columns.tensors, position);
  const fbs::TensorRecord& record = columns.tensors[position];
  return {record, quoted(part(columns.names, starts.name, record.name_end())),
          part(columns.dims, starts.dims, record.dims_end()), starts.slices != record.slices_end()};
}

// How many elements lie from the first to the last; nothing: more than 64 bits hold.
std::optional<std::uint64_t> reach_of(std::span<const std::int64_t> shape,
                                      std::span<const std::int64_t> strides) {
  std::optional<std::uint64_t> reach = 1;
  for (std::size_t i = 0; i < strides.size() && reach; ++i) {
    const auto steps = static_cast<std::uint64_t>(shape[i] == 0 ? 0 : shape[i] - 1);
    const auto part = checked_mul(steps, static_cast<std::uint64_t>(strides[i]));
    reach = part ? checked_add(*reach, *part) : std::nullopt;
  }
  return reach;
}

// Why the strides do not fit the tensor; empty: they do. There are enough bytes for each element to
// have its own: else a small file could claim any amount.
std::string misfit(const Strided& tensor, std::span<const std::int64_t> strides) {
  const fbs::TensorRecord& record = tensor.record;
  if (strides.size() != tensor.shape.size()) return "the number of its strides is not its rank";
  if (record.encoding() != 0 || record.bits() == 0 || record.bits() % 8 != 0 ||
      tensor.partitioned || tensor.shape.empty()) {
    return sentence("elements of ", record.bits(), " bits in ", tensor.shape.size(),
                    " dimensions have no strides", tensor.partitioned ? " in slices" : "");
  }
  for (const std::int64_t stride : strides) {
    if (stride < 0) return sentence("a stride is ", stride, ", but strides must not be negative");
  }
  const std::uint64_t count = element_count(tensor.shape).value_or(0);
  const auto reach = reach_of(tensor.shape, strides);
  const auto due = reach ? checked_mul(count == 0 ? 0 : *reach, record.bits() / 8) : std::nullopt;
  if (due == record.size_bytes() && (count == 0 || *reach >= count)) return {};
  return sentence(record.size_bytes(), " bytes do not hold ", count,
                  " elements with these strides");
}

}  // namespace

bool is_bare(std::string_view name) noexcept {
  return !name.empty() && name.size() <= limits::kShardNameBytesMax && name != "." &&
         name != ".." && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

Decoded<void> check_source_index(const fbs::Index& root, std::span<const std::byte> file) {
  const fbs::SourceIndex* source = root.source_index();
  if (source == nullptr) return {};
  const std::string_view name = text_of(*source->name());
  if (!is_bare(name))
    return refused(file, source, "the index's source ", quoted(name),
                   ": the name must not contain a directory");
  if (source->ranges() == nullptr || source->ranges()->size() == 0)
    return refused(file, source, "the index's source has no ranges");
  std::uint64_t end = 0;
  for (const fbs::RangeRecord* range : *source->ranges()) {
    if (range->offset_bytes() < end || range->size_bytes() == 0 ||
        !inside(range->offset_bytes(), range->size_bytes(), source->identity()->size_bytes())) {
      return refused(file, range, "the index's source: ", range->size_bytes(), " bytes at byte ",
                     range->offset_bytes(), " are outside of its ",
                     source->identity()->size_bytes(), " bytes, or before byte ", end);
    }
    end = range->offset_bytes() + range->size_bytes();
  }
  return {};
}

Decoded<void> check_strides(const Columns& columns, const RareColumns& rare,
                            std::span<const std::byte> file) {
  std::int64_t before = -1;
  for (std::size_t i = 0; i < rare.strided.size(); ++i) {
    const fbs::StridedRecord& record = rare.strided[i];
    if (record.tensor() >= columns.tensors.size() || record.tensor() <= before) {
      return refused(file, &record, "strides of tensor number ", record.tensor(),
                     ": tensors must be in ascending order");
    }
    before = record.tensor();
    const std::uint32_t begin = strides_start_of(rare, i);
    const std::uint32_t end = record.strides_end();
    const Strided tensor = strided_tensor(columns, record.tensor());
    if (end < begin || end > rare.strides.size())
      return refused(file, &record, "strides of tensor ", tensor.name,
                     " end after the end of their column");
    const std::string why = misfit(tensor, part(rare.strides, begin, end));
    if (!why.empty()) return refused(file, &tensor.record, "tensor ", tensor.name, ": ", why);
  }
  if (strides_start_of(rare, rare.strided.size()) == rare.strides.size()) return {};
  return refused(file, rare.strides.data(), "there are strides that belong to no tensor");
}

}  // namespace cairn::format::index
