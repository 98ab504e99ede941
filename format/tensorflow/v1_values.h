#pragma once

// The elements of one slice in a V1 file. Its TensorProto holds them in a list of values, which has
// a field and a form for each dtype; a checkpoint's bytes come out, block after block.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/dtype.h"
#include "format/decode_error.h"

namespace cairn::format::tensorflow {

// A dtype that V1 files hold.
bool v1_storable(DType dtype) noexcept;

// The pieces of one field of a message: the bytes of a packed list, or those of one value that
// stands alone. Other fields are skipped.
class FieldPieces {
 public:
  FieldPieces() = default;
  FieldPieces(std::string_view message, std::uint32_t field, std::uint32_t wire_type) noexcept
      : rest_(message), field_(field), wire_type_(wire_type) {}

  // The next one: nothing at the end. Errors: Corrupt (no protobuf, another wire type, a
  // TensorProto whose elements are not in the list but in tensor_content).
  Decoded<std::optional<std::string_view>> next();

 private:
  std::string_view rest_;
  std::uint32_t field_ = 0;
  std::uint32_t wire_type_ = 0;
};

class V1Values {
 public:
  V1Values() = default;

  // `dtype` is storable. The message must outlive it.
  V1Values(DType dtype, std::uint64_t count, std::string_view tensor_proto);

  // The next bytes of the slice as a bundle would hold them: raw elements, or strings as FORMAT.md,
  // "Strings" says. Valid until the next call; empty at the end, and then there were exactly
  // `count` elements. Errors: Corrupt (protobuf, another number of elements, a number that does not
  // fit).
  Decoded<std::span<const std::byte>> next_block();

  // What an entry would store for the bytes so far.
  std::uint32_t crc32c() const noexcept { return crc32c_; }

 private:
  Decoded<std::span<const std::byte>> next_fixed();
  Decoded<std::span<const std::byte>> next_numbers();
  Decoded<std::span<const std::byte>> next_strings();
  Decoded<void> gather_strings();
  std::optional<std::int64_t> number_of(std::uint64_t varint) const noexcept;
  std::string count_is(std::uint64_t count) const;

  DType dtype_{};
  std::uint64_t count_ = 0;
  std::uint64_t given_bytes_ = 0;
  std::uint32_t crc32c_ = 0;
  FieldPieces pieces_;
  std::string_view numbers_;  // of the piece that was begun
  std::vector<std::string_view> strings_;
  std::size_t next_string_ = 0;
  bool has_strings_ = false;  // gathered
  std::string block_;
};

}  // namespace cairn::format::tensorflow
