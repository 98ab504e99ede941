#pragma once

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

#include "cairn/error.h"
#include "cairn/exec_options.h"
#include "cairn/export.h"
#include "cairn/tensor.h"

namespace cairn {

// How the tensors' bytes come into this process.
enum class Access : std::uint8_t {
  Shared,   // mapped read-only: all processes share one copy, pages come when touched. Where the
            // file system has no mmap, a warning says so, and each tensor is read on its first use
  Private,  // mapped copy-on-write: pages that are written to become this process's own. No
            // snapshot: unwritten pages show what others do to the file, and truncating the file
            // takes even the written pages away
  Copy,     // read into this process's memory before open returns: never faults later
};

// When the tensors' bytes are compared with their checksums. The index is always checked whole.
enum class Verify : std::uint8_t {
  Lazy,  // each tensor on its first use, once
  Full,  // all of them on all cores, before open returns; what has no stored sum (a safetensors
         // file's tensors) is read by nobody: Verification::unchecked_bytes tells how much that is
  None,  // never (but see Checkpoint::warnings: a shard that changed behind its index is checked
         // lazily all the same)
};

// What a checkpoint's index is. TensorFlowV1 is opened, and never written.
enum class Format : std::uint8_t { Cairn, TensorFlow, TensorFlowV1, Safetensors, Npy, Npz };

// "cairn", "tensorflow", "tensorflow-v1", "safetensors", "npy", "npz".
CAIRN_API std::string_view name(Format format) noexcept;

struct OpenOptions {
  Access access = Access::Shared;
  Verify verify = Verify::Lazy;
  // Files may be symbolic links to anywhere, catalog paths may lead elsewhere. Without: an index, a
  // shard or a file in one piece may be a link that stays below its directory, or one of a Hugging
  // Face cache's own to its blobs.
  bool follow_links = false;
  // Not empty: exactly these tensors, else Invalid with the difference.
  std::span<const TensorSpec> expected;
  ExecOptions exec;  // for Verify::Full and Access::Copy
};

// One request of Checkpoint::read.
struct Read {
  std::string_view name;
  Slice slice;
  std::span<std::byte> out;
};

// This process's place among those of one host that read the same files at the same time, as the
// ranks of a server do. They need no other agreement: the page cache hands to all what one has
// read, and each begins elsewhere, so that they do not wait for the same page. Four processes so
// read 498 MB from disk once, 20 % to 30 % sooner than all from the beginning.
struct ReaderPartition {
  unsigned index = 0;  // 0 … count − 1
  unsigned count = 1;
};

// A range of bytes that does not have the checksum stored for it. An empty `tensor`: the shard's
// header, or padding.
struct Damage {
  std::string tensor;
  std::string shard;
  std::uint64_t offset_bytes = 0;  // in the shard
  std::uint64_t size_bytes = 0;
  std::uint32_t stored_crc32c = 0;
  std::uint32_t computed_crc32c = 0;
};

// What Checkpoint::verify saw.
struct Verification {
  std::uint64_t bytes_checked = 0;  // those that a stored sum covers, shared ranges once
  // Those of tensors that no stored sum covers: nobody can say whether they are as they were
  // written. All of a safetensors file's; 0 of what Cairn or TensorFlow wrote.
  std::uint64_t unchecked_bytes = 0;
  std::vector<Damage> damage;  // in the order of the shards; empty: none
};

// An open checkpoint: its index, and its shards mapped once each.
//
// Immutable and cheap to copy: copies share the mapping. Threads: any number. A forked child may go
// on reading. Files: one descriptor per shard stays open as long as a copy lives, so retention may
// delete the files meanwhile.
class CAIRN_API Checkpoint {
 public:
  // Opens the checkpoint at `path` and maps its shards; reads the index, not the tensors.
  //
  // `path` is a prefix ("saved/train2-9"), any member file of a checkpoint, a .safetensors or .npy
  // file, a SavedModel directory, or a directory with a catalog, which opens what the catalog names
  // as latest. A V1 checkpoint opens by its one file, by one of several, or by their pattern
  // ("train2-9-?????-of-00003"); its values are decoded into memory, whatever `options.access`, and
  // behave as any others from then on. Errors: NotFound (nothing there, or a shard is missing; for
  // a catalog whose latest is not whole the sentence names the newest that is), Corrupt (index
  // digest, block checksum, a span outside its shard, a shard of another size), Unsupported (newer
  // format, or something that is no checkpoint: the sentence says what it is), Unsafe (a shard that
  // is no regular file, or a link that leaves the directory), Invalid (`expected` differs), Busy
  // (saved anew eight times meanwhile), Io, OutOfMemory, Cancelled. Threads: writers may save,
  // replace and prune at the same time; what comes back is one of their checkpoints, whole. Cost:
  // O(index); 13 µs and up. Verify::Full and Access::Copy read every byte, and so does a V1
  // checkpoint, which costs memory for all values. Where the file system cannot map files, each
  // tensor is read into memory on its first use, and a warning says so.
  static Result<Checkpoint> open(const std::filesystem::path& path,
                                 const OpenOptions& options = {}) noexcept;

