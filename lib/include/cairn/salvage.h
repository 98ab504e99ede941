#pragma once

// Salvage: make a new checkpoint from the tensors of a damaged checkpoint that are whole.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cairn/convert.h"
#include "cairn/error.h"
#include "cairn/exec_options.h"
#include "cairn/export.h"

namespace cairn {

// Bytes of a tensor that are missing, or that are not as they were stored. If `shard` is empty, it
// is the whole tensor, which cannot be put together or cannot be written.
struct LostRange {
  std::string shard;  // a bare file name
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
  std::optional<std::uint32_t> stored_crc32c;    // std::nullopt: this range has no checksum
  std::optional<std::uint32_t> computed_crc32c;  // std::nullopt: it could not be computed
  std::string why;                               // the reason, one sentence
};

struct LostTensor {
  std::string name;
  std::uint64_t size_bytes = 0;
  std::vector<LostRange> ranges;  // at least one
};

// Which parts of a checkpoint are whole, and which are lost.
struct Salvageable {
  std::uint64_t tensors_kept = 0;
  std::uint64_t tensors_total = 0;
  std::uint64_t bytes_kept = 0;  // of tensors; bytes that two tensors share count twice
  std::uint64_t bytes_total = 0;
  std::vector<LostTensor> lost;  // in bytewise order of names
  std::vector<std::string> warnings;
};

// Reads every byte and says what salvage() would keep. Writes nothing.
//
// A tensor is whole if all its bytes can be read and have the stored checksum. These are lost:
// - tensors with damage; if tensors share the damaged bytes, all of them;
// - tensors in a shard that is missing, too short, or on a disk that fails;
// - a partitioned tensor with a lost slice, or with slices that leave a gap;
// - a tensor without a checksum (safetensors stores none), only if it is not inside the file or
//   cannot be read; a warning says how many tensors could not be compared;
// - a variant, or a tensor whose elements are smaller than a byte, if it is stored in slices: it
//   cannot be put together.
//
// Damage in the header or the padding of a shard loses no tensor. With the chunk sums of a P.cairn
// the damage is located to the chunk, else to the tensor or slice.
//
// If one of P.cairn and P.index is damaged, the other one is used, and a warning says so. If
// P.cairn is the damaged one, the list has the tensors of P.index; what only P.cairn held is not
// known. If there is no P.cairn and a block of P.index is damaged, that is an error, because the
// other blocks do not say what the damaged one held.
//
// Errors: those of Checkpoint::open, except damage to shards (in a V1 checkpoint, any damage is an
// error); Corrupt, Io (no index is whole); Io (the caller can repair the cause, for example a
// missing permission: no tensor counts as lost); Cancelled. Cost: reads every byte once; each
// tensor is read by one core.
CAIRN_API Result<Salvageable> salvageable(const std::filesystem::path& source,
                                          const ExecOptions& exec = {},
                                          bool follow_links = false) noexcept;

struct SalvageOptions {
  std::filesystem::path output = {};            // a prefix, required
  bool replace = false;                         // an existing checkpoint may be replaced
  bool follow_links = false;                    // for the source, as in OpenOptions
  std::chrono::milliseconds lock_wait{30'000};  // as in TransferOptions
  ExecOptions exec = {};
};

struct Salvaged {
  Transfer transfer;  // without warnings; they are in `found`
  Salvageable found;
};

// Writes the tensors that are whole as a new checkpoint under `options.output`: P.cairn and P.index
// over new shards, with the step and metadata of the source, and its P.meta if that can be read.
// The bytes are compared with their checksums again while they are copied. The source does not
// change. The result is durable when the call returns; until then nothing is under `output`, or,
// with `replace`, the old checkpoint is there, whole.
//
// Errors: those of salvageable(); Corrupt (no tensor is whole, or a tensor was damaged in the
// meantime); Exists (there is a checkpoint under `output`, without `replace`); Invalid (no output,
// or the output is the source); Io, NoSpace. Cost: that of salvageable(), and a copy.
CAIRN_API Result<Salvaged> salvage(const std::filesystem::path& source,
                                   const SalvageOptions& options) noexcept;

}  // namespace cairn
