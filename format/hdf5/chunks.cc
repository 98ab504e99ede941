#include "format/hdf5/chunks.h"

#include <algorithm>
#include <bit>

#include "format/checked.h"
#include "format/hdf5/btree1.h"
#include "format/hdf5/btree2.h"
#include "format/hdf5/chunk_arrays.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/sentence.h"

namespace cairn::format::hdf5 {

// ---- Grid ---------------------------------------------------------------------------------------

ChunkGrid::ChunkGrid(const Dataset& set) : chunk_bytes_(set.type.size_bytes) {
  for (std::size_t i = 0; i < set.layout.chunk.size(); ++i) {
    const std::uint64_t size = set.space.dimensions[i];
    const std::uint64_t part = set.layout.chunk[i];
    counts_.push_back(size / part + (size % part != 0 ? 1 : 0));
    count_ *= counts_.back();
    chunk_bytes_ *= part;
  }
}

std::uint64_t ChunkGrid::number(const std::vector<std::uint64_t>& position) const noexcept {
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    if (position[i] >= counts_[i]) return count_;
    number = number * counts_[i] + position[i];
  }
  return number;
}

std::vector<std::uint64_t> ChunkGrid::position(std::uint64_t number) const {
  std::vector<std::uint64_t> position(counts_.size());
  for (std::size_t i = counts_.size(); i-- > 0;) {
    position[i] = number % counts_[i];
    number /= counts_[i];
  }
  return position;
}

// ---- Indexes ------------------------------------------------------------------------------------

namespace {

class ChunkReader {
 public:
  ChunkReader(File& file, const Dataset& set) : file_(file), set_(set), grid_(set) {}

  Decoded<std::vector<Chunk>> read() {
    if (grid_.count() == 0 || file_.is_undefined(set_.layout.address)) return chunks_;
    if (auto done = read_index(); !done) return std::move(done).error();
    std::ranges::sort(chunks_, {}, &Chunk::number);
    const auto twice = std::ranges::adjacent_find(chunks_, {}, &Chunk::number);
    if (twice != chunks_.end())
      return corrupt(file_.place(twice->address), "two chunks have the same elements");
    if (auto done = check_apart(); !done) return std::move(done).error();
    return std::move(chunks_);
  }

 private:
  Decoded<void> read_index() {
    const Layout& layout = set_.layout;
    switch (layout.index) {
      case ChunkIndex::Single: {
        const bool filtered = layout.single_bytes != 0;
        return add({0, layout.address, filtered ? layout.single_bytes : grid_.chunk_bytes(),
                    filtered ? layout.single_mask : 0});
      }
      case ChunkIndex::Implicit:
        return read_implicit();
      case ChunkIndex::FixedArray:
      case ChunkIndex::ExtensibleArray:
        return read_array();
      case ChunkIndex::BTree2:
        return read_btree2();
      case ChunkIndex::BTree1:
        return read_btree1();
    }
    return {};
  }

  Decoded<void> add(const Chunk& chunk) {
    if (chunk.number >= grid_.count() || file_.is_undefined(chunk.address)) return {};
    if (!inside(file_.place(chunk.address), chunk.stored_bytes, file_.size_bytes()) ||
        file_.place(chunk.address) < chunk.address)
      return corrupt(file_.place(chunk.address),
                     sentence("a chunk of ", chunk.stored_bytes, " bytes ends behind the file's ",
                              file_.size_bytes(), " bytes: it is truncated"));
    if (chunks_.size() == limits::kHdf5ChunksMax)
      return unsupported(file_.place(chunk.address),
                         sentence("it has more chunks than the limit of ", limits::kHdf5ChunksMax));
    chunks_.push_back(chunk);
    return {};
  }

