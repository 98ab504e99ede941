#include "format/zip/inflate.h"

#include <algorithm>
#include <limits>
#include <new>

#include <isa-l/crc.h>
#include <zlib.h>

#include "format/sentence.h"

namespace cairn::format::zip {

std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t crc) noexcept {
  return crc32_gzip_refl(crc, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
}

void Inflater::End::operator()(z_stream_s* stream) const noexcept {
  inflateEnd(stream);
  delete stream;
}

Inflater::Inflater(Frame frame) {
  constexpr int kWindow = 15;  // 2^15 bytes; negative: neither zlib's header nor its sum
  auto stream = std::make_unique<z_stream>();
  if (inflateInit2(stream.get(), frame == Frame::Zlib ? kWindow : -kWindow) != Z_OK)
    throw std::bad_alloc();
  stream_.reset(stream.release());
}

Decoded<Inflater::Step> Inflater::run(std::span<const std::byte> packed, std::span<std::byte> out) {
  constexpr std::size_t kMost = std::numeric_limits<uInt>::max();
  packed = packed.first(std::min(packed.size(), kMost));
  out = out.first(std::min(out.size(), kMost));
  // It reads only, but says `unsigned char*`.
  stream_->next_in =
      const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(packed.data()));
  stream_->avail_in = static_cast<uInt>(packed.size());
  stream_->next_out = reinterpret_cast<unsigned char*>(out.data());
  stream_->avail_out = static_cast<uInt>(out.size());
  const int status = inflate(stream_.get(), Z_NO_FLUSH);
  const Step step{packed.size() - stream_->avail_in, out.size() - stream_->avail_out,
                  status == Z_STREAM_END};
  if (status == Z_MEM_ERROR) throw std::bad_alloc();
  if (status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR) return step;
  return corrupt(step.taken_bytes,
                 sentence("the deflated bytes cannot be decoded: ",
                          stream_->msg == nullptr ? "unknown reason" : stream_->msg));
}

}  // namespace cairn::format::zip
