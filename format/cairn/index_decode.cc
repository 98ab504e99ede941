// Opening Cairn's index: from bytes of any origin to a view that needs no further check.
//
// The order matters, because each step makes the next one safe: size and magic (is it ours at all),
// version and features (may this code judge it), exact size and digest (are these the bytes that
// were written: from here on only a forger or a bug of a writer is left), FlatBuffers' structure
// (no offset leads outside), meaning (index_check.cc). A forger can compute a digest, so the last
// two trust nothing.
//
// FlatBuffers' verifier needs help in three places. It asserts on buffers of 2 GiB, so the limit
// comes before it is made. It stops offsets that share tables only by a count, so that count
// follows from the body's size. And it accepts vectors of 8-byte elements at 4-byte addresses,
// which spans must not have, so their alignment is checked here.

#include <algorithm>
#include <bit>
#include <string>

#include "format/cairn/index.h"
#include "format/cairn/index_layout.h"
#include "format/digest.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/sentence.h"

namespace cairn::format {

namespace index {

Digest128 file_digest(std::span<const std::byte> file) {
  Xxh3Stream stream;
  stream.update(file.first(kDigestAt));
  stream.update(file.subspan(kHeaderBytes));
  return stream.digest();
}

namespace {

Decoded<void> check_magic(std::span<const std::byte> file) {
  const std::string_view start = as_text(file.first(std::min<std::size_t>(file.size(), 16)));
  if (start.starts_with(kMagic)) {
    if (file.size() >= kHeaderBytes) return {};
    return corrupt(
        0, sentence("the index has ", file.size(), " bytes, but its header needs ", kHeaderBytes));
  }
  if (start.find("CAIRN") != std::string_view::npos) {
    return corrupt(
        0,
        sentence(
            "the index starts with ", format::quoted(start.substr(0, kMagic.size())),
            " instead of ", format::quoted(kMagic),
            ": a transfer in text mode damages a file in this way; copy it again in binary mode"));
  }
  return corrupt(0, sentence("this is not a Cairn index: it starts with ",
                             format::quoted(start.substr(0, kMagic.size()))));
}

Decoded<void> check_version(std::span<const std::byte> file) {
  const auto version = load_le<std::uint32_t>(file.data() + kVersionAt);
  if (version != kIndexVersion) {
    return unsupported(kVersionAt,
                       sentence("the index has format version ", version,
                                ", but this version of Cairn reads version ", kIndexVersion));
  }
  const auto header_bytes = load_le<std::uint32_t>(file.data() + kHeaderBytesAt);
  if (header_bytes != kHeaderBytes) {
    return corrupt(kHeaderBytesAt, sentence("the index says that its header has ", header_bytes,
                                            " bytes, but in version 1 it has ", kHeaderBytes));
  }
  const auto features = load_le<std::uint64_t>(file.data() + kRequiredFeaturesAt);
  if (const std::uint64_t unknown = features & ~kKnownFeatures; unknown != 0) {
    return unsupported(kRequiredFeaturesAt,
                       sentence("the index needs feature ", std::countr_zero(unknown),
                                ", which only a newer version of Cairn can read"));
  }
  return {};
}

Decoded<void> check_sizes(std::span<const std::byte> file) {
  const auto body_bytes = load_le<std::uint64_t>(file.data() + kBodyBytesAt);
  if (body_bytes != file.size() - kHeaderBytes) {
    return corrupt(kBodyBytesAt,
                   sentence("the index has ", file.size() - kHeaderBytes,
                            " bytes after its header, but the header says ", body_bytes));
  }
  if (const auto zero = load_le<std::uint64_t>(file.data() + kZeroAt); zero != 0) {
    return corrupt(kZeroAt, sentence("reserved bytes of the index are ", zero, " instead of 0"));
  }
  return {};
}

// All that can be said before the body is looked at.
Decoded<void> check_header(std::span<const std::byte> file) {
  if (reinterpret_cast<std::uintptr_t>(file.data()) % 8 != 0) {
    return DecodeError{Code::Invalid, 0, "the address of the index is not a multiple of 8"};
  }
  if (file.size() > limits::kIndexBytesMax) {
    return corrupt(0, sentence("the index has ", file.size(), " bytes, more than the limit of ",
                               limits::kIndexBytesMax));
  }
  for (auto* check : {check_magic, check_version, check_sizes}) {
    if (auto checked = check(file); !checked) return checked;
  }
  return {};
}

Decoded<void> compare_digest(std::span<const std::byte> file) {
  const auto stored = file.subspan(kDigestAt, sizeof(Digest128));
  const Digest128 computed = file_digest(file);
  if (!std::ranges::equal(stored, computed.bytes)) {
    return corrupt(kDigestAt, sentence("the index is damaged: stored digest ", hex(stored),
                                       ", computed ", hex(computed.bytes)));
  }
  return {};
}

template <class T>
bool aligned(std::span<const T> column) noexcept {
  return reinterpret_cast<std::uintptr_t>(column.data()) % alignof(T) == 0;
}

std::span<const fbs::RangeRecord> source_ranges(const fbs::Index& root) noexcept {
  const auto* source = root.source_index();
  if (source == nullptr || source->ranges() == nullptr || source->ranges()->size() == 0) return {};
  return {source->ranges()->Get(0), source->ranges()->size()};
}

Decoded<const fbs::Index*> verified(std::span<const std::byte> body) {
  flatbuffers::Verifier::Options options;
  options.max_depth = 4;
  // With what it points to, every table that there may be many of takes more than 16 bytes.
  options.max_tables = static_cast<flatbuffers::uoffset_t>(body.size() / 16 + 4);
  const auto* data = reinterpret_cast<const std::uint8_t*>(body.data());
  flatbuffers::Verifier verifier(data, body.size(), options);
  if (!fbs::VerifyIndexBuffer(verifier)) {
    return corrupt(kHeaderBytes, "an offset in the index leads outside of its bytes");
  }
  const fbs::Index* root = fbs::GetIndex(data);
  const Columns columns(*root);
  if (!aligned(columns.tensors) || !aligned(columns.dims) || !aligned(columns.slices) ||
      !aligned(columns.extents) || !aligned(RareColumns(*root).strides) ||
      !aligned(source_ranges(*root))) {
    return corrupt(kHeaderBytes, "a column of the index is not aligned to 8 bytes");
  }
  return root;
}

}  // namespace

}  // namespace index

Decoded<void> IndexView::check_digest(std::span<const std::byte> file) {
  auto checked = index::check_header(file);
  return checked ? index::compare_digest(file) : checked;
}

Decoded<IndexView> IndexView::check_contents(std::span<const std::byte> file) {
  if (auto checked = index::check_header(file); !checked) return std::move(checked).error();
  auto root = index::verified(file.subspan(index::kHeaderBytes));
  if (!root) return std::move(root).error();
  if (auto checked = index::check_meaning(**root, index::Columns(**root), file); !checked) {
    return std::move(checked).error();
  }
  return IndexView(*root);
}

Decoded<IndexView> IndexView::decode(std::span<const std::byte> file) {
  if (auto checked = check_digest(file); !checked) return std::move(checked).error();
  return check_contents(file);
}

}  // namespace cairn::format
