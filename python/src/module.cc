// The extension module cairn_store._cairn: the C++ interface with as little on top as possible.
// What users see, and its documentation, is in the package's Python files.

#include <algorithm>
#include <cmath>

#include "common.h"

namespace cairn::python {

void raise(const Error& error) {
  nb::object made = nb::module_::import_("cairn_store._errors")
                        .attr("make_error")(name(error.code), error.os_errno, text(error.what));
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(made.ptr())), made.ptr());
  throw nb::python_error();
}

void raise_python(PyObject* type, std::string_view message) {
  PyErr_SetObject(type, text(message).ptr());
  throw nb::python_error();
}

void refuse_argument(nb::handle given, const char* what, const char* wanted) {
  const std::string must = std::string(what) + " must be " + wanted;
  if (!PyLong_Check(given.ptr())) raise_python(PyExc_TypeError, must);
  raise_python(PyExc_ValueError, must + "; this number is too small or too large");
}

std::chrono::milliseconds wait_of(nb::handle given, const char* what) {
  constexpr double kLongest = 1e12;  // seconds; as milliseconds it fits
  const auto seconds = argument<double>(given, what);
  if (std::isnan(seconds)) {
    raise_python(PyExc_ValueError, std::string(what) + " must be a number of seconds, not nan");
  }
  if (seconds >= kLongest) return std::chrono::milliseconds::max();
  const double bounded = std::max(seconds, -kLongest);
  return std::chrono::milliseconds(static_cast<std::int64_t>(bounded * 1000));
}

nb::str text(std::string_view bytes) {
  PyObject* made =
      PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "surrogateescape");
  if (made == nullptr) throw nb::python_error();
  return nb::steal<nb::str>(made);
}

std::string bytes_of(nb::handle text) {
  if (PyBytes_Check(text.ptr())) {
    nb::bytes bytes = nb::borrow<nb::bytes>(text);
    return {static_cast<const char*>(bytes.data()), bytes.size()};
  }
  if (!PyUnicode_Check(text.ptr())) {
    throw nb::type_error("a name must be str or bytes");
  }
  Py_ssize_t size = 0;
  if (const char* plain = PyUnicode_AsUTF8AndSize(text.ptr(), &size)) {
    return {plain, static_cast<std::size_t>(size)};
  }
  PyErr_Clear();
  PyObject* encoded = PyUnicode_AsEncodedString(text.ptr(), "utf-8", "surrogateescape");
  if (encoded == nullptr) throw nb::python_error();
  nb::bytes bytes = nb::steal<nb::bytes>(encoded);
  return {static_cast<const char*>(bytes.data()), bytes.size()};
}

nb::object path_text(const std::filesystem::path& path) {
  const std::string& bytes = path.native();
  PyObject* made =
      PyUnicode_DecodeFSDefaultAndSize(bytes.data(), static_cast<Py_ssize_t>(bytes.size()));
  if (made == nullptr) throw nb::python_error();
  return nb::steal(made);
}

nb::list path_texts(std::span<const std::filesystem::path> paths) {
  nb::list list;
  for (const auto& path : paths) list.append(path_text(path));
  return list;
}

nb::list texts(std::span<const std::string> lines) {
  nb::list list;
  for (const auto& line : lines) list.append(text(line));
  return list;
}

std::filesystem::path path_of(const nb::bytes& path) {
  return std::string(static_cast<const char*>(path.data()), path.size());
}

Pairs pairs_of(const nb::dict& dictionary) {
  Pairs pairs;
  for (auto [key, item] : dictionary) pairs.emplace_back(bytes_of(key), bytes_of(item));
  return pairs;
}

Ranges ranges_of(const nb::list& pairs) {
  Ranges ranges;
  for (nb::handle pair : pairs) {
    ranges.push_back(
        {argument<std::int64_t>(pair[0], "an index"), argument<std::int64_t>(pair[1], "an index")});
  }
  return ranges;
}

LongCall::LongCall(unsigned threads_max, nb::object progress) : progress_(std::move(progress)) {
  exec_.threads_max = threads_max;
  exec_.stop = stop_.get_token();
  exec_.progress = [this](const Progress& done) { report(done); };
}

void LongCall::report(const Progress& progress) {
  nb::gil_scoped_acquire locked;
  if (raised_) return;
  try {
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    if (!progress_.is_none()) progress_(progress.done_bytes, progress.total_bytes);
  } catch (nb::python_error& raised) {
    raised_.emplace(std::move(raised));
    stop_.request_stop();
  }
}

void LongCall::rethrow() {
  if (!raised_) return;
  raised_->restore();
  raised_.reset();
  throw nb::python_error();
}

}  // namespace cairn::python

NB_MODULE(_cairn, module) {
  using namespace cairn::python;
  module.attr("version") = text(cairn::version());
  bind_tensor(module);
  bind_checkpoint(module);
  bind_writing(module);
  bind_directory(module);
  bind_live(module);
}
