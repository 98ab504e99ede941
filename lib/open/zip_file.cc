#include "lib/open/zip_file.h"

#include <algorithm>

#include "format/quoted.h"
#include "lib/open/assemble.h"
#include "lib/try.h"

namespace cairn::internal {

namespace zip = format::zip;

namespace {

// The end of most archives, with the directory of some hundred members: without a long comment.
constexpr std::uint64_t kUsualTailBytes = 16u << 10;

struct Tail {
  os::Bytes bytes;
  std::uint64_t offset_bytes = 0;  // in the file
  format::Decoded<zip::DirectoryPlace> place;

  // A tail that has it all has the end records too, which stand behind.
  bool has_directory() const noexcept { return place && place->offset_bytes >= offset_bytes; }
};

Result<Tail> read_tail(const os::File& file, std::uint64_t size_bytes, std::uint64_t tail_bytes) {
  os::Bytes bytes(std::min(size_bytes, tail_bytes));
  const std::uint64_t offset_bytes = size_bytes - bytes.size();
  CAIRN_CHECK(file.read_at(offset_bytes, bytes));
  auto place = zip::find_directory(bytes, size_bytes);
  return Tail{std::move(bytes), offset_bytes, std::move(place)};
}

}  // namespace

Result<std::vector<zip::Member>> read_zip_members(const os::File& file, std::uint64_t size_bytes) {
  CAIRN_TRY(tail, read_tail(file, size_bytes, kUsualTailBytes));
  if (!tail.has_directory()) {
    CAIRN_TRY(longest, read_tail(file, size_bytes, zip::kTailBytes));
    tail = std::move(longest);
  }
  const auto& place = tail.place;
  if (!place) return error_of(file.path(), place.error());
  os::Bytes longer(tail.has_directory() ? 0 : place->size_bytes);
  CAIRN_CHECK(file.read_at(place->offset_bytes, longer));
  const std::span<const std::byte> directory =
      tail.has_directory()
          ? std::span<const std::byte>(tail.bytes)
                .subspan(place->offset_bytes - tail.offset_bytes, place->size_bytes)
          : std::span<const std::byte>(longer);
  auto members = zip::decode_directory(directory, *place);
  if (!members) return error_of(file.path(), members.error());
  return *std::move(members);
}

std::span<const std::byte> ZipMemberHead::data(const zip::Member& member) const noexcept {
  const auto all = std::span(bytes);
  const std::uint64_t begin =
      std::min<std::uint64_t>(data_offset_bytes - member.header_offset_bytes, all.size());
  return all.subspan(begin, std::min<std::uint64_t>(all.size() - begin, member.packed_bytes));
}

Result<ZipMemberHead> read_zip_head(const os::File& file, const zip::Member& member,
                                    std::size_t data_bytes) {
  constexpr std::size_t kExtraBytes = 64;  // more than a ZIP64 field takes, and a time or two
  ZipMemberHead head;
  head.bytes.resize(zip::kLocalHeaderBytes + member.name.size() + kExtraBytes + data_bytes);
  CAIRN_TRY(count, file.read_some_at(member.header_offset_bytes, head.bytes));
  head.bytes.resize(count);
  const auto data_offset = zip::data_offset_bytes(head.bytes, member);
  if (!data_offset) return error_of(file.path(), data_offset.error());
  head.data_offset_bytes = *data_offset;
  return head;
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
