// An HDF5 file as a checkpoint: .h5, .hdf5, Keras' .weights.h5.
//
// A dataset that is contiguous lies in the file as it is, and is served from there. What is in
// chunks is decoded when the file is opened, into one file in memory, which is the last shard.

#include "lib/open/hdf5.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "format/checked.h"
#include "format/digest.h"
#include "format/hdf5/contents.h"
#include "format/hdf5/elements.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "lib/os/machine.h"
#include "lib/read/identity.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

namespace hdf5 = format::hdf5;

constexpr std::size_t kLeftOutShownMax = 8;

// ---- Bytes --------------------------------------------------------------------------------------

// A part of a file, whose small reads come from blocks that are kept.
class FileSource final : public hdf5::Source {
 public:
  FileSource(const os::File& file, format::FileRange window) : file_(file), window_(window) {}

  std::uint64_t size_bytes() const noexcept override { return window_.size_bytes; }

  format::Decoded<void> read(std::uint64_t offset_bytes, std::span<std::byte> out) override {
    if (out.size() >= kBlockBytes) return read_through(offset_bytes, out);
    while (!out.empty()) {
      const std::uint64_t number = offset_bytes / kBlockBytes;
      Block& block = blocks_[number % blocks_.size()];
      if (block.number != number) {
        const std::uint64_t begin = number * kBlockBytes;
        block.bytes.resize(std::min<std::uint64_t>(kBlockBytes, window_.size_bytes - begin));
        block.number = kNone;
        if (auto done = read_through(begin, block.bytes); !done) return done;
        block.number = number;
      }
      const std::size_t at = offset_bytes % kBlockBytes;
      const std::size_t count = std::min(out.size(), block.bytes.size() - at);
      std::copy_n(block.bytes.begin() + static_cast<std::ptrdiff_t>(at), count, out.begin());
      out = out.subspan(count);
      offset_bytes += count;
    }
    return {};
  }

  // Why a read failed, where one did.
  const std::optional<Error>& error() const noexcept { return error_; }

 private:
  static constexpr std::uint64_t kBlockBytes = std::uint64_t{16} << 10;
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};
  struct Block {
    std::uint64_t number = kNone;
    std::vector<std::byte> bytes;
  };

  format::Decoded<void> read_through(std::uint64_t offset_bytes, std::span<std::byte> out) {
    auto done = file_.read_at(window_.offset_bytes + offset_bytes, out);
    if (done) return {};
    error_ = std::move(done).error();
    return format::DecodeError{error_->code, offset_bytes, error_->what};
  }

  const os::File& file_;
  const format::FileRange window_;
  std::array<Block, 16> blocks_;
  std::optional<Error> error_;
};

// ---- Contents -----------------------------------------------------------------------------------

class Hdf5Reader {
 public:
  Hdf5Reader(const Hdf5Place& place, DecodedShard& decoded)
      : place_(place), decoded_(decoded), source_(place.file, place.window) {}

  Result<void> run(FileIndex& index) {
    auto file = hdf5::File::open(source_, {place_.whole, true});
    if (!file) return error(file.error());
    auto contents = hdf5::read_contents(*file);
    if (!contents) return error(contents.error());
    CAIRN_CHECK(check_room(*contents));
    CAIRN_CHECK(decode(*file, *contents));
    for (hdf5::Tensor& tensor : contents->tensors) {
      if (tensor.decoded) {
        const auto& span = spans_[*tensor.decoded];
        if (!span) continue;
        tensor.facts.span = *span;
      } else {
        tensor.facts.span.shard = place_.shard;
        tensor.facts.span.offset_bytes += place_.window.offset_bytes;
      }
      index.facts.tensors.push_back(std::move(tensor.facts));
    }
    std::ranges::move(contents->metadata, std::back_inserter(index.facts.metadata));
    add_left_out(std::move(contents->left_out), index);
    return {};
  }

 private:
  Error error(const format::DecodeError& reason) const {
    if (reason.code == Code::Io && source_.error()) return *source_.error();
    if (sink_error_) return *sink_error_;
    format::DecodeError placed = reason;
    placed.byte_offset += place_.window.offset_bytes;
    return error_of(place_.path, placed);
  }

  // Half of the memory that is there, so that a small file does not take all of it.
  Result<void> check_room(const hdf5::Contents& contents) const {
    std::uint64_t wanted_bytes = 0;
    std::uint64_t working_bytes = 0;
    for (const hdf5::Dataset& set : contents.to_decode) {
      const auto sum = format::checked_add(wanted_bytes, set.size_bytes());
      wanted_bytes = sum ? *sum : ~std::uint64_t{0};
      working_bytes = std::max(working_bytes, hdf5::working_bytes(set));
    }
    if (wanted_bytes == 0) return {};
    if (wanted_bytes / format::limits::kDeflateRatioMax > place_.window.size_bytes)
      return Error{Code::Unsupported, 0,
                   place_.path + ": its datasets in chunks have " + std::to_string(wanted_bytes) +
                       " bytes when they are decoded, more than " +
                       std::to_string(format::limits::kDeflateRatioMax) +
                       " times the bytes of the file; most of them were never written"};
    const auto total = format::checked_add(wanted_bytes, working_bytes);
    return check_memory({total.value_or(~std::uint64_t{0}),
                         place_.path + ": its datasets in chunks",
                         "'h5repack -l CONTI -f NONE' writes a file that opens without it"});
  }

