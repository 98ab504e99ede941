#pragma once

// The values of GGUF's metadata as text. FORMAT.md, "GGUF".

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "format/decode_error.h"

namespace cairn::format::gguf {

enum class ValueType : std::uint32_t {
  Uint8 = 0,
  Int8 = 1,
  Uint16 = 2,
  Int16 = 3,
  Uint32 = 4,
  Int32 = 5,
  Float32 = 6,
  Bool = 7,
  String = 8,
  Array = 9,
  Uint64 = 10,
  Int64 = 11,
  Float64 = 12,
};

// Goes through a file's first bytes, of which not all are there. Each take says whether it was
// there; where it was not, the file is broken (error()), or the bytes do not reach so far.
class Cursor {
 public:
  Cursor(std::span<const std::byte> head, std::uint64_t file_bytes) noexcept
      : head_(head), file_bytes_(file_bytes) {}

  bool take(std::uint32_t& value) { return take_number(value); }
  bool take(std::uint64_t& value) { return take_number(value); }
  bool take_text(std::string_view& text);
  // The number's bytes, in this machine's order.
  bool take_bytes(std::span<std::byte> value);

  // Whether the file goes on for `count` times so many bytes at least; else it is broken.
  bool fits(std::uint64_t count, std::uint64_t bytes_min);

  // Always false.
  bool refuse(DecodeError error);
  bool refuse(std::string what);  // Corrupt, here

  std::uint64_t at() const noexcept { return at_; }
  std::uint64_t left_bytes() const noexcept { return file_bytes_ - at_; }
  const std::optional<DecodeError>& error() const noexcept { return error_; }
  bool swaps() const noexcept { return swaps_; }
  void set_swaps() noexcept { swaps_ = true; }

 private:
  bool need(std::uint64_t bytes);
  template <class T>
  bool take_number(T& value) {
    return take_bytes(std::as_writable_bytes(std::span(&value, 1)));
  }

  std::span<const std::byte> head_;
  std::uint64_t file_bytes_;
  std::uint64_t at_ = 0;
  bool swaps_ = false;
  std::optional<DecodeError> error_;
};

// A value: its text, and the number where it is an unsigned or a positive integer.
struct Value {
  ValueType type{};
  std::string text;
  bool too_long = false;  // `text` is not all of it
  std::optional<std::uint64_t> number;
};

// Takes a value. Its text is at most so long, or what follows is read over.
bool take_value(Cursor& cursor, std::uint64_t text_bytes_max, Value& value);

}  // namespace cairn::format::gguf
