// Open checkpoints: opening, listing, looking up, verifying, restoring.

#include <memory>

#include "common.h"

namespace cairn::python {
namespace {

Access access_of(const std::string& word) {
  if (word == "shared") return Access::Shared;
  if (word == "private") return Access::Private;
  if (word == "copy") return Access::Copy;
  throw nb::value_error("access must be \"shared\", \"private\" or \"copy\"");
}

Verify verify_of(const std::string& word) {
  if (word == "lazy") return Verify::Lazy;
  if (word == "full") return Verify::Full;
  if (word == "none") return Verify::None;
  throw nb::value_error("verify must be \"lazy\", \"full\" or \"none\"");
}

std::optional<IoMethod> method_of(const std::string& word) {
  if (word.empty()) return std::nullopt;
  for (IoMethod method : {IoMethod::Map, IoMethod::Populate, IoMethod::Read, IoMethod::Direct}) {
    if (word == name(method)) return method;
  }
  throw nb::value_error("method must be \"map\", \"populate\", \"read\" or \"direct\"");
}

struct How {
  std::string access;
  std::string verify;
  bool follow_links;
  unsigned threads;
};

How how_of(const nb::tuple& how) {
  return {bytes_of(how[0]), bytes_of(how[1]), argument<bool>(how[2], "follow_links"),
          argument<unsigned>(how[3], "threads")};
}

Opened open(const nb::bytes& path, const nb::tuple& how, const nb::list& expected,
            nb::object progress) {
  const How words = how_of(how);
  LongCall call(words.threads, std::move(progress));
  const std::vector<TensorSpec> specs = specs_of(expected);
  OpenOptions options;
  options.access = access_of(words.access);
  options.verify = verify_of(words.verify);
  options.follow_links = words.follow_links;
  options.expected = specs;
  options.exec = call.exec();
  const auto place = path_of(path);
  Checkpoint opened = call.run([&] { return Checkpoint::open(place, options); });
  return {std::move(opened), options.access == Access::Private};
}

nb::tuple restored(const nb::bytes& path, const nb::tuple& how, const nb::list& expected,
                   nb::object progress) {
  const How words = how_of(how);  // the first word is the method
  LongCall call(words.threads, std::move(progress));
  const std::vector<TensorSpec> specs = specs_of(expected);
  RestoreOptions options;
  options.method = method_of(words.access);
  options.verify = verify_of(words.verify);
  options.follow_links = words.follow_links;
  options.expected = specs;
  options.exec = call.exec();
  const auto place = path_of(path);
  Restored done = call.run([&] { return restore(place, options); });
  return nb::make_tuple(Opened{std::move(done.checkpoint), false}, text(name(done.method)),
                        text(done.reason), done.payload_bytes, text(done.file_system));
}

Handle found(const Opened& opened, nb::handle name) {
  const std::string bytes = bytes_of(name);
  if (!opened.checkpoint.contains(bytes)) {  // the search for similar names takes a millisecond
    auto missing = [&] {
      nb::gil_scoped_release unlocked;
      return opened.checkpoint.tensor(bytes);
    }();
    const Error& error = missing.error();
    nb::object made =
        nb::module_::import_("cairn_store._errors")
            .attr("TensorNotFoundError")(cairn::name(error.code), error.os_errno, text(error.what));
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(made.ptr())), made.ptr());
    throw nb::python_error();
  }
  return {opened.checkpoint, value(opened.checkpoint.tensor(bytes)), opened.writable};
}

Handle found_at(const Opened& opened, std::size_t position) {
  if (position >= opened.checkpoint.tensor_count()) throw nb::index_error();
  return {opened.checkpoint, opened.checkpoint.tensor_at(position), opened.writable};
}

nb::object names(const Opened& opened) {
  const std::size_t count = opened.checkpoint.tensor_count();
  nb::object list = nb::steal(PyList_New(static_cast<Py_ssize_t>(count)));
  if (!list.is_valid()) throw nb::python_error();
  for (std::size_t i = 0; i < count; ++i) {
    nb::str item = text(opened.checkpoint.tensor_at(i).name());
    PyList_SetItem(list.ptr(), static_cast<Py_ssize_t>(i), item.release().ptr());
  }
  return list;
}

