#include "format/torch/tensors.h"

#include <algorithm>
#include <array>

#include "format/checked.h"
#include "format/dtype.h"
#include "format/limits.h"
#include "format/name_index.h"
#include "format/quoted.h"
#include "format/torch/refusals.h"
#include "lib/try.h"

namespace cairn::format::torch {
namespace {

using pickle::Kind;
using pickle::Node;
using pickle::Ref;

// ---- The functions and classes that are known ---------------------------------------------------

struct Known {
  std::string_view module;
  std::string_view name;
  Role role;
  std::string_view what = {};
};

// Every other name is a class that is not read. Where modules have moved, both places are here.
constexpr std::array kKnown = {
    Known{"torch._utils", "_rebuild_tensor_v2", Role::Tensor},
    Known{"torch._utils", "_rebuild_tensor_v3", Role::Tensor},
    Known{"torch._utils", "_rebuild_tensor", Role::Tensor},
    Known{"torch._utils", "_rebuild_parameter", Role::Tensor},
    Known{"torch._utils", "_rebuild_parameter_with_state", Role::Tensor},
    Known{"torch._tensor", "_rebuild_from_type_v2", Role::Tensor},
    Known{"torch._tensor", "_rebuild_from_type", Role::Tensor},
    Known{"torch.tensor", "_rebuild_from_type", Role::Tensor},
    Known{"torch._utils", "_rebuild_device_tensor_from_cpu_tensor", Role::NotPlain,
          "a tensor of another device"},
    Known{"torch._utils", "_rebuild_sparse_tensor", Role::NotPlain, "a sparse tensor"},
    Known{"torch._utils", "_rebuild_sparse_csr_tensor", Role::NotPlain, "a sparse tensor"},
    Known{"torch._utils", "_rebuild_qtensor", Role::NotPlain, "a quantized tensor"},
    Known{"torch._utils", "_rebuild_nested_tensor", Role::NotPlain, "a nested tensor"},
    Known{"torch._utils", "_rebuild_meta_tensor_no_storage", Role::NotPlain,
          "a tensor of the meta device, which has no elements"},
    Known{"torch._utils", "_rebuild_wrapper_subclass", Role::NotPlain,
          "a tensor of a class of its own, which has no storage"},
    Known{"torch._utils", "_rebuild_device_tensor_from_numpy", Role::NotPlain,
          "a tensor that was saved as a NumPy array"},
    Known{"torch._utils", "_rebuild_xla_tensor", Role::NotPlain,
          "a tensor that was saved as a NumPy array"},
    Known{"numpy.core.multiarray", "_reconstruct", Role::Array},
    Known{"numpy._core.multiarray", "_reconstruct", Role::Array},
    Known{"numpy.core.numeric", "_frombuffer", Role::Array},
    Known{"numpy._core.numeric", "_frombuffer", Role::Array},
    Known{"numpy.core.multiarray", "scalar", Role::Number},
    Known{"numpy._core.multiarray", "scalar", Role::Number},
    Known{"builtins", "set", Role::NotPlain, "a set"},
    Known{"__builtin__", "set", Role::NotPlain, "a set"},
    Known{"builtins", "complex", Role::NotPlain, "a complex number"},
    Known{"__builtin__", "complex", Role::NotPlain, "a complex number"},
    Known{"builtins", "bytearray", Role::NotPlain, "bytes"},
    Known{"__builtin__", "bytearray", Role::NotPlain, "bytes"},
    Known{"_codecs", "encode", Role::NotPlain, "bytes"},
    Known{"torch", "device", Role::NotPlain, "a device"},
    Known{"collections", "OrderedDict", Role::Dict},
    Known{"collections", "defaultdict", Role::Dict},
    Known{"collections", "Counter", Role::Dict},
    Known{"builtins", "dict", Role::Dict},
    Known{"__builtin__", "dict", Role::Dict},
    Known{"collections", "deque", Role::List},
    Known{"builtins", "list", Role::List},
    Known{"__builtin__", "list", Role::List},
    Known{"builtins", "tuple", Role::List},
    Known{"__builtin__", "tuple", Role::List},
    Known{"torch", "Size", Role::List},
};

}  // namespace

// ---- Values -------------------------------------------------------------------------------------

Tensors::Arguments Tensors::elements_of(Ref sequence) const {
  Arguments all;
  if (graph_.is(sequence, Kind::Tuple) || graph_.is(sequence, Kind::List)) {
    for (const Ref each : graph_.cells(sequence)) {
      if (all.count < all.refs.size()) all.refs[all.count] = each;
      ++all.count;
    }
  }
  return all;
}

Decoded<std::vector<std::int64_t>> numbers_of(const pickle::Graph& graph, Ref sequence,
                                              std::string_view what) {
  std::vector<std::int64_t> all;
  all.reserve(4);
  for (const Ref each : graph.cells(sequence)) {
    if (!graph.is(each, Kind::Int) || graph[each].integer < 0)
      return broken(what, " what is no number of 0 and more");
    if (all.size() == limits::kRankMax)
      return not_readable("it has more than the limit of ", limits::kRankMax, " dimensions");
    all.push_back(graph[each].integer);
  }
  return all;
}

// A tuple, or a torch.Size of one.
Decoded<std::vector<std::int64_t>> Tensors::numbers(Ref sequence) const {
  if (graph_.is(sequence, Kind::Object) && role_of(sequence).role == Role::List) {
    const Arguments arguments = elements_of(graph_[sequence].b);
    if (arguments.size() == 1) sequence = arguments.front();
  }
  if (!graph_.is(sequence, Kind::Tuple) && !graph_.is(sequence, Kind::List))
    return broken("its shape or strides are no tuple");
  return numbers_of(graph_, sequence, "its shape or strides have");
}

// ---- Storages -----------------------------------------------------------------------------------

Decoded<void> Tensors::find_storages(const pickle::Pickle& pickle) {
  persistent_ = pickle.persistent;
  references_.reserve(persistent_.size());
  for (const Ref each : persistent_) {
    CAIRN_TRY(known, reference(each));
    references_.push_back(known);
  }
  add_storages();
  return {};
}

// In the order of their first references.
void Tensors::add_storages() {
  const auto count = static_cast<std::uint32_t>(references_.size());
  NameIndex first_of(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    if (references_[i].is_storage) first_of.add(references_[i].key, i);
  }
  first_of.sort();
  first_of.for_each([&](std::uint32_t i, std::uint32_t first) { references_[i].storage = first; });
  storages_.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    Reference& reference = references_[i];
    if (!reference.is_storage) continue;
    const std::uint32_t first = reference.storage;
    const bool is_known = reference.dtype != nullptr;
    reference.storage =
        first == i ? static_cast<std::uint32_t>(storages_.size()) : references_[first].storage;
    if (first == i) storages_.push_back({reference.key, 0, is_known ? reference.dtype->bytes : 0});
    Storage& storage = storages_[reference.storage];
    if (is_known && !reference.is_meta)
      storage.size_bytes = std::max(storage.size_bytes, reference.storage_bytes);
  }
}

