#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/error.h"
#include "cairn/exec_options.h"
#include "cairn/export.h"
#include "cairn/tensor.h"

namespace cairn {

struct WriterAccess;

struct WriterOptions {
  std::optional<std::int64_t> step = {};
  std::vector<std::pair<std::string, std::string>> metadata = {};
  // The __metadata__ of safetensors, in UTF-8, for P.cairn and the header of the universal shard.
  // Keys about the file itself are not copied: total_size becomes the size of the tensors, and
  // Cairn's own keys ("cairn.") are left out. A header without "format" gets the format "pt".
  std::vector<std::pair<std::string, std::string>> safetensors_metadata = {};
  bool tensorflow_index = true;  // write P.index, so that TensorFlow opens the checkpoint
  bool cairn_index = true;       // write P.cairn; at least one of both indexes must be written
  unsigned alignment_bytes = 0;  // 0: the universal shard. Else the alignment of every tensor, a
                                 // power of two, 64 … 4096; the shard has no safetensors header
  std::string meta_graph = {};   // bytes of P.meta; empty: none
  bool replace = true;           // false: commit() returns Exists if the prefix has a checkpoint
  // The checkpoint whose tensors are written again. If it has the same prefix, and another process
  // has published there since it was opened, commit() returns Busy: else the newer save would be
  // lost.
  std::optional<Checkpoint> read_from = {};
  // How long commit() waits while another process publishes under the prefix. 0: do not wait;
  // max(): wait without a limit.
  std::chrono::milliseconds lock_wait{30'000};
};

// The name of a tensor and all its bytes, row-major and little-endian. The caller owns the bytes.
struct NamedBytes {
  std::string_view name = {};
  std::span<const std::byte> bytes = {};
};

// Writes one checkpoint. Create it with the specs of the tensors, give the bytes in any order, then
// call commit().
//
// - Before commit() nothing exists under the names of the prefix, and an existing checkpoint stays
//   whole. A Writer that is destroyed without commit() removes its temporary files.
// - If the process is killed, the temporary files (NAME.cairn-tmp-…) stay. Readers ignore them. The
//   next Writer in the directory removes them before it reserves space.
// - Several Writers of one prefix, in any processes, take turns in commit(). Afterwards the
//   checkpoint of the last one is there, whole.
// - commit() removes the shards of the indexes that it replaces. A file that has the name of a
//   shard and that no index names stays.
// - A file that would be larger than RLIMIT_FSIZE allows gives NoSpace. If SIGXFSZ is neither
//   ignored nor handled, the kernel kills the process instead.
//
// Threads: write, write_all, write_strings and append may be called from several threads, one
// thread per tensor. A forked child must not use the Writer. Memory: bytes are summed, hashed and
// written at once; the Writer keeps none.
class CAIRN_API Writer {
 public:
  // Checks the specs and creates missing parent directories. The temporary files are created, and
  // their space is reserved, with the first bytes or in commit(), because tie() may come before.
  // P.index does not contain what TensorFlow cannot hold: tensors of DType::Opaque or with an empty
  // name. warnings() says so.
  //
  // Errors: Invalid (a name or a metadata key is given twice; a shape is negative or too large; the
  // alignment is no power of two; no index is to be written; the prefix contains a NUL byte; an
  // opaque dtype has no name or no bits), Unsupported (a dtype that cannot be stored, or is in
  // blocks; a tensor that P.index cannot hold, without P.cairn), NoSpace, Io.
  static Result<Writer> create(const std::filesystem::path& prefix, std::vector<TensorSpec> specs,
                               const WriterOptions& options = {}) noexcept;

  // Writes all bytes of a tensor, row-major and little-endian. Errors: NotFound (no such spec),
  // Invalid (the size is wrong; the tensor is written already; it is a string tensor), Unsupported
  // (at the first bytes: the file system has no locks, which commit() needs), Io, NoSpace.
  Result<void> write(std::string_view name, std::span<const std::byte> bytes) noexcept;

  // The same for the elements of a vector, an array or a span, whose type must be the tensor's
  // (dtype_of). Errors: those above; Invalid (the tensor has another dtype).
  template <std::ranges::contiguous_range Elements>
    requires(dtype_of<std::ranges::range_value_t<Elements>> != DType::Invalid)
  Result<void> write(std::string_view name, const Elements& elements) noexcept {
    const std::span<const std::ranges::range_value_t<Elements>> all(elements);
    return write_elements(name, dtype_of<std::ranges::range_value_t<Elements>>, std::as_bytes(all));
  }

  // Writes all bytes of these tensors, like one write() for each, but on up to four cores: one core
  // copies into the page cache, the others compute checksum and hash, and the disk begins to write
  // before commit() waits for it. Less than 4 MiB in all is written by the calling thread only.
  // `exec.progress` counts the written bytes.
  // Errors: those of write, before any byte is written. Cancelled, Io and NoSpace come during the
  // write and are final, as those of commit(). Cost: one copy of each byte; with one core also the
  // time of checksum and hash.
  Result<void> write_all(std::span<const NamedBytes> tensors,
                         const ExecOptions& exec = {}) noexcept;

  // Writes all elements of a String tensor, row-major. Errors: those of write.
  Result<void> write_strings(std::string_view name,
                             std::span<const std::string_view> values) noexcept;

  // Writes all bytes of a String or Variant tensor in TensorFlow's encoding. The encoding is
  // checked, and the bytes are written as they are. Errors: those of write; Corrupt (not a valid
  // encoding).
  Result<void> write_encoded(std::string_view name, std::span<const std::byte> bytes) noexcept;

  // Writes the next bytes of a tensor that does not fit into memory. Errors: those of write;
  // Invalid (more bytes than the tensor has).
  Result<void> append(std::string_view name, std::span<const std::byte> chunk) noexcept;

  // Makes `name` share the bytes of `same_as` (tied weights). Both must be in the specs and have
  // the same dtype and size. Call it before the first bytes are written, and write the bytes once,
  // under that name of the tied ones that comes first in bytewise order. Errors: NotFound, Invalid.
  Result<void> tie(std::string_view name, std::string_view same_as) noexcept;

  // Publishes the checkpoint: syncs the shards, takes the lock of the prefix (a byte of the file
  // .cairn-lock in its directory), gives the shards unused names, renames the indexes, syncs the
  // directory and removes the files of the old checkpoint. When it returns, the checkpoint survives
  // a power cut; until then, the old one of the same prefix does.
  //
  // After these errors nothing has changed, and commit() may be called again: Invalid (a tensor
  // does not have all its bytes; the second call), Cancelled, Busy (`lock_wait` is over; the
  // message names the process that publishes), Unsupported (the file system has no locks). These
  // errors are final, and every later call fails: Exists (without `replace`), Busy (the checkpoint
  // `read_from` was replaced), Io, NoSpace. After a failed sync the contents of the disk are not
  // known.
  Result<void> commit(const ExecOptions& exec = {}) noexcept;

  // Sentences about what the user should know and what is no error: what P.index leaves out, and,
  // after commit(), which tensors of the old checkpoint are missing in the new one or have another
  // dtype or shape. Lifetime: until commit() or until the Writer is destroyed.
  std::span<const std::string> warnings() const noexcept;

  Writer(Writer&&) noexcept;
  Writer& operator=(Writer&&) noexcept;
  ~Writer();

 private:
  friend struct WriterAccess;
  class CAIRN_LOCAL State;
  Result<void> write_elements(std::string_view name, DType dtype,
                              std::span<const std::byte> bytes) noexcept;
  explicit Writer(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace cairn
