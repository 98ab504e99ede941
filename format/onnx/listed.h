#pragma once

// The elements of a tensor that stand in its message as protobuf's numbers or strings, as they lie
// in memory. FORMAT.md, "ONNX".

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "format/decode_error.h"
#include "format/onnx/model.h"
#include "format/onnx/wire.h"

namespace cairn::format::onnx {

class ListedValues {
 public:
  // Of a record whose storage is Listed. Both must outlive it, and nobody else may use the reader
  // until the last block.
  ListedValues(WireReader& reader, const TensorRecord& tensor);

  // The next bytes, valid until the next call: of strings as TensorFlow stores them. Empty: that
  // was all. Corrupt: not as many values as the shape says, or one that the type does not have.
  Decoded<std::span<const std::byte>> next_block();

  std::uint32_t crc32c() const noexcept { return crc32c_; }  // of a stored tensor, at its end

 private:
  bool next_list();
  bool fill();
  bool put(std::uint64_t varint);
  bool put_fixed();
  bool fill_strings();
  bool complain(const std::string& why);

  WireReader& reader_;
  const TensorRecord& tensor_;
  const std::uint64_t message_end_;
  Field list_;                  // the one that is being read
  std::uint64_t list_end_ = 0;  // 0: none is
  std::uint64_t needed_ = 0;    // numbers, or strings
  std::uint64_t given_ = 0;     // of them
  bool ended_ = false;
  std::uint32_t bits_ = 0;  // of elements that do not fill their byte yet
  unsigned bit_count_ = 0;
  std::string block_;
  std::uint32_t crc32c_ = 0;
};

}  // namespace cairn::format::onnx
