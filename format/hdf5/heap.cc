#include "format/hdf5/heap.h"

#include <algorithm>
#include <bit>

#include "format/checked.h"
#include "format/hdf5/btree2.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/sentence.h"

namespace cairn::format::hdf5 {

// ---- Local heap ---------------------------------------------------------------------------------

Decoded<LocalHeap> LocalHeap::open(File& file, std::uint64_t address) {
  const std::uint64_t size = 8 + 2 * file.widths().length_bytes + file.widths().offset_bytes;
  auto header = file.read_signed({address, size}, {"HEAP", 0, false});
  if (!header) return std::move(header).error();
  Cursor cursor = file.cursor(*header);
  cursor.skip(8);
  FileRange range;
  range.size_bytes = cursor.length();
  cursor.skip(file.widths().length_bytes);
  range.offset_bytes = cursor.offset();
  auto data = file.read(range);
  if (!data) return std::move(data).error();
  LocalHeap heap;
  heap.data_ = *std::move(data);
  return heap;
}

Decoded<std::string_view> LocalHeap::text_at(std::uint64_t offset) const {
  Cursor cursor(data_.bytes, data_.at, {});
  cursor.skip(offset);
  const std::string_view text = cursor.text();
  if (cursor.failed())
    return corrupt(data_.at, sentence("a name at ", offset, " of a heap of ", data_.bytes.size(),
                                      " bytes does not end in it"));
  return text;
}

// ---- Fractal heap -------------------------------------------------------------------------------

namespace {

constexpr std::uint64_t kSumBytes = 4;

}  // namespace

struct FractalHeap::Child {
  std::uint64_t address = 0;
  std::uint64_t heap_offset = 0;
  std::uint64_t size_bytes = 0;  // of a direct block
  std::uint64_t rows = 0;        // of an indirect one; 0: it is direct
};

Decoded<FractalHeap> FractalHeap::open(File& file, std::uint64_t address) {
  FractalHeap heap(file);
  if (auto done = heap.read_header(address); !done) return std::move(done).error();
  if (auto done = heap.read_blocks(); !done) return std::move(done).error();
  return heap;
}

Decoded<void> FractalHeap::read_header(std::uint64_t address) {
  address_ = address;
  const Widths widths = file_->widths();
  const std::uint64_t size = 26 + 12 * widths.length_bytes + 3 * widths.offset_bytes;
  auto start = file_->read({address, 9});
  if (!start) return std::move(start).error();
  if (load_le<std::uint16_t>(start->bytes.data() + 7) != 0)
    return unsupported(start->at, "its links or attributes lie in a heap that is compressed");
  auto block = file_->read_signed({address, size}, {"FRHP"});
  if (!block) return std::move(block).error();
  Cursor cursor = file_->cursor(*block);
  cursor.skip(5);
  id_bytes_ = static_cast<unsigned>(cursor.number(2));
  cursor.skip(2);
  has_sums_ = (cursor.byte() & 2) != 0;
  managed_bytes_max_ = cursor.number(4);
  cursor.skip(widths.length_bytes);
  huge_tree_address_ = cursor.offset();
  cursor.skip(widths.length_bytes + widths.offset_bytes);  // of free space
  cursor.skip(8 * widths.length_bytes);                    // how much of what is in it
  width_ = cursor.number(2);
  start_bytes_ = cursor.length();
  direct_bytes_max_ = cursor.length();
  heap_bits_ = static_cast<unsigned>(cursor.number(2));
  cursor.skip(2);
  root_address_ = cursor.offset();
  root_rows_ = cursor.number(2);
  const bool sane = !cursor.failed() && width_ != 0 && std::has_single_bit(start_bytes_) &&
                    std::has_single_bit(direct_bytes_max_) && start_bytes_ <= direct_bytes_max_ &&
                    direct_bytes_max_ <= limits::kHdf5HeapBlockBytesMax && heap_bits_ != 0 &&
                    heap_bits_ <= 64 && id_bytes_ != 0;
  if (sane) return {};
  return corrupt(block->at,
                 sentence("a heap of ", width_, " blocks in a row, of ", start_bytes_, " to ",
                          direct_bytes_max_, " bytes, with offsets of ", heap_bits_, " bits"));
}

// The first two rows have blocks of the first size, each one after them twice as large ones.
std::uint64_t FractalHeap::row_block_bytes(std::uint64_t row) const noexcept {
  return row == 0 ? start_bytes_ : start_bytes_ << (row - 1);
}

std::uint64_t FractalHeap::direct_rows() const noexcept {
  return static_cast<std::uint64_t>(std::bit_width(direct_bytes_max_) -
                                    std::bit_width(start_bytes_)) +
         2;
}

Decoded<void> FractalHeap::read_blocks() {
  if (file_->is_undefined(root_address_)) return {};
  std::vector<Child> children{{root_address_, 0, start_bytes_, root_rows_}};
  while (!children.empty()) {
    const Child child = children.back();
    children.pop_back();
    auto done = child.rows == 0 ? read_direct(child) : read_indirect(child, children);
    if (!done) return done;
  }
  return {};
}

Decoded<void> FractalHeap::read_direct(const Child& child) {
  auto block = file_->read_signed({child.address, child.size_bytes}, {"FHDB", 0, false});
  if (!block) return std::move(block).error();
  if (has_sums_) {
    const std::uint64_t sum_at = 5 + file_->widths().offset_bytes + (heap_bits_ + 7) / 8;
    if (block->bytes.size() < sum_at + kSumBytes) return corrupt(block->at, "FHDB is too short");
    std::vector<std::byte> zeroed = block->bytes;
    std::fill_n(zeroed.begin() + static_cast<std::ptrdiff_t>(sum_at), kSumBytes, std::byte{});
    const auto stored = load_le<std::uint32_t>(block->bytes.data() + sum_at);
    if (file_->checks_sums() && stored != lookup3(zeroed))
      return corrupt(block->at, "a heap's block has another checksum than it says: it is damaged");
  }
  blocks_.emplace(child.heap_offset, *std::move(block));
  return {};
}

Decoded<void> FractalHeap::read_indirect(const Child& child, std::vector<Child>& children) {
  constexpr std::uint64_t kRowsMax = 64;
  const std::uint64_t head_bytes = 5 + file_->widths().offset_bytes + (heap_bits_ + 7) / 8;
  if (child.rows > kRowsMax)
    return corrupt(file_->place(child.address),
                   sentence("a heap's block has ", child.rows, " rows"));
  const std::uint64_t size =
      head_bytes + child.rows * width_ * file_->widths().offset_bytes + kSumBytes;
  auto block = file_->read_signed({child.address, size}, {"FHIB"});
  if (!block) return std::move(block).error();
  Cursor cursor = file_->cursor(*block);
  cursor.skip(head_bytes);
  std::uint64_t heap_offset = child.heap_offset;
  for (std::uint64_t row = 0; row < child.rows; ++row) {
    const std::uint64_t block_bytes = row_block_bytes(row);
    const bool direct = row < direct_rows();
    // Rows of an indirect block that covers so many bytes.
    const auto covered = static_cast<std::uint64_t>(std::bit_width(block_bytes));
    const auto first_row = static_cast<std::uint64_t>(std::bit_width(start_bytes_ * width_));
    const std::uint64_t rows = direct ? 0 : covered - std::min(covered, first_row) + 1;
    for (std::uint64_t i = 0; i < width_; ++i, heap_offset += block_bytes) {
      const std::uint64_t address = cursor.offset();
      if (file_->is_undefined(address)) continue;
      if (!direct && rows >= child.rows)
        return corrupt(block->at, "a heap's block leads to one that is not smaller");
      children.push_back({address, heap_offset, block_bytes, rows});
    }
  }
  return {};
}

Decoded<Cursor> FractalHeap::object(Cursor id) {
  constexpr unsigned kTypeAt = 4;
  const std::uint64_t at = id.at();
  const auto bytes = id.rest();
  const unsigned first = id.byte();
  if (id.failed() || bytes.size() != id_bytes_ || first >> 6 != 0)
    return corrupt(at, "an identifier of a heap's object is malformed");
  switch (first >> kTypeAt & 3) {
    case 0:
      return managed(id);
    case 1:
      return huge(id);
    case 2: {
      // As many bytes as fit into the identifier: it has them itself.
      const bool is_long = id_bytes_ > 18;
      const std::uint64_t size = (is_long ? (first & 15) << 8 | id.byte() : first & 15) + 1;
      const std::uint64_t bytes_at = id.at();
      const auto tiny = id.take(size);
      if (id.failed()) break;
      return Cursor(tiny, bytes_at, file_->widths());
    }
    default:
      break;
  }
  return corrupt(at, "an identifier of a heap's object is malformed");
}

Decoded<Cursor> FractalHeap::managed(Cursor id) const {
  const std::uint64_t at = id.at();
  const std::uint64_t offset = id.number((heap_bits_ + 7) / 8);
  const std::uint64_t size =
      id.number(std::min(static_cast<unsigned>((std::bit_width(direct_bytes_max_) + 6) / 8),
                         width_of(managed_bytes_max_)));
  const auto next = blocks_.upper_bound(offset);
  if (id.failed() || next == blocks_.begin())
    return corrupt(at, "an identifier of a heap's object leads nowhere");
  const auto& [begin, block] = *std::prev(next);
  if (!inside(offset - begin, size, block.bytes.size()))
    return corrupt(at, sentence("an object of ", size, " bytes at ", offset,
                                " of a heap ends behind its block"));
  return Cursor(std::span<const std::byte>(block.bytes).subspan(offset - begin, size),
                block.at + (offset - begin), file_->widths());
}

// Objects that are larger than the heap's blocks lie in the file alone, and a B-tree says where.
Decoded<Cursor> FractalHeap::huge(Cursor id) {
  const Widths widths = file_->widths();
  const std::uint64_t at = id.at();
  FileRange range;
  std::uint64_t number = 0;
  if (id_bytes_ - 1 >= widths.offset_bytes + widths.length_bytes) {
    number = range.offset_bytes = id.offset();
    range.size_bytes = id.length();
  } else {
    if (!has_huge_) {
      has_huge_ = true;
      auto done = visit_records(*file_, huge_tree_address_, RecordType::HugeObject,
                                [this](Cursor record) -> Decoded<void> {
                                  FileRange found;
                                  found.offset_bytes = record.offset();
                                  found.size_bytes = record.length();
                                  huge_.emplace(record.length(), found);
                                  return {};
                                });
      if (!done) return std::move(done).error();
    }
    number = id.number(std::min(id_bytes_ - 1, widths.length_bytes));
    const auto found = huge_.find(number);
    if (found == huge_.end()) return corrupt(at, sentence("a heap has no large object ", number));
    range = found->second;
  }
  auto known = huge_blocks_.find(number);
  if (known == huge_blocks_.end()) {
    auto block = file_->read(range);
    if (!block) return std::move(block).error();
    known = huge_blocks_.emplace(number, *std::move(block)).first;
  }
  return file_->cursor(known->second);
}

// ---- Global heaps -------------------------------------------------------------------------------

Decoded<GlobalHeaps::Heap> GlobalHeaps::read(std::uint64_t address) {
  const std::uint64_t head_bytes = 8 + file_.widths().length_bytes;
  auto head = file_.read_signed({address, head_bytes}, {"GCOL", 1, false});
  if (!head) return std::move(head).error();
  Cursor start = file_.cursor(*head);
  start.skip(8);
  auto block = file_.read({address, start.length()});
  if (!block) return std::move(block).error();
  Heap heap{*std::move(block), {}};
  Cursor cursor = file_.cursor(heap.block);
  cursor.skip(head_bytes);
  while (cursor.left_bytes() >= head_bytes) {
    const std::uint64_t index = cursor.number(2);
    cursor.skip(6);
    const std::uint64_t size = cursor.length();
    if (index == 0) break;  // what is free
    const auto bytes = cursor.take(size);
    if (cursor.failed()) return corrupt(cursor.at(), "an object ends behind its heap");
    cursor.skip(std::min<std::uint64_t>((8 - size % 8) % 8, cursor.left_bytes()));
    heap.objects.emplace(index, bytes);
  }
  return heap;
}

Decoded<std::span<const std::byte>> GlobalHeaps::value(const GlobalReference& reference) {
  auto known = heaps_.find(reference.heap_address);
  if (known == heaps_.end()) {
    auto heap = read(reference.heap_address);
    if (!heap) return std::move(heap).error();
    known = heaps_.emplace(reference.heap_address, *std::move(heap)).first;
  }
  const auto found = known->second.objects.find(reference.index);
  if (found == known->second.objects.end() || found->second.size() < reference.size)
    return corrupt(known->second.block.at, sentence("a heap has no object ", reference.index,
                                                    " of ", reference.size, " bytes"));
  return found->second.first(reference.size);
}

}  // namespace cairn::format::hdf5
