#include "format/hdf5/file.h"

#include <algorithm>
#include <array>
#include <bit>

#include "format/checked.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/sentence.h"

namespace cairn::format::hdf5 {
namespace {

constexpr std::string_view kSignature = "\x89HDF\r\n\x1a\n";
constexpr std::size_t kSuperblockBytesMax = 128;
constexpr std::uint64_t kUserBlockBytesMin = 512;  // then twice as much, and so on
constexpr std::size_t kSumBytes = 4;
constexpr std::uint64_t kCostOfRead = 64;  // so that small reads are bounded too

bool is_width(unsigned width_bytes) noexcept {
  return width_bytes == 2 || width_bytes == 4 || width_bytes == 8;
}

std::uint64_t all_ones(unsigned width_bytes) noexcept {
  return width_bytes >= 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << (8 * width_bytes)) - 1;
}

}  // namespace

std::uint64_t Cursor::number(unsigned width_bytes) noexcept {
  std::array<std::byte, 8> value{};
  std::ranges::copy(take(std::min(width_bytes, 8u)), value.begin());
  return load_le<std::uint64_t>(value.data());
}

std::span<const std::byte> Cursor::take(std::uint64_t size_bytes) noexcept {
  failed_ |= size_bytes > bytes_.size();
  if (failed_) return {};
  const auto taken = bytes_.first(size_bytes);
  bytes_ = bytes_.subspan(size_bytes);
  at_ += size_bytes;
  return taken;
}

std::string_view Cursor::text() noexcept {
  const std::string_view all = as_text(bytes_);
  const std::size_t end = all.find('\0');
  failed_ |= end == std::string_view::npos;
  if (failed_) return {};
  skip(end + 1);
  return all.substr(0, end);
}

// ---- Superblock ---------------------------------------------------------------------------------

// It lies at 0, 512, 1024, 2048 and so on.
Decoded<std::vector<std::byte>> File::find_superblock() {
  std::vector<std::byte> bytes;
  for (std::uint64_t at = 0; at < size_bytes(); at = std::max(2 * at, kUserBlockBytesMin)) {
    bytes.resize(std::min<std::uint64_t>(size_bytes() - at, kSuperblockBytesMax));
    if (auto done = source_->read(at, bytes); !done) return std::move(done).error();
    base_bytes_ = at;
    if (as_text(bytes).starts_with(kSignature)) return bytes;
    if (at > size_bytes() / 2) break;
  }
  return corrupt(0, "this is not an HDF5 file");
}

Decoded<File> File::open(Source& source, const FileOptions& options) {
  File file(source, options);
  auto bytes = file.find_superblock();
  if (!bytes) return std::move(bytes).error();
  if (auto done = file.read_superblock(*bytes); !done) return std::move(done).error();
  return file;
}

Decoded<void> File::read_superblock(std::span<const std::byte> bytes) {
  Cursor cursor(bytes, base_bytes_, {});
  cursor.skip(kSignature.size());
  const std::uint64_t at = cursor.at();
  const unsigned version = cursor.byte();
  if (cursor.failed()) return corrupt(at, "the file ends in its superblock");
  if (version <= 1) {
    cursor.skip(4);
  } else if (version > 3) {
    return unsupported(
        at, sentence("the superblock is of version ", version, ", but only 0 to 3 are known"));
  }
  const std::uint64_t widths_at = cursor.at();
  widths_ = {cursor.byte(), cursor.byte()};
  if (cursor.failed()) return corrupt(at, "the file ends in its superblock");
  if (!is_width(widths_.offset_bytes) || !is_width(widths_.length_bytes)) {
    return unsupported(widths_at,
                       sentence("addresses have ", widths_.offset_bytes, " bytes and sizes ",
                                widths_.length_bytes, ", but only 2, 4 and 8 are known"));
  }
  Cursor rest(cursor.rest(), cursor.at(), widths_);
  return version <= 1 ? (rest.skip(version == 0 ? 9 : 13), take_old(rest))
                      : take_new(rest, bytes, version);
}

