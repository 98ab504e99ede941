#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cairn {

// A range of bytes whose checksum is not the stored one. If `tensor` is empty, the range is the
// header of the shard, or padding.
struct Damage {
  std::string tensor;
  std::string shard;
  std::uint64_t offset_bytes = 0;  // in the shard
  std::uint64_t size_bytes = 0;
  std::uint32_t stored_crc32c = 0;
  std::uint32_t computed_crc32c = 0;
};

// The result of Checkpoint::verify.
struct Verification {
  std::uint64_t bytes_checked = 0;  // bytes with a stored checksum; shared ranges count once
  // Bytes of tensors without a stored checksum. Damage in them cannot be found. In a safetensors
  // file these are all bytes of tensors; in files that Cairn or TensorFlow wrote there are none.
  std::uint64_t unchecked_bytes = 0;
  std::vector<Damage> damage;  // in the order of the shards; empty: none
};

}  // namespace cairn
