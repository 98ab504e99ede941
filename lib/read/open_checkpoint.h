#pragma once

// An open checkpoint: Cairn's index, which was read from a file or built in memory from a foreign
// index, and the shards that it points into. Everything that reads tensors uses this one class. It
// knows no other format.

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
#include "cairn/restore.h"
#include "format/cairn/index.h"
#include "lib/os/file.h"
#include "lib/read/lazy_checks.h"
#include "lib/read/name_table.h"
#include "lib/read/shards.h"
#include "lib/read/slices.h"

namespace cairn::internal {

// The identity of the index files that a checkpoint was read from, to find out later whether they
// were replaced.
struct Origin {
  struct File {
    format::FileIdentity identity;
    std::uint64_t device = 0;
  };
  std::string base;                            // empty: it was read from no index
  std::array<std::optional<File>, 2> indexes;  // P.index, P.cairn; std::nullopt: there was none
};

// A range of bytes of which the file itself stores a sum, as an archive stores a CRC-32 of each
// member.
struct SummedRange {
  format::FileRange range;
  bool damaged = false;  // the bytes do not have the stored sum
};
// Reads all such ranges of a file and compares them with their sums. Errors: Io; Corrupt (it cannot
// be found out where they lie).
using CompareOwnSums = Result<std::vector<SummedRange>> (*)(const os::File&, const ExecOptions&);

// What lib/open passes to OpenCheckpoint::make(). Everything in it has been checked, except the
// bytes of the tensors.
struct Parts {
  Format format{};
  std::filesystem::path prefix;
  std::shared_ptr<const void> index_bytes;  // of P.cairn, or built from a foreign index
  format::IndexView index;                  // over index_bytes
  std::vector<os::File> shards;  // one for each shard of the index, of the recorded size at least
  std::vector<std::string> warnings;
  bool decoded = false;  // the last shard is not a file: it holds decoded values, in memory
  std::shared_ptr<DecodedMembers> decoded_members;  // decodes them on use; nullptr: all are there
  bool recorded = false;  // the index is FILE.cairn, which an import wrote beside a foreign file
  std::string left_out;   // a sentence about what is in the file and not in the index, or empty
  CompareOwnSums compare_own_sums = nullptr;  // of the shards; nullptr: they have none
  bool bytes_doubtful = false;  // check tensors before their first use even with Verify::None
  bool index_only = false;      // no shard is open: `shards` is empty
  Origin origin;
};

// The part of a request that lies in one stored slice, or in a tensor that is not partitioned.
struct StoredPart {
  format::Span span;
  std::uint32_t slice = 0;  // its number in the index, if the tensor is partitioned
  Box box;                  // the elements that are stored there
  Box shared;               // those of them that are requested
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

struct Restoring {
  std::optional<Loading> loading;  // agrees with options.access; absent: options.access decides
  // One for each shard, with Loading::Read and Direct, no smaller than the shard; empty: our own.
  std::vector<CallerMemory> places;
};

class OpenCheckpoint {
 public:
  // Maps or reads the shards, and checks what options.verify requires, in one pass. `loading` must
  // agree with options.access; if it is absent, options.access decides. Unsupported:
  // Loading::Direct, and the file system has no direct reads.
  static Result<Checkpoint> make(Parts parts, const OpenOptions& options,
                                 const Restoring& how = {});

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

  // Unsupported: the index alone was opened. For every call that reads bytes.
  Result<void> ensure_has_bytes() const {
    if (!parts_.index_only) [[likely]]
      return {};
    return refuse_bytes();
  }

  // Tells the caller's function, if there is one.
  void tell(const Event& event) const noexcept;

  // ---- check.cc: all sums ----

  Result<Verification> verify(const ExecOptions& exec) const;

  // Adds what the files have sums of and the index has not.
  Result<void> add_own_sums(Verification& seen, const ExecOptions& exec) const;

  // After a check of everything: no tensor is checked again on its first use.
  void mark_checked() const noexcept;

  // The error for a tensor whose bytes do not have the stored sum; also an event.
  Error damaged(std::size_t position, const format::Span& span, std::uint32_t computed) const;

  // ---- extents.cc: where a tensor lies ----

  // The stored slices (or the whole tensor) that hold the elements of the box, each element once.
  // Corrupt: the tensor's slices overlap, or leave a gap in the box.
  Result<std::vector<StoredPart>> parts_of(std::size_t position, const Box& box) const;

