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

// Elements start … start + count − 1 of one dimension.
struct Range {
  std::int64_t start = 0;
  std::int64_t count = -1;  // −1: to the end
};

// One Range per dimension; empty: the whole tensor.
using Slice = std::span<const Range>;

// What DType::Opaque stands for: a name, and how elements lie in the bytes: packed, each of so many
// bits (the last byte is filled up), or in blocks of so many elements and bytes.
struct OpaqueDType {
  std::string name;                  // as safetensors has it where that knows it: "F8_E8M0", "F4"
  std::uint16_t bits = 0;            // 0: in blocks
  std::uint32_t block_elements = 0;  // with bits: 0
  std::uint32_t block_bytes = 0;     // with bits: 0
  friend bool operator==(const OpaqueDType&, const OpaqueDType&) = default;
};

// What a tensor is, without its bytes.
struct TensorSpec {
  std::string name;  // bytes, not necessarily UTF-8
  DType dtype{};
  std::vector<std::int64_t> shape;
  OpaqueDType opaque{};  // of DType::Opaque only
};

// An XXH3-128 sum in its canonical (big-endian) byte order.
struct Digest128 {
  std::array<std::byte, 16> bytes{};
  friend bool operator==(const Digest128&, const Digest128&) = default;
};

// The elements of a string tensor in row-major order: views into the mapping, valid as long as a
// copy of the Checkpoint lives. Cost: 16 bytes of memory per element; no string is copied.
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

// One named entry of a checkpoint: a borrowed handle, as cheap to copy as a pointer.
//
// Lifetime: the handle and every view it gives are valid as long as any copy of the Checkpoint it
// came from lives. Threads: any number may use the same tensor. Checking: what OpenOptions::verify
// says. With Lazy the first use of a tensor's bytes reads them all once and compares their CRC32C;
// later uses cost one atomic load. A slice needs less: the chunks it touches, where the index has
// chunk sums (Cairn's own has), or the stored slices of a partitioned tensor. A tensor that failed
// goes on failing.
class CAIRN_API Tensor {
 public:
  std::string_view name() const noexcept;
  DType dtype() const noexcept;
  std::string_view dtype_name() const noexcept;  // also says what an Opaque one is: "F8_E8M0"
  std::span<const std::int64_t> shape() const noexcept;
  std::uint64_t size_bytes() const noexcept;     // as stored; for strings with their lengths
  std::uint64_t element_count() const noexcept;  // 1 for a scalar
  std::uint16_t element_bits() const noexcept;   // as stored; 0: elements differ in size, or are
                                                 // in blocks
  // Name, dtype and shape, and of an Opaque one how its elements lie: what a Writer wants to be
  // told. Errors: OutOfMemory.
  Result<TensorSpec> spec() const noexcept;
  bool partitioned() const noexcept;        // stored as several slices
  std::string_view shard() const noexcept;  // the file that holds it; empty if partitioned
  // Where in that file; 0 if partitioned. Of a V1 checkpoint: where in the decoded values, which
  // are nowhere in the file as bytes.
  std::uint64_t offset_bytes() const noexcept;

  // Unmasked. Nothing where the format has none, and for partitioned tensors. Of a V1 checkpoint,
  // which sums blocks and not tensors: computed when the values were decoded.
  std::optional<std::uint32_t> crc32c() const noexcept;

  // Nothing where only a full read could know it.
  std::optional<Digest128> content_hash() const noexcept;

  // The stored bytes in the mapping, row-major, as they lie: any alignment, String and Variant in
  // TensorFlow's encoding. Errors: Corrupt (checksum; names tensor, file, range, both sums), Io
  // (the file shrank or cannot be read), Unsupported (big-endian, or partitioned into slices that
  // do not lie one after another: use read(), values() or strings()).
  Result<std::span<const std::byte>> bytes() const noexcept;

  // The elements in the mapping, without a copy.
  // Errors: those of bytes(); Invalid (another dtype; the sentence names it); Unsupported (the
  // first element lies at an address that T's alignment does not allow, as in most files that
  // TensorFlow wrote: use values()).
  template <class T>
  Result<std::span<const T>> as() const noexcept {
    static_assert(dtype_of<T> != DType::Invalid, "specialise cairn::dtype_of for this type");
    auto bytes = native_bytes(dtype_of<T>, alignof(T));
    if (!bytes) return std::move(bytes).error();
    return std::span<const T>(reinterpret_cast<const T*>(bytes->data()), bytes->size() / sizeof(T));
  }

  // The same for writing, Access::Private only: changes stay in this process. The tensor counts as
  // checked from then on. Threads: the caller keeps writers and readers of the same tensor apart.
  // Errors: those of as(); Invalid (the checkpoint was not opened with Access::Private).
  template <class T>
  Result<std::span<T>> as_mutable() const noexcept {
    static_assert(dtype_of<T> != DType::Invalid, "specialise cairn::dtype_of for this type");
    auto bytes = native_mutable_bytes(dtype_of<T>, alignof(T));
    if (!bytes) return std::move(bytes).error();
    return std::span<T>(reinterpret_cast<T*>(bytes->data()), bytes->size() / sizeof(T));
  }

  // A copy of the elements, or of a slice of them; works for any alignment, byte order and
  // partition. Errors: Corrupt, Io, OutOfMemory; Invalid (another dtype, or a slice that does not
  // fit the shape).
  template <class T>
  Result<std::vector<T>> values(Slice slice = {}) const noexcept;

  // The elements of a String tensor, or of a slice of it; works for any partition. Errors: Corrupt,
  // Io; Invalid (another dtype, a slice that does not fit the shape). Cost: each call decodes the
  // lengths of the stored pieces that it touches; their strings are read where they are not checked
  // yet, once.
  Result<Strings> strings(Slice slice = {}) const noexcept;

  // Copies the elements, or a slice of them, little-endian and row-major into `out`, which must be
  // exactly as long. Strings and variants are copied as stored, whole only, and not where they are
  // partitioned (strings() takes those). Errors: Corrupt (checksum; slices that overlap, or that
  // leave a gap in what is asked for), Io; Invalid (size, slice); Unsupported (a slice of what can
  // be read whole only).
  Result<void> read(std::span<std::byte> out, Slice slice = {}) const noexcept;

  // The bytes that read() wants for this slice. Errors: as read(), but for checksums.
  Result<std::uint64_t> read_bytes(Slice slice = {}) const noexcept;

 private:
  friend class internal::OpenCheckpoint;
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
