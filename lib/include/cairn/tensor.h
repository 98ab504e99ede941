#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/dtype.h"
#include "cairn/error.h"
#include "cairn/export.h"

namespace cairn {

namespace internal {
class OpenCheckpoint;
}

// The elements start … start + count − 1 of one dimension.
struct Range {
  std::int64_t start = 0;
  std::int64_t count = -1;  // −1: to the end
};

// One Range per dimension; empty: the whole tensor.
using Slice = std::span<const Range>;

// A dtype that Cairn knows by its name only (DType::Opaque), and the layout of its elements. The
// elements are packed with `bits` bits each (the last byte is filled up), or they are in blocks of
// `block_elements` elements and `block_bytes` bytes.
struct OpaqueDType {
  std::string name;                  // the name in safetensors, if it has one: "F8_E8M0", "F4"
  std::uint16_t bits = 0;            // 0: in blocks
  std::uint32_t block_elements = 0;  // with bits: 0
  std::uint32_t block_bytes = 0;     // with bits: 0
  friend bool operator==(const OpaqueDType&, const OpaqueDType&) = default;
};

// The description of a tensor, without its bytes.
struct TensorSpec {
  std::string name = {};  // bytes, not necessarily UTF-8
  DType dtype{};
  std::vector<std::int64_t> shape = {};
  OpaqueDType opaque{};  // for DType::Opaque only
};

// An XXH3-128 sum in its canonical (big-endian) byte order.
struct Digest128 {
  std::array<std::byte, 16> bytes{};
  friend bool operator==(const Digest128&, const Digest128&) = default;
};

// The elements of a string tensor in row-major order, as views into the mapping. Lifetime: the
// views are valid as long as a copy of the Checkpoint lives. Cost: 16 bytes of memory per element;
// no string is copied.
class Strings {
 public:
  Strings() = default;
  explicit Strings(std::vector<std::string_view> values) noexcept : values_(std::move(values)) {}
  std::size_t size() const noexcept { return values_.size(); }
  bool empty() const noexcept { return values_.empty(); }
  std::string_view operator[](std::size_t position) const noexcept { return values_[position]; }
  auto begin() const noexcept { return values_.begin(); }
  auto end() const noexcept { return values_.end(); }

 private:
  std::vector<std::string_view> values_;
};

// One named entry of a checkpoint: a handle that owns nothing and costs as much to copy as a
// pointer.
//
// OpenOptions::verify says when the bytes are checked. With Lazy, the first use of a tensor's bytes
// reads all of them and compares their CRC32C; each later use costs one atomic load. A slice reads
// less: only the chunks that it touches, if the index has chunk sums (Cairn's index has), or only
// the stored slices of a partitioned tensor that it touches. After a failed check, every later use
// fails too.
//
// Lifetime: the handle and all its views are valid as long as a copy of its Checkpoint lives.
// Threads: any number may use the same tensor.
class CAIRN_API Tensor {
 public:
  std::string_view name() const noexcept;
  DType dtype() const noexcept;
  std::string_view dtype_name() const noexcept;  // for Opaque, the name of the dtype: "F8_E8M0"
  std::span<const std::int64_t> shape() const noexcept;
  std::uint64_t size_bytes() const noexcept;     // as stored; for strings with their lengths
  std::uint64_t element_count() const noexcept;  // 1 for a scalar
  std::uint16_t element_bits() const noexcept;   // as stored; 0: elements differ in size, or are
                                                 // in blocks
  // Name, dtype and shape, and for Opaque the layout of the elements: the input of a Writer.
  // Errors: OutOfMemory.
  Result<TensorSpec> spec() const noexcept;
  bool partitioned() const noexcept;        // stored as several slices
  std::string_view shard() const noexcept;  // the file that holds it; empty if partitioned
  // The place in that file; 0 if partitioned. For a V1 checkpoint: the place in the decoded values,
  // which the file does not contain as bytes.
  std::uint64_t offset_bytes() const noexcept;

  // The CRC32C of the stored bytes, not masked. std::nullopt for partitioned tensors, and if the
  // format has no checksums. A V1 checkpoint has checksums of blocks and not of tensors: for it,
  // this value is computed when the values are decoded.
  std::optional<std::uint32_t> crc32c() const noexcept;

  // The hash of the contents; std::nullopt if the index does not have it.
  std::optional<Digest128> content_hash() const noexcept;

  // The stored bytes in the mapping, row-major, with any alignment. String and Variant are in
  // TensorFlow's encoding. Errors: Corrupt (checksum; the message names tensor, file, range and
  // both checksums), Io (the file became shorter or cannot be read), Unsupported (the bytes are
  // big-endian, or the tensor is partitioned and its slices are not contiguous: use read(),
  // values() or strings()).
  Result<std::span<const std::byte>> bytes() const noexcept;

