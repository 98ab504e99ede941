// DLPack capsules of tensors, made by hand: numpy cannot export the arrays of ml_dtypes, and a
// capsule that holds the checkpoint itself can be freed in any thread, without the interpreter.

#include <cstdlib>
#include <cstring>
#include <memory>

#include "common.h"

namespace cairn::python {
namespace {

using nb::dlpack::dtype_code;

// As dlpack.h of version 1.1 declares them.
struct Version {
  std::uint32_t major = 1;
  std::uint32_t minor = 1;
};
struct Managed {
  nb::dlpack::dltensor tensor;
  void* context = nullptr;
  void (*deleter)(Managed*) = nullptr;
};
struct ManagedVersioned {
  Version version;
  void* context = nullptr;
  void (*deleter)(ManagedVersioned*) = nullptr;
  std::uint64_t flags = 0;
  nb::dlpack::dltensor tensor;
};
constexpr std::uint64_t kReadOnly = 1;
constexpr std::uint64_t kCopied = 2;

struct Freed {
  void operator()(void* memory) const noexcept { std::free(memory); }
};

template <class M>
struct Export {
  M managed;
  Handle handle;
  std::unique_ptr<void, Freed> copied;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
};

constexpr const char* name_of(const Managed*) { return "dltensor"; }
constexpr const char* name_of(const ManagedVersioned*) { return "dltensor_versioned"; }

template <class M>
void free_unused(PyObject* capsule) {
  const char* name = name_of(static_cast<M*>(nullptr));
  if (PyCapsule_IsValid(capsule, name) == 0) return;  // a consumer has renamed it and owns it
  auto* managed = static_cast<M*>(PyCapsule_GetPointer(capsule, name));
  managed->deleter(managed);
}

[[noreturn]] void refuse(const Tensor& tensor, std::string_view why) {
  std::string message(tensor.name());
  message += ": ";
  message += why;
  raise_python(PyExc_BufferError, message);
}

nb::dlpack::dtype plain_type(DType dtype, std::uint8_t bits) {
  const auto made = [bits](dtype_code code) {
    return nb::dlpack::dtype{static_cast<std::uint8_t>(code), bits, 1};
  };
  switch (dtype) {
    case DType::Float16:
    case DType::Float32:
    case DType::Float64:
      return made(dtype_code::Float);
    case DType::Bfloat16:
      return made(dtype_code::Bfloat);
    case DType::Complex64:
    case DType::Complex128:
      return made(dtype_code::Complex);
    case DType::Bool:
      return made(dtype_code::Bool);
    case DType::Int8:
    case DType::Int16:
    case DType::Int32:
    case DType::Int64:
    case DType::Qint8:
    case DType::Qint16:
    case DType::Qint32:
      return made(dtype_code::Int);
    case DType::Uint8:
    case DType::Uint16:
    case DType::Uint32:
    case DType::Uint64:
    case DType::Quint8:
    case DType::Quint16:
      return made(dtype_code::UInt);
    case DType::Float8E5M2:
      return made(dtype_code::Float8_E5M2);
    case DType::Float8E4M3FN:
      return made(dtype_code::Float8_E4M3FN);
    case DType::Float8E4M3FNUZ:
      return made(dtype_code::Float8_E4M3FNUZ);
    case DType::Float8E4M3B11FNUZ:
      return made(dtype_code::Float8_E4M3B11FNUZ);
    case DType::Float8E5M2FNUZ:
      return made(dtype_code::Float8_E5M2FNUZ);
    default:
      return {};
  }
}

nb::dlpack::dtype type_of(const Tensor& tensor) {
  const auto bits = static_cast<std::uint8_t>(tensor.element_bits());
  if (tensor.dtype() == DType::Opaque && tensor.dtype_name() == "F8_E8M0") {
    return {static_cast<std::uint8_t>(dtype_code::Float8_E8M0FNU), bits, 1};
  }
  if (tensor.dtype() == DType::Opaque && tensor.dtype_name() == "F4" &&
      tensor.element_count() % 2 == 0) {
    return {static_cast<std::uint8_t>(dtype_code::Float4_E2M1FN), bits, 1};
  }
  const auto type = plain_type(tensor.dtype(), bits);
  if (type.bits == 0) {
    refuse(tensor, std::string("DLPack has no type for ") + std::string(tensor.dtype_name()) +
                       "; use numpy()");
  }
  return type;
}

std::vector<std::int64_t> strides_of(std::span<const std::int64_t> shape) {
  std::vector<std::int64_t> strides(shape.size());
  std::int64_t next = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    strides[i] = next;
    next *= shape[i];
  }
  return strides;
}

// The bytes of the tensor, in the mapping or as a copy at 64 bytes.
template <class M>
void* data_of(Export<M>& made, bool copy) {
  const Tensor& tensor = made.handle.tensor;
  if (!copy) {
    auto bytes = [&] {
      nb::gil_scoped_release unlocked;
      return tensor.bytes();
    }();
    if (!bytes && bytes.error().code == Code::Unsupported) {
      refuse(tensor,
             "its bytes are not in one place, or not in the processor's byte order; ask for a copy "
             "(copy=True), or use numpy()");
    }
    return const_cast<std::byte*>(value(std::move(bytes)).data());
  }
  const std::uint64_t size = value(tensor.read_bytes());
  made.copied.reset(std::aligned_alloc(64, (size + 64) / 64 * 64));
  if (!made.copied) throw std::bad_alloc();
  auto done = [&] {
    nb::gil_scoped_release unlocked;
    return tensor.read({static_cast<std::byte*>(made.copied.get()), size});
  }();
  value(done);
  return made.copied.get();
}

template <class M>
nb::object capsule_of(const Handle& handle, bool copy, std::uint64_t flags) {
  auto made = std::make_unique<Export<M>>(Export<M>{{}, handle, {}, {}, {}});
  auto& tensor = made->managed.tensor;
  tensor.dtype = type_of(handle.tensor);
  tensor.data = data_of(*made, copy);
  const std::uintptr_t element = tensor.dtype.bits / 8u;
  if (element > 1 && reinterpret_cast<std::uintptr_t>(tensor.data) % element != 0) {
    refuse(handle.tensor, "is not aligned in its file; ask for a copy (copy=True), or use numpy()");
  }
  const auto shape = handle.tensor.shape();
  made->shape.assign(shape.begin(), shape.end());
  made->strides = strides_of(shape);
  tensor.device = {nb::device::cpu::value, 0};
  tensor.ndim = static_cast<std::int32_t>(shape.size());
  tensor.shape = made->shape.data();
  tensor.strides = made->strides.data();
  made->managed.context = made.get();
  made->managed.deleter = [](M* managed) { delete static_cast<Export<M>*>(managed->context); };
  if constexpr (requires { made->managed.flags; }) made->managed.flags = flags;
  PyObject* capsule =
      PyCapsule_New(&made->managed, name_of(static_cast<M*>(nullptr)), free_unused<M>);
  if (capsule == nullptr) throw nb::python_error();
  (void)made.release();  // the capsule's
  return nb::steal(capsule);
}

}  // namespace

nb::object dlpack_capsule(const Handle& handle, bool versioned, bool copy) {
  const bool writable = copy || handle.writable;
  if (versioned) {
    return capsule_of<ManagedVersioned>(handle, copy,
                                        (writable ? 0 : kReadOnly) | (copy ? kCopied : 0));
  }
  if (!writable) {
    refuse(
        handle.tensor,
        "is read-only, which a DLPack capsule without a version cannot say; pass max_version, or "
        "open the checkpoint with access=\"private\"");
  }
  return capsule_of<Managed>(handle, copy, 0);
}

}  // namespace cairn::python