const Tensors::Reference* Tensors::reference_of(Ref value) const noexcept {
  const auto found = std::ranges::lower_bound(persistent_, value);
  if (found == persistent_.end() || *found != value) return nullptr;
  const Reference& reference = references_[static_cast<std::size_t>(found - persistent_.begin())];
  return reference.is_storage ? &reference : nullptr;
}

// ('storage', a class, a key, a location, the number of elements), and in old files the part of it
// that is meant: (its key, the first element, their number), or None. ('module', a class, …) in old
// files is the class, with its source.
Decoded<Tensors::Reference> Tensors::reference(Ref persistent) const {
  const Arguments id = elements_of(graph_[persistent].a);
  const std::string_view kind = id.empty() ? std::string_view() : graph_.text(id.front());
  if (kind == "module" && id.size() == 4 && graph_.is(id[1], Kind::Global)) return Reference();
  if (kind != "storage" || id.size() < 5 || id.size() > 6 || !graph_.is(id[1], Kind::Global) ||
      !graph_.is(id[2], Kind::Text) || !graph_.is(id[4], Kind::Int)) {
    return not_readable(
        "the pickle refers to something beside it that is no storage, so nobody can tell what it "
        "means");
  }
  const std::string_view key = graph_.text(id[2]);
  const std::string_view type = graph_.text(graph_[id[1]].b);
  Reference reference{.key = key, .dtype = dtype_of_storage(type), .type = type};
  reference.is_meta = graph_.text(id[3]) == "meta";
  const std::uint64_t element_bytes = reference.dtype == nullptr ? 1 : reference.dtype->bytes;
  const auto count = fits<std::uint64_t>(graph_[id[4]].integer);
  const auto size = count ? checked_mul(*count, element_bytes) : std::nullopt;
  if (!size)
    return broken("storage ", quoted(key),
                  " is said to have too many elements, or fewer than none");
  reference.storage_bytes = *size;
  reference.size_bytes = *size;
  if (id.size() == 6 && !graph_.is(id[5], Kind::None)) {
    const Arguments part = elements_of(id[5]);
    const bool is_part =
        part.size() == 3 && graph_.is(part[1], Kind::Int) && graph_.is(part[2], Kind::Int);
    const auto begin = is_part ? fits<std::uint64_t>(graph_[part[1]].integer) : std::nullopt;
    const auto length = is_part ? fits<std::uint64_t>(graph_[part[2]].integer) : std::nullopt;
    if (!begin || !length || !inside(*begin, *length, *count))
      return broken("a part of storage ", quoted(key), " lies outside of it");
    reference.offset_bytes = *begin * element_bytes;
    reference.size_bytes = *length * element_bytes;
  }
  reference.is_storage = true;
  return reference;
}

