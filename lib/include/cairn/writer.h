#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
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
  std::optional<std::int64_t> step;
  std::vector<std::pair<std::string, std::string>> metadata;
  // safetensors' __metadata__, in UTF-8: stands in P.cairn and in the universal shard's header.
  // What says something of the file itself is made anew: total_size gets the tensors' bytes, keys
  // of Cairn's own ("cairn.") are left out. A header without "format" says "pt".
  std::vector<std::pair<std::string, std::string>> safetensors_metadata;
  bool tensorflow_index = true;  // write P.index, so that TensorFlow opens the checkpoint
  bool cairn_index = true;       // write P.cairn; not both can be left out
  unsigned alignment_bytes = 0;  // 0: the universal shard; else a power of two, 64 … 4096, for
                                 // every tensor, and no safetensors header
  std::string meta_graph;        // bytes of P.meta; empty: none
  bool replace = true;  // false: commit() is Exists where a checkpoint is under the prefix by then
  // The checkpoint whose tensors are written anew. Where it lies under the prefix itself, commit()
  // is Busy if another has published there since it was opened: what that one saved would be lost.
  std::optional<Checkpoint> read_from;
  // How long commit() waits while another publishes under the prefix. 0: not at all; max(): for
  // ever.
  std::chrono::milliseconds lock_wait{30'000};
};

// A tensor's name and all its bytes, row-major and little-endian: the caller's memory.
struct NamedBytes {
  std::string_view name;
  std::span<const std::byte> bytes;
};

// Writes one checkpoint: first what the tensors are, then their bytes in any order, then commit.
//
// Until commit() nothing exists under the prefix's names, and a checkpoint that was there before
// stays whole; a Writer that goes away uncommitted takes its temporary files with it. One whose
// process is killed leaves them (NAME.cairn-tmp-…): readers ignore them, and the next Writer in the
// directory removes them before it takes room. Several Writers of one prefix, in any processes,
// take turns in commit(): the last one's checkpoint is there afterwards, whole. It is removed what
// the replaced indexes named; a file that is named like a shard and that no index names stays. A
// file that would become larger than the process may make one (RLIMIT_FSIZE) is NoSpace; but where
// SIGXFSZ is neither ignored nor handled, the kernel ends the process instead, as a kill. Threads:
// write, write_all, write_strings and append may be called from several threads, one thread per
// tensor. A forked child must not use the Writer. Memory: what is given is summed, hashed and
// written at once; nothing is kept.
class CAIRN_API Writer {
 public:
  // Checks the specs and creates missing parent directories. The temporary files are created, and
  // their space reserved, with the first bytes or commit: only then is it known what is tied.
  // P.index leaves out what TensorFlow cannot hold, a DType::Opaque and an empty name; warnings()
  // says so. Errors: Invalid (a name twice, a negative or overflowing shape, a metadata key twice,
  // an alignment that is no power of two, neither index wanted, a NUL byte in the prefix, an opaque
  // dtype without a name or bits), Unsupported (a dtype that cannot be stored, one in blocks; what
  // P.index leaves out, and P.cairn is not wanted), NoSpace, Io.
  static Result<Writer> create(const std::filesystem::path& prefix, std::vector<TensorSpec> specs,
                               const WriterOptions& options = {}) noexcept;

  // All bytes of a tensor, row-major and little-endian. Errors: NotFound (no such spec), Invalid
  // (size; written before; a string tensor), Unsupported (the first bytes alone: the file system
  // has no locks, without which nothing can be published), Io, NoSpace.
  Result<void> write(std::string_view name, std::span<const std::byte> bytes) noexcept;

  // All bytes of these tensors, as write() would take them one by one, but on up to four cores: one
  // copies into the page cache, the others sum and hash, and the disk begins before commit() waits
  // for it. What has less than 4 MiB in all is written by the calling thread alone.
  // Progress: of the bytes written. Errors: as write, and then no byte of them is taken; Cancelled,
  // Io and NoSpace, which come while bytes are written, are final as those of commit().
  // Cost: one copy of each byte; on one core, both sums besides.
  Result<void> write_all(std::span<const NamedBytes> tensors,
                         const ExecOptions& exec = {}) noexcept;

  // All elements of a String tensor, row-major. Errors: as write.
  Result<void> write_strings(std::string_view name,
                             std::span<const std::string_view> values) noexcept;

  // All bytes of a String or Variant tensor as TensorFlow stores them, checked and taken over byte
  // for byte. Errors: as write; Corrupt (no valid encoding).
  Result<void> write_encoded(std::string_view name, std::span<const std::byte> bytes) noexcept;

  // The next bytes of a tensor that does not fit into memory. Errors: as write; Invalid (more bytes
  // than the tensor has).
  Result<void> append(std::string_view name, std::span<const std::byte> chunk) noexcept;

  // Lets `name` share the bytes of `same_as` (tied weights): both from the specs, of the same dtype
  // and size. Errors: NotFound, Invalid.
  Result<void> tie(std::string_view name, std::string_view same_as) noexcept;

  // Publishes: syncs the shards, takes the prefix's lock (a byte of the file .cairn-lock in its
  // directory), gives the shards names that are free then, and the indexes theirs; returns after
  // the last sync, when what was there before is removed. From then on the checkpoint survives a
  // power cut; before that, the previous one of the same prefix does. Errors: Invalid (a tensor
  // without all its bytes; called twice), Cancelled, Busy (`lock_wait` is over; the sentence names
  // who publishes), Unsupported (the file system has no locks): nothing has happened, and commit()
  // may be called again. Exists (without `replace`), Busy (`read_from` was written anew), Io,
  // NoSpace: these are final, since after a failed sync nobody knows what is on the disk: this
  // Writer refuses everything from then on.
  Result<void> commit(const ExecOptions& exec = {}) noexcept;

  // What the caller should know and is no error, in sentences: what P.index leaves out; after
  // commit() also which tensors of the checkpoint that was there before are not in this one, or are
  // of another dtype or shape. Lifetime: until the Writer goes or commits.
  std::span<const std::string> warnings() const noexcept;

  Writer(Writer&&) noexcept;
  Writer& operator=(Writer&&) noexcept;
  ~Writer();

 private:
  friend struct WriterAccess;
  class CAIRN_LOCAL State;
  explicit Writer(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace cairn
