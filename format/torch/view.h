#pragma once

// A tensor as a view of a storage: what PyTorch says of one, as facts.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "format/decode_error.h"
#include "format/facts.h"
#include "format/plain_tensors.h"
#include "format/torch/dtypes.h"

namespace cairn::format::torch {

// A tensor whose elements do not lie in its storage as a reader needs them.
struct Rearranged {
  std::uint32_t element_bytes = 0;
  std::vector<std::int64_t> shape;    // in such elements
  std::vector<std::int64_t> strides;  // in such elements
  std::uint32_t sign_at = 0;          // the byte of a number with its sign
  std::uint32_t number_bytes = 0;     // of a complex element: of a half
  bool conjugated = false;            // every second number is to be negated
  bool negated = false;               // every number is; with `conjugated` each in turn
};

struct StoredTensor {
  // Its span lies in a storage: `shard` is the storage's position. Of a rearranged one it is all
  // from the first element to the last, and the facts are those of the tensor that is made of it.
  TensorFacts facts;
  std::unique_ptr<Rearranged> rearranged;  // nullptr: it is none
  bool has_own_order = false;              // its facts say its byte order, whatever the others' is
};

// Plain tensors, of which spans lie in storages too.
void append_stored(const PlainTensors& from, std::vector<StoredTensor>& to);

// A storage, or the part of it that is meant.
struct Place {
  std::uint32_t storage = 0;
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
};

// What _rebuild_tensor and its like are given.
struct View {
  std::uint64_t offset = 0;  // in elements
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
  const TorchDtype* dtype = nullptr;
  bool conjugated = false;
  bool negated = false;
  bool expand = false;  // elements that lie over each other may take any memory apart
};

// Whether elements lie one after another. As many strides as dimensions, which can be counted.
bool is_row_major(std::span<const std::int64_t> shape,
                  std::span<const std::int64_t> strides) noexcept;

// The view's tensor; its name is not set. Errors: Corrupt (it reaches beyond its storage, or its
// shape and strides are none); Unsupported (what no checkpoint can hold: the sentence says it).
Decoded<StoredTensor> placed(const Place& place, View view);

}  // namespace cairn::format::torch
