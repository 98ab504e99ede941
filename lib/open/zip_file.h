#pragma once

// A zip archive in a file: its members, and a member's bytes, decoded. The tail is read first, then
// the directory, then whatever member is asked for.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cairn/exec_options.h"
#include "format/facts.h"
#include "format/zip/archive.h"
#include "format/zip/inflate.h"
#include "lib/os/file.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

// The members of the archive in this range of the file, which lies in it. Errors: Io; those of
// find_directory() and decode_directory().
Result<std::vector<format::zip::Member>> read_zip_members(const os::File& file,
                                                          format::FileRange range);

// The file's bytes from a member's local header on, and where among them the member's own begin.
struct ZipMemberHead {
  std::span<const std::byte> bytes;
  std::uint64_t data_offset_bytes = 0;  // in the file

  // Those of the member's own bytes that were read along.
  std::span<const std::byte> data(const format::zip::Member& member) const noexcept;
};

// Reads local headers, and about `data_bytes` of what follows each. Headers that lie close
// together, as those of small members do, are read at once: a call costs more than the bytes
// between them.
class ZipHeads {
 public:
  // Neither the file nor the members may go before.
  ZipHeads(const os::File& file, std::span<const format::zip::Member> members,
           std::size_t data_bytes) noexcept
      : file_(&file), members_(members), data_bytes_(data_bytes) {}

  // Of one of the members. Its bytes are valid until the next call. Errors: Io; those of
  // format::zip::data_offset_bytes().
  Result<ZipMemberHead> read(const format::zip::Member& member);

 private:
  std::uint64_t end_of(const format::zip::Member& member) const noexcept;
  Result<void> fill(const format::zip::Member& first);

  const os::File* file_;
  std::span<const format::zip::Member> members_;
  std::size_t data_bytes_;
  os::Bytes buffer_{0};
  std::uint64_t begin_ = 0;  // in the file, of the bytes in the buffer
  std::size_t count_ = 0;
};

// Where the member's own bytes begin in the file. The errors of ZipHeads::read().
Result<std::uint64_t> zip_data_offset(const os::File& file, const format::zip::Member& member);

// Compares the stored bytes of each member that is not compressed with its CRC-32; a CRC-32 of 0 is
// that of a writer that computes none, as PyTorch can be told. Nothing is compared in a file that
// does not begin as an archive. Errors: Io; those of read_zip_members().
Result<std::vector<SummedRange>> compare_stored_members(const os::File& file,
                                                        const ExecOptions& exec);

// The same. Errors: Corrupt, with the member's name: another CRC-32.
Result<void> check_stored_members(const os::File& file, const ExecOptions& exec);

// Of the members in which one of these bytes of the file lies; `offsets_bytes` ascend.
Result<void> check_stored_members(const os::File& file,
                                  std::span<const std::uint64_t> offsets_bytes,
                                  const ExecOptions& exec);

// A deflated member from its start to its end. Neither the file nor the member may go before.
class InflatedMember {
 public:
  // `data_offset_bytes`: where its bytes begin in the file.
  InflatedMember(const os::File& file, const format::zip::Member& member,
                 std::uint64_t data_offset_bytes);

  // Fills `out` with what comes next. Errors: Io; Corrupt: no deflated bytes, or they end before.
  Result<void> read(std::span<std::byte> out);

  // After size_bytes have been read. Corrupt: more come, or their CRC-32 is another one.
  Result<void> finish();

 private:
  Result<format::zip::Inflater::Step> step(std::span<std::byte> out);
  Error corrupt(const std::string& why) const;

  const os::File& file_;
  const format::zip::Member& member_;
  std::uint64_t next_offset_bytes_;  // in the file
  std::uint64_t left_bytes_;         // there
  std::vector<std::byte> block_;
  std::span<const std::byte> packed_;  // what of the block has not been decoded
  format::zip::Inflater inflater_;
  std::uint32_t crc32_ = 0;
  bool ended_ = false;
};

}  // namespace cairn::internal
