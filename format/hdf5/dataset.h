#pragma once

// What a dataset's messages say of its elements: where and how they are stored.

#include <optional>
#include <string>
#include <vector>

#include "format/hdf5/datatype.h"
#include "format/hdf5/object.h"

namespace cairn::format::hdf5 {

// How the chunks of a dataset are found.
enum class ChunkIndex : std::uint8_t {
  Single = 1,
  Implicit = 2,
  FixedArray = 3,
  ExtensibleArray = 4,
  BTree2 = 5,
  BTree1 = 6,  // of layouts before version 4
};

struct Layout {
  enum class Kind : std::uint8_t { Compact = 0, Contiguous = 1, Chunked = 2, Virtual = 3 };
  Kind kind = Kind::Contiguous;
  unsigned version = 3;
  std::uint64_t address = 0;                // of the elements, or of the chunks' index
  std::optional<std::uint64_t> size_bytes;  // of the elements
  std::uint64_t compact_at = 0;             // in the file

  std::vector<std::uint64_t> chunk;  // its dimensions, without that of an element's bytes
  std::uint64_t chunk_element_bytes = 0;
  ChunkIndex index = ChunkIndex::BTree1;
  bool edges_unfiltered = false;
  std::uint64_t single_bytes = 0;  // of a single chunk that is filtered
  std::uint32_t single_mask = 0;
  unsigned page_bits = 0;  // of a fixed array
};

enum class FilterId : std::uint16_t { Deflate = 1, Shuffle = 2, Fletcher32 = 3 };

struct Filter {
  std::uint16_t id = 0;
  std::string name;
  std::vector<std::uint32_t> values;
};

struct Dataset {
  Datatype type;
  Dataspace space;
  Layout layout;
  std::vector<Filter> filters;
  std::vector<std::byte> fill;  // an element that was never written; empty: zeros
  bool is_external = false;

  // Of all elements. As many as that are addressable, which read_dataset() has checked.
  std::uint64_t element_count = 0;
  std::uint64_t size_bytes() const noexcept { return element_count * type.size_bytes; }
};

bool is_dataset(const Object& object) noexcept;

// Errors: Corrupt; Unsupported (a version that is not known).
Decoded<Dataset> read_dataset(File& file, const Object& object);

// What of the filters can be undone here is known by its number.
bool is_known(const Filter& filter) noexcept;

}  // namespace cairn::format::hdf5
