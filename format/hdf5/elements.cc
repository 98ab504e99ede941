#include "format/hdf5/elements.h"

#include <algorithm>

#include "format/checked.h"
#include "format/hdf5/chunks.h"
#include "format/hdf5/filters.h"
#include "format/limits.h"
#include "format/sentence.h"

namespace cairn::format::hdf5 {
namespace {

// Repeats the fill value over bytes that are zeros.
void put_fill(const Dataset& set, std::span<std::byte> out) {
  if (set.fill.empty()) return;
  for (std::size_t at = 0; at < out.size(); at += set.fill.size())
    std::ranges::copy(set.fill, out.begin() + static_cast<std::ptrdiff_t>(at));
}

// Hands on in large parts what comes in small ones.
class Output {
 public:
  explicit Output(const Sink& sink) : sink_(sink) {}

  Decoded<void> put(std::span<const std::byte> bytes) {
    if (waiting_.size() + bytes.size() > kBlockBytes) {
      if (auto done = flush(); !done) return done;
    }
    if (bytes.size() > kBlockBytes) return sink_(bytes);
    waiting_.insert(waiting_.end(), bytes.begin(), bytes.end());
    return {};
  }

  Decoded<void> flush() {
    if (waiting_.empty()) return {};
    auto done = sink_(waiting_);
    waiting_.clear();
    return done;
  }

  static constexpr std::uint64_t kBlockBytes = std::uint64_t{1} << 20;

 private:
  const Sink& sink_;
  std::vector<std::byte> waiting_;
};

Decoded<void> put_fills(const Dataset& set, std::uint64_t element_count, Output& output) {
  const std::uint64_t element_bytes = set.type.size_bytes;
  const std::uint64_t elements_max =
      std::max<std::uint64_t>(Output::kBlockBytes / element_bytes, 1);
  std::vector<std::byte> block(std::min(elements_max, element_count) * element_bytes);
  put_fill(set, block);
  while (element_count != 0) {
    const std::uint64_t count = std::min(elements_max, element_count);
    if (auto done = output.put(std::span(block).first(count * element_bytes)); !done) return done;
    element_count -= count;
  }
  return {};
}

// A band is what the chunks of one number in the first dimension have: it is put together in
// memory, and the bands follow each other.
class BandReader {
 public:
  BandReader(File& file, const Dataset& set) : file_(file), set_(set), grid_(set) {
    row_bytes_ = set.type.size_bytes;
    for (std::size_t i = 1; i < set.space.dimensions.size(); ++i)
      row_bytes_ *= set.space.dimensions[i];
  }

  Decoded<void> run(const Sink& sink) {
    auto chunks = read_chunks(file_, set_);
    if (!chunks) return std::move(chunks).error();
    if (auto done = check_sizes(*chunks); !done) return done;
    const std::uint64_t band_count = grid_.counts().front();
    const std::uint64_t per_band = grid_.count() / band_count;
    Output output(sink);
    auto next = chunks->begin();
    std::vector<std::byte> bytes;
    for (std::uint64_t band = 0; band < band_count;) {
      const std::uint64_t stored = next == chunks->end() ? band_count : next->number / per_band;
      if (stored != band) {
        if (auto done = put_bands_of_fills(band, stored, output); !done) return done;
        band = stored;
        continue;
      }
      bytes.assign(rows_of(band) * row_bytes_, std::byte{});
      put_fill(set_, bytes);
      for (++band; next != chunks->end() && next->number < band * per_band; ++next) {
        if (auto done = put_chunk(*next, bytes); !done) return done;
      }
      if (auto done = output.put(bytes); !done) return done;
    }
    return output.flush();
  }

 private:
  std::uint64_t rows_of(std::uint64_t band) const noexcept {
    const std::uint64_t part = set_.layout.chunk.front();
    return std::min(part, set_.space.dimensions.front() - band * part);
  }

  // Bands of which nothing was written: from the first one to the one in front of `end`.
  Decoded<void> put_bands_of_fills(std::uint64_t first, std::uint64_t end, Output& output) const {
    const std::uint64_t rows = (end - first - 1) * set_.layout.chunk.front() + rows_of(end - 1);
    return put_fills(set_, rows * (row_bytes_ / set_.type.size_bytes), output);
  }

