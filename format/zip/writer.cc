// Alignment comes from an extra field of the local header, as Android's zipalign and PyTorch make
// it: readers skip fields that they do not know. Padding inside the member would change what is
// unpacked.
//
// Nothing in the archive depends on the time or the machine: the same tensors give the same bytes.

#include "format/zip/writer.h"

#include <algorithm>

#include "format/le.h"
#include "format/safetensors/header.h"

namespace cairn::format::zip {
namespace {

constexpr std::uint64_t kLocalHeaderBytes = 30;
constexpr std::uint64_t kNarrowMax = 0xfffffffe;  // 0xffffffff says: see the ZIP64 field
constexpr std::uint64_t kCountMax = 0xfffe;
constexpr std::uint16_t kZip64Field = 1;
constexpr std::uint16_t kAlignmentField = 0xd935;  // Android's: the alignment, then zeros
constexpr std::uint64_t kFieldHeadBytes = 4;
constexpr std::uint64_t kAlignmentFieldBytesMin = kFieldHeadBytes + 2;
constexpr std::uint64_t kLocalZip64Bytes = kFieldHeadBytes + 16;  // both sizes
constexpr std::size_t kNameBytesMax = 0xffff;
constexpr std::uint16_t kVersion = 20;    // of the format: 2.0
constexpr std::uint16_t kVersion64 = 45;  // ZIP64
constexpr std::uint16_t kMadeByUnix = 3u << 8;
constexpr std::uint32_t kMode = 0100644u << 16;  // a regular file, -rw-r--r--
constexpr std::uint16_t kUtf8Flag = 1u << 11;
constexpr std::uint16_t kDate = 1u << 5 | 1;  // 1980-01-01, the first that can be said

bool is_ascii(std::string_view text) noexcept {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

std::uint16_t flags_of(const StoredMember& member) noexcept {
  return is_ascii(member.name) ? 0 : kUtf8Flag;
}

std::uint32_t narrow(std::uint64_t number) noexcept {
  return number > kNarrowMax ? 0xffffffff : static_cast<std::uint32_t>(number);
}

// What local header and directory say alike: from the flags on to the size.
void append_common(std::string& out, const StoredMember& member) {
  append_le<std::uint16_t>(out, flags_of(member));
  append_le<std::uint16_t>(out, 0);  // stored
  append_le<std::uint16_t>(out, 0);  // midnight
  append_le<std::uint16_t>(out, kDate);
  append_le<std::uint32_t>(out, member.crc32);
  append_le<std::uint32_t>(out, narrow(member.size_bytes));
  append_le<std::uint32_t>(out, narrow(member.size_bytes));
  append_le<std::uint16_t>(out, static_cast<std::uint16_t>(member.name.size()));
}

std::uint64_t local_zip64_bytes(const StoredMember& member) noexcept {
  return member.size_bytes > kNarrowMax ? kLocalZip64Bytes : 0;
}

void append_entry(std::string& out, const StoredMember& member) {
  std::string wide;
  for (const std::uint64_t number : {member.size_bytes, member.size_bytes}) {
    if (number > kNarrowMax) append_le<std::uint64_t>(wide, number);
  }
  if (member.header_offset_bytes > kNarrowMax)
    append_le<std::uint64_t>(wide, member.header_offset_bytes);
  const std::uint16_t version = wide.empty() ? kVersion : kVersion64;
  out += "PK\x01\x02";
  append_le<std::uint16_t>(out, kMadeByUnix | version);
  append_le<std::uint16_t>(out, version);
  append_common(out, member);
  const std::size_t extra_bytes = wide.empty() ? 0 : kFieldHeadBytes + wide.size();
  append_le<std::uint16_t>(out, static_cast<std::uint16_t>(extra_bytes));
  append_le<std::uint16_t>(out, 0);  // no comment
  append_le<std::uint16_t>(out, 0);  // the first disk
  append_le<std::uint16_t>(out, 0);  // not said to be text
  append_le<std::uint32_t>(out, kMode);
  append_le<std::uint32_t>(out, narrow(member.header_offset_bytes));
  out += member.name;
  if (wide.empty()) return;
  append_le<std::uint16_t>(out, kZip64Field);
  append_le<std::uint16_t>(out, static_cast<std::uint16_t>(wide.size()));
  out += wide;
}

struct Directory {
  std::uint64_t count;
  std::uint64_t size_bytes;
  std::uint64_t offset_bytes;
};

// The wide end record, and the locator that says where it is.
void append_end64(std::string& out, const Directory& directory) {
  constexpr std::uint64_t kRecordBytes = 44;  // behind this number
  out += "PK\x06\x06";
  append_le<std::uint64_t>(out, kRecordBytes);
  append_le<std::uint16_t>(out, kMadeByUnix | kVersion64);
  append_le<std::uint16_t>(out, kVersion64);
  append_le<std::uint64_t>(out, 0);  // this disk and the directory's: the first
  append_le<std::uint64_t>(out, directory.count);
  append_le<std::uint64_t>(out, directory.count);
  append_le<std::uint64_t>(out, directory.size_bytes);
  append_le<std::uint64_t>(out, directory.offset_bytes);
  out += "PK\x06\x07";
  append_le<std::uint32_t>(out, 0);  // the disk of the record
  append_le<std::uint64_t>(out, directory.offset_bytes + directory.size_bytes);
  append_le<std::uint32_t>(out, 1);  // disks
}

void append_end(std::string& out, const Directory& directory) {
  const auto count =
      static_cast<std::uint16_t>(directory.count > kCountMax ? 0xffff : directory.count);
  out += "PK\x05\x06";
  append_le<std::uint32_t>(out, 0);  // this disk and the directory's
  append_le<std::uint16_t>(out, count);
  append_le<std::uint16_t>(out, count);
  append_le<std::uint32_t>(out, narrow(directory.size_bytes));
  append_le<std::uint32_t>(out, narrow(directory.offset_bytes));
  append_le<std::uint16_t>(out, 0);  // no comment
}

}  // namespace

bool can_be_member(std::string_view name) noexcept {
  if (name.empty() || name.size() > kNameBytesMax || name.find('\0') != std::string_view::npos ||
      !safetensors::is_utf8(name))
    return false;
  while (true) {
    const std::string_view part = name.substr(0, name.find('/'));
    if (part.empty() || part == "." || part == "..") return false;
    if (part.size() == name.size()) return true;
    name.remove_prefix(part.size() + 1);
  }
}

std::uint64_t place_members(std::span<StoredMember> members, std::uint64_t align_bytes) {
  std::uint64_t offset_bytes = 0;
  for (StoredMember& member : members) {
    member.header_offset_bytes = offset_bytes;
    const std::uint64_t head_bytes =
        kLocalHeaderBytes + member.name.size() + local_zip64_bytes(member);
    std::uint64_t data = offset_bytes + head_bytes;
    if (data % align_bytes != 0) {
      data += kAlignmentFieldBytesMin;
      data = (data + align_bytes - 1) / align_bytes * align_bytes;
    }
    member.data_offset_bytes = data;
    offset_bytes = data + member.size_bytes;
  }
  return offset_bytes;
}

std::string encode_local_header(const StoredMember& member) {
  const std::uint64_t zip64_bytes = local_zip64_bytes(member);
  const std::uint64_t extra_bytes = member.data_offset_bytes - member.header_offset_bytes -
                                    kLocalHeaderBytes - member.name.size();
  std::string out = "PK\x03\x04";
  append_le<std::uint16_t>(out, zip64_bytes == 0 ? kVersion : kVersion64);
  append_common(out, member);
  append_le<std::uint16_t>(out, static_cast<std::uint16_t>(extra_bytes));
  out += member.name;
  if (zip64_bytes != 0) {
    append_le<std::uint16_t>(out, kZip64Field);
    append_le<std::uint16_t>(out, static_cast<std::uint16_t>(zip64_bytes - kFieldHeadBytes));
    append_le<std::uint64_t>(out, member.size_bytes);
    append_le<std::uint64_t>(out, member.size_bytes);
  }
  const std::uint64_t padding_bytes = extra_bytes - zip64_bytes;
  if (padding_bytes == 0) return out;
  const std::uint64_t rest_bytes = padding_bytes - kFieldHeadBytes;
  append_le<std::uint16_t>(out, kAlignmentField);
  append_le<std::uint16_t>(out, static_cast<std::uint16_t>(rest_bytes));
  // What the bytes are aligned to for certain.
  const std::uint64_t aligned_bytes = member.data_offset_bytes & (~member.data_offset_bytes + 1);
  append_le<std::uint16_t>(
      out, static_cast<std::uint16_t>(std::min<std::uint64_t>(aligned_bytes, 1u << 14)));
  return out.append(rest_bytes - 2, '\0');
}

std::string encode_directory(std::span<const StoredMember> members, std::uint64_t offset_bytes) {
  std::string out;
  for (const StoredMember& member : members) append_entry(out, member);
  const Directory directory{members.size(), out.size(), offset_bytes};
  if (directory.count > kCountMax || directory.size_bytes > kNarrowMax ||
      directory.offset_bytes > kNarrowMax)
    append_end64(out, directory);
  append_end(out, directory);
  return out;
}

}  // namespace cairn::format::zip