  Decoded<void> check_apart() const {
    std::vector<FileRange> places;
    places.reserve(chunks_.size());
    for (const Chunk& chunk : chunks_) places.push_back({chunk.address, chunk.stored_bytes});
    std::ranges::sort(places, {}, &FileRange::offset_bytes);
    for (std::size_t i = 1; i < places.size(); ++i) {
      if (places[i].offset_bytes - places[i - 1].offset_bytes >= places[i - 1].size_bytes) continue;
      return corrupt(file_.place(places[i].offset_bytes), "two chunks lie over each other");
    }
    return {};
  }

  // ---- Without an index -------------------------------------------------------------------------

  // How many chunks there are room for behind each dimension: what an array's numbers count by.
  std::vector<std::uint64_t> room_counts() const {
    std::vector<std::uint64_t> counts;
    for (std::size_t i = 0; i < set_.layout.chunk.size(); ++i) {
      const std::uint64_t size = set_.space.dimensions_max[i];
      const std::uint64_t part = set_.layout.chunk[i];
      counts.push_back(size == Dataspace::kUnlimited ? size
                                                     : size / part + (size % part != 0 ? 1 : 0));
    }
    return counts;
  }

  Decoded<void> read_implicit() {
    const std::vector<std::uint64_t> room = room_counts();
    if (grid_.count() > file_.size_bytes() / grid_.chunk_bytes())
      return corrupt(file_.place(set_.layout.address),
                     sentence(grid_.count(), " chunks of ", grid_.chunk_bytes(),
                              " bytes are more than the file has"));
    for (std::uint64_t number = 0; number < grid_.count(); ++number) {
      const auto position = grid_.position(number);
      std::uint64_t at = 0;
      for (std::size_t i = 0; i < room.size(); ++i) at = at * room[i] + position[i];
      const auto offset = checked_mul(at, grid_.chunk_bytes());
      const auto address = offset ? checked_add(*offset, set_.layout.address) : std::nullopt;
      if (!address) return corrupt(file_.place(set_.layout.address), "a chunk lies nowhere");
      if (auto done = add({number, *address, grid_.chunk_bytes(), 0}); !done) return done;
    }
    return {};
  }

  // ---- Arrays -----------------------------------------------------------------------------------

  // An array that can grow counts by the dimension that can first.
  std::size_t first_dimension() const {
    if (set_.layout.index != ChunkIndex::ExtensibleArray) return 0;
    const auto& most = set_.space.dimensions_max;
    const auto found = std::ranges::find(most, Dataspace::kUnlimited);
    return found == most.end() ? 0 : static_cast<std::size_t>(found - most.begin());
  }

  Decoded<void> read_array() {
    std::vector<std::uint64_t> room = room_counts();
    const std::size_t first = first_dimension();
    std::rotate(room.begin(), room.begin() + static_cast<std::ptrdiff_t>(first),
                room.begin() + static_cast<std::ptrdiff_t>(first) + 1);
    std::uint64_t below = 1;  // chunks of one in the first dimension
    for (std::size_t i = 1; i < room.size(); ++i) {
      const auto product = checked_mul(below, room[i]);
      if (!product || *product == 0)
        return corrupt(file_.place(set_.layout.address), "its chunks cannot be counted");
      below = *product;
    }
    const auto visit = [&](std::uint64_t number, Cursor& cursor, bool filtered) {
      std::vector<std::uint64_t> position(room.size());
      std::uint64_t left = number;
      for (std::size_t i = room.size(); i-- > 1;) {
        position[i] = left % room[i];
        left /= room[i];
      }
      position[0] = left;
      std::rotate(position.begin(), position.begin() + 1,
                  position.begin() + static_cast<std::ptrdiff_t>(first) + 1);
      return take_element(position, cursor, filtered);
    };
    const bool fixed = set_.layout.index == ChunkIndex::FixedArray;
    return fixed ? visit_fixed_array(file_, set_.layout.address, visit)
                 : visit_extensible_array(file_, set_.layout.address, visit);
  }

  unsigned size_width() const noexcept {
    if (set_.layout.version > 4) return file_.widths().length_bytes;
    return std::min(8u, 1 + static_cast<unsigned>(std::bit_width(grid_.chunk_bytes()) + 7) / 8);
  }

