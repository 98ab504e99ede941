#pragma once

#include "cairn/c/dtype.h"
#include "cairn/c/error.h"
#include "cairn/c/export.h"

CAIRN_C_BEGIN

// The elements start … start + count − 1 of one dimension. This struct never changes.
typedef struct cairn_range {
  int64_t start;
  int64_t count;  // CAIRN_TO_END: to the end
} cairn_range;
#define CAIRN_TO_END ((int64_t)-1)

// A part of a tensor: one range for each dimension. Functions take a pointer to it; NULL: the whole
// tensor. This struct never changes.
typedef struct cairn_slice {
  const cairn_range* ranges;
  size_t rank;
} cairn_slice;

// What a tensor is, without its bytes.
typedef struct cairn_tensor_spec {
  size_t struct_size;
  cairn_string name;
  const int64_t* shape;  // NULL: a scalar, with the rank 0
  size_t rank;
  cairn_dtype dtype;
  // For CAIRN_OPAQUE only: the name, and the layout of the elements. They are packed with
  // `opaque_bits` bits each, or they are in blocks of `opaque_block_elements` elements and
  // `opaque_block_bytes` bytes.
  uint32_t opaque_bits;
  uint32_t opaque_block_elements;
  uint32_t opaque_block_bytes;
  cairn_string opaque_name;
} cairn_tensor_spec;
CAIRN_C_INIT(cairn_tensor_spec)

// One named entry of a checkpoint. It owns nothing: copy it as you like, and free nothing. Its
// fields are not for use. This struct never changes.
//
// cairn_open_options::verify says when the bytes are checked. With Lazy, the first use of a
// tensor's bytes reads all of them and compares their CRC32C; each later use costs one atomic load.
// A slice reads less: only the chunks that it touches, if the index has chunk sums, or only the
// stored slices of a partitioned tensor that it touches. After a failed check, every later use
// fails too.
//
// Lifetime: the tensor and all views of it are valid as long as its cairn_checkpoint or a copy of
// it lives. Threads: any number may use the same tensor.
typedef struct cairn_tensor {
  const void* checkpoint;
  size_t position;
} cairn_tensor;

// The name.
CAIRN_C_API cairn_string cairn_tensor_name(cairn_tensor tensor);

// The dtype.
CAIRN_C_API cairn_dtype cairn_tensor_dtype(cairn_tensor tensor);

// The name of the dtype; for Opaque its own name: "F8_E8M0".
CAIRN_C_API cairn_string cairn_tensor_dtype_name(cairn_tensor tensor);

// The count of dimensions; 0 for a scalar.
CAIRN_C_API size_t cairn_tensor_rank(cairn_tensor tensor);

// The size of each dimension, as many as the rank.
CAIRN_C_API const int64_t* cairn_tensor_shape(cairn_tensor tensor);

// The distance in elements between neighbours in each dimension, as stored: as many as the rank.
// NULL if the tensor is stored row-major, as nearly all are.
CAIRN_C_API const int64_t* cairn_tensor_strides(cairn_tensor tensor);

// The size as stored; for strings with their lengths.
CAIRN_C_API uint64_t cairn_tensor_size_bytes(cairn_tensor tensor);

// The count of elements; 1 for a scalar.
CAIRN_C_API uint64_t cairn_tensor_element_count(cairn_tensor tensor);

// The bits of an element, as stored. 0: the elements differ in size, or are in blocks.
CAIRN_C_API uint32_t cairn_tensor_element_bits(cairn_tensor tensor);

// For CAIRN_OPAQUE in blocks: the elements and bytes of a block; otherwise both are 0. Errors:
// OutOfMemory.
CAIRN_C_API cairn_code cairn_tensor_block(cairn_tensor tensor, uint32_t* block_elements,
                                          uint32_t* block_bytes, cairn_error** error);

// Whether the tensor is stored as several slices.
CAIRN_C_API bool cairn_tensor_partitioned(cairn_tensor tensor);

// The name of the file that holds it; empty if it is partitioned.
CAIRN_C_API cairn_string cairn_tensor_shard(cairn_tensor tensor);

// The place in that file; 0 if it is partitioned. For a V1 checkpoint: the place in the decoded
// values, which the file does not contain as bytes.
CAIRN_C_API uint64_t cairn_tensor_offset_bytes(cairn_tensor tensor);

