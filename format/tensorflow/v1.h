#pragma once

// A V1 file (SavedTensorSlices), TensorFlow's format before bundles: one table with the list of
// tensors in front, and then every value in protobuf. FORMAT.md, "V1 files".

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "format/decode_error.h"
#include "format/facts.h"
#include "format/tensorflow/table.h"
#include "format/tensorflow/v1_values.h"

namespace cairn::format::tensorflow {

// A tensor as the file lists it; of a sharded checkpoint, those of its slices that lie in this
// file.
struct V1Tensor {
  std::string name;
  DType dtype{};
  std::vector<std::int64_t> shape;          // the whole tensor's
  std::vector<std::vector<Extent>> slices;  // one at least; each fits into the shape
};

// Whether a table is a V1 file; else it is the index of a bundle, or something else. Errors:
// Corrupt.
Decoded<bool> is_v1(TableFile file);

// Reads a V1 file front to back, slice by slice, with memory for one block of it. Strictly: what
// TensorFlow would find out when a tensor is asked for, or never, is Corrupt here.
class V1Reader {
 public:
  // Checks the list of tensors. What `file` reads from must outlive the reader. Errors: Corrupt;
  // Unsupported (a version that this reader must not read, a dtype that no V1 file holds).
  static Decoded<V1Reader> open(TableFile file);

  // May name a tensor twice.
  std::span<const V1Tensor> tensors() const noexcept { return tensors_; }

  // Goes to the next slice, in the order of the file: false at the end, and then every listed slice
  // was there, and nothing else. Errors: Corrupt, also for what is left of the slice before.
  Decoded<bool> next();

  // Which one it is, of tensors()[tensor()].
  std::size_t tensor() const noexcept { return listed_[at_].tensor; }
  std::size_t slice() const noexcept { return listed_[at_].slice; }

  // Its bytes, as V1Values gives them; empty at their end. Errors: Corrupt.
  Decoded<std::span<const std::byte>> next_block();

  // What a bundle's entry would store for the slice, once its blocks have been given.
  std::uint32_t crc32c() const noexcept { return values_.crc32c(); }

 private:
  // A slice of the list, under its key in the table.
  struct Listed {
    std::string key;
    std::size_t tensor = 0;
    std::size_t slice = 0;
  };

  explicit V1Reader(TableReader table) : table_(std::move(table)) {}
  Decoded<void> read_meta();
  Decoded<void> list_slices();
  Decoded<void> finish_slice();
  std::string which() const;

  TableReader table_;
  std::vector<V1Tensor> tensors_;
  std::vector<Listed> listed_;  // by key
  std::size_t at_ = 0;          // in listed_
  bool in_slice_ = false;
  V1Values values_;
};

}  // namespace cairn::format::tensorflow
