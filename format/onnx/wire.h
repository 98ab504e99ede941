#pragma once

// Protobuf's wire format in a file that is not read whole: field after field, of which the caller
// enters the contents, reads them, or goes past them without reading. A model of 2 GB is nearly all
// contents that nobody has to read. What is small enough to be in memory is decoded by
// format/tensorflow/protobuf.h.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/decode_error.h"
#include "format/facts.h"
#include "format/read_at.h"

namespace cairn::format::onnx {

enum class WireType : std::uint8_t { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };

struct Field {
  std::uint32_t number = 0;
  WireType type{};
  std::uint64_t at = 0;      // in the file, of its tag
  std::uint64_t varint = 0;  // its value, where it is a varint
  FileRange bytes;           // otherwise: where its contents lie
};

class WireReader {
 public:
  // `bound_bytes`: where the contents of the outermost message's fields end at the latest: the
  // file's end, or behind it, where the file is cut and the rest is wanted.
  WireReader(std::uint64_t file_bytes, std::uint64_t bound_bytes, ReadAt read)
      : file_bytes_(file_bytes), bound_bytes_(bound_bytes), read_(std::move(read)) {}

  // The next field of a message that ends at `end`. False: there is none, or the file is broken.
  // Goes past the field's contents; enter() goes back to them.
  bool next(std::uint64_t end, Field& field);
  void enter(const FileRange& contents) noexcept { at_ = contents.offset_bytes; }

  // The varint at the front of a list that ends at `end`.
  bool take_varint(std::uint64_t end, std::uint64_t& value);

  // Contents in memory, which are left alone until the next call of any function.
  bool text(const FileRange& contents, std::string_view& text);

  // Always false.
  bool refuse(DecodeError error);
  bool refuse(std::uint64_t at, std::string what);  // Corrupt

  std::uint64_t at() const noexcept { return at_; }
  std::uint64_t file_bytes() const noexcept { return file_bytes_; }
  const std::optional<DecodeError>& error() const noexcept { return error_; }

 private:
  bool need(std::uint64_t offset_bytes, std::uint64_t size_bytes);
  bool take_contents(std::uint64_t end, Field& field);
  std::string_view window_at(std::uint64_t offset_bytes) const noexcept;

  std::uint64_t file_bytes_;
  std::uint64_t bound_bytes_;
  ReadAt read_;
  std::uint64_t at_ = 0;
  std::vector<std::byte> window_;
  std::uint64_t window_offset_bytes_ = 0;
  std::optional<DecodeError> error_;
};

}  // namespace cairn::format::onnx
