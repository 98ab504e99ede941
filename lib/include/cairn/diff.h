#pragma once

// Diff: what differs between two checkpoints, of any two formats.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/error.h"
#include "cairn/exec_options.h"
#include "cairn/export.h"
#include "cairn/tensor.h"

namespace cairn {

// What happened to a tensor from A to B.
enum class Change : std::uint8_t {
  Removed,  // B has no tensor of this name
  Added,    // A has no tensor of this name
  Renamed,  // in B it has another name, which A does not have: the same dtype, shape and content
  DType,    // another dtype, whatever the shape
  Shape,    // the same dtype, another shape
  Content,  // the same dtype and shape, other content
};

// "removed", "added", "renamed", "dtype", "shape", "content".
CAIRN_API std::string_view name(Change change) noexcept;

// The numbers of two tensors of one shape, a and b, element by element. Each number is taken as a
// float64. Two elements are equal if their numbers are equal (−0 equals 0), or if both are NaN. An
// element of a complex dtype is one number: differences and sizes are those of the modulus.
struct ValueDifference {
  std::uint64_t element_count = 0;
  std::uint64_t changed_count = 0;  // elements that are not equal
  // Of them, those of which one number or both are NaN or infinite. They, and elements that are
  // equal and not finite, count in none of the figures below.
  std::uint64_t not_finite_count = 0;
  double max_abs = 0;  // the largest |b − a|
  double max_rel = 0;  // the largest |b − a| / max(|a|, |b|): 0 to 2
  // The Euclidean norm of b − a, divided by the larger one of the norms of a and b: 0 to 2. What
  // changed most has the largest.
  double norm_rel = 0;
  double cosine = 1;  // of a and b as vectors; 1 if both are zero, 0 if one is
};

// Bytes of a tensor's content: of its elements in row-major order.
struct ContentRange {
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
};

struct TensorDifference {
  Change change{};
  std::optional<Tensor> a;  // std::nullopt: Added
  std::optional<Tensor> b;  // std::nullopt: Removed
  // With DiffOptions::ranges, of Change::Content: where the contents differ, in whole chunks of
  // 1 MiB (or of the size that both indexes have), neighbours joined. Empty for strings and
  // variants.
  std::vector<ContentRange> ranges = {};
  // With DiffOptions::values, of Change::Content, and of Change::DType with one shape. std::nullopt
  // if there are no numbers to compare: strings, variants, elements of less than a byte that share
  // bytes, dtypes of which only the name is known, a complex and a real dtype.
  std::optional<ValueDifference> values = {};
};

struct DiffOptions {
  bool ranges = false;  // say where contents differ; reads a tensor if no chunk sums tell
  bool values = false;  // compare the numbers of tensors that differ; reads them
  // True: two tensors without content hashes, which have the same size and the same CRC32C, count
  // as equal and are not read. Of 4 billion pairs that differ by accident, one is then missed.
  bool trust_checksums = false;
  ExecOptions exec = {};
};

struct Diff {
  // In bytewise order of names, that in A if there is one. With DiffOptions::values, those that
  // have values come first, and of them those with the largest norm_rel.
  std::vector<TensorDifference> tensors;
  std::uint64_t equal_count = 0;  // tensors with the same name, dtype, shape and content
  std::uint64_t equal_by_checksum_count = 0;  // of them: by CRC32C alone (trust_checksums)
  std::uint64_t read_bytes = 0;               // of tensors of A and B that were read
};

// Compares the tensors of two checkpoints by name. Metadata, steps, files and places are not
// compared. Tensors are compared by what they hold, so it does not matter in which format, byte
// order or slices they are stored.
//
// Contents are equal or not by the first of these that decides:
// - the content hashes (XXH3-128) of both indexes: nothing is read;
// - both are the same bytes of the same file (hard links, aliases): equal, nothing is read;
// - the CRC32C that both indexes have: another sum means other content, nothing is read. The same
//   sum decides only with DiffOptions::trust_checksums;
// - a content hash in one index: the other tensor is read and hashed;
// - the bytes: both are read and compared, up to the first difference if they have no checksums.
// So what the indexes say is compared, and bytes that changed on the disk since are not found:
// verify() finds them. XXH3 and CRC32C do not resist a forger.
//
// A removed and an added tensor become one renamed tensor if dtype, shape and content hash are the
// same. If an index has no hash, and the other checkpoint has a candidate of this dtype and shape,
// the tensor is read and hashed; strings and variants are not. If several tensors have the same
// content, the first removed name becomes the first added one, and so on, in bytewise order. A
// tensor with the content of one that kept its name is added: it is a copy.
//
// Errors: Corrupt (a tensor that was read does not have its stored checksum; the message names it),
// Io, OutOfMemory, Cancelled; Unsupported (a tensor must be read, and a checkpoint was opened with
// OpenOptions::index_only; then trust_checksums helps, if both have checksums). Lifetime: the
// Tensors in the result are valid as long as copies of their Checkpoints live. Threads: any. Cost:
// from the indexes about 10 ns for each tensor; reading is done on all cores that `exec` allows, in
// blocks of 256 KiB (strings: each tensor as a whole).
CAIRN_API Result<Diff> diff(const Checkpoint& a, const Checkpoint& b,
                            const DiffOptions& options = {}) noexcept;

}  // namespace cairn