Decoded<void> File::take_old(Cursor& cursor) {
  const std::uint64_t base_address = cursor.offset();
  cursor.skip(widths_.offset_bytes);  // of free space
  const std::uint64_t end_address = cursor.offset();
  const std::uint64_t driver_at = cursor.at();
  const std::uint64_t driver_address = cursor.offset();
  cursor.skip(widths_.offset_bytes);  // of the root's name, which it does not have
  root_address_ = cursor.offset();
  if (cursor.failed()) return corrupt(cursor.at(), "the file ends in its superblock");
  if (!is_undefined(driver_address)) {
    return unsupported(driver_at,
                       "the file is one of several that HDF5's multi or family driver wrote; "
                       "'h5repack' writes them as one");
  }
  return check_end(base_address, end_address);
}

Decoded<void> File::take_new(Cursor& cursor, std::span<const std::byte> bytes, unsigned version) {
  const std::uint64_t flags_at = cursor.at();
  const unsigned flags = cursor.byte();
  const std::uint64_t base_address = cursor.offset();
  cursor.skip(widths_.offset_bytes);  // of the extension, which says nothing that is needed
  const std::uint64_t end_address = cursor.offset();
  root_address_ = cursor.offset();
  const std::size_t sum_at = bytes.size() - cursor.left_bytes();
  const auto stored = static_cast<std::uint32_t>(cursor.number(kSumBytes));
  if (cursor.failed()) return corrupt(cursor.at(), "the file ends in its superblock");
  const std::uint32_t computed = lookup3(bytes.first(sum_at));
  if (options_.check_sums && computed != stored) {
    return corrupt(base_bytes_ + sum_at,
                   sentence("superblock checksum: stored ", stored, ", computed ", computed));
  }
  constexpr unsigned kOpenForWriting = 1 | 4;
  if (version == 3 && (flags & kOpenForWriting) != 0) {
    return unsupported(flags_at,
                       "a program has the file open for writing, or died while it had; close it, "
                       "or run 'h5clear --status' on the file");
  }
  return check_end(base_address, end_address);
}

// The end is said as an address in a file that begins at `base_address`.
Decoded<void> File::check_end(std::uint64_t base_address, std::uint64_t end_address) const {
  const auto end_bytes =
      checked_add(end_address - std::min(base_address, end_address), base_bytes_);
  if (!options_.whole || (end_bytes && *end_bytes <= size_bytes())) return {};
  return corrupt(base_bytes_,
                 sentence("the file has ", size_bytes(), " bytes, but it says that it ends at ",
                          end_address, ": it is truncated"));
}

// ---- Blocks -------------------------------------------------------------------------------------

bool File::is_undefined(std::uint64_t address) const noexcept {
  return address == all_ones(widths_.offset_bytes);
}

Decoded<void> File::check_inside(FileRange range) const {
  if (range.offset_bytes <= size_bytes() - base_bytes_ &&
      inside(place(range.offset_bytes), range.size_bytes, size_bytes()))
    return {};
  return corrupt(is_undefined(range.offset_bytes) ? base_bytes_ : range.offset_bytes,
                 sentence("a structure of ", range.size_bytes, " bytes at address ",
                          range.offset_bytes, " ends behind the file's ", size_bytes(), " bytes"));
}

Decoded<Block> File::read(FileRange range) {
  if (auto done = check_inside(range); !done) return std::move(done).error();
  const std::uint64_t most =
      std::min(limits::kHdf5StructureRatioMax * size_bytes(), limits::kHdf5StructureBytesMax);
  read_bytes_ += range.size_bytes + kCostOfRead;
  if (read_bytes_ > most) {
    return corrupt(
        place(range.offset_bytes),
        sentence("the file's structures have more than ", most, " bytes, the limit for a file of ",
                 size_bytes(), " bytes: some lead to the same bytes again and again"));
  }
  Block block{std::vector<std::byte>(range.size_bytes), place(range.offset_bytes)};
  if (auto done = source_->read(block.at, block.bytes); !done) return std::move(done).error();
  return block;
}

