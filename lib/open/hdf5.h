#pragma once

// What the openers of HDF5 files and of Keras' archives share.

#include <string>

#include "format/facts.h"
#include "lib/open/decoded_shard.h"
#include "lib/open/file_formats.h"
#include "lib/os/file.h"

namespace cairn::internal {

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

}  // namespace cairn::internal
