#include "format/hdf5/filters.h"

#include <algorithm>

#include "format/le.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/sentence.h"
#include "format/zip/inflate.h"

namespace cairn::format::hdf5 {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::size_t kSumBytes = 4;

Decoded<Bytes> inflate(const Bytes& packed, std::uint64_t most) {
  if (most / limits::kDeflateRatioMax > packed.size())
    return corrupt(0, sentence(packed.size(), " deflated bytes cannot become ", most));
  Bytes out(most);
  zip::Inflater inflater(zip::Inflater::Frame::Zlib);
  std::span<const std::byte> left = packed;
  std::size_t made_bytes = 0;
  while (true) {
    std::byte more{};  // once it is full: whether more comes
    const bool full = made_bytes == out.size();
    const auto step =
        inflater.run(left, full ? std::span(&more, 1) : std::span(out).subspan(made_bytes));
    if (!step) return step.error();
    left = left.subspan(step->taken_bytes);
    if (full && step->made_bytes != 0)
      return corrupt(0, sentence("its deflated bytes become more than ", most));
    made_bytes += step->made_bytes;
    if (step->ended) break;
    if (step->taken_bytes == 0 && step->made_bytes == 0)
      return corrupt(0, "its deflated bytes are cut off");
  }
  out.resize(made_bytes);
  return out;
}

// The first byte of all elements stands first, then the second one of all, and so on.
Bytes unshuffle(const Bytes& bytes, std::size_t element_bytes) {
  if (element_bytes <= 1 || element_bytes > bytes.size()) return bytes;
  Bytes out = bytes;
  const std::size_t count = bytes.size() / element_bytes;
  for (std::size_t j = 0; j < element_bytes; ++j) {
    const std::byte* const from = bytes.data() + j * count;
    std::byte* to = out.data() + j;
    for (std::size_t i = 0; i < count; ++i, to += element_bytes) *to = from[i];
  }
  return out;
}

// Old versions of HDF5 summed the bytes of each pair in the other order.
Decoded<Bytes> check_fletcher32(Bytes bytes) {
  if (bytes.size() < kSumBytes) return corrupt(0, "it is shorter than its checksum");
  const std::size_t size = bytes.size() - kSumBytes;
  const auto stored = load_le<std::uint32_t>(bytes.data() + size);
  const std::uint32_t computed = fletcher32(std::span(bytes).first(size));
  const std::uint32_t old = (computed & 0x00ff00ff) << 8 | (computed >> 8 & 0x00ff00ff);
  if (stored != computed && stored != old)
    return corrupt(
        0, sentence("checksum: stored ", stored, ", computed ", computed, ": it is damaged"));
  bytes.resize(size);
  return bytes;
}

}  // namespace

std::uint32_t fletcher32(std::span<const std::byte> bytes) noexcept {
  constexpr std::size_t kPairsMax = 360;  // before the sums must be made small again
  std::uint32_t first = 0;
  std::uint32_t second = 0;
  const auto fold = [](std::uint32_t sum) { return (sum & 0xffff) + (sum >> 16); };
  while (bytes.size() >= 2) {
    const std::size_t pairs = std::min(bytes.size() / 2, kPairsMax);
    for (std::size_t i = 0; i < pairs; ++i) {
      first += static_cast<std::uint32_t>(bytes[2 * i]) << 8 |
               static_cast<std::uint32_t>(bytes[2 * i + 1]);
      second += first;
    }
    first = fold(first);
    second = fold(second);
    bytes = bytes.subspan(2 * pairs);
  }
  if (!bytes.empty()) {
    first += static_cast<std::uint32_t>(bytes[0]) << 8;
    second += first;
    first = fold(first);
    second = fold(second);
  }
  return fold(second) << 16 | fold(first);
}

Decoded<Bytes> undo_filters(Bytes bytes, const Dataset& set, std::uint32_t skipped,
                            std::uint64_t chunk_bytes) {
  const std::uint64_t most = chunk_bytes + kSumBytes * set.filters.size();
  for (std::size_t i = set.filters.size(); i-- > 0;) {
    if ((skipped >> i & 1) != 0) continue;
    const Filter& filter = set.filters[i];
    switch (static_cast<FilterId>(filter.id)) {
      case FilterId::Deflate: {
        auto inflated = inflate(bytes, most);
        if (!inflated) return inflated;
        bytes = *std::move(inflated);
        break;
      }
      case FilterId::Shuffle:
        bytes = unshuffle(bytes, filter.values.empty() ? 1 : filter.values.front());
        break;
      case FilterId::Fletcher32: {
        auto checked = check_fletcher32(std::move(bytes));
        if (!checked) return checked;
        bytes = *std::move(checked);
        break;
      }
      default:
        return unsupported(
            0, sentence("the filter ", filter.id, " (", quoted(filter.name), ") is not known"));
    }
  }
  if (bytes.size() == chunk_bytes) return bytes;
  return corrupt(0, sentence("it becomes ", bytes.size(), " bytes and not ", chunk_bytes));
}

}  // namespace cairn::format::hdf5
