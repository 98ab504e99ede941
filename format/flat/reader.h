#pragma once

// FlatBuffers in a file that is not read whole: a model of TensorFlow Lite has its weights inside
// of one. Every number is checked against the end of the file where it is used, so nothing has to
// be verified before. What is small enough to be in memory is read by the flatbuffers library.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "format/decode_error.h"
#include "format/facts.h"
#include "format/le.h"
#include "format/read_at.h"

namespace cairn::format::flat {

// A table's position, and what its vtable says.
struct Table {
  std::uint64_t at = 0;
  std::uint64_t vtable_at = 0;
  std::uint32_t field_count = 0;
};

// A vector: where its elements begin, and how many there are.
struct Vector {
  std::uint64_t at = 0;
  std::uint64_t count = 0;
};

// What is refused is remembered, and everything is 0 or empty from then on.
class Reader {
 public:
  Reader(std::uint64_t file_bytes, ReadAt read) : file_bytes_(file_bytes), read_(std::move(read)) {}

  std::uint64_t file_bytes() const noexcept { return file_bytes_; }
  const std::optional<DecodeError>& error() const noexcept { return error_; }
  void refuse(std::uint64_t at, std::string what);  // Corrupt

  // The number at a position of the file.
  template <class T>
  T number_at(std::uint64_t at) {
    std::array<std::byte, sizeof(T)> bytes{};
    copy(at, bytes);
    return load_le<T>(bytes.data());
  }

  Table table_at(std::uint64_t at);  // the table that the offset there leads to
  Table root() { return table_at(0); }

  // Of a table's field, by its number in the schema. Absent ones are what the schema says.
  template <class T>
  T number(const Table& table, std::uint32_t field, T absent = {}) {
    const std::uint64_t at = place(table, field, sizeof(T));
    return at == 0 ? absent : number_at<T>(at);
  }
  std::optional<Table> table(const Table& table, std::uint32_t field);
  // Its elements lie inside of the file. Absent: empty.
  Vector vector(const Table& table, std::uint32_t field, std::uint32_t element_bytes);
  std::string text(const Table& table, std::uint32_t field, std::uint64_t bytes_max);

  bool has(const Table& table, std::uint32_t field) { return place(table, field, 1) != 0; }

  // The table that an element of a vector of tables is.
  Table element(const Vector& vector, std::uint64_t i) { return table_at(vector.at + 4 * i); }

 private:
  static constexpr std::size_t kPageBytes = 4096;
  struct Page {
    std::uint64_t number = ~std::uint64_t{0};
    std::vector<std::byte> bytes;
  };

  void copy(std::uint64_t at, std::span<std::byte> out);
  const Page* page(std::uint64_t number);
  std::uint64_t place(const Table& table, std::uint32_t field, std::uint32_t size_bytes);

  std::uint64_t file_bytes_;
  ReadAt read_;
  std::array<Page, 16> pages_;
  std::optional<DecodeError> error_;
};

}  // namespace cairn::format::flat
