#pragma once

// A zip archive to be written: members that are stored as they are, each at an aligned place.
// FORMAT.md, "Zip archives".
//
// Where everything lies follows from names and sizes alone. So the bytes of the members can be
// written first, in any order, and the headers, which hold their CRC-32, afterwards.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::format::zip {

struct StoredMember {
  std::string name;  // that can_be_member() takes; no two are the same
  std::uint64_t size_bytes = 0;
  std::uint32_t crc32 = 0;  // set before the headers are encoded
  // Set by place_members().
  std::uint64_t header_offset_bytes = 0;
  std::uint64_t data_offset_bytes = 0;
};

// Whether a member can have this name: a relative path of UTF-8 text without "..", which tools that
// unpack archives keep inside their directory.
bool can_be_member(std::string_view name) noexcept;

// Places the members one behind another, so that each one's bytes begin at a multiple of
// `align_bytes`, a power of two from 4 to 16,384. Returns where the directory begins.
std::uint64_t place_members(std::span<StoredMember> members, std::uint64_t align_bytes);

// What stands between header_offset_bytes and data_offset_bytes.
std::string encode_local_header(const StoredMember& member);

// The directory and the end records: the end of the file.
std::string encode_directory(std::span<const StoredMember> members, std::uint64_t offset_bytes);

}  // namespace cairn::format::zip