// Gives the CRC32C of the stored bytes, not masked. false: there is none, because the tensor is
// partitioned or the format has no checksums.
CAIRN_C_API bool cairn_tensor_crc32c(cairn_tensor tensor, uint32_t* crc32c);

// Gives the hash of the contents, XXH3-128 in big-endian order. false: the index does not have it.
CAIRN_C_API bool cairn_tensor_content_hash(cairn_tensor tensor, uint8_t hash[16]);

// Gives the stored bytes in the mapping, row-major, little-endian, with any alignment; without a
// copy. `size_bytes` may be NULL. String and Variant are in TensorFlow's encoding. Errors: Corrupt
// (checksum; the message names tensor, file, range and both checksums), Io (the file became shorter
// or cannot be read), Unsupported (the bytes are big-endian or not row-major, or the tensor is
// partitioned and its slices are not contiguous: use cairn_tensor_read()).
CAIRN_C_API cairn_code cairn_tensor_bytes(cairn_tensor tensor, const void** bytes,
                                          size_t* size_bytes, cairn_error** error);

// The same, in the order that cairn_tensor_strides() gives, also for a tensor that is not
// row-major. Errors: the other ones of cairn_tensor_bytes().
CAIRN_C_API cairn_code cairn_tensor_strided_bytes(cairn_tensor tensor, const void** bytes,
                                                  size_t* size_bytes, cairn_error** error);

// The same as cairn_tensor_bytes() for writing, with CAIRN_ACCESS_PRIVATE only. Changes stay in
// this process, and the tensor is not checked again. Errors: those of cairn_tensor_bytes(); Invalid
// (the checkpoint was not opened with CAIRN_ACCESS_PRIVATE; strings). Threads: the caller must not
// let one thread write a tensor while another thread uses it.
CAIRN_C_API cairn_code cairn_tensor_mutable_bytes(cairn_tensor tensor, void** bytes,
                                                  size_t* size_bytes, cairn_error** error);

// Copies the elements, or a slice of them (NULL: all), little-endian and row-major, into `out`.
// Works for any alignment, byte order and partition. `size_bytes` must be exactly what
// cairn_tensor_read_bytes() gives. String and Variant tensors are copied as stored, only as a whole
// and only if they are not partitioned (for those, use cairn_tensor_strings()). Errors: Corrupt
// (checksum; stored slices that overlap, or that leave a gap), Io; Invalid (size, slice);
// Unsupported (a slice of a tensor that can be read only as a whole).
CAIRN_C_API cairn_code cairn_tensor_read(cairn_tensor tensor, const cairn_slice* slice, void* out,
                                         size_t size_bytes, cairn_error** error);

// Gives the size that cairn_tensor_read() needs for this slice (NULL: all). Errors: those of
// cairn_tensor_read(), except checksums.
CAIRN_C_API cairn_code cairn_tensor_read_bytes(cairn_tensor tensor, const cairn_slice* slice,
                                               size_t* size_bytes, cairn_error** error);

// Gives the elements of a String tensor, or a slice of them (NULL: all), row-major. The list must
// be freed; the bytes of the strings lie in the mapping and are not copied. Errors: Corrupt, Io;
// Invalid (the tensor has another dtype, or the slice does not fit the shape). Lifetime: the list
// until it is freed, the strings as long as the checkpoint. Cost: 16 bytes for each element.
CAIRN_C_API cairn_code cairn_tensor_strings(cairn_tensor tensor, const cairn_slice* slice,
                                            cairn_strings** strings, cairn_error** error);

// Whether cairn_tensor_dequantize() knows the dtype: an Opaque one called Q4_0, Q4_1, Q5_0, Q5_1,
// Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL or MXFP4, in blocks as ggml has them.
CAIRN_C_API bool cairn_tensor_can_dequantize(cairn_tensor tensor);

// Writes the elements of a quantized tensor, or of a slice of it (NULL: all), row-major, as
// float32. `count` must be exactly the count of elements of the slice. Errors: those of
// cairn_tensor_read(); Invalid (count); Unsupported (cairn_tensor_can_dequantize() says no). Cost:
// memory for a second copy of the elements while it works.
CAIRN_C_API cairn_code cairn_tensor_dequantize(cairn_tensor tensor, const cairn_slice* slice,
                                               float* out, size_t count, cairn_error** error);

CAIRN_C_END
