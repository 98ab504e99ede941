#pragma once

// The two algorithms of a zip archive's members: deflate, and the CRC-32 of what comes out.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "format/decode_error.h"

struct z_stream_s;  // zlib's, so that its header stays out of this one

namespace cairn::format::zip {

// CRC-32 (of Ethernet, zlib and zip) of `bytes`, going on from `crc` (0 to start). ISA-L.
std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t crc = 0) noexcept;

// Decodes one deflated stream, which comes in pieces. Threads: one at a time. Memory: 40 KiB.
class Inflater {
 public:
  enum class Frame { None, Zlib };               // Zlib: two bytes before, and an Adler-32 behind
  explicit Inflater(Frame frame = Frame::None);  // throws std::bad_alloc

  struct Step {
    std::size_t taken_bytes = 0;  // of what was given
    std::size_t made_bytes = 0;   // in `out`
    bool ended = false;           // nothing follows
  };

  // As much as the packed bytes give and `out` takes. Corrupt: they are no deflated stream; its
  // offset counts in `packed`.
  Decoded<Step> run(std::span<const std::byte> packed, std::span<std::byte> out);

 private:
  struct End {
    void operator()(z_stream_s* stream) const noexcept;
  };
  std::unique_ptr<z_stream_s, End> stream_;
};

}  // namespace cairn::format::zip
