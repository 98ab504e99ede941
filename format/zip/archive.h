#pragma once

// A zip archive: what its central directory and its members' local headers say. The archives of
// NumPy (.npz), PyTorch (.pt) and Keras (.keras) are such. FORMAT.md, "Zip archives".
//
// The directory, at the file's end, decides; a local header tells where its member's bytes begin.
// Bytes of errors count from the file's start.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "format/decode_error.h"

namespace cairn::format::zip {

// Of the file's last bytes find_directory() wants so many: the end records and the longest comment.
inline constexpr std::size_t kTailBytes = 22 + 65'535 + 20 + 56;

// A local header without its name.
inline constexpr std::size_t kLocalHeaderBytes = 30;

inline constexpr std::uint16_t kStored = 0;
inline constexpr std::uint16_t kDeflated = 8;

struct DirectoryPlace {
  std::uint64_t offset_bytes = 0;  // in the file
  std::uint64_t size_bytes = 0;
  std::uint64_t prefix_bytes = 0;  // in front of the archive, which counts its offsets from there
  std::uint64_t member_count = 0;
};

struct Member {
  std::string name;  // neither empty nor with a NUL byte, and no path that anybody opens
  std::uint16_t method = kStored;
  bool encrypted = false;
  std::uint32_t crc32 = 0;         // of its bytes, decoded
  std::uint64_t packed_bytes = 0;  // in the file
  std::uint64_t size_bytes = 0;    // decoded
  std::uint64_t header_offset_bytes = 0;
  std::uint64_t end_bytes_max = 0;  // where the next member begins, or the directory
};

// Where the directory lies, by the last bytes of a file of `file_bytes`: kTailBytes of them, or all
// that it has. Errors: Corrupt (no archive, one that is cut off, or end records that contradict
// each other); Unsupported (an archive in several files, or beyond a limit).
Decoded<DirectoryPlace> find_directory(std::span<const std::byte> tail, std::uint64_t file_bytes);

// The members, in the directory's order, by the directory's bytes. Their names differ, and they lie
// apart from each other in front of the directory, as far as it can say. Errors: Corrupt.
Decoded<std::vector<Member>> decode_directory(std::span<const std::byte> directory,
                                              const DirectoryPlace& place);

// Where the member's bytes begin in the file. `head`: the file's bytes from header_offset_bytes on,
// kLocalHeaderBytes and the name's size, or more. Errors: Corrupt (no local header, one that
// contradicts the directory, or a member that overlaps the next).
Decoded<std::uint64_t> data_offset_bytes(std::span<const std::byte> head, const Member& member);

}  // namespace cairn::format::zip
