// An array's elements lie in blocks, and where a block has more than so many, in its pages, each
// with a checksum of its own. A page that was never written has a bit that says so.

#include "format/hdf5/chunk_arrays.h"

#include <algorithm>
#include <bit>

#include "format/checked.h"
#include "format/sentence.h"

namespace cairn::format::hdf5 {
namespace {

constexpr std::uint64_t kSumBytes = 4;
constexpr unsigned kPageBitsMax = 32;

bool bit_at(std::span<const std::byte> bits, std::uint64_t number) noexcept {
  return (static_cast<unsigned>(bits[number / 8]) & 0x80u >> (number % 8)) != 0;
}

class ArrayVisitor {
 public:
  ArrayVisitor(File& file, const VisitElement& visit) : file_(file), visit_(visit) {}

  Decoded<void> run_fixed(std::uint64_t address) {
    const Widths widths = file_.widths();
    auto block = file_.read_signed(
        {address, 12 + std::uint64_t{widths.length_bytes} + widths.offset_bytes}, {"FAHD"});
    if (!block) return std::move(block).error();
    Cursor cursor = file_.cursor(*block);
    cursor.skip(5);
    filtered_ = cursor.byte() != 0;
    element_bytes_ = cursor.byte();
    page_bits_ = cursor.byte();
    const std::uint64_t count = cursor.length();
    const std::uint64_t data_address = cursor.offset();
    if (auto done = check(block->at); !done) return done;
    if (file_.is_undefined(data_address)) return {};
    if (count > file_.size_bytes() * 8)
      return corrupt(block->at, sentence("an array of ", count, " chunks"));
    return read_fixed_data(data_address, count);
  }

  Decoded<void> run_extensible(std::uint64_t address);

 private:
  Decoded<void> check(std::uint64_t at) const {
    if (element_bytes_ != 0 && page_bits_ <= kPageBitsMax) return {};
    return corrupt(at, "what says how an array of chunks is made is malformed");
  }

  std::uint64_t page_elements() const noexcept { return std::uint64_t{1} << page_bits_; }

  Decoded<void> take_elements(Cursor& cursor, std::uint64_t first, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t at = cursor.at();
      Cursor element(cursor.take(element_bytes_), at, file_.widths());
      if (auto done = visit_(first + i, element, filtered_); !done) return done;
    }
    return {};
  }

  Decoded<void> read_fixed_data(std::uint64_t address, std::uint64_t count) {
    const std::uint64_t head_bytes = 6 + std::uint64_t{file_.widths().offset_bytes};
    const bool paged = count > page_elements();
    const std::uint64_t page_count = paged ? (count + page_elements() - 1) / page_elements() : 0;
    const std::uint64_t bits_bytes = (page_count + 7) / 8;
    const std::uint64_t size =
        head_bytes + bits_bytes + (paged ? 0 : count * element_bytes_) + kSumBytes;
    auto block = file_.read_signed({address, size}, {"FADB"});
    if (!block) return std::move(block).error();
    Cursor cursor = file_.cursor(*block);
    cursor.skip(head_bytes);
    if (!paged) return take_elements(cursor, 0, count);
    Pages pages{address + size, 0, count, page_count, cursor.take(bits_bytes)};
    return read_pages(pages);
  }

  struct Pages {
    std::uint64_t address = 0;
    std::uint64_t first = 0;          // the number of its first element
    std::uint64_t element_count = 0;  // of all
    std::uint64_t count = 0;
    std::span<const std::byte> bits;
  };

  Decoded<void> read_pages(const Pages& pages) {
    const std::uint64_t page_bytes = page_elements() * element_bytes_ + kSumBytes;
    for (std::uint64_t i = 0; i < pages.count; ++i) {
      if (!bit_at(pages.bits, i)) continue;
      const std::uint64_t begin = i * page_elements();
      const std::uint64_t count = std::min(page_elements(), pages.element_count - begin);
      auto page = file_.read({pages.address + i * page_bytes, count * element_bytes_ + kSumBytes});
      if (!page) return std::move(page).error();
      if (auto done = file_.check_sum(*page); !done) return done;
      Cursor cursor = file_.cursor(*page);
      if (auto done = take_elements(cursor, pages.first + begin, count); !done) return done;
    }
    return {};
  }