  Result<void> decode(hdf5::File& file, const hdf5::Contents& contents) {
    spans_.resize(contents.to_decode.size());
    for (std::size_t i = 0; i < spans_.size(); ++i) {
      decoded_.begin();
      const auto done = hdf5::decode_elements(
          file, contents.to_decode[i],
          [&](std::span<const std::byte> bytes) -> format::Decoded<void> {
            auto added = decoded_.add(bytes);
            if (added) return {};
            sink_error_ = std::move(added).error();
            return format::DecodeError{sink_error_->code, 0, sink_error_->what};
          });
      if (done) {
        spans_[i] = decoded_.end(place_.decoded_shard);
        continue;
      }
      const std::string name = name_of(contents, i);
      if (sink_error_ || done.error().code != Code::Corrupt || place_.whole) {
        Error refused = error(done.error());
        if (!sink_error_ && refused.code != Code::Io) refused.what += ", in " + name;
        return refused;
      }
      damaged_.push_back(name + " is left out: " + done.error().what);
    }
    return {};
  }

  static std::string name_of(const hdf5::Contents& contents, std::size_t decoded) {
    const auto found =
        std::ranges::find(contents.tensors, std::optional(decoded), &hdf5::Tensor::decoded);
    return format::quoted(found->facts.name);
  }

  void add_left_out(std::vector<std::string> sentences, FileIndex& index) {
    std::ranges::move(damaged_, std::back_inserter(sentences));
    const std::size_t count = sentences.size();
    const std::size_t shown = count <= kLeftOutShownMax ? count : kLeftOutShownMax - 1;
    for (std::size_t i = 0; i < shown; ++i)
      index.left_out.push_back(place_.path + ": " + sentences[i]);
    if (shown < count)
      index.left_out.push_back(place_.path + ": " + std::to_string(count - shown) +
                               " more are left out");
  }

  const Hdf5Place& place_;
  DecodedShard& decoded_;
  FileSource source_;
  std::vector<std::optional<format::Span>> spans_;  // of what was decoded
  std::vector<std::string> damaged_;
  std::optional<Error> sink_error_;
};

}  // namespace

// ---- Shards -------------------------------------------------------------------------------------

format::ShardFacts hdf5_shard(const std::string& name, std::uint32_t shard, const OpenShard& file,
                              format::IndexFacts& facts) {
  format::ShardFacts said{name, format::ShardKind::AnyFile, file.identity};
  said.head_bytes = file.identity.size_bytes;
  std::vector<format::FileRange> owned;
  for (const format::TensorFacts& tensor : facts.tensors) {
    if (tensor.span.shard != shard || tensor.span.size_bytes == 0) continue;
    said.head_bytes = std::min(said.head_bytes, tensor.span.offset_bytes);
    owned.push_back({tensor.span.offset_bytes, tensor.span.size_bytes});
  }
  std::ranges::sort(owned, {}, &format::FileRange::offset_bytes);
  std::uint64_t end = 0;
  for (const format::FileRange& range : owned) {
    const std::uint64_t begin = std::max(range.offset_bytes, end);
    end = std::max(end, range.offset_bytes + range.size_bytes);
    said.live_bytes += end - std::min(begin, end);
  }
  for (format::TensorFacts& tensor : facts.tensors) {
    const bool is_empty = tensor.span.shard == shard && tensor.span.size_bytes == 0;
    if (is_empty) tensor.span.offset_bytes = said.head_bytes;
  }
  return said;
}

Result<void> read_hdf5_file(const Hdf5Place& place, DecodedShard& decoded, FileIndex& index) {
  return Hdf5Reader(place, decoded).run(index);
}

Result<FileIndex> read_hdf5(OpenShard file, const FileReadOptions& how) {
  DecodedShard decoded(file.file.path());
  FileIndex index{std::move(file), {}, {}, 1, {}, {}};
  const OpenShard& opened = index.shard;
  const Hdf5Place place{opened.file, {0, opened.identity.size_bytes}, opened.file.path(), 0, 1,
                        how.whole};
  if (auto done = read_hdf5_file(place, decoded, index); !done)
    return named_for_what_it_is(opened.file, std::move(done).error(), {FileType::Hdf5});
  index.facts.shards.push_back(hdf5_shard(how.name, 0, opened, index.facts));
  CAIRN_CHECK(decoded.finish(how.name, index));
  return index;
}

}  // namespace cairn::internal
