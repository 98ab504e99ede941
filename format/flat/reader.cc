#include "format/flat/reader.h"

#include <algorithm>

#include "format/checked.h"
#include "format/sentence.h"

namespace cairn::format::flat {

void Reader::refuse(std::uint64_t at, std::string what) {
  if (!error_) error_ = corrupt(at, std::move(what));
}

// nullptr: it cannot be read.
const Reader::Page* Reader::page(std::uint64_t number) {
  Page& found = pages_[number % pages_.size()];
  if (found.number == number) return &found;
  const std::uint64_t at = number * kPageBytes;
  found.bytes.resize(std::min<std::uint64_t>(kPageBytes, file_bytes_ - at));
  auto done = read_(at, found.bytes);
  found.number = done ? number : ~std::uint64_t{0};
  if (!done && !error_) error_ = std::move(done).error();
  return done ? &found : nullptr;
}

void Reader::copy(std::uint64_t at, std::span<std::byte> out) {
  if (!inside(at, out.size(), file_bytes_))
    refuse(std::min(at, file_bytes_), "an offset leads behind the end of the file");
  while (!out.empty() && !error_) {
    const Page* const from = page(at / kPageBytes);
    if (from == nullptr) return;
    const auto rest = std::span(from->bytes).subspan(at % kPageBytes);
    const std::size_t size = std::min(out.size(), rest.size());
    std::ranges::copy(rest.first(size), out.begin());
    out = out.subspan(size);
    at += size;
  }
}

Table Reader::table_at(std::uint64_t at) {
  Table table;
  table.at = at + number_at<std::uint32_t>(at);
  const auto back = number_at<std::int32_t>(table.at);
  table.vtable_at = table.at - static_cast<std::uint64_t>(static_cast<std::int64_t>(back));
  const auto vtable_bytes = number_at<std::uint16_t>(table.vtable_at);
  if (vtable_bytes < 4) refuse(table.vtable_at, "a table of FlatBuffers has no fields to speak of");
  if (error_) return {};
  table.field_count = (vtable_bytes - 4u) / 2;
  return table;
}

// Where the field lies; 0: it is absent.
std::uint64_t Reader::place(const Table& table, std::uint32_t field, std::uint32_t size_bytes) {
  if (field >= table.field_count || error_) return 0;
  const auto offset = number_at<std::uint16_t>(table.vtable_at + 4 + 2 * field);
  if (offset == 0) return 0;
  if (inside(table.at + offset, size_bytes, file_bytes_)) return table.at + offset;
  refuse(table.at, "a field lies behind the end of the file");
  return 0;
}

std::optional<Table> Reader::table(const Table& table, std::uint32_t field) {
  const std::uint64_t at = place(table, field, 4);
  if (at == 0) return std::nullopt;
  const Table found = table_at(at);
  return error_ ? std::nullopt : std::optional(found);
}

Vector Reader::vector(const Table& table, std::uint32_t field, std::uint32_t element_bytes) {
  const std::uint64_t at = place(table, field, 4);
  if (at == 0) return {};
  const std::uint64_t vector_at = at + number_at<std::uint32_t>(at);
  const Vector found{vector_at + 4, number_at<std::uint32_t>(vector_at)};
  if (error_) return {};
  if (inside(found.at, found.count * element_bytes, file_bytes_)) return found;
  refuse(vector_at, sentence("a list of ", found.count, " elements ends behind the file's ",
                             file_bytes_, " bytes: it is truncated"));
  return {};
}

std::string Reader::text(const Table& table, std::uint32_t field, std::uint64_t bytes_max) {
  const Vector found = vector(table, field, 1);
  if (found.count > bytes_max) {
    refuse(found.at, sentence("a text of ", found.count, " bytes, and the limit is ", bytes_max));
    return {};
  }
  std::string text(found.count, '\0');
  copy(found.at, std::as_writable_bytes(std::span(text)));
  return error_ ? std::string() : text;
}

}  // namespace cairn::format::flat