  Format format() const noexcept;

  // As given, never normalised, without a member's suffix.
  const std::filesystem::path& prefix() const noexcept;

  // Of Cairn's index; else the number behind the last '-' of the prefix. Of a safetensors file:
  // none, whatever it is called.
  std::optional<std::int64_t> step() const noexcept;

  // What its writer said of it, ascending by key. Position < metadata_count(), else the program
  // aborts. Lifetime: as long as a copy of the Checkpoint lives.
  using KeyValue = std::pair<std::string_view, std::string_view>;
  std::optional<std::string_view> metadata(std::string_view key) const noexcept;
  std::size_t metadata_count() const noexcept;
  KeyValue metadata_at(std::size_t position) const noexcept;

  // The same of safetensors' __metadata__, another list, in the order of the file.
  std::optional<std::string_view> safetensors_metadata(std::string_view key) const noexcept;
  std::size_t safetensors_metadata_count() const noexcept;
  KeyValue safetensors_metadata_at(std::size_t position) const noexcept;

  // What the caller should know and is no error, in sentences.
  std::span<const std::string> warnings() const noexcept;

  struct Shard {
    std::string_view name;
    std::uint64_t size_bytes;  // of a V1 file: of its values, decoded
  };
  std::size_t shard_count() const noexcept;

  // `position` < shard_count(), else the program aborts.
  Shard shard_at(std::size_t position) const noexcept;

  std::size_t tensor_count() const noexcept;

  // The tensor at `position`, counted in bytewise order of names. `position` < tensor_count(), else
  // the program aborts.
  Tensor tensor_at(std::size_t position) const noexcept;

  // Whether there is a tensor of this name. Cost: O(log tensors), also where there is none.
  bool contains(std::string_view name) const noexcept;

  // Errors: NotFound, with the nearest names. Cost: O(log tensors); where there is none, up to a
  // millisecond for the names: contains() asks without them.
  Result<Tensor> tensor(std::string_view name) const noexcept;

  // Compares every byte with its checksum, by reading the files (not the mapping, so that no fault
  // can kill the process; with Access::Copy: the memory). Also checks what open does not: that
  // padding is zero, that spans of Cairn's own shards do not overlap, and that P.index beside
  // P.cairn is as it was written. Damage is no Error: an Error means that it could not look.
  // Errors: Corrupt (spans overlap, or P.index is damaged: an index contradicts itself), Io,
  // OutOfMemory, Cancelled. Cost: every byte once, on all cores that `work` allows.
  Result<Verification> verify(const ExecOptions& exec = {}) const noexcept;

  // Brings the pages of these tensors (none named: of all) into memory. Errors: NotFound, Io,
  // Cancelled.
  Result<void> prefetch(std::span<const std::string_view> names = {},
                        const ExecOptions& exec = {}) const noexcept;

  // Whether a SigbusGuard (sigbus_guard.h) had to put zeros where a page of a shard could not be
  // read. From then on all that gives or reads bytes of that shard, and verify(), is refused with
  // Io, whatever becomes of the file: open it again. What was read before the question is covered
  // by the answer. Threads: any. Cost: a load, where no guard ever had to.
  bool faulted() const noexcept;

  // How many bytes of the shards lie in the page cache. Errors: Unsupported (the system does not
  // say: many tell only who owns a file or may write it), Io.
  Result<std::uint64_t> resident_bytes() const noexcept;

  // Many reads as one plan, in the order of the files on all cores: what lies near each other comes
  // in one read, what several ask for comes once, what is large goes to its place without another
  // copy, and checking as each tensor's read() does costs no second pass. `out` must not overlap
  // one another. Errors: those of Tensor::read, NotFound; nothing is known of `out` then. Memory:
  // 24 bytes for each contiguous run of a slice and each MiB of a tensor, and 256 KiB for each
  // thread.
  Result<void> read(std::span<const Read> reads, const ExecOptions& exec = {},
                    const ReaderPartition& partition = {}) const noexcept;

 private:
  friend class internal::OpenCheckpoint;
  explicit Checkpoint(std::shared_ptr<const internal::OpenCheckpoint> state) noexcept
      : state_(std::move(state)) {}

  std::shared_ptr<const internal::OpenCheckpoint> state_;
};

}  // namespace cairn
