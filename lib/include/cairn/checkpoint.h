#pragma once

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

#include "cairn/error.h"
#include "cairn/exec_options.h"
#include "cairn/export.h"
#include "cairn/future.h"
#include "cairn/open_options.h"
#include "cairn/tensor.h"
#include "cairn/tensor_iterator.h"
#include "cairn/verification.h"

namespace cairn {

// The format of a checkpoint's index. Cairn opens TensorFlowV1 and never writes it.
enum class Format : std::uint8_t {
  Cairn,
  TensorFlow,
  TensorFlowV1,
  Safetensors,
  Npy,
  Gguf,
  Npz,
  Hdf5,
  Keras,  // an archive (.keras), or weights in several HDF5 files (.weights.json)
  Onnx,
  Ptd,
  Tflite,
  PyTorch,
};

// "cairn", "tensorflow", "tensorflow-v1", "safetensors", "npy", "gguf", "npz", "hdf5", "keras",
// "onnx", "ptd", "tflite", "pytorch".
CAIRN_API std::string_view name(Format format) noexcept;

// One request of Checkpoint::read.
struct Read {
  std::string_view name = {};
  Slice slice = {};
  std::span<std::byte> out = {};
};

// The place of this process among the processes of one host that read the same files at the same
// time, for example the ranks of a server. Each process begins at another place, so that they do
// not wait for the same page, and the page cache gives to all what one has read. No other
// coordination is necessary. Four processes read 498 MB from disk once in this way, 20 % to 30 %
// sooner than four that all read from the beginning.
struct ReaderPartition {
  unsigned index = 0;  // 0 … count − 1
  unsigned count = 1;
};

class Checkpoint;

// open(…)->tensor("w") on a temporary Result does not compile: the Tensor would outlive the
// Checkpoint. Keep the Result in a variable.
template <>
inline constexpr bool hands_out_views<Checkpoint> = true;

// An open checkpoint: its index, and its shards, each mapped once. It never changes. It is cheap to
// copy: copies share the mappings.
//
// Lifetime: one file descriptor per shard stays open as long as a copy lives, so the files may be
// deleted in the meantime. Threads: any number may use it. A forked child may continue to read.
class CAIRN_API Checkpoint {
 public:
  // Opens the checkpoint at `path` and maps its shards. Reads the index, and no tensor. `path` is
  // one of these:
  // - a prefix ("saved/train2-9"), or any file of the checkpoint,
  // - a .safetensors, .npy, .npz, .gguf, .h5, .keras, .onnx, .pt, .ptd or .tflite file,
  // - a directory: a SavedModel, a Hugging Face model, or a distributed checkpoint of PyTorch,
  // - a directory with a catalog: the latest checkpoint of the catalog opens,
  // - the one file of a V1 checkpoint, one of its files, or their pattern
  //   ("train2-9-?????-of-00003"). The values of a V1 checkpoint are decoded into memory, whatever
  //   `options.access` is; afterwards they behave like those of any other format.
  //
  // Errors: NotFound (there is no such file, or a shard is missing; if the latest checkpoint of a
  // catalog is not whole, the message names the newest one that is), Corrupt (index digest, block
  // checksum, a range of bytes outside its shard, the size of a shard), Unsupported (a newer
  // format, or a file that is not a checkpoint; the message says what it is), Unsafe (a shard is
  // not a regular file, or a link leaves the directory), Invalid (`expected` or `expected_digest`
  // differs), Busy (the checkpoint was replaced sixteen times while it was opened), Io,
  // OutOfMemory, Cancelled. Threads: writers may save, replace and prune at the same time. The
  // result is always one whole checkpoint that one of them wrote. Cost: O(index), from about 10 µs.
  // Verify::Full, Access::Copy and a V1 checkpoint read every byte. A V1 checkpoint needs memory
  // for all values. If the file system cannot map files, each tensor is read into memory on its
  // first use, and a warning says so.
  static Result<Checkpoint> open(const std::filesystem::path& path,
                                 const OpenOptions& options = {}) noexcept;

  // The same in the background; see Future. Copies what the options refer to, `expected` too. The
  // thread that does the work calls `exec.progress` and `on_event`.
  static Future<Checkpoint> open_async(const std::filesystem::path& path,
                                       const OpenOptions& options = {}) noexcept;

  // The same for what is open already: a file that a supervisor passes, or one in memory
  // (memfd_create). The descriptor stays the caller's, who may close it afterwards.
  // - `fd` is a regular file: a checkpoint in one file. Its bytes say which format it has, and the
  //   ending of `name` where bytes cannot, as for .onnx. Errors call it `name`, and so does
  //   prefix(), without the ending; no file of this name is opened. Nobody may change the file.
  // - `fd` is a directory: the prefix or the file `name` in it, a name without a slash. Errors and
  //   prefix() have the path of the directory in front, if the system tells it.
  // Errors: those of open(); Invalid (`fd` is not open, or not for reading; `name` is empty, or has
  // a slash); Unsupported (a file that needs other files: the index of a prefix, a V1 checkpoint, a
  // part of a model; the message says to pass the directory).
  static Result<Checkpoint> open_descriptor(int fd, const std::filesystem::path& name,
                                            const OpenOptions& options = {}) noexcept;

  Format format() const noexcept;

  // The path that was given to open(), not normalised, without the suffix of a member file.
  const std::filesystem::path& prefix() const noexcept;

  // The step in Cairn's index; without one, the number after the last '-' of the prefix. A
  // safetensors file has no step, whatever its name is.
  std::optional<std::int64_t> step() const noexcept;

