#include "format/hdf5/dataset.h"

#include <algorithm>

#include "format/checked.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/sentence.h"

namespace cairn::format::hdf5 {
namespace {

// ---- Layout -------------------------------------------------------------------------------------

// Versions 1 and 2 have the dimensions in all layouts.
Decoded<Layout> take_old_layout(Cursor& cursor, Layout layout) {
  const unsigned rank = cursor.byte();
  layout.kind = static_cast<Layout::Kind>(cursor.byte());
  cursor.skip(5);
  if (layout.kind != Layout::Kind::Compact) layout.address = cursor.offset();
  for (unsigned i = 0; i < rank && !cursor.failed(); ++i) layout.chunk.push_back(cursor.number(4));
  if (layout.kind != Layout::Kind::Compact) return layout;
  layout.size_bytes = cursor.number(4);
  layout.compact_at = cursor.at();
  cursor.skip(*layout.size_bytes);
  return layout;
}

Decoded<Layout> take_chunks(Cursor& cursor, Layout layout) {
  const unsigned rank = cursor.byte();
  if (layout.version == 3) layout.address = cursor.offset();
  const unsigned width_bytes = layout.version == 3 ? 4 : cursor.byte();
  for (unsigned i = 0; i < rank && !cursor.failed(); ++i)
    layout.chunk.push_back(cursor.number(width_bytes));
  return layout;
}

Decoded<Layout> take_new_chunks(Cursor& cursor, Layout layout) {
  constexpr unsigned kEdgesUnfiltered = 1;
  constexpr unsigned kSingleFiltered = 2;
  const unsigned flags = cursor.byte();
  layout.edges_unfiltered = (flags & kEdgesUnfiltered) != 0;
  auto taken = take_chunks(cursor, std::move(layout));
  if (!taken) return taken;
  const std::uint64_t at = cursor.at();
  const unsigned index = cursor.byte();
  taken->index = static_cast<ChunkIndex>(index);
  switch (taken->index) {
    case ChunkIndex::Single:
      if ((flags & kSingleFiltered) == 0) break;
      taken->single_bytes = cursor.length();
      taken->single_mask = static_cast<std::uint32_t>(cursor.number(4));
      break;
    case ChunkIndex::Implicit:
      break;
    case ChunkIndex::FixedArray:
      taken->page_bits = cursor.byte();
      break;
    case ChunkIndex::ExtensibleArray:
      cursor.skip(5);  // its header says the same
      break;
    case ChunkIndex::BTree2:
      cursor.skip(6);
      break;
    default:
      return unsupported(at, sentence("its chunks have an index of the unknown type ", index));
  }
  taken->address = cursor.offset();
  return taken;
}

Decoded<Layout> take_new_layout(Cursor& cursor, Layout layout) {
  const std::uint64_t at = cursor.at();
  const unsigned kind = cursor.byte();
  layout.kind = static_cast<Layout::Kind>(kind);
  switch (layout.kind) {
    case Layout::Kind::Compact:
      layout.size_bytes = cursor.number(2);
      layout.compact_at = cursor.at();
      cursor.skip(*layout.size_bytes);
      return layout;
    case Layout::Kind::Contiguous:
      layout.address = cursor.offset();
      layout.size_bytes = cursor.length();
      return layout;
    case Layout::Kind::Chunked:
      return layout.version == 3 ? take_chunks(cursor, std::move(layout))
                                 : take_new_chunks(cursor, std::move(layout));
    case Layout::Kind::Virtual:
      return layout;
  }
  return unsupported(at, sentence("its layout, ", kind, ", is not known"));
}

Decoded<Layout> decode_layout(Cursor cursor) {
  constexpr unsigned kVersionMax = 5;
  const std::uint64_t at = cursor.at();
  Layout layout;
  layout.version = cursor.byte();
  if (layout.version == 0 || layout.version > kVersionMax)
    return unsupported(at, sentence("its layout is of version ", layout.version, ", but only 1 to ",
                                    kVersionMax, " are known"));
  auto taken = layout.version < 3 ? take_old_layout(cursor, std::move(layout))
                                  : take_new_layout(cursor, std::move(layout));
  if (!taken) return taken;
  if (cursor.failed() || taken->kind > Layout::Kind::Virtual)
    return corrupt(at, "a layout is malformed");
  if (taken->kind != Layout::Kind::Chunked) return taken;
  if (taken->chunk.empty()) return corrupt(at, "chunks have no dimension");
  taken->chunk_element_bytes = taken->chunk.back();
  taken->chunk.pop_back();
  return taken;
}

// ---- Filters ------------------------------------------------------------------------------------

Decoded<std::vector<Filter>> decode_filters(Cursor cursor) {
  constexpr unsigned kOwnNames = 256;  // filters from here on have a name in version 2
  const std::uint64_t at = cursor.at();
  const unsigned version = cursor.byte();
  const unsigned count = cursor.byte();
  if (version != 1 && version != 2)
    return unsupported(
        at, sentence("its filters are of version ", version, ", but only 1 and 2 are known"));
  if (version == 1) cursor.skip(6);
  std::vector<Filter> filters;
  for (unsigned i = 0; i < count && !cursor.failed(); ++i) {
    Filter filter;
    filter.id = static_cast<std::uint16_t>(cursor.number(2));
    const bool has_name = version == 1 || filter.id >= kOwnNames;
    const std::uint64_t name_bytes = has_name ? cursor.number(2) : 0;
    cursor.skip(2);
    const std::uint64_t value_count = cursor.number(2);
    const std::string_view name = as_text(cursor.take(name_bytes));
    filter.name = name.substr(0, name.find('\0'));
    for (std::uint64_t j = 0; j < value_count && !cursor.failed(); ++j)
      filter.values.push_back(static_cast<std::uint32_t>(cursor.number(4)));
    if (version == 1 && value_count % 2 != 0) cursor.skip(4);
    filters.push_back(std::move(filter));
  }
  constexpr std::size_t kFiltersMax = 32;  // bits of a chunk's mask
  if (cursor.failed() || filters.size() > kFiltersMax)
    return corrupt(at, "what says which filters a dataset has is malformed");
  return filters;
}

// ---- Fill value ---------------------------------------------------------------------------------

Decoded<std::vector<std::byte>> decode_fill(Cursor cursor, bool is_old) {
  const std::uint64_t at = cursor.at();
  bool defined = true;
  if (!is_old) {
    const unsigned version = cursor.byte();
    if (version == 0 || version > 3)
      return unsupported(
          at, sentence("its fill value is of version ", version, ", but only 1 to 3 are known"));
    if (version == 3) {
      defined = (cursor.byte() & 0x20) != 0;
    } else {
      cursor.skip(2);
      defined = cursor.byte() != 0 || version == 1;
    }
  }
  std::vector<std::byte> value;
  if (defined) {
    const auto size = static_cast<std::int32_t>(cursor.number(4));
    const auto bytes = cursor.take(static_cast<std::uint64_t>(std::max(size, 0)));
    value.assign(bytes.begin(), bytes.end());
  }
  if (cursor.failed()) return corrupt(at, "a fill value is too short");
  return value;
}

// ---- Checks -------------------------------------------------------------------------------------

constexpr std::uint64_t kChunkBytesMax = std::uint64_t{1} << 48;  // HDF5's: 2^32, or any in 2.0

Decoded<void> check_shape(Dataset& set) {
  std::vector<std::int64_t> shape = set.type.inner;
  for (const std::uint64_t size : set.space.dimensions) {
    const auto narrow = fits<std::int64_t>(size);
    if (!narrow) return corrupt(0, sentence("a dimension of ", size));
    shape.push_back(*narrow);
  }
  const auto count = element_count(shape);
  if (!count) return corrupt(0, "its shape is too large");
  std::uint64_t inner = 1;
  for (const std::int64_t size : set.type.inner) inner *= static_cast<std::uint64_t>(size);
  set.element_count = *count / inner;
  if (!checked_mul(set.element_count, set.type.size_bytes))
    return corrupt(0, "its shape is too large");
  if (set.layout.kind != Layout::Kind::Chunked) return {};
  if (set.layout.chunk.empty() || set.layout.chunk.size() != set.space.dimensions.size() ||
      set.layout.chunk_element_bytes != set.type.size_bytes)
    return corrupt(0, sentence("its chunks have ", set.layout.chunk.size(), " dimensions of ",
                               set.layout.chunk_element_bytes, " bytes, and its elements ",
                               set.space.dimensions.size(), " of ", set.type.size_bytes));
  std::uint64_t bytes = set.type.size_bytes;
  for (const std::uint64_t size : set.layout.chunk) {
    const auto product = checked_mul(bytes, size);
    if (!product || size == 0 || *product > kChunkBytesMax)
      return corrupt(0, "the dimensions of its chunks are malformed");
    bytes = *product;
  }
  return {};
}

template <class Decode>
auto decode_message(File& file, const Message& message, const Decode& decode)
    -> decltype(decode(std::declval<Cursor>())) {
  auto resolved = Resolved::of(file, message);
  if (!resolved) return std::move(resolved).error();
  return decode(resolved->cursor());
}

}  // namespace

bool is_dataset(const Object& object) noexcept {
  return object.find(MessageType::Datatype) != nullptr &&
         object.find(MessageType::Dataspace) != nullptr;
}

bool is_known(const Filter& filter) noexcept {
  return filter.id >= static_cast<std::uint16_t>(FilterId::Deflate) &&
         filter.id <= static_cast<std::uint16_t>(FilterId::Fletcher32);
}

Decoded<Dataset> read_dataset(File& file, const Object& object) {
  Dataset set;
  auto type = decode_message(file, *object.find(MessageType::Datatype), decode_datatype);
  if (!type) return std::move(type).error();
  set.type = *std::move(type);
  auto space = decode_message(file, *object.find(MessageType::Dataspace), decode_dataspace);
  if (!space) return std::move(space).error();
  set.space = *std::move(space);
  const Message* const layout_message = object.find(MessageType::Layout);
  if (layout_message == nullptr) return corrupt(0, "it has no layout");
  auto layout = decode_message(file, *layout_message, decode_layout);
  if (!layout) return std::move(layout).error();
  set.layout = *std::move(layout);
  if (const Message* const message = object.find(MessageType::Filters)) {
    auto filters = decode_message(file, *message, decode_filters);
    if (!filters) return std::move(filters).error();
    set.filters = *std::move(filters);
  }
  const Message* const fill = object.find(MessageType::FillValue);
  const Message* const old = object.find(MessageType::OldFillValue);
  if (fill != nullptr || old != nullptr) {
    auto value = decode_message(file, fill != nullptr ? *fill : *old, [&](Cursor cursor) {
      return decode_fill(cursor, fill == nullptr);
    });
    if (!value) return std::move(value).error();
    set.fill = *std::move(value);
  }
  if (!set.fill.empty() && set.fill.size() != set.type.size_bytes)
    return corrupt(0, sentence("its fill value has ", set.fill.size(), " bytes, and an element ",
                               set.type.size_bytes));
  set.is_external = object.find(MessageType::ExternalFiles) != nullptr;
  if (auto done = check_shape(set); !done) return std::move(done).error();
  return set;
}

}  // namespace cairn::format::hdf5