// ---- Calls --------------------------------------------------------------------------------------

// What is called, without what old files put around a class.
Ref Tensors::class_ref(Ref callable) const {
  if (!graph_.is(callable, Kind::Persistent)) return callable;
  const Arguments id = elements_of(graph_[callable].a);
  return id.size() == 4 ? id[1] : callable;
}

Call Tensors::role_of_global(Ref global) const {
  if (global == looked_up_) return role_;
  looked_up_ = global;
  role_ = look_up(global);
  return role_;
}

Call Tensors::look_up(Ref global) const {
  const Node& node = graph_[global];
  if (node.kind != Kind::Global) return {};
  const std::string_view module = graph_.text(node.a);
  const std::string_view name = graph_.text(node.b);
  const auto* const found = std::ranges::find_if(
      kKnown, [&](const Known& each) { return each.name == name && each.module == module; });
  return found == kKnown.end() ? Call{} : Call{found->role, found->what};
}

Call Tensors::role_of(Ref object) const { return role_of_global(graph_[object].a); }

std::string Tensors::class_of(Ref object) const {
  Ref of = class_ref(graph_[object].a);
  // copyreg._reconstructor(a class, …) and the like make an object of their first argument.
  if (graph_.names(of, "copyreg", "_reconstructor") ||
      graph_.names(of, "copy_reg", "_reconstructor")) {
    const Arguments arguments = elements_of(graph_[object].b);
    if (!arguments.empty()) of = arguments.front();
  }
  if (!graph_.is(of, Kind::Global)) return "a class without a name";
  return sentence(graph_.text(graph_[of].a), ".", graph_.text(graph_[of].b));
}

bool Tensors::scan_numbers(Ref sequence, ShortShape& shape) const {
  if (!graph_.is(sequence, Kind::Tuple)) return false;
  for (const Ref each : graph_.cells(sequence)) {
    const Node& number = graph_[each];
    if (number.kind != Kind::Int || number.integer < 0 || !shape.add(number.integer)) return false;
  }
  return true;
}

// What rebuild() and placed() make of the arguments, for those of nearly all tensors.
std::optional<Tensors::PlainTensor> Tensors::scan(Ref object) const {
  const Node& call = graph_[object];
  const Arguments arguments = elements_of(call.b);
  if (arguments.size() != 6 || graph_.text(graph_[call.a].b) != "_rebuild_tensor_v2")
    return std::nullopt;
  const Reference* const storage = reference_of(arguments[0]);
  const Node& offset = graph_[arguments[1]];
  if (storage == nullptr || storage->is_meta || storage->dtype == nullptr ||
      storage->dtype->dtype == DType::Opaque || offset.kind != Kind::Int || offset.integer < 0)
    return std::nullopt;
  PlainTensor plain{.dtype = storage->dtype->dtype, .shape = {}, .span = {}};
  ShortShape strides;
  if (!scan_numbers(arguments[2], plain.shape) || !scan_numbers(arguments[3], strides))
    return std::nullopt;
  const auto dims = plain.shape.dims();
  const auto count = element_count(dims);
  if (!count || *count == 0 || dims.size() != strides.dims().size() ||
      !is_row_major(dims, strides.dims()))
    return std::nullopt;
  const auto begin = checked_mul(static_cast<std::uint64_t>(offset.integer), storage->dtype->bytes);
  const auto bytes = checked_mul(*count, storage->dtype->bytes);
  if (!begin || !bytes || !inside(*begin, *bytes, storage->size_bytes)) return std::nullopt;
  plain.span = {storage->storage, storage->offset_bytes + *begin, *bytes, std::nullopt};
  return plain;
}

