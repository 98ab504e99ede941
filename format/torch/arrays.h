#pragma once

// NumPy's arrays and numbers in a pickle, which has their bytes itself.

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "format/decode_error.h"
#include "format/pickle/graph.h"
#include "format/torch/tensors.h"
#include "format/torch/view.h"

namespace cairn::format::torch {

class Arrays {
 public:
  // `first`: the position that the first storage of an array has among those of the pickle.
  Arrays(const pickle::Graph& graph, std::uint32_t first) noexcept : graph_(graph), first_(first) {}

  // An object of Role::Array as a tensor; its name is not set. Arrays of the same bytes share a
  // storage. Errors: Corrupt (bytes that are not those of the shape); Unsupported (a dtype that no
  // checkpoint can hold: the sentence says it).
  Decoded<StoredTensor> read(pickle::Ref object);

  // An object of Role::Number as JSON. The same errors.
  Decoded<std::string> read_number(pickle::Ref object) const;

  // The bytes of the arrays that were read.
  const std::vector<Storage>& storages() const noexcept { return storages_; }

 private:
  struct ArrayDtype {
    const TorchDtype* dtype = nullptr;
    bool big_endian = false;
  };
  // What has the bytes; None has none.
  struct Bytes {
    pickle::Ref text = pickle::kNone;
    PickledForm form = PickledForm::Bytes;
  };
  // What either function that makes an array says.
  struct Parts {
    pickle::Ref dtype = pickle::kNone;
    pickle::Ref shape = pickle::kNone;
    pickle::Ref data = pickle::kNone;
    bool column_major = false;
  };

  std::vector<pickle::Ref> elements_of(pickle::Ref sequence, std::size_t count_max) const;
  Decoded<Parts> parts_of(pickle::Ref object) const;
  Decoded<ArrayDtype> dtype_of(pickle::Ref object) const;
  Decoded<Bytes> bytes_of(pickle::Ref data) const;
  Decoded<Storage> storage_of(const Bytes& bytes) const;
  Decoded<std::uint32_t> position_of(const Bytes& bytes);

  const pickle::Graph& graph_;
  std::uint32_t first_;
  std::vector<Storage> storages_;
  std::unordered_map<std::uint64_t, std::uint32_t> position_of_;  // of a text and its form
};

}  // namespace cairn::format::torch
