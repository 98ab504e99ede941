// The digest of a checkpoint's contents. FORMAT.md, "The digest of a checkpoint".

#include <cstdint>
#include <string>
#include <string_view>

#include "format/digest.h"
#include "format/le.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {
namespace {

void append_text(std::string& out, std::string_view text) {
  format::append_le(out, std::uint64_t{text.size()});
  out += text;
}

}  // namespace

std::optional<Digest128> digest_of(const format::IndexView& index) {
  format::Xxh3Stream stream;
  std::string record;
  for (std::size_t i = 0; i < index.tensor_count(); ++i) {
    const format::IndexView::Tensor tensor = index.tensor(i);
    if (!tensor.content_hash) return std::nullopt;
    record.clear();
    append_text(record, tensor.name);
    append_text(record, tensor.dtype == DType::Opaque ? tensor.opaque_dtype : name(tensor.dtype));
    format::append_le(record, std::uint64_t{tensor.shape.size()});
    for (const std::int64_t size : tensor.shape) format::append_le(record, size);
    record += format::as_text(tensor.content_hash->bytes);
    stream.update(format::as_bytes(record));
  }
  return stream.digest();
}

Result<void> check_digest(const Parts& parts, const Digest128& expected) {
  const auto digest = digest_of(parts.index);
  if (digest == expected) return {};
  const std::string wanted = "the expected " + format::hex(expected.bytes);
  if (digest)
    return Error{Code::Invalid, 0,
                 parts.prefix.string() + ": its digest is " + format::hex(digest->bytes) +
                     ", and not " + wanted};
  return Error{Code::Invalid, 0,
               parts.prefix.string() + ": it has no digest to compare with " + wanted +
                   ", because its format stores no content hashes; 'cairn import' computes them"};
}

}  // namespace cairn::internal
