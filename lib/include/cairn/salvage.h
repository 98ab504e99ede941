#pragma once

// What can be kept of a damaged checkpoint: a new one, of the tensors that are whole.

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

// Bytes of a tensor that are not as they were stored, or that are not there. An empty `shard`: the
// tensor as a whole, which cannot be put together or written.
struct LostRange {
  std::string shard;  // a bare file name
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
  std::optional<std::uint32_t> stored_crc32c;    // nothing: no sum of this range is stored
  std::optional<std::uint32_t> computed_crc32c;  // nothing: it could not be read, or not be summed
  std::string why;                               // a sentence
};

struct LostTensor {
  std::string name;
  std::uint64_t size_bytes = 0;
  std::vector<LostRange> ranges;  // at least one
};

// What of a checkpoint is whole, and what is not.
struct Salvageable {
  std::uint64_t tensors_kept = 0;
  std::uint64_t tensors_total = 0;
  std::uint64_t bytes_kept = 0;  // of tensors: those that share their bytes count each
  std::uint64_t bytes_total = 0;
  std::vector<LostTensor> lost;  // in bytewise order of names
  std::vector<std::string> warnings;
};

// Reads every byte and says what salvage() would keep. Writes nothing.
//
// A tensor is whole if each of its bytes can be read and has the checksum that is stored for it.
// Lost are tensors with damage, and those in a shard that is missing, too short, or on a disk that
// fails. One of several slices of a partitioned tensor loses the whole of it, as do slices that
// leave a gap; so does damage in bytes that several tensors share lose them all. Damage in a
// shard's header or padding loses nothing. Chunk sums, where P.cairn has them, name the damage to
// the chunk; without, it is named to the tensor or slice.
//
// Where one of P.cairn and P.index is damaged, the other is used, and a warning says so: of what
// P.cairn alone held nobody can tell, and the list has what P.index names. Where a
// P.index that stands alone has a damaged block, that is an error, since its other blocks do not
// say what was in that one. Tensors without a checksum (safetensors stores none) are lost where
// they do not lie within the file or cannot be read, and a warning says of how many nothing could
// be compared. A variant, or a tensor of less than whole bytes, that is stored in slices counts as
// lost: it cannot be put together, and its sentence says so.
//
// Errors: those of Checkpoint::open, but for damage to shards; of a V1 checkpoint for any damage.
// Corrupt, Io: no index is whole. Io that the caller can mend (no permission) is an error and loses
// no tensor. Cancelled. Cost: every byte once; one tensor keeps one core busy.
CAIRN_API Result<Salvageable> salvageable(const std::filesystem::path& source,
                                          const ExecOptions& exec = {},
                                          bool follow_links = false) noexcept;

struct SalvageOptions {
  std::filesystem::path output;                 // a prefix, required
  bool replace = false;                         // what is there may be replaced
  bool follow_links = false;                    // of the source, as OpenOptions
  std::chrono::milliseconds lock_wait{30'000};  // as TransferOptions
  ExecOptions exec;
};

struct Salvaged {
  Transfer transfer;  // without the warnings, which `found` has
  Salvageable found;
};

// Writes the tensors that are whole, and nothing else of the source's shards, as a new checkpoint
// under `options.output`: P.cairn and P.index over new shards, with the step and metadata of the
// source, and its P.meta if that can be read. Their bytes are compared with their checksums once
// more while they are copied. The source is never changed.
//
// Errors: those of salvageable(); Corrupt: no tensor is whole, or one went bad meanwhile; Exists
// (`output` is a checkpoint already, without `replace`); Invalid (no output, or it is the source);
// Io, NoSpace. Durable when it returns: until then nothing is under `output`, or with `replace`
// what was there, whole. Cost: as salvageable(), and a copy.
CAIRN_API Result<Salvaged> salvage(const std::filesystem::path& source,
                                   const SalvageOptions& options) noexcept;

}  // namespace cairn