Decoded<Block> File::read_signed(FileRange range, const Signed& wanted) {
  auto block = read(range);
  if (!block) return block;
  Cursor start = cursor(*block);
  if (as_text(start.take(wanted.signature.size())) != wanted.signature || start.failed())
    return corrupt(block->at, sentence("there is no structure ", wanted.signature));
  if (wanted.version != kNoVersion) {
    const int version = start.byte();
    if (version != wanted.version && !start.failed()) {
      return unsupported(block->at + wanted.signature.size(),
                         sentence(wanted.signature, " is of version ", version, ", but only ",
                                  wanted.version, " is known"));
    }
  }
  if (start.failed()) return corrupt(block->at, sentence(wanted.signature, " is too short"));
  if (!wanted.has_sum) return block;
  if (auto done = check_sum(*block); !done) return std::move(done).error();
  return block;
}

Decoded<void> File::check_sum(const Block& block) const {
  if (block.bytes.size() < kSumBytes) return corrupt(block.at, "a structure is too short");
  const std::size_t sum_at = block.bytes.size() - kSumBytes;
  const auto stored = load_le<std::uint32_t>(block.bytes.data() + sum_at);
  const std::uint32_t computed = lookup3(std::span(block.bytes).first(sum_at));
  if (!options_.check_sums || computed == stored) return {};
  return corrupt(block.at,
                 sentence("checksum of a structure of ", block.bytes.size(), " bytes: stored ",
                          stored, ", computed ", computed, ": it is damaged"));
}

Decoded<void> File::read_data(std::uint64_t address, std::span<std::byte> out) {
  if (auto done = check_inside({address, out.size()}); !done) return done;
  return source_->read(place(address), out);
}

// ---- Sums ---------------------------------------------------------------------------------------

namespace {

struct Mixed {
  std::uint32_t a, b, c;

  void mix() noexcept {
    const auto step = [](std::uint32_t& x, std::uint32_t& y, std::uint32_t& z, int bits) {
      x -= z;
      x ^= std::rotl(z, bits);
      z += y;
    };
    step(a, b, c, 4);
    step(b, c, a, 6);
    step(c, a, b, 8);
    step(a, b, c, 16);
    step(b, c, a, 19);
    step(c, a, b, 4);
  }
  void finish() noexcept {
    const auto step = [](std::uint32_t& x, std::uint32_t y, int bits) {
      x ^= y;
      x -= std::rotl(y, bits);
    };
    step(c, b, 14);
    step(a, c, 11);
    step(b, a, 25);
    step(c, b, 16);
    step(a, c, 4);
    step(b, a, 14);
    step(c, b, 24);
  }
};

}  // namespace

std::uint32_t lookup3(std::span<const std::byte> bytes) noexcept {
  constexpr std::size_t kStepBytes = 12;
  const std::uint32_t start = 0xdeadbeef + static_cast<std::uint32_t>(bytes.size());
  Mixed state{start, start, start};
  const auto add = [&state](const std::byte* at) {
    state.a += load_le<std::uint32_t>(at);
    state.b += load_le<std::uint32_t>(at + 4);
    state.c += load_le<std::uint32_t>(at + 8);
  };
  for (; bytes.size() > kStepBytes; bytes = bytes.subspan(kStepBytes)) {
    add(bytes.data());
    state.mix();
  }
  if (bytes.empty()) return state.c;
  std::array<std::byte, kStepBytes> last{};
  std::ranges::copy(bytes, last.begin());
  add(last.data());
  state.finish();
  return state.c;
}

}  // namespace cairn::format::hdf5