  // Chunks are whole, also where the dataset ends inside of them: many small edges of large chunks
  // must not be more work than the file is large.
  Decoded<void> check_sizes(const std::vector<Chunk>& chunks) const {
    const auto all = checked_mul(chunks.size(), grid_.chunk_bytes());
    if (all && *all / limits::kDeflateRatioMax <= file_.size_bytes()) return {};
    return corrupt(
        0, sentence(chunks.size(), " chunks of ", grid_.chunk_bytes(),
                    " bytes are more than a file of ", file_.size_bytes(), " bytes can hold"));
  }

  bool is_edge(const std::vector<std::uint64_t>& position) const {
    for (std::size_t i = 0; i < position.size(); ++i) {
      if ((position[i] + 1) > set_.space.dimensions[i] / set_.layout.chunk[i]) return true;
    }
    return false;
  }

  Decoded<void> put_chunk(const Chunk& chunk, std::span<std::byte> band) {
    constexpr std::uint32_t kAllFilters = 0xffffffff;
    const auto position = grid_.position(chunk.number);
    const bool raw = set_.layout.edges_unfiltered && is_edge(position);
    std::vector<std::byte> stored(raw ? grid_.chunk_bytes() : chunk.stored_bytes);
    if (auto done = file_.read_data(chunk.address, stored); !done) return done;
    auto bytes = undo_filters(std::move(stored), set_, raw ? kAllFilters : chunk.skipped_filters,
                              grid_.chunk_bytes());
    if (!bytes) {
      DecodeError error = std::move(bytes).error();
      error.byte_offset = file_.place(chunk.address);
      error.what = sentence("chunk ", chunk.number, ": ", error.what);
      return error;
    }
    scatter(*bytes, position, band);
    return {};
  }

  // Copies the chunk's lines, of which each is one after another in the band too.
  void scatter(std::span<const std::byte> bytes, const std::vector<std::uint64_t>& position,
               std::span<std::byte> band) const {
    const std::size_t rank = position.size();
    std::vector<std::uint64_t> sizes(rank);  // of what has elements of the dataset
    for (std::size_t i = 0; i < rank; ++i)
      sizes[i] = std::min(set_.layout.chunk[i],
                          set_.space.dimensions[i] - position[i] * set_.layout.chunk[i]);
    const std::uint64_t line_bytes = sizes[rank - 1] * set_.type.size_bytes;
    std::vector<std::uint64_t> at(rank, 0);
    while (true) {
      std::uint64_t from = 0;
      std::uint64_t to = 0;
      for (std::size_t i = 0; i < rank; ++i) {
        const std::uint64_t begin = i == 0 ? 0 : position[i] * set_.layout.chunk[i];
        from = from * set_.layout.chunk[i] + at[i];
        to = (i == 0 ? 0 : to * set_.space.dimensions[i]) + begin + at[i];
      }
      const auto line = bytes.subspan(from * set_.type.size_bytes, line_bytes);
      std::ranges::copy(line,
                        band.begin() + static_cast<std::ptrdiff_t>(to * set_.type.size_bytes));
      std::size_t i = rank - 1;
      while (i-- > 0) {
        if (++at[i] < sizes[i]) break;
        at[i] = 0;
      }
      if (i == static_cast<std::size_t>(-1)) return;
    }
  }

  File& file_;
  const Dataset& set_;
  const ChunkGrid grid_;
  std::uint64_t row_bytes_ = 0;
};

}  // namespace

std::uint64_t working_bytes(const Dataset& set) {
  if (set.layout.kind != Layout::Kind::Chunked || set.element_count == 0) return 0;
  const std::uint64_t rows = std::min(set.layout.chunk.front(), set.space.dimensions.front());
  return set.size_bytes() / set.space.dimensions.front() * rows + 2 * ChunkGrid(set).chunk_bytes();
}

Decoded<void> decode_elements(File& file, const Dataset& set, const Sink& sink) {
  if (set.element_count == 0) return {};
  if (set.layout.kind != Layout::Kind::Chunked) {
    Output output(sink);
    if (auto done = put_fills(set, set.element_count, output); !done) return done;
    return output.flush();
  }
  return BandReader(file, set).run(sink);
}

}  // namespace cairn::format::hdf5
