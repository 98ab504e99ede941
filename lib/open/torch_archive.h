#pragma once

// A zip archive of torch.save, a whole file or a part of one: its records, and what its pickle
// says.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/facts.h"
#include "format/name_index.h"
#include "format/torch/contents.h"
#include "lib/open/torch_memory.h"
#include "lib/open/zip_file.h"

namespace cairn::internal {

// The bytes of a storage, in a shard.
struct StoragePlace {
  std::uint32_t shard = 0;  // 0: the file, 1: what was decoded
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
  std::string missing;  // not empty: it is not there, and why
};

// The bytes of a pickle, and where they begin in the file; std::nullopt: the file does not contain
// them as they are.
struct PicklePlace {
  std::span<const std::byte> bytes;
  std::optional<std::uint64_t> offset_bytes;
};

// The place of a storage that is in the pickle itself: in the file if its bytes stand there, else
// in memory.
Result<StoragePlace> place_of_pickled(TorchMemory& memory, const format::torch::Storage& storage,
                                      const PicklePlace& pickle);

class TorchArchive {
 public:
  using Member = format::zip::Member;

  // The archive in this range of the file. File and memory must outlive it. Errors: Io; Corrupt or
  // Unsupported: there is none, or it does not begin with the range.
  static Result<TorchArchive> open(const os::File& file, format::FileRange range,
                                   TorchMemory& memory);

  // All records are in one folder, named after the file when it was saved. With its slash.
  const std::string& root() const noexcept { return root_; }
  const std::vector<Member>& members() const noexcept { return members_; }

  // By its name in the folder; nullptr: there is none.
  const Member* record(std::string_view name);
  bool has_record_below(std::string_view folder) const;

  // Whether its numbers are big-endian. Corrupt: its record says neither.
  Result<bool> is_big_endian();

  // A record's bytes. Errors: Io; Unsupported: more than `bytes_max`, or it cannot be read;
  // Corrupt: it cannot be decoded.
  Result<os::Bytes> read_record(const Member& member, std::uint64_t bytes_max);

  // Where its bytes are: in the file where it is stored, in memory where it is deflated.
  Result<StoragePlace> place_record(const std::string& name);

  // The contents of the pickle, and the place of each storage, which is a record in `folder`. Sets
  // the bytes of `how`.
  struct Saved {
    format::torch::Contents contents;
    std::vector<StoragePlace> places;
  };
  Result<Saved> read_pickle(const Member& data, format::torch::ReadOptions how,
                            std::string_view folder = "data/");

  // An error about a member.
  Error error(const Member& member, Code code, const std::string& why) const;

 private:
  TorchArchive(const os::File& file, TorchMemory& memory, std::vector<Member> members);

  Result<void> check_readable(const Member& member) const;
  Result<StoragePlace> place_pickled(const format::torch::Storage& storage, const Member& data,
                                     const os::Bytes& bytes);
  Result<StoragePlace> decode(const Member& member, std::uint64_t data_offset_bytes);

  const os::File* file_;
  TorchMemory* memory_;
  std::vector<Member> members_;
  ZipHeads heads_;
  std::string root_;
  // By their names in the folder, which are bytes of the members' names.
  format::NameIndex records_;
  std::size_t next_ = 0;  // the member behind the one that record() found last
};

}  // namespace cairn::internal
