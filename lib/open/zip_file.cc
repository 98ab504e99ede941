#include "lib/open/zip_file.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "format/le.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "lib/open/assemble.h"
#include "lib/os/parallel.h"
#include "lib/read/blocks.h"
#include "lib/try.h"

namespace cairn::internal {

namespace zip = format::zip;

namespace {

// Of most archives all is in it: no comment, and a short directory.
constexpr std::uint64_t kUsualTailBytes = std::uint64_t{16} << 10;

// The last bytes of a range, and where the directory lies, from the range's start.
struct Tail {
  os::Bytes bytes;
  std::uint64_t offset_bytes = 0;  // from there
  format::Decoded<zip::DirectoryPlace> place;

  bool has_directory() const noexcept { return place && place->offset_bytes >= offset_bytes; }
};

Result<Tail> read_tail(const os::File& file, format::FileRange range, std::uint64_t bytes_max) {
  os::Bytes bytes(std::min(range.size_bytes, bytes_max));
  const std::uint64_t offset = range.size_bytes - bytes.size();
  CAIRN_CHECK(file.read_at(range.offset_bytes + offset, bytes));
  auto place = zip::find_directory(bytes, range.size_bytes);
  return Tail{std::move(bytes), offset, std::move(place)};
}

bool is_summed(const zip::Member& member) noexcept {
  return member.method == zip::kStored && !member.encrypted && member.crc32 != 0;
}

// Those that are stored as they are, with a CRC-32: by where they lie. A file of a distributed
// checkpoint of PyTorch is one archive after another; each is found by where the next one begins.
Result<std::vector<zip::Member>> summed_members(const os::File& file) {
  std::vector<zip::Member> members;
  CAIRN_TRY(info, file.info());
  std::array<std::byte, 4> begin{};
  CAIRN_TRY(count, file.read_some_at(0, begin));
  if (!format::as_text(std::span(begin).first(count)).starts_with("PK\x03\x04")) return members;
  for (std::uint64_t end = info.size_bytes; end != 0;) {
    auto archive = read_zip_members(file, {0, end});
    const bool is_last = end == info.size_bytes;
    if (!archive && (is_last || archive.error().code == Code::Io))
      return std::move(archive).error();
    if (!archive || archive->size() > format::limits::kZipMembersMax - members.size()) break;
    end = 0;
    if (!archive->empty())
      end = std::ranges::min_element(*archive, {}, &zip::Member::header_offset_bytes)
                ->header_offset_bytes;
    std::ranges::copy_if(*archive, std::back_inserter(members), is_summed);
  }
  std::ranges::sort(members, {}, &zip::Member::header_offset_bytes);
  return members;
}

Result<SummedRange> compare(const os::File& file, const zip::Member& member) {
  CAIRN_TRY(data_offset, zip_data_offset(file, member));
  std::uint32_t crc32 = 0;
  CAIRN_CHECK(for_each_block(file, data_offset, member.size_bytes,
                             [&](auto block) { crc32 = zip::crc32(block, crc32); }));
  return SummedRange{{data_offset, member.size_bytes}, crc32 != member.crc32};
}

std::uint64_t bytes_of(std::span<const zip::Member> members) noexcept {
  std::uint64_t bytes = 0;
  for (const zip::Member& member : members) bytes += member.size_bytes;
  return bytes;
}

Result<void> check(const os::File& file, std::span<const zip::Member> members,
                   const ExecOptions& exec) {
  const auto check_one = [&](std::size_t i) -> Result<std::uint64_t> {
    CAIRN_TRY(compared, compare(file, members[i]));
    if (!compared.damaged) return members[i].size_bytes;
    return Error{Code::Corrupt, 0,
                 file.path() + ": member " + format::quoted(members[i].name) +
                     ": its bytes have another CRC-32 than the archive says: it is damaged"};
  };
  return os::run_parallel(exec, members.size(), bytes_of(members), check_one);
}

}  // namespace

Result<std::vector<zip::Member>> read_zip_members(const os::File& file, format::FileRange range) {
  const auto error_at = [&](format::DecodeError reason) {
    reason.byte_offset += range.offset_bytes;
    return error_of(file.path(), reason);
  };
  CAIRN_TRY(tail, read_tail(file, range, kUsualTailBytes));
  // An end record without members may have a second one in front of the tail.
  if (!tail.has_directory() || tail.place->size_bytes == 0) {
    CAIRN_TRY(longer, read_tail(file, range, zip::kTailBytes));
    tail = std::move(longer);
  }
  if (!tail.place) return error_at(tail.place.error());
  const zip::DirectoryPlace& place = *tail.place;
  os::Bytes apart(tail.has_directory() ? 0 : place.size_bytes);
  CAIRN_CHECK(file.read_at(range.offset_bytes + place.offset_bytes, apart));
  const std::span<const std::byte> directory =
      tail.has_directory() ? std::span<const std::byte>(tail.bytes)
                                 .subspan(place.offset_bytes - tail.offset_bytes, place.size_bytes)
                           : std::span<const std::byte>(apart);
  auto members = zip::decode_directory(directory, place);
  if (!members) return error_at(members.error());
  for (zip::Member& member : *members) {
    member.header_offset_bytes += range.offset_bytes;
    member.end_bytes_max += range.offset_bytes;
  }
  return *std::move(members);
}

std::span<const std::byte> ZipMemberHead::data(const zip::Member& member) const noexcept {
  const std::uint64_t begin =
      std::min<std::uint64_t>(data_offset_bytes - member.header_offset_bytes, bytes.size());
  return bytes.subspan(begin, std::min<std::uint64_t>(bytes.size() - begin, member.packed_bytes));
}

// How far the header, and what is wanted behind it, may reach.
std::uint64_t ZipHeads::end_of(const zip::Member& member) const noexcept {
  constexpr std::size_t kExtraBytes = 64;  // more than a ZIP64 field takes, and a time or two
  return member.header_offset_bytes + zip::kLocalHeaderBytes + member.name.size() + kExtraBytes +
         data_bytes_;
}

// Reads from the first member's header to behind that of the last one that is close.
Result<void> ZipHeads::fill(const zip::Member& first) {
  constexpr std::uint64_t kGapBytesMax = std::uint64_t{16} << 10;
  constexpr std::uint64_t kAtOnceBytesMax = std::uint64_t{32} << 10;
  begin_ = first.header_offset_bytes;
  std::uint64_t end = end_of(first);
  const auto at = static_cast<std::size_t>(&first - members_.data());
  for (const zip::Member& next : members_.subspan(at + 1)) {
    const std::uint64_t next_end = end_of(next);
    if (next_end <= end || next.header_offset_bytes > end + kGapBytesMax ||
        next_end - begin_ > kAtOnceBytesMax)
      break;
    end = next_end;
  }
  const std::size_t size = end - begin_;
  if (buffer_.size() < size) buffer_ = os::Bytes(std::max<std::size_t>(size, kAtOnceBytesMax));
  count_ = 0;
  CAIRN_TRY(count, file_->read_some_at(begin_, std::span(buffer_).first(size)));
  count_ = count;
  return {};
}

Result<ZipMemberHead> ZipHeads::read(const zip::Member& member) {
  const std::uint64_t end = end_of(member);
  if (member.header_offset_bytes < begin_ || end > begin_ + count_) CAIRN_CHECK(fill(member));
  const auto bytes = std::span<const std::byte>(buffer_).first(count_).subspan(
      member.header_offset_bytes - begin_);
  const auto data_offset = zip::data_offset_bytes(bytes, member);
  if (!data_offset) return error_of(file_->path(), data_offset.error());
  return ZipMemberHead{bytes, *data_offset};
}

Result<std::uint64_t> zip_data_offset(const os::File& file, const zip::Member& member) {
  CAIRN_TRY(head, ZipHeads(file, std::span(&member, 1), 0).read(member));
  return head.data_offset_bytes;
}

Result<std::vector<SummedRange>> compare_stored_members(const os::File& file,
                                                        const ExecOptions& exec) {
  CAIRN_TRY(members, summed_members(file));
  std::vector<SummedRange> ranges(members.size());
  const auto compare_one = [&](std::size_t i) -> Result<std::uint64_t> {
    const zip::Member& member = members[i];
    const std::uint64_t all_bytes = member.end_bytes_max - member.header_offset_bytes;
    auto compared = compare(file, member);
    if (!compared && compared.error().code != Code::Corrupt) return std::move(compared).error();
    // Of a header that says something else nobody knows where its bytes begin.
    ranges[i] = compared ? *compared : SummedRange{{member.header_offset_bytes, all_bytes}, true};
    return member.size_bytes;
  };
  CAIRN_CHECK(os::run_parallel(exec, members.size(), bytes_of(members), compare_one));
  return ranges;
}

Result<void> check_stored_members(const os::File& file, const ExecOptions& exec) {
  CAIRN_TRY(members, summed_members(file));
  return check(file, members, exec);
}

Result<void> check_stored_members(const os::File& file,
                                  std::span<const std::uint64_t> offsets_bytes,
                                  const ExecOptions& exec) {
  CAIRN_TRY(members, summed_members(file));
  std::erase_if(members, [&](const zip::Member& member) {
    const auto first = std::ranges::lower_bound(offsets_bytes, member.header_offset_bytes);
    return first == offsets_bytes.end() || *first >= member.end_bytes_max;
  });
  return check(file, members, exec);
}

InflatedMember::InflatedMember(const os::File& file, const zip::Member& member,
                               std::uint64_t data_offset_bytes)
    : file_(file),
      member_(member),
      next_offset_bytes_(data_offset_bytes),
      left_bytes_(member.packed_bytes) {}

Error InflatedMember::corrupt(const std::string& why) const {
  return {Code::Corrupt, 0, file_.path() + ": member " + format::quoted(member_.name) + ": " + why};
}

// Decodes what there is, and reads more where nothing is left.
Result<zip::Inflater::Step> InflatedMember::step(std::span<std::byte> out) {
  if (packed_.empty() && left_bytes_ != 0) {
    block_.resize(std::min<std::uint64_t>(left_bytes_, kCachedBlockBytes));
    CAIRN_CHECK(file_.read_at(next_offset_bytes_, block_));
    next_offset_bytes_ += block_.size();
    left_bytes_ -= block_.size();
    packed_ = block_;
  }
  const auto done = inflater_.run(packed_, out);
  if (!done)
    return corrupt("byte " +
                   std::to_string(next_offset_bytes_ - packed_.size() + done.error().byte_offset) +
                   ": " + done.error().what);
  packed_ = packed_.subspan(done->taken_bytes);
  ended_ |= done->ended;
  crc32_ = zip::crc32(out.first(done->made_bytes), crc32_);
  if (!ended_ && done->taken_bytes == 0 && done->made_bytes == 0)
    return corrupt("its deflated bytes are cut off");
  return *done;
}

Result<void> InflatedMember::read(std::span<std::byte> out) {
  while (!out.empty()) {
    if (ended_)
      return corrupt("its deflated bytes become fewer than the " +
                     std::to_string(member_.size_bytes) + " that it is to have");
    CAIRN_TRY(made, step(out));
    out = out.subspan(made.made_bytes);
  }
  return {};
}

Result<void> InflatedMember::finish() {
  std::byte more{};
  while (!ended_) {
    CAIRN_TRY(made, step(std::span(&more, 1)));
    if (made.made_bytes != 0)
      return corrupt("its deflated bytes become more than the " +
                     std::to_string(member_.size_bytes) + " that it is to have");
  }
  if (!packed_.empty() || left_bytes_ != 0)
    return corrupt("behind its deflated bytes more of it follows");
  if (crc32_ == member_.crc32) return {};
  return corrupt("its bytes have another CRC-32 than the archive says: it is damaged");
}

}  // namespace cairn::internal
