#pragma once

// An open checkpoint: an index (read or built in memory), and the shards it points into.
// Everything that reads tensors works on this one class; it knows no format but Cairn's index.

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/checkpoint.h"
#include "format/cairn/index.h"
#include "lib/os/file.h"
#include "lib/read/lazy_checks.h"
#include "lib/read/shards.h"
#include "lib/read/slices.h"

namespace cairn::internal {

// Which files an index was read from, by what they are found to be others by now.
struct Origin {
  struct File {
    format::FileIdentity identity;
    std::uint64_t device = 0;
  };
  std::string base;                            // empty: it was read from no index
  std::array<std::optional<File>, 2> indexes;  // P.index, P.cairn; nothing: there was none
};

// Bytes of a file that have a sum of its own, as the members of an archive have a CRC-32.
struct SummedRange {
  format::FileRange range;
  bool damaged = false;  // the sum is another one
};
// Reads and compares all of them in a file. Errors: Io; Corrupt: nobody can tell where they are.
using CompareOwnSums = Result<std::vector<SummedRange>> (*)(const os::File&, const ExecOptions&);

// What an opener hands over: all of it already checked, but for the tensors' bytes.
struct Parts {
  Format format{};
  std::filesystem::path prefix;
  std::shared_ptr<const void> index_bytes;  // read, or made of a foreign index
  format::IndexView index;                  // over index_bytes
  std::vector<os::File> shards;  // one for each shard of the index, of the recorded size at least
  std::vector<std::string> warnings;
  bool decoded = false;  // the last shard is no file: values that are decoded, in memory
  std::shared_ptr<DecodedMembers> decoded_members;  // what fills it; nullptr: it is full
  bool recorded = false;                            // by FILE.cairn, which an import has written
  std::string left_out;  // the file has more than the index says: a sentence; else empty
  CompareOwnSums compare_own_sums = nullptr;  // of the shards; nullptr: they have none
  bool bytes_doubtful = false;  // check tensors before their first use even with Verify::None
  Origin origin;
};

// What of a request lies in one stored piece.
struct StoredPart {
  format::Span span;
  std::uint32_t slice = 0;  // of the index, where the tensor is partitioned
  Box box;                  // the elements that the piece holds
  Box shared;               // those of them that are asked for
};

// Strings and the bytes that they are views into.
struct CopiedStrings {
  CopiedStrings() = default;
  CopiedStrings(CopiedStrings&&) = default;  // leaves the bytes where they are; a copy would not
  CopiedStrings& operator=(CopiedStrings&&) = default;

  std::vector<std::vector<std::byte>> bytes;
  std::vector<std::string_view> values;
};

class ScanPlan;
enum class ByteSource : std::uint8_t;

// How the bytes come into this process, by Access or by IoMethod.
enum class Loading : std::uint8_t {
  Mapped,     // when touched
  Populated,  // mapped, and brought in at once
  Read,       // into memory of our own, through the page cache
  Direct,     // into memory of our own, past it
};

class OpenCheckpoint {
 public:
  // Maps or reads the shards, and checks what the options want checked, in one pass. `loading` goes
  // with options.access, which decides where it is not given. Unsupported: Loading::Direct, and the
  // file system has no such reads.
  static Result<Checkpoint> make(Parts parts, const OpenOptions& options,
                                 std::optional<Loading> loading = std::nullopt);

  // The state behind a public handle, for the rooms above.
  static const OpenCheckpoint& of(const Checkpoint& checkpoint) noexcept {
    return *checkpoint.state_;
  }

  const Parts& parts() const noexcept { return parts_; }
  const format::IndexView& index() const noexcept { return parts_.index; }
  Tensor handle(std::size_t position) const noexcept { return Tensor(this, position); }
  const Shards& shards() const noexcept { return shards_; }
  const LazyChecks& checks() const noexcept { return checks_; }
  std::string shard_path(std::uint32_t shard) const { return parts_.shards[shard].path(); }

  // ---- check.cc: all sums ----

  Result<Verification> verify(const ExecOptions& exec) const;

  // A sentence that names the tensor: "PREFIX: tensor NAME why".
  Error about(std::size_t position, Code code, const std::string& why) const;

  // The sentence for a tensor whose bytes have another sum.
  Error damaged(std::size_t position, const format::Span& span, std::uint32_t computed) const;