nb::dict metadata(const Opened& opened) {
  nb::dict all;
  for (std::size_t i = 0; i < opened.checkpoint.metadata_count(); ++i) {
    const auto [key, item] = opened.checkpoint.metadata_at(i);
    all[text(key)] = text(item);
  }
  return all;
}

nb::dict safetensors_metadata(const Opened& opened) {
  nb::dict all;
  for (std::size_t i = 0; i < opened.checkpoint.safetensors_metadata_count(); ++i) {
    const auto [key, item] = opened.checkpoint.safetensors_metadata_at(i);
    all[text(key)] = text(item);
  }
  return all;
}

nb::list shards(const Opened& opened) {
  nb::list all;
  for (std::size_t i = 0; i < opened.checkpoint.shard_count(); ++i) {
    const auto shard = opened.checkpoint.shard_at(i);
    all.append(nb::make_tuple(text(shard.name), shard.size_bytes));
  }
  return all;
}

nb::tuple verified(const Opened& opened, unsigned threads, nb::object progress) {
  LongCall call(threads, std::move(progress));
  const Verification done = call.run([&] { return opened.checkpoint.verify(call.exec()); });
  nb::list damage;
  for (const Damage& one : done.damage) {
    damage.append(nb::make_tuple(text(one.tensor), text(one.shard), one.offset_bytes,
                                 one.size_bytes, one.stored_crc32c, one.computed_crc32c));
  }
  return nb::make_tuple(done.bytes_checked, done.unchecked_bytes, damage);
}

void prefetch(const Opened& opened, const nb::list& wanted, unsigned threads, nb::object progress) {
  LongCall call(threads, std::move(progress));
  std::vector<std::string> kept;
  for (nb::handle name : wanted) kept.push_back(bytes_of(name));
  const std::vector<std::string_view> views(kept.begin(), kept.end());
  call.run([&] { return opened.checkpoint.prefetch(views, call.exec()); });
}

nb::object step(const Opened& opened) {
  const auto number = opened.checkpoint.step();
  if (!number) return nb::none();
  return nb::int_(*number);
}

}  // namespace

std::vector<TensorSpec> specs_of(const nb::list& tuples) {
  std::vector<TensorSpec> specs;
  for (nb::handle tuple : tuples) specs.push_back(spec_of(tuple));
  return specs;
}

void bind_checkpoint(nb::module_& module) {
  nb::class_<Opened>(module, "Opened", nb::is_final())
      .def("__len__", [](const Opened& o) { return o.checkpoint.tensor_count(); })
      .def("contains",
           [](const Opened& o, nb::handle n) { return o.checkpoint.contains(bytes_of(n)); })
      .def("find", &found)
      .def("at", &found_at)
      .def("names", &names)
      .def_prop_ro("format", [](const Opened& o) { return text(name(o.checkpoint.format())); })
      .def_prop_ro("path", [](const Opened& o) { return path_text(o.checkpoint.prefix()); })
      .def_prop_ro("step", &step)
      .def_prop_ro("writable", [](const Opened& o) { return o.writable; })
      .def_prop_ro("metadata", &metadata)
      .def_prop_ro("safetensors_metadata", &safetensors_metadata)
      .def_prop_ro("warnings", [](const Opened& o) { return texts(o.checkpoint.warnings()); })
      .def_prop_ro("shards", &shards)
      .def_prop_ro("faulted", [](const Opened& o) { return o.checkpoint.faulted(); })
      .def("resident_bytes", [](const Opened& o) { return value(o.checkpoint.resident_bytes()); })
      .def("verify", &verified, nb::arg("threads"), nb::arg("progress").none())
      .def("prefetch", &prefetch, nb::arg("names"), nb::arg("threads"), nb::arg("progress").none());
  module.def("open", &open, nb::arg("path"), nb::arg("how"), nb::arg("expected"),
             nb::arg("progress").none());
  module.def("restore", &restored, nb::arg("path"), nb::arg("how"), nb::arg("expected"),
             nb::arg("progress").none());
}

}  // namespace cairn::python