  // The metadata that the writer stored, in ascending order of keys. The position must be less than
  // metadata_count(), else the program aborts. Lifetime: as long as a copy of the Checkpoint lives.
  using KeyValue = std::pair<std::string_view, std::string_view>;
  std::optional<std::string_view> metadata(std::string_view key) const noexcept;
  std::size_t metadata_count() const noexcept;
  KeyValue metadata_at(std::size_t position) const noexcept;

  // All of it: for (const auto& [key, value] : checkpoint.metadata()).
  auto metadata() const noexcept {
    return std::views::iota(std::size_t{0}, metadata_count()) |
           std::views::transform([this](std::size_t i) { return metadata_at(i); });
  }

  // The same for the __metadata__ of safetensors, which is a separate list, in the order of the
  // file.
  std::optional<std::string_view> safetensors_metadata(std::string_view key) const noexcept;
  std::size_t safetensors_metadata_count() const noexcept;
  KeyValue safetensors_metadata_at(std::size_t position) const noexcept;

  // Sentences about what the user should know and what is not an error.
  std::span<const std::string> warnings() const noexcept;

  struct Shard {
    std::string_view name;
    std::uint64_t size_bytes;  // for a V1 file: the size of its decoded values
  };
  std::size_t shard_count() const noexcept;

  // `position` must be less than shard_count(), else the program aborts.
  Shard shard_at(std::size_t position) const noexcept;

  std::size_t tensor_count() const noexcept;

  // The tensor at `position` in the bytewise order of names. `position` must be less than
  // tensor_count(), else the program aborts.
  Tensor tensor_at(std::size_t position) const noexcept;

  // All tensors, in the same order: for (const cairn::Tensor& tensor : checkpoint).
  TensorIterator begin() const noexcept { return {state_.get(), 0}; }
  TensorIterator end() const noexcept { return {state_.get(), tensor_count()}; }

  // The tensors whose names begin with `prefix`. Cost: O(log tensors).
  TensorRange tensors_with_prefix(std::string_view prefix) const noexcept;

  // Whether there is a tensor of this name. Cost: O(log tensors), also if there is none. After
  // tensors / 16 look-ups, the next one makes a hash table of all names, which takes 16 to 32 bytes
  // for each name until the checkpoint is closed. From then on the cost is O(1).
  bool contains(std::string_view name) const noexcept;

  // The tensor of this name. Errors: NotFound; the message lists similar names. Cost: as
  // contains(). If there is none, the search for similar names takes up to a millisecond more.
  Result<Tensor> tensor(std::string_view name) const noexcept;

  // The digest of the contents: names, dtypes, shapes and values, but not metadata and not the
  // places of the bytes. So it is the same in every format, and after every copy, import, export
  // and convert that keeps names and values. std::nullopt: not every tensor has a content_hash(),
  // as in files that Cairn neither wrote nor imported. It is computed from the index, not from the
  // bytes; verify() compares the bytes with the index. Cost: O(tensors), 16 bytes each. FORMAT.md
  // has its definition.
  std::optional<Digest128> digest() const noexcept;

  // Compares every byte with its checksum. Reads the files and not the mappings, so that no page
  // fault can end the process (with Access::Copy it reads the memory). Also checks three things
  // that open() does not: padding is zero, spans of Cairn's own shards do not overlap, and the
  // P.index of a checkpoint with P.cairn is as it was written. Damage is in the result and is no
  // Error. Errors: Corrupt (spans overlap, or P.index is damaged), Io, OutOfMemory, Cancelled.
  // Cost: reads every byte once, on all cores that `exec` allows. If the bytes are more than half
  // of the available memory, those that were not in the page cache do not stay there.
  Result<Verification> verify(const ExecOptions& exec = {}) const noexcept;

  // Reads the pages of these tensors into memory; if `names` is empty, those of all tensors.
  // Errors: NotFound, Io, Cancelled.
  Result<void> prefetch(std::span<const std::string_view> names = {},
                        const ExecOptions& exec = {}) const noexcept;

  // Whether a SigbusGuard (sigbus_guard.h) has put zeros in the place of a page that could not be
  // read. If false, all bytes that were read before this call were true. If true, verify() and each
  // call that gives or reads bytes of that shard return Io from then on, also if the file is well
  // again: open the checkpoint again. Threads: any. Cost: one load, if no guard has put zeros.
  bool faulted() const noexcept;

  // The number of bytes of the shards that are in the page cache. Errors: Unsupported (the system
  // does not tell; many systems tell only the owner of a file and those who may write it), Io.
  Result<std::uint64_t> resident_bytes() const noexcept;

  // Does many reads as one plan, in the order of the files, on all cores. Neighbouring ranges are
  // read together, a range that several requests need is read once, large ranges go to their place
  // without another copy, and the check of Tensor::read() needs no second pass. The `out` ranges
  // must not overlap. Errors: those of Tensor::read, NotFound; after an error the contents of `out`
  // are undefined. Memory: 24 bytes for each contiguous run of a slice and for each MiB of a
  // tensor, and 256 KiB for each thread.
  Result<void> read(std::span<const Read> reads, const ExecOptions& exec = {},
                    const ReaderPartition& partition = {}) const noexcept;

 private:
  friend class internal::OpenCheckpoint;
  explicit Checkpoint(std::shared_ptr<const internal::OpenCheckpoint> state) noexcept
      : state_(std::move(state)) {}

  std::shared_ptr<const internal::OpenCheckpoint> state_;
};

}  // namespace cairn
