#pragma once

// What the openers of HDF5 files and of Keras' archives share.

#include <optional>
#include <string>

#include "format/facts.h"
#include "lib/open/file_formats.h"
#include "lib/os/file.h"

namespace cairn::internal {

// The file in memory that decoded bytes go to.
class DecodedShard {
 public:
  // `path`: what errors call it.
  explicit DecodedShard(std::string path) : path_(std::move(path)) {}

  bool exists() const noexcept { return memory_.has_value(); }
  const os::File& file() const noexcept { return *memory_; }
  std::uint64_t end_bytes() const noexcept { return end_bytes_; }

  Result<void> append(std::span<const std::byte> bytes);

  // What is appended next begins at a multiple of 64.
  void align() noexcept;

  // Makes it the last shard of the index, if there is anything in it. Nothing is appended
  // afterwards.
  Result<void> finish(const std::string& name, FileIndex& index);

 private:
  const std::string path_;
  std::optional<os::File> memory_;
  std::uint64_t end_bytes_ = 0;
};

// Where an HDF5 file lies.
struct Hdf5Place {
  const os::File& file;             // that it is read from
  format::FileRange window;         // its bytes there
  std::string path;                 // for messages
  std::uint32_t shard = 0;          // which `file` is
  std::uint32_t decoded_shard = 1;  // which the file in memory will be
  bool whole = true;                // FileReadOptions::whole
};

// Adds the file's tensors, metadata and warnings to the index; what is in chunks is decoded.
Result<void> read_hdf5_file(const Hdf5Place& place, DecodedShard& decoded, FileIndex& index);

// The shard of this number: how much of it tensors own. Those without a byte are moved behind its
// head, where an index wants them.
format::ShardFacts hdf5_shard(const std::string& name, std::uint32_t shard, const OpenShard& file,
                              format::IndexFacts& facts);

// OutOfMemory: so many bytes are more than half of the memory that is available; `what` begins the
// sentence, and `hint` ends it.
struct WantedMemory {
  std::uint64_t bytes = 0;
  std::string what;
  std::string hint;
};
Result<void> check_memory(const WantedMemory& wanted);

}  // namespace cairn::internal