  // The span of the whole tensor, if its elements follow one another in one place; else
  // std::nullopt.
  std::optional<format::Span> one_span(std::size_t position) const;

  // ---- read_plan.cc: many requests at once ----

  // Reads each byte that any of the requests needs once.
  Result<void> read_all(std::span<const Read> reads, const ExecOptions& exec,
                        const ReaderPartition& partition) const;

  // ---- read.cc: bytes ----

  // An error that names the tensor: "PREFIX: tensor NAME why".
  Error about(std::size_t position, Code code, const std::string& why) const;

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
  std::optional<std::size_t> position_of(std::string_view name) const noexcept {
    return names_.find(name);
  }
  // The same, for names that mostly come in the order of the index: `likely` is looked at first.
  std::optional<std::size_t> position_of(std::string_view name, std::size_t likely) const noexcept {
    const bool found = likely < index().tensor_count() && index().tensor_name(likely) == name;
    return found ? likely : position_of(name);
  }
  // The same. Errors: NotFound; the message lists similar names.
  Result<std::size_t> find(std::string_view name) const;

 private:
  OpenCheckpoint(Parts parts, const OpenOptions& options);

  friend class ReadPlan;

  Result<void> place_shards(std::span<const CallerMemory> places);
  Result<void> refuse_bytes() const;
  Result<void> load(Loading loading, bool check, const ExecOptions& exec);
  // Compares everything that has a sum, in the same pass as the other requests of `plan`.
  Result<Verification> check_by(ScanPlan& plan, ByteSource source, const ExecOptions& exec) const;
  // The same. Corrupt: something is damaged. Returns the number of bytes that have a sum.
  Result<std::uint64_t> check_whole(ScanPlan& plan, ByteSource source, const ExecOptions& exec);
  // The span of a tensor that can be viewed: in one place, in native byte order, checked.
  Result<format::Span> checked_span(std::size_t position) const;
  // The same, and row-major.
  Result<format::Span> row_major_span(std::size_t position) const;
  // The strings of a request. With `copies` they are views into those copies, not into the mapping.
  Result<std::vector<std::string_view>> place_strings(
      std::size_t position, Slice slice, std::vector<std::vector<std::byte>>* copies) const;
  Result<void> read_whole(std::size_t position, std::span<std::byte> out) const;
  Result<void> read_box(std::size_t position, std::span<std::byte> out, const Box& box) const;
  // strided.cc
  Result<void> read_strided(std::size_t position, std::span<std::byte> out, const Box& box) const;
  // Checks whether a request can be done. Returns how many bytes are swapped together; 1: the bytes
  // are in native order.
  Result<std::uint32_t> check_request(std::size_t position, std::span<std::byte> out,
                                      Slice slice) const;
  Result<Box> box_of_request(std::size_t position, Slice slice) const;

  // The same as about(), with Unsupported.
  Error refused(std::size_t position, const std::string& why) const;

  Parts parts_;
  NameTable names_;  // of parts_
  Access access_;
  Shards shards_;      // over parts_
  LazyChecks checks_;  // of parts_
  EventListener on_event_;
};

// The difference between the tensors of the index and the expected ones, at most ten items;
// std::nullopt: none.
std::optional<std::string> difference(const format::IndexView& index,
                                      std::span<const TensorSpec> expected);

// The result of Checkpoint::digest().
std::optional<Digest128> digest_of(const format::IndexView& index);

// Invalid: the checkpoint has another digest, or none.
Result<void> check_digest(const Parts& parts, const Digest128& expected);

// The description of a tensor, without its bytes.
TensorSpec spec_of(const format::IndexView::Tensor& tensor);
std::vector<TensorSpec> specs_of(const format::IndexView& index);  // of all tensors

// Whether single elements can be addressed: they are raw and take whole bytes.
inline bool is_addressable(const format::IndexView::Tensor& tensor) noexcept {
  return tensor.encoding == format::Encoding::Raw && tensor.element_bits != 0 &&
         tensor.element_bits % 8 == 0;
}

// "float32 [2, 3]"; of an opaque dtype with its name.
std::string describe(DType dtype, std::span<const std::int64_t> shape,
                     std::string_view opaque = {});

}  // namespace cairn::internal
