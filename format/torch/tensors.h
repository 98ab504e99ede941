#pragma once

// The calls by which a pickle of PyTorch makes its tensors: which functions they are, and what
// their arguments say of where the elements lie.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/decode_error.h"
#include "format/facts.h"
#include "format/pickle/machine.h"
#include "format/plain_facts.h"
#include "format/torch/dtypes.h"
#include "format/torch/view.h"

namespace cairn::format::torch {

// The numbers of a tuple or list, of 0 and more, as many as a tensor may have dimensions. `what`
// begins the sentence of what has others: "its shape has". Errors: Corrupt, Unsupported (too many).
Decoded<std::vector<std::int64_t>> numbers_of(const pickle::Graph& graph, pickle::Ref sequence,
                                              std::string_view what);

// How the bytes of a storage lie in the pickle itself.
enum class PickledForm : std::uint8_t {
  None,    // beside it
  Bytes,   // as they are
  Latin1,  // as text, pickle::take_latin1
};

// What a pickle knows of bytes, beside it or in it.
struct Storage {
  std::string_view key;             // by which they are found, of those beside it
  std::uint64_t size_bytes = 0;     // that it must have
  std::uint32_t element_bytes = 0;  // of its first reference; 0: not known
  PickledForm form = PickledForm::None;
  std::string_view pickled = {};  // of those in it: they, or their text
};

// What a value is to a reader of tensors.
enum class Role : std::uint8_t {
  Tensor,
  Array,     // of NumPy
  Number,    // of NumPy
  Dict,      // a class that is filled with items, or made of them
  List,      // a class that is made of a sequence, or filled with elements
  NotPlain,  // known, and nothing of these: `what` says it
  Unknown,
};
struct Call {
  Role role = Role::Unknown;
  std::string_view what;
};

class Tensors {
 public:
  // `expand`: of View.
  Tensors(const pickle::Pickle& pickle, bool expand) noexcept
      : graph_(pickle.graph), expand_(expand) {}

  // The storages, by what the pickle says of each. Errors: Unsupported: it refers to something
  // beside it that is no storage; Corrupt: to a storage of a negative size.
  Decoded<void> find_storages(const pickle::Pickle& pickle);
  const std::vector<Storage>& storages() const noexcept { return storages_; }

  // What an Object is.
  Call role_of(pickle::Ref object) const;

  // Of a Tensor, if it is a whole number of a storage's elements in their order, as nearly all are,
  // and its dtype has a number. std::nullopt: read() says what it is. Allocates nothing.
  struct PlainTensor {
    DType dtype{};
    ShortShape shape;
    Span span;  // `shard` is the storage's position
  };
  std::optional<PlainTensor> scan(pickle::Ref object) const;

  // Of a Tensor; its name is not set. Errors: Corrupt (arguments that are none, a view that reaches
  // beyond its storage); Unsupported (what no checkpoint can hold: the sentence says it).
  Decoded<StoredTensor> read(pickle::Ref object) const;

  // "module.name" of what an object was made by.
  std::string class_of(pickle::Ref object) const;

 private:
  // A reference to a storage.
  struct Reference {
    std::string_view key;       // of the storage
    std::uint32_t storage = 0;  // its position in storages_
    std::uint64_t storage_bytes = 0;
    std::uint64_t offset_bytes = 0;  // of what is meant, in it
    std::uint64_t size_bytes = 0;
    const TorchDtype* dtype = nullptr;  // nullptr: not known
    std::string_view type;              // what the pickle calls it
    bool is_meta = false;               // it has no bytes
    bool is_storage = false;
  };
  // Of a call or an id; what has more has no known meaning.
  struct Arguments {
    std::array<pickle::Ref, 8> refs{};
    std::size_t count = 0;  // of all, those that are not here too
    std::size_t size() const noexcept { return count; }
    bool empty() const noexcept { return count == 0; }
    pickle::Ref operator[](std::size_t at) const noexcept { return refs[at]; }
    pickle::Ref front() const noexcept { return refs[0]; }
    pickle::Ref back() const noexcept { return refs[count - 1]; }
  };

  Arguments elements_of(pickle::Ref sequence) const;
  Decoded<Reference> reference(pickle::Ref persistent) const;
  void add_storages();
  const Reference* reference_of(pickle::Ref value) const noexcept;
  pickle::Ref class_ref(pickle::Ref callable) const;
  Call role_of_global(pickle::Ref global) const;
  Call look_up(pickle::Ref global) const;
  bool scan_numbers(pickle::Ref sequence, ShortShape& shape) const;
  Decoded<std::vector<std::int64_t>> numbers(pickle::Ref sequence) const;
  Decoded<StoredTensor> rebuild(std::string_view function, const Arguments& arguments) const;
  Decoded<bool> flag(pickle::Ref metadata, std::string_view name) const;

  const pickle::Graph& graph_;
  const bool expand_;
  mutable pickle::Ref looked_up_ = pickle::kNone;  // nearly all calls are of one function
  mutable Call role_;                              // its
  std::vector<Storage> storages_;
  std::span<const pickle::Ref> persistent_;  // ascending
  std::vector<Reference> references_;        // of each of them; those that are none too
};

}  // namespace cairn::format::torch
