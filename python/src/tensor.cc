// Tensors: their description, their bytes as an array of uint8 that keeps the mapping alive, reads
// of slices. The package's Python files give the arrays their dtype and shape.

#include "common.h"

namespace cairn::python {
namespace {

using Bytes = nb::ndarray<nb::numpy, std::uint8_t, nb::ndim<1>>;
using ReadOnlyBytes = nb::ndarray<nb::numpy, const std::uint8_t, nb::ndim<1>>;
using Out = nb::ndarray<std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// The first use of a tensor may read all of it.
constexpr std::uint64_t kUnlockedBytes = 64u << 10;

template <class F>
auto unlocked_if_large(const Tensor& tensor, F&& work) {
  if (tensor.size_bytes() < kUnlockedBytes) return work();
  nb::gil_scoped_release unlocked;
  return work();
}

nb::object array(nb::pointer_and_handle<Handle> both) {
  const Handle& handle = *both.p;
  const nb::handle self = both.h;
  if (handle.writable) {
    auto bytes =
        value(unlocked_if_large(handle.tensor, [&] { return handle.tensor.mutable_bytes(); }));
    return nb::cast(Bytes(bytes.data(), {bytes.size()}, self));
  }
  auto bytes = value(unlocked_if_large(handle.tensor, [&] { return handle.tensor.bytes(); }));
  return nb::cast(ReadOnlyBytes(bytes.data(), {bytes.size()}, self));
}

std::uint64_t read_bytes(const Handle& handle, const nb::list& slice) {
  return value(handle.tensor.read_bytes(ranges_of(slice)));
}

void read_into(const Handle& handle, Out out, const nb::list& slice) {
  const Ranges ranges = ranges_of(slice);
  const std::span<std::byte> bytes(reinterpret_cast<std::byte*>(out.data()), out.size());
  auto done = [&] {
    nb::gil_scoped_release unlocked;
    return handle.tensor.read(bytes, ranges);
  }();
  value(done);
}

nb::list strings(const Handle& handle, const nb::list& slice) {
  const Ranges ranges = ranges_of(slice);
  const Strings found =
      value(unlocked_if_large(handle.tensor, [&] { return handle.tensor.strings(ranges); }));
  nb::list list;
  for (std::string_view item : found) list.append(nb::bytes(item.data(), item.size()));
  return list;
}

nb::object dequantized(const Handle& handle) {
  auto result = [&] {
    nb::gil_scoped_release unlocked;
    return dequantize(handle.tensor);
  }();
  auto* numbers = new std::vector<float>(value(std::move(result)));
  nb::capsule owner(numbers,
                    [](void* kept) noexcept { delete static_cast<std::vector<float>*>(kept); });
  using Floats = nb::ndarray<nb::numpy, float, nb::ndim<1>>;
  return nb::cast(Floats(numbers->data(), {numbers->size()}, owner));
}

nb::object opaque(const Handle& handle) {
  if (handle.tensor.dtype() != DType::Opaque) return nb::none();
  const OpaqueDType layout = value(handle.tensor.spec()).opaque;
  return nb::make_tuple(layout.bits, layout.block_elements, layout.block_bytes);
}

nb::object content_hash(const Handle& handle) {
  const auto digest = handle.tensor.content_hash();
  if (!digest) return nb::none();
  return nb::bytes(digest->bytes.data(), digest->bytes.size());
}

nb::object crc32c(const Handle& handle) {
  const auto sum = handle.tensor.crc32c();
  if (!sum) return nb::none();
  return nb::int_(*sum);
}

nb::tuple shape(const Handle& handle) {
  nb::list sizes;
  for (std::int64_t size : handle.tensor.shape()) sizes.append(size);
  return nb::tuple(sizes);
}

}  // namespace

void bind_tensor(nb::module_& module) {
  nb::class_<Handle>(module, "Handle", nb::is_final())
      .def_prop_ro("name", [](const Handle& h) { return text(h.tensor.name()); })
      .def_prop_ro("dtype", [](const Handle& h) { return text(h.tensor.dtype_name()); })
      .def_prop_ro("shape", &shape)
      .def_prop_ro("nbytes", [](const Handle& h) { return h.tensor.size_bytes(); })
      .def_prop_ro("size", [](const Handle& h) { return h.tensor.element_count(); })
      .def_prop_ro("bits", [](const Handle& h) { return h.tensor.element_bits(); })
      .def_prop_ro("opaque", &opaque)
      .def_prop_ro("writable", [](const Handle& h) { return h.writable; })
      .def_prop_ro("partitioned", [](const Handle& h) { return h.tensor.partitioned(); })
      .def_prop_ro("shard", [](const Handle& h) { return text(h.tensor.shard()); })
      .def_prop_ro("offset", [](const Handle& h) { return h.tensor.offset_bytes(); })
      .def_prop_ro("crc32c", &crc32c)
      .def_prop_ro("content_hash", &content_hash)
      .def_prop_ro("can_dequantize", [](const Handle& h) { return can_dequantize(h.tensor); })
      .def("array", &array)
      .def("read_bytes", &read_bytes)
      .def("read_into", &read_into)
      .def("strings", &strings)
      .def("dequantize", &dequantized)
      .def("dlpack", &dlpack_capsule);
}

}  // namespace cairn::python