// Each call has its arguments before it, so that this ends.
Decoded<StoredTensor> Tensors::read(Ref object) const {
  Ref callable = graph_[object].a;
  Arguments arguments = elements_of(graph_[object].b);
  while (true) {
    if (role_of_global(callable).role != Role::Tensor)
      return not_readable("it is made by a function that makes no plain tensor");
    const std::string_view function = graph_.text(graph_[callable].b);
    if (function.starts_with("_rebuild_tensor")) return rebuild(function, arguments);
    const bool of_type = function.starts_with("_rebuild_from_type");
    if (arguments.size() < (of_type ? 3 : 2))
      return broken(function, " has ", arguments.size(), " arguments");
    if (of_type) {
      callable = arguments[0];
      arguments = elements_of(arguments[2]);
      continue;
    }
    const Ref inner = arguments.front();
    if (!graph_.is(inner, Kind::Object)) return broken(function, " is given what is no tensor");
    if (role_of(inner).role == Role::NotPlain) return not_readable("it is ", role_of(inner).what);
    callable = graph_[inner].a;
    arguments = elements_of(graph_[inner].b);
  }
}

Decoded<bool> Tensors::flag(Ref metadata, std::string_view name) const {
  if (graph_.is(metadata, Kind::None)) return false;
  if (!graph_.is(metadata, Kind::Dict)) return broken("its metadata is no dict");
  bool is_set = false;
  Ref key = pickle::kNone;
  bool is_key = true;
  for (const Ref each : graph_.cells(metadata)) {
    if (!is_key && graph_.text(key) == name) is_set = each == pickle::kTrue;
    if (!is_key && graph_.text(key) != "conj" && graph_.text(key) != "neg")
      return not_readable("it has the metadata ", quoted(graph_.text(key)), ", which is not known");
    key = each;
    is_key = !is_key;
  }
  return is_set;
}

// (storage, offset, shape, strides, requires_grad, hooks, and of v3 the dtype, and metadata).
Decoded<StoredTensor> Tensors::rebuild(std::string_view function,
                                       const Arguments& arguments) const {
  const bool has_dtype = function == "_rebuild_tensor_v3";
  const std::size_t due = function == "_rebuild_tensor" ? 4 : has_dtype ? 7 : 6;
  const std::size_t most = function == "_rebuild_tensor" ? due : due + 1;
  if (arguments.size() < due || arguments.size() > most)
    return broken(function, " has ", arguments.size(), " arguments");
  const Reference* const found = reference_of(arguments[0]);
  if (found == nullptr && graph_.is(arguments[0], Kind::Object))
    return not_readable("its storage is what a call would make, and none is run");
  if (found == nullptr) return broken("it has no storage");
  const Reference& storage = *found;
  View view;
  view.expand = expand_;
  view.dtype = storage.dtype;
  if (view.dtype == nullptr)
    return not_readable("its elements lie in a ", quoted(storage.type), ", which is not known");
  if (has_dtype) {
    const Node& dtype = graph_[arguments[6]];
    const std::string_view name =
        dtype.kind == Kind::Global ? graph_.text(dtype.b) : std::string_view();
    view.dtype = dtype_named(name);
    if (view.dtype == nullptr)
      return not_readable("its dtype is ", quoted(name), ", which is not known");
  }
  if (storage.is_meta) return not_readable("it is of the meta device, and has no elements");
  const Node& offset = graph_[arguments[1]];
  if (offset.kind != Kind::Int || offset.integer < 0)
    return broken("its offset is no number of 0 and more");
  view.offset = static_cast<std::uint64_t>(offset.integer);
  CAIRN_TRY(shape, numbers(arguments[2]));
  CAIRN_TRY(strides, numbers(arguments[3]));
  view.shape = std::move(shape);
  view.strides = std::move(strides);
  if (arguments.size() > due) {
    CAIRN_TRY(conjugated, flag(arguments.back(), "conj"));
    CAIRN_TRY(negated, flag(arguments.back(), "neg"));
    view.conjugated = conjugated;
    view.negated = negated;
  }
  return placed(Place{storage.storage, storage.offset_bytes, storage.size_bytes}, std::move(view));
}

}  // namespace cairn::format::torch