  // The distance in elements between neighbours in each dimension, as stored. Empty: row-major.
  std::span<const std::int64_t> strides() const noexcept;

  // The stored bytes in the mapping, in the order that strides() gives; also for a tensor that is
  // not row-major, which bytes() refuses. All other errors are those of bytes().
  Result<std::span<const std::byte>> strided_bytes() const noexcept;

  // The elements in the mapping, without a copy. Errors: those of bytes(); Invalid (the tensor has
  // another dtype; the message names it); Unsupported (the address of the first element does not
  // have the alignment of T, as in most files that TensorFlow wrote: use values()).
  template <class T>
  Result<std::span<const T>> as() const noexcept {
    static_assert(dtype_of<T> != DType::Invalid, "specialise cairn::dtype_of for this type");
    auto bytes = native_bytes(dtype_of<T>, alignof(T));
    if (!bytes) return std::move(bytes).error();
    return std::span<const T>(reinterpret_cast<const T*>(bytes->data()), bytes->size() / sizeof(T));
  }

  // The same for writing, with Access::Private only. Changes stay in this process, and the tensor
  // is not checked again. Errors: those of as(); Invalid (the checkpoint was not opened with
  // Access::Private). Threads: the caller must not let one thread write a tensor while another
  // thread uses it.
  template <class T>
  Result<std::span<T>> as_mutable() const noexcept {
    static_assert(dtype_of<T> != DType::Invalid, "specialise cairn::dtype_of for this type");
    auto bytes = native_mutable_bytes(dtype_of<T>, alignof(T));
    if (!bytes) return std::move(bytes).error();
    return std::span<T>(reinterpret_cast<T*>(bytes->data()), bytes->size() / sizeof(T));
  }

  // The same as bytes, for any dtype and alignment. Errors: those of as_mutable(), except those
  // about dtype and alignment.
  Result<std::span<std::byte>> mutable_bytes() const noexcept {
    return native_mutable_bytes(dtype(), 1);
  }

  // Copies the elements, or a slice of them. Works for any alignment, byte order and partition.
  // Errors: Corrupt, Io, OutOfMemory; Invalid (the tensor has another dtype, or the slice does not
  // fit the shape).
  template <class T>
  Result<std::vector<T>> values(Slice slice = {}) const noexcept;

  // The elements of a String tensor, or a slice of them. Works for any partition. Errors: Corrupt,
  // Io; Invalid (the tensor has another dtype, or the slice does not fit the shape). Cost: each
  // call decodes the lengths in the stored slices that it touches. Their strings are read once, for
  // the check.
  Result<Strings> strings(Slice slice = {}) const noexcept;

  // Copies the elements, or a slice of them, little-endian and row-major, into `out`. The size of
  // `out` must be exactly read_bytes(slice). String and Variant tensors are copied as stored, only
  // as a whole and only if they are not partitioned (for those, use strings()). Errors: Corrupt
  // (checksum; stored slices that overlap, or that leave a gap in the requested slice), Io; Invalid
  // (size, slice); Unsupported (a slice of a tensor that can be read only as a whole).
  Result<void> read(std::span<std::byte> out, Slice slice = {}) const noexcept;

  // The size of `out` that read() needs for this slice. Errors: those of read(), except checksums.
  Result<std::uint64_t> read_bytes(Slice slice = {}) const noexcept;

 private:
  friend class internal::OpenCheckpoint;
  friend class TensorIterator;
  Tensor(const internal::OpenCheckpoint* owner, std::size_t position) noexcept
      : owner_(owner), position_(position) {}

  Result<std::span<const std::byte>> native_bytes(DType wanted,
                                                  std::size_t alignment) const noexcept;
  Result<std::span<std::byte>> native_mutable_bytes(DType wanted,
                                                    std::size_t alignment) const noexcept;
  Result<std::uint64_t> values_bytes(DType wanted, Slice slice) const noexcept;

  const internal::OpenCheckpoint* owner_;
  std::size_t position_;
};

template <class T>
Result<std::vector<T>> Tensor::values(Slice slice) const noexcept {
  static_assert(dtype_of<T> != DType::Invalid, "specialise cairn::dtype_of for this type");
  auto bytes = values_bytes(dtype_of<T>, slice);
  if (!bytes) return std::move(bytes).error();
  try {
    std::vector<T> out(*bytes / sizeof(T));
    auto done = read(std::as_writable_bytes(std::span(out)), slice);
    if (!done) return std::move(done).error();
    return out;
  } catch (const std::bad_alloc&) {
    return Error{Code::OutOfMemory, 0, "out of memory"};
  }
}

}  // namespace cairn
