// An archive is read from its end: the end record, which a comment may follow, says where the
// central directory lies; where numbers exceed 32 or 16 bits, a second one (ZIP64) in front of it
// does. The directory ends where the end records begin, and what it says of its own place differs
// from that by what was put in front of the archive.
//
// Readers that look in different places can be shown different archives. So the two end records,
// and the directory and the local headers, must say the same; names are unique, and no byte belongs
// to two members.

#include "format/zip/archive.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "format/checked.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/name_index.h"
#include "format/quoted.h"
#include "format/sentence.h"
#include "lib/try.h"

namespace cairn::format::zip {
namespace {

constexpr std::string_view kEndMark = "PK\x05\x06";
constexpr std::string_view kEnd64Mark = "PK\x06\x06";
constexpr std::string_view kLocatorMark = "PK\x06\x07";
constexpr std::string_view kEntryMark = "PK\x01\x02";
constexpr std::string_view kLocalMark = "PK\x03\x04";

constexpr std::size_t kEndBytes = 22;
constexpr std::size_t kEnd64Bytes = 56;
constexpr std::size_t kLocatorBytes = 20;
constexpr std::size_t kEntryBytes = 46;

constexpr std::uint16_t kEncryptedFlag = 1u << 0;
constexpr std::uint16_t kSizesBehindFlag = 1u << 3;  // and not in the local header

constexpr std::uint32_t kIn64 = 0xffffffff;  // the number is in the ZIP64 field

bool has_mark(std::span<const std::byte> bytes, std::string_view mark) noexcept {
  return as_text(bytes).starts_with(mark);
}

template <std::integral T>
T number_at(std::span<const std::byte> bytes, std::size_t at) noexcept {
  return load_le<T>(bytes.data() + at);
}

// ---- The end ------------------------------------------------------------------------------------

// Where the end record is in the tail: the last one whose comment ends with the file.
std::optional<std::size_t> find_end(std::span<const std::byte> tail) {
  const std::string_view text = as_text(tail);
  if (text.size() < kEndBytes) return std::nullopt;
  std::size_t at = text.size() - kEndBytes + 1;
  while (at != 0) {
    at = text.rfind(kEndMark, at - 1);
    if (at == std::string_view::npos) return std::nullopt;
    const std::size_t comment_bytes = number_at<std::uint16_t>(tail, at + kEndBytes - 2);
    if (comment_bytes == tail.size() - at - kEndBytes) return at;
  }
  return std::nullopt;
}

// What either end record says.
struct End {
  std::uint64_t offset_bytes = 0;  // of the record in the file
  bool one_disk = false;
  std::uint64_t member_count = 0;
  std::uint64_t directory_bytes = 0;
  std::uint64_t directory_offset_bytes = 0;  // from the archive's start
};

End end_of(std::span<const std::byte> record, std::uint64_t offset_bytes) {
  const bool one_disk = number_at<std::uint32_t>(record, 4) == 0 &&
                        number_at<std::uint16_t>(record, 8) == number_at<std::uint16_t>(record, 10);
  return {offset_bytes, one_disk, number_at<std::uint16_t>(record, 10),
          number_at<std::uint32_t>(record, 12), number_at<std::uint32_t>(record, 16)};
}

End end64_of(std::span<const std::byte> record, std::uint64_t offset_bytes) {
  const bool one_disk =
      number_at<std::uint64_t>(record, 16) == 0 &&
      number_at<std::uint64_t>(record, 24) == number_at<std::uint64_t>(record, 32);
  return {offset_bytes, one_disk, number_at<std::uint64_t>(record, 32),
          number_at<std::uint64_t>(record, 40), number_at<std::uint64_t>(record, 48)};
}

// Whether the record of narrow numbers says another than the wide one, and not that it is there.
bool contradicts(const End& narrow, const End& wide) noexcept {
  constexpr std::uint64_t kCountIn64 = 0xffff;
  return (narrow.member_count != kCountIn64 && narrow.member_count != wide.member_count) ||
         (narrow.directory_bytes != kIn64 && narrow.directory_bytes != wide.directory_bytes) ||
         (narrow.directory_offset_bytes != kIn64 &&
          narrow.directory_offset_bytes != wide.directory_offset_bytes);
}

Decoded<DirectoryPlace> place_of(const End& end) {
  const auto own_end = checked_add(end.directory_offset_bytes, end.directory_bytes);
  if (!own_end || *own_end > end.offset_bytes)
    return corrupt(
        end.offset_bytes,
        sentence("the zip directory has ", end.directory_bytes, " bytes at byte ",
                 end.directory_offset_bytes, ", which is not in front of the record that says so"));
  if (end.directory_bytes > limits::kZipDirectoryBytesMax ||
      end.member_count > limits::kZipMembersMax)
    return unsupported(end.offset_bytes,
                       sentence("the zip directory has ", end.member_count, " members in ",
                                end.directory_bytes, " bytes, and ", limits::kZipMembersMax, " in ",
                                limits::kZipDirectoryBytesMax, " are allowed"));
  if (end.member_count > end.directory_bytes / kEntryBytes)
    return corrupt(end.offset_bytes, sentence(end.member_count, " members do not fit the ",
                                              end.directory_bytes, " bytes of the zip directory"));
  return DirectoryPlace{end.offset_bytes - end.directory_bytes, end.directory_bytes,
                        end.offset_bytes - *own_end, end.member_count};
}

// ---- The directory ------------------------------------------------------------------------------

// The numbers that a ZIP64 field holds where 32 bits do not.
struct Numbers {
  std::uint64_t size_bytes = 0;
  std::uint64_t packed_bytes = 0;
  std::uint64_t header_offset_bytes = 0;
};

// Whether each number that is to be in the field is there.
bool take_zip64(std::span<const std::byte> field, Numbers& numbers) {
  for (std::uint64_t* const number :
       {&numbers.size_bytes, &numbers.packed_bytes, &numbers.header_offset_bytes}) {
    if (*number != kIn64) continue;
    if (field.size() < sizeof *number) return false;
    *number = number_at<std::uint64_t>(field, 0);
    field = field.subspan(sizeof *number);
  }
  return true;
}

// Fields of an id, a size and so many bytes. Whether the numbers are known behind them.
bool take_extra(std::span<const std::byte> extra, Numbers& numbers) {
  constexpr std::size_t kFieldHeadBytes = 4;
  constexpr std::uint16_t kZip64 = 1;
  while (extra.size() >= kFieldHeadBytes) {
    const std::size_t size = number_at<std::uint16_t>(extra, 2);
    if (size > extra.size() - kFieldHeadBytes) return false;
    if (number_at<std::uint16_t>(extra, 0) == kZip64)
      return take_zip64(extra.subspan(kFieldHeadBytes, size), numbers);
    extra = extra.subspan(kFieldHeadBytes + size);
  }
  return take_zip64({}, numbers);
}

Decoded<void> check_sizes(const Member& member, std::uint64_t at) {
  const auto most = checked_mul(member.packed_bytes, limits::kDeflateRatioMax);
  if (member.method == kStored && !member.encrypted && member.packed_bytes != member.size_bytes)
    return corrupt(at, sentence("member ", format::quoted(member.name), " is stored, but has ",
                                member.packed_bytes, " bytes for ", member.size_bytes));
  if (member.method == kDeflated && most && member.size_bytes > *most)
    return corrupt(
        at, sentence("member ", format::quoted(member.name), " has ", member.packed_bytes,
                     " bytes, which cannot become ", member.size_bytes, ": deflate makes at most ",
                     limits::kDeflateRatioMax, " of one"));
  return {};
}

// The member of the entry that the bytes begin with; they begin at `at` in the file. Returns how
// many the entry has.
Decoded<std::size_t> decode_entry(std::span<const std::byte> bytes, const DirectoryPlace& place,
                                  std::uint64_t at, Member& member) {
  if (bytes.size() < kEntryBytes || !has_mark(bytes, kEntryMark))
    return corrupt(at, "no entry of the zip directory begins here");
  const std::size_t name_bytes = number_at<std::uint16_t>(bytes, 28);
  const std::size_t extra_bytes = number_at<std::uint16_t>(bytes, 30);
  const std::size_t entry_bytes =
      kEntryBytes + name_bytes + extra_bytes + number_at<std::uint16_t>(bytes, 32);
  if (entry_bytes > bytes.size()) return corrupt(at, "the zip directory ends in an entry");
  member.name = as_text(bytes.subspan(kEntryBytes, name_bytes));
  if (member.name.empty() || member.name.find('\0') != std::string::npos)
    return corrupt(at, sentence("a member has the name ", format::quoted(member.name)));
  member.encrypted = (number_at<std::uint16_t>(bytes, 8) & kEncryptedFlag) != 0;
  member.method = number_at<std::uint16_t>(bytes, 10);
  member.crc32 = number_at<std::uint32_t>(bytes, 16);
  Numbers numbers{number_at<std::uint32_t>(bytes, 24), number_at<std::uint32_t>(bytes, 20),
                  number_at<std::uint32_t>(bytes, 42)};
  if (!take_extra(bytes.subspan(kEntryBytes + name_bytes, extra_bytes), numbers))
    return corrupt(at, sentence("the extra fields of member ", format::quoted(member.name),
                                " do not hold what they say"));
  member.packed_bytes = numbers.packed_bytes;
  member.size_bytes = numbers.size_bytes;
  const auto header_offset = checked_add(numbers.header_offset_bytes, place.prefix_bytes);
  if (!header_offset || *header_offset > place.offset_bytes)
    return corrupt(at,
                   sentence("member ", format::quoted(member.name), " is said to begin at byte ",
                            numbers.header_offset_bytes, ", behind the zip directory"));
  member.header_offset_bytes = *header_offset;
  CAIRN_CHECK(check_sizes(member, at));
  return entry_bytes;
}

DecodeError overlap(const Member& member) {
  return corrupt(member.header_offset_bytes,
                 sentence("member ", format::quoted(member.name), " has ", member.packed_bytes,
                          " bytes, which overlap what begins at byte ", member.end_bytes_max));
}

// Gives each member the place where the next begins, and has room for it.
Decoded<void> set_apart(std::vector<Member>& members, const DirectoryPlace& place) {
  std::vector<Member*> ordered;
  ordered.reserve(members.size());
  for (Member& member : members) ordered.push_back(&member);
  if (!std::ranges::is_sorted(ordered, {}, &Member::header_offset_bytes))
    std::ranges::sort(ordered, {}, &Member::header_offset_bytes);
  std::uint64_t end_bytes = place.offset_bytes;
  for (std::size_t i = ordered.size(); i-- > 0;) {
    Member& member = *ordered[i];
    member.end_bytes_max = end_bytes;
    const std::uint64_t room_bytes = end_bytes - member.header_offset_bytes;
    const std::uint64_t head_bytes = kLocalHeaderBytes + member.name.size();
    if (room_bytes < head_bytes || member.packed_bytes > room_bytes - head_bytes)
      return overlap(member);
    end_bytes = member.header_offset_bytes;
  }
  return {};
}

Decoded<void> check_names(const std::vector<Member>& members, const DirectoryPlace& place) {
  NameIndex names(members.size());
  for (const Member& member : members) names.add(member.name, 0);
  names.sort();
  const auto twice = names.find_twice();
  if (!twice) return {};
  return corrupt(place.offset_bytes,
                 sentence("two members have the name ", format::quoted(*twice)));
}

}  // namespace

Decoded<DirectoryPlace> find_directory(std::span<const std::byte> tail, std::uint64_t file_bytes) {
  const std::uint64_t tail_offset = file_bytes - tail.size();
  const auto at = find_end(tail);
  if (!at)
    return corrupt(file_bytes,
                   "no zip directory ends the file: it is truncated, or is no zip archive");
  const auto record = [&](std::size_t behind_bytes, std::size_t size_bytes) {
    return tail.subspan(*at - behind_bytes, size_bytes);
  };
  End end = end_of(record(0, kEndBytes), tail_offset + *at);
  if (*at >= kLocatorBytes && has_mark(record(kLocatorBytes, kLocatorBytes), kLocatorMark)) {
    constexpr std::size_t kBehind = kLocatorBytes + kEnd64Bytes;
    if (*at < kBehind || !has_mark(record(kBehind, kEnd64Bytes), kEnd64Mark))
      return corrupt(end.offset_bytes, "the ZIP64 end record is not in front of its locator");
    const End narrow = end;
    end = end64_of(record(kBehind, kEnd64Bytes), end.offset_bytes - kBehind);
    if (contradicts(narrow, end))
      return corrupt(end.offset_bytes, "the two end records of the zip archive differ");
  }
  if (!end.one_disk)
    return unsupported(end.offset_bytes, "the zip archive is one of several files");
  CAIRN_TRY(place, place_of(end));
  return std::move(place);
}

Decoded<std::vector<Member>> decode_directory(std::span<const std::byte> directory,
                                              const DirectoryPlace& place) {
  std::vector<Member> members;
  members.reserve(std::min<std::uint64_t>(place.member_count, directory.size() / kEntryBytes));
  std::uint64_t at = place.offset_bytes;
  while (members.size() < place.member_count) {
    CAIRN_TRY(entry_bytes, decode_entry(directory, place, at, members.emplace_back()));
    directory = directory.subspan(entry_bytes);
    at += entry_bytes;
  }
  if (!directory.empty())
    return corrupt(
        at, sentence("behind its last entry the zip directory has ", directory.size(), " bytes"));
  CAIRN_CHECK(check_names(members, place));
  CAIRN_CHECK(set_apart(members, place));
  return members;
}

Decoded<std::uint64_t> data_offset_bytes(std::span<const std::byte> head, const Member& member) {
  const std::uint64_t at = member.header_offset_bytes;
  if (head.size() < kLocalHeaderBytes || !has_mark(head, kLocalMark))
    return corrupt(at, sentence("member ", format::quoted(member.name), " does not begin here"));
  const std::size_t name_bytes = number_at<std::uint16_t>(head, 26);
  const auto contradicts = [&](std::size_t field, std::uint64_t known) {
    const auto said = number_at<std::uint32_t>(head, field);
    return said != kIn64 && said != known;
  };
  const bool has_sizes = (number_at<std::uint16_t>(head, 6) & kSizesBehindFlag) == 0;
  if (!as_text(head.subspan(kLocalHeaderBytes)).starts_with(member.name) ||
      name_bytes != member.name.size() || number_at<std::uint16_t>(head, 8) != member.method ||
      (has_sizes && (number_at<std::uint32_t>(head, 14) != member.crc32 ||
                     contradicts(18, member.packed_bytes) || contradicts(22, member.size_bytes))))
    return corrupt(at, sentence("member ", format::quoted(member.name),
                                " has another name, method, size or sum in its local header than "
                                "in the zip directory"));
  const std::uint64_t data_offset =
      at + kLocalHeaderBytes + name_bytes + number_at<std::uint16_t>(head, 28);
  if (!inside(data_offset, member.packed_bytes, member.end_bytes_max)) return overlap(member);
  return data_offset;
}

}  // namespace cairn::format::zip