  Decoded<void> take_element(const std::vector<std::uint64_t>& position, Cursor& cursor,
                             bool filtered) {
    Chunk chunk{grid_.number(position), cursor.offset(), grid_.chunk_bytes(), 0};
    if (filtered) {
      chunk.stored_bytes = cursor.number(size_width());
      chunk.skipped_filters = static_cast<std::uint32_t>(cursor.number(4));
    }
    if (cursor.failed())
      return corrupt(cursor.at(), "an element of an array of chunks is too short");
    return add(chunk);
  }

  // ---- Trees ------------------------------------------------------------------------------------

  Decoded<void> read_btree2() {
    const bool filtered = !set_.filters.empty();
    return visit_records(file_, set_.layout.address,
                         filtered ? RecordType::FilteredChunk : RecordType::Chunk,
                         [&](Cursor record) -> Decoded<void> {
                           Chunk chunk{0, record.offset(), grid_.chunk_bytes(), 0};
                           if (filtered) {
                             chunk.stored_bytes = record.number(size_width());
                             chunk.skipped_filters = static_cast<std::uint32_t>(record.number(4));
                           }
                           std::vector<std::uint64_t> position;
                           for (std::size_t i = 0; i < set_.layout.chunk.size(); ++i)
                             position.push_back(record.number(8));
                           if (record.failed())
                             return corrupt(record.at(), "a record of a chunk is too short");
                           chunk.number = grid_.number(position);
                           return add(chunk);
                         });
  }

  struct Node {
    std::uint64_t address = 0;
    std::optional<unsigned> level;
  };

  Decoded<void> read_btree1() {
    std::vector<Node> nodes{{set_.layout.address, std::nullopt}};
    while (!nodes.empty()) {
      const Node node = nodes.back();
      nodes.pop_back();
      if (auto done = read_node(node, nodes); !done) return done;
    }
    return {};
  }

  Decoded<void> read_node(const Node& node, std::vector<Node>& nodes) {
    const unsigned offset_bytes = file_.widths().offset_bytes;
    auto head = read_btree1_head(file_, {node.address, node.level, BTree1::Chunks});
    if (!head) return std::move(head).error();
    const auto [level, count, head_bytes] = *head;
    const std::size_t rank = set_.layout.chunk.size();
    const std::uint64_t entry_bytes = 8 + 8 * (rank + 1) + offset_bytes;
    auto block = file_.read({node.address + head_bytes, count * entry_bytes});
    if (!block) return std::move(block).error();
    Cursor cursor = file_.cursor(*block);
    for (std::uint64_t i = 0; i < count; ++i) {
      Chunk chunk;
      chunk.stored_bytes = cursor.number(4);
      chunk.skipped_filters = static_cast<std::uint32_t>(cursor.number(4));
      std::vector<std::uint64_t> position;
      for (std::size_t j = 0; j < rank; ++j) {
        const std::uint64_t at = cursor.number(8);
        if (level == 0 && at % set_.layout.chunk[j] != 0)
          return corrupt(cursor.at(),
                         sentence("a chunk begins at ", at, " of a dimension of which each has ",
                                  set_.layout.chunk[j]));
        position.push_back(at / set_.layout.chunk[j]);
      }
      cursor.skip(8);
      chunk.address = cursor.offset();
      if (level != 0) {
        nodes.push_back({chunk.address, level - 1});
        continue;
      }
      chunk.number = grid_.number(position);
      if (auto done = add(chunk); !done) return done;
    }
    return {};
  }

  File& file_;
  const Dataset& set_;
  const ChunkGrid grid_;
  std::vector<Chunk> chunks_;
};

}  // namespace

Decoded<std::vector<Chunk>> read_chunks(File& file, const Dataset& set) {
  return ChunkReader(file, set).read();
}

}  // namespace cairn::format::hdf5