  // ---- An array that grows ----------------------------------------------------------------------

  // Blocks double in pairs: one block of the first size, one twice as large, then two of it, and so
  // on. The first ones are named by the index block, the others by secondary blocks.
  struct Secondary {
    std::uint64_t block_count = 0;
    std::uint64_t elements = 0;  // of a block
    std::uint64_t first = 0;     // the number of the first one's first element
  };

  Decoded<void> take_shape(Cursor& cursor);
  Decoded<void> read_index_block(std::uint64_t address);
  Decoded<void> read_secondary(std::uint64_t address, const Secondary& what);
  Decoded<void> read_data_block(std::uint64_t address, const Secondary& what, std::uint64_t first,
                                std::span<const std::byte> bits);
  Secondary secondary(std::uint64_t number) const noexcept;
  bool is_paged(const Secondary& what) const noexcept { return what.elements > page_elements(); }

  File& file_;
  const VisitElement& visit_;
  bool filtered_ = false;
  std::uint64_t element_bytes_ = 0;
  unsigned page_bits_ = 0;

  std::uint64_t number_bits_ = 0;     // of an element's number
  std::uint64_t index_elements_ = 0;  // in the index block itself
  std::uint64_t block_elements_ = 0;  // of the smallest block
  std::uint64_t pointers_min_ = 0;    // of the smallest secondary block
};

Decoded<void> ArrayVisitor::run_extensible(std::uint64_t address) {
  const Widths widths = file_.widths();
  auto block = file_.read_signed(
      {address, 16 + 6 * std::uint64_t{widths.length_bytes} + widths.offset_bytes}, {"EAHD"});
  if (!block) return std::move(block).error();
  Cursor cursor = file_.cursor(*block);
  cursor.skip(5);
  if (auto done = take_shape(cursor); !done) return done;
  cursor.skip(6 * std::uint64_t{widths.length_bytes});  // how much of what there is
  const std::uint64_t index_address = cursor.offset();
  if (file_.is_undefined(index_address)) return {};
  return read_index_block(index_address);
}

Decoded<void> ArrayVisitor::take_shape(Cursor& cursor) {
  const std::uint64_t at = cursor.at();
  filtered_ = cursor.byte() != 0;
  element_bytes_ = cursor.byte();
  number_bits_ = cursor.byte();
  index_elements_ = cursor.byte();
  block_elements_ = cursor.byte();
  pointers_min_ = cursor.byte();
  page_bits_ = cursor.byte();
  if (auto done = check(at); !done) return done;
  if (number_bits_ != 0 && number_bits_ <= 64 && std::has_single_bit(block_elements_) &&
      std::has_single_bit(pointers_min_) &&
      static_cast<std::uint64_t>(std::bit_width(block_elements_)) <= number_bits_ + 1)
    return {};
  return corrupt(at, "what says how an array of chunks grows is malformed");
}

ArrayVisitor::Secondary ArrayVisitor::secondary(std::uint64_t number) const noexcept {
  Secondary found{1, block_elements_, index_elements_};
  for (std::uint64_t i = 0; i <= number; ++i) {
    if (i != 0) found.first += found.block_count * found.elements;
    found.block_count = std::uint64_t{1} << (i / 2);
    found.elements = block_elements_ << ((i + 1) / 2);
  }
  return found;
}

Decoded<void> ArrayVisitor::read_index_block(std::uint64_t address) {
  const std::uint64_t offset_bytes = file_.widths().offset_bytes;
  const std::uint64_t head_bytes = 6 + offset_bytes;
  const std::uint64_t direct = 2 * static_cast<std::uint64_t>(std::bit_width(pointers_min_) - 1);
  const std::uint64_t all =
      1 + number_bits_ - static_cast<std::uint64_t>(std::bit_width(block_elements_) - 1);
  const std::uint64_t block_count = 2 * (pointers_min_ - 1);
  if (direct > all)
    return corrupt(file_.place(address), "what says how an array of chunks grows is malformed");
  const std::uint64_t size = head_bytes + index_elements_ * element_bytes_ +
                             (block_count + all - direct) * offset_bytes + kSumBytes;
  auto block = file_.read_signed({address, size}, {"EAIB"});
  if (!block) return std::move(block).error();
  Cursor cursor = file_.cursor(*block);
  cursor.skip(head_bytes);
  if (auto done = take_elements(cursor, 0, index_elements_); !done) return done;
  for (std::uint64_t number = 0; number < direct; ++number) {
    const Secondary what = secondary(number);
    for (std::uint64_t i = 0; i < what.block_count; ++i) {
      const std::uint64_t block_address = cursor.offset();
      if (file_.is_undefined(block_address)) continue;
      if (is_paged(what)) return unsupported(block->at, "an index block of an array has pages");
      auto done = read_data_block(block_address, what, what.first + i * what.elements, {});
      if (!done) return done;
    }
  }
  for (std::uint64_t number = direct; number < all; ++number) {
    const std::uint64_t block_address = cursor.offset();
    if (file_.is_undefined(block_address)) continue;
    if (auto done = read_secondary(block_address, secondary(number)); !done) return done;
  }
  return {};
}

Decoded<void> ArrayVisitor::read_secondary(std::uint64_t address, const Secondary& what) {
  const std::uint64_t offset_bytes = file_.widths().offset_bytes;
  const std::uint64_t head_bytes = 6 + offset_bytes + (number_bits_ + 7) / 8;
  const std::uint64_t page_count = is_paged(what) ? what.elements / page_elements() : 0;
  const std::uint64_t bits_bytes = (page_count + 7) / 8;
  const auto list_bytes = checked_mul(what.block_count, bits_bytes + offset_bytes);
  if (!list_bytes || *list_bytes > file_.size_bytes())
    return corrupt(file_.place(address),
                   sentence("an array of chunks has ", what.block_count, " blocks in one"));
  const std::uint64_t size = head_bytes + *list_bytes + kSumBytes;
  auto block = file_.read_signed({address, size}, {"EASB"});
  if (!block) return std::move(block).error();
  Cursor cursor = file_.cursor(*block);
  cursor.skip(head_bytes);
  const auto bits = cursor.take(what.block_count * bits_bytes);
  for (std::uint64_t i = 0; i < what.block_count; ++i) {
    const std::uint64_t block_address = cursor.offset();
    if (file_.is_undefined(block_address)) continue;
    auto done = read_data_block(block_address, what, what.first + i * what.elements,
                                bits.subspan(i * bits_bytes, bits_bytes));
    if (!done) return done;
  }
  return {};
}

Decoded<void> ArrayVisitor::read_data_block(std::uint64_t address, const Secondary& what,
                                            std::uint64_t first, std::span<const std::byte> bits) {
  const std::uint64_t head_bytes =
      6 + std::uint64_t{file_.widths().offset_bytes} + (number_bits_ + 7) / 8;
  const bool paged = is_paged(what);
  if (!paged && what.elements > file_.size_bytes())
    return corrupt(file_.place(address), sentence("a block of ", what.elements, " chunks"));
  const std::uint64_t size = head_bytes + (paged ? 0 : what.elements * element_bytes_) + kSumBytes;
  auto block = file_.read_signed({address, size}, {"EADB"});
  if (!block) return std::move(block).error();
  Cursor cursor = file_.cursor(*block);
  cursor.skip(head_bytes);
  if (!paged) return take_elements(cursor, first, what.elements);
  const std::uint64_t page_count = what.elements / page_elements();
  return read_pages({address + size, first, what.elements, page_count, bits});
}

}  // namespace

Decoded<void> visit_fixed_array(File& file, std::uint64_t address, const VisitElement& visit) {
  return ArrayVisitor(file, visit).run_fixed(address);
}

Decoded<void> visit_extensible_array(File& file, std::uint64_t address, const VisitElement& visit) {
  return ArrayVisitor(file, visit).run_extensible(address);
}

}  // namespace cairn::format::hdf5
