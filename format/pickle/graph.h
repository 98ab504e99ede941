#pragma once

// What a pickle says, as values that point to each other. It names classes and functions, and calls
// them; here both are values like any other: nothing is imported and nothing is called.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::format::pickle {

// A value of a graph: its number. Where a value was made of others, theirs are smaller; only what
// is filled later (lists, dicts, sets, objects) may hold any, itself too.
using Ref = std::uint32_t;

enum class Kind : std::uint8_t {
  None,
  Bool,      // integer: 0 or 1
  Int,       // integer
  Long,      // text: its bytes, little-endian two's complement
  LongText,  // text: its decimal digits, as they stand
  Float,     // number
  Text,      // text
  Bytes,     // text
  List,      // cells: elements
  Tuple,     // cells: elements
  Set,       // cells: elements
  Dict,      // cells: a key and its value, one after another; as they were set, a key perhaps twice
  Global,    // a: its module, b: its name; both Text
  Persistent,  // a: the id by which the pickle's writer knows what is stored beside the pickle
  Object,      // a: what was called, b: its arguments, c: its state, or kNone; cells: see `fill`
};

// With what an object was filled after it was made.
enum class Fill : std::uint8_t { Nothing, Elements, Items };

// Values that every graph has.
inline constexpr Ref kNone = 0;
inline constexpr Ref kFalse = 1;
inline constexpr Ref kTrue = 2;
inline constexpr Ref kEmptyTuple = 3;

struct CellRange {
  std::uint32_t first;  // 0: none
  std::uint32_t last;
};

struct TextRange {
  std::uint32_t offset;
  std::uint32_t size;
};

struct Node {
  Kind kind{};
  Fill fill{};
  bool owned = false;  // its text lies in the graph, not in the pickle
  Ref a = kNone;
  Ref b = kNone;
  Ref c = kNone;
  union {
    std::int64_t integer = 0;
    double number;
    CellRange cells;
    TextRange text;
  };
};

// Grows without moving what it has, so that it never takes more than a block above what it holds.
template <class T>
class Blocks {
 public:
  std::uint32_t size() const noexcept { return size_; }
  T& operator[](std::uint32_t at) noexcept { return blocks_[at / kBlock].get()[at % kBlock]; }
  const T& operator[](std::uint32_t at) const noexcept {
    return blocks_[at / kBlock].get()[at % kBlock];
  }
  [[gnu::always_inline]] std::uint32_t add(const T& value) {
    const std::uint32_t within = size_ % kBlock;
    if (within == 0) grow();
    last_[within] = value;
    return size_++;
  }

 private:
  static constexpr std::uint32_t kBlock = 512;
  [[gnu::noinline]] void grow() {
    blocks_.push_back(std::make_unique_for_overwrite<T[]>(kBlock));
    last_ = blocks_.back().get();
  }

  std::vector<std::unique_ptr<T[]>> blocks_;
  T* last_ = nullptr;
  std::uint32_t size_ = 0;
};

class Graph {
 public:
  // `bytes`: the pickle's, which must outlive the graph.
  explicit Graph(std::span<const std::byte> bytes);

  std::uint32_t size() const noexcept { return nodes_.size(); }
  const Node& operator[](Ref value) const noexcept { return nodes_[value]; }
  bool is(Ref value, Kind kind) const noexcept { return nodes_[value].kind == kind; }

  // Of Text, Bytes, Long and LongText.
  std::string_view text(Ref value) const noexcept;

  // Of a Global: whether it is this one.
  bool names(Ref value, std::string_view module, std::string_view name) const noexcept;

  // Of what has cells, in order.
  class Cells {
   public:
    struct Cell {
      Ref value = kNone;
      std::uint32_t next = 0;
    };
    class Iterator {
     public:
      Iterator(const Blocks<Cell>* all, std::uint32_t at) noexcept : all_(all), at_(at) {}
      Ref operator*() const noexcept { return (*all_)[at_].value; }
      Iterator& operator++() noexcept {
        at_ = (*all_)[at_].next;
        return *this;
      }
      bool operator==(const Iterator& other) const noexcept { return at_ == other.at_; }

     private:
      const Blocks<Cell>* all_;
      std::uint32_t at_;
    };
    Cells(const Blocks<Cell>* all, std::uint32_t first) noexcept : all_(all), first_(first) {}
    Iterator begin() const noexcept { return {all_, first_}; }
    Iterator end() const noexcept { return {all_, 0}; }
    bool empty() const noexcept { return first_ == 0; }

   private:
    const Blocks<Cell>* all_;
    std::uint32_t first_;
  };
  Cells cells(Ref value) const noexcept;

  // ---- For who builds it ----

  Ref add(const Node& node) { return nodes_.add(node); }
  Ref add_text(Kind kind, std::uint64_t offset, std::uint64_t size);  // of the pickle
  Ref add_owned_text(Kind kind, std::string_view text);
  Node& at(Ref value) noexcept { return nodes_[value]; }
  void append(Ref to, std::span<const Ref> values);

 private:
  std::span<const std::byte> bytes_;
  Blocks<Node> nodes_;
  Blocks<Cells::Cell> cells_;  // the first belongs to nobody
  std::string owned_;          // text that does not stand in the pickle as it is
};

}  // namespace cairn::format::pickle