  // ---- extents.cc: where a tensor lies ----

  // The stored pieces that hold the elements of the box, each element once. Corrupt: the tensor's
  // slices overlap, or leave a gap in the box.
  Result<std::vector<StoredPart>> parts_of(std::size_t position, const Box& box) const;

  // Where the whole tensor lies, one element after another; nothing: not in one place.
  std::optional<format::Span> one_span(std::size_t position) const;

  // ---- read_plan.cc: many requests at once ----

  // Each byte of the files that any of them touches is read once.
  Result<void> read_all(std::span<const Read> reads, const ExecOptions& exec,
                        const ReaderPartition& partition) const;

  // ---- read.cc: bytes ----

  Result<std::span<const std::byte>> bytes(std::size_t position) const;
  Result<std::span<const std::byte>> strided_bytes(std::size_t position) const;
  Result<std::span<std::byte>> native(std::size_t position, DType wanted,
                                      std::size_t alignment) const;
  Result<Strings> strings(std::size_t position, Slice slice) const;
  Result<CopiedStrings> copy_strings(std::size_t position) const;
  Result<void> match_dtype(std::size_t position, DType wanted) const;
  Result<std::uint64_t> read_bytes(std::size_t position, Slice slice) const;
  Result<void> read(std::size_t position, std::span<std::byte> out, Slice slice) const;
  Result<void> prefetch(std::span<const std::string_view> names, const ExecOptions& exec) const;

  Access access() const noexcept { return access_; }
  Result<std::size_t> find(std::string_view name) const;

 private:
  OpenCheckpoint(Parts parts, const OpenOptions& options);

  friend class ReadPlan;

  Result<void> place_shards();
  Result<void> load(Loading loading, bool check, const ExecOptions& exec);
  // Everything that has a sum, in one pass with what else was wanted of it.
  Result<Verification> check_by(ScanPlan& plan, ByteSource source, const ExecOptions& exec) const;
  // The same, and Corrupt where anything is damaged. How many bytes have a sum.
  Result<std::uint64_t> check_whole(ScanPlan& plan, ByteSource source, const ExecOptions& exec);
  // Where a tensor lies that can be viewed: in one place, native, checked.
  Result<format::Span> checked_span(std::size_t position) const;
  // The same, and row-major.
  Result<format::Span> row_major_span(std::size_t position) const;
  // The strings of a request. With `copies` they are views into these and not into the mapping.
  Result<std::vector<std::string_view>> place_strings(
      std::size_t position, Slice slice, std::vector<std::vector<std::byte>>* copies) const;
  Result<void> read_whole(std::size_t position, std::span<std::byte> out) const;
  Result<void> read_box(std::size_t position, std::span<std::byte> out, const Box& box) const;
  // strided.cc
  Result<void> read_strided(std::size_t position, std::span<std::byte> out, const Box& box) const;
  // Whether a request can be met: the width by which its bytes are to be swapped, 1 where they are
  // native.
  Result<std::uint32_t> check_request(std::size_t position, std::span<std::byte> out,
                                      Slice slice) const;
  Result<Box> box_of_request(std::size_t position, Slice slice) const;

  // The same, of what cannot be done.
  Error refused(std::size_t position, const std::string& why) const;

  Parts parts_;
  Access access_;
  Shards shards_;      // over parts_
  LazyChecks checks_;  // of parts_
};

// The difference between what is there and what a caller expects; nothing: none. At most ten lines.
std::optional<std::string> difference(const format::IndexView& index,
                                      std::span<const TensorSpec> expected);

// What Checkpoint::digest() says.
std::optional<Digest128> digest_of(const format::IndexView& index);

// Invalid: the checkpoint has another digest, or none.
Result<void> check_digest(const Parts& parts, const Digest128& expected);

// What a tensor is, without its bytes.
TensorSpec spec_of(const format::IndexView::Tensor& tensor);

// Whether elements can be cut out of the tensor's bytes: raw ones of whole bytes.
inline bool is_addressable(const format::IndexView::Tensor& tensor) noexcept {
  return tensor.encoding == format::Encoding::Raw && tensor.element_bits != 0 &&
         tensor.element_bits % 8 == 0;
}

// "float32 [2, 3]"; of an opaque dtype with its name.
std::string describe(DType dtype, std::span<const std::int64_t> shape,
                     std::string_view opaque = {});

}  // namespace cairn::internal
