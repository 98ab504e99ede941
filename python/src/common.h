#pragma once

// What the files of the binding share: errors as exceptions, text, paths, and calls that may take
// long. The binding uses Cairn's public headers only.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <chrono>
#include <concepts>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/cairn.h"

namespace cairn::python {

namespace nb = nanobind;

// Raises the exception of cairn_store that belongs to this error.
[[noreturn]] void raise(const Error& error);

template <class T>
T value(Result<T> result) {
  if (!result) raise(result.error());
  return *std::move(result);
}

inline void value(const Result<void>& result) {
  if (!result) raise(result.error());
}

// Raises an exception of Python's own. PyErr_SetString would refuse a name that is not UTF-8.
[[noreturn]] void raise_python(PyObject* type, std::string_view message);

// Raises TypeError, or ValueError if `given` is a number that is too large or too small.
[[noreturn]] void refuse_argument(nb::handle given, const char* what, const char* wanted);

// An argument that came in a tuple, a list or a dictionary; `what` is its name for the user.
template <class T>
T argument(nb::handle given, const char* what) {
  T taken{};
  if (nb::try_cast<T>(given, taken)) return taken;
  if constexpr (std::same_as<T, bool>) refuse_argument(nb::none(), what, "True or False");
  if constexpr (std::unsigned_integral<T>) refuse_argument(given, what, "an integer of 0 or more");
  if constexpr (std::integral<T>) refuse_argument(given, what, "an integer");
  refuse_argument(given, what, "a number");
}

// A wait in seconds, which may be infinite. Raises TypeError, ValueError (not a number).
std::chrono::milliseconds wait_of(nb::handle seconds, const char* what);

// Names of tensors are bytes. As Python does with paths, bytes that are not UTF-8 become lone
// surrogates and back.
nb::str text(std::string_view bytes);
std::string bytes_of(nb::handle text);

nb::object path_text(const std::filesystem::path& path);
nb::list path_texts(std::span<const std::filesystem::path> paths);
nb::list texts(std::span<const std::string> lines);

// Python passes os.fsencode(path).
std::filesystem::path path_of(const nb::bytes& path);

using Pairs = std::vector<std::pair<std::string, std::string>>;
Pairs pairs_of(const nb::dict& dictionary);

// A call that may take long. It runs without the interpreter's lock. `progress` is None or is
// called with the done and the total bytes; an exception of it, or Ctrl-C, stops the call and
// passes on.
class LongCall {
 public:
  LongCall(unsigned threads_max, nb::object progress);
  LongCall(const LongCall&) = delete;
  LongCall& operator=(const LongCall&) = delete;

  const ExecOptions& exec() const noexcept { return exec_; }

  template <class F>
  auto run(F&& work) {
    auto result = [&] {
      nb::gil_scoped_release unlocked;
      return work();
    }();
    rethrow();
    return value(std::move(result));
  }

 private:
  void report(const Progress& progress);
  void rethrow();

  nb::object progress_;
  std::stop_source stop_;
  std::optional<nb::python_error> raised_;
  ExecOptions exec_;
};

// An open checkpoint, and whether its tensors may be written.
struct Opened {
  Checkpoint checkpoint;
  bool writable;
};

// A tensor that keeps its checkpoint open.
struct Handle {
  Checkpoint checkpoint;
  Tensor tensor;
  bool writable;  // opened with Access::Private
};

using Ranges = std::vector<Range>;
Ranges ranges_of(const nb::list& pairs);

// A tensor to be written, as Python passes it: (name, dtype, shape, opaque, data). `opaque` is None
// or (bits, block elements, block bytes); `data` is a contiguous array of uint8, or a list of
// bytes.
class Incoming {
 public:
  explicit Incoming(nb::handle tuple);

  TensorSpec spec() const { return spec_; }
  bool is_strings() const noexcept { return !array_.is_valid(); }
  std::span<const std::byte> bytes() const noexcept;
  std::span<const std::string_view> strings() const noexcept { return strings_; }

 private:
  TensorSpec spec_;
  nb::ndarray<const std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu> array_;
  std::vector<nb::bytes> kept_;
  std::vector<std::string_view> strings_;
};

std::vector<Incoming> incoming_of(const nb::list& tensors);

TensorSpec spec_of(nb::handle tuple);
std::vector<TensorSpec> specs_of(const nb::list& tuples);
std::optional<std::int64_t> step_of(nb::handle step);  // None: no step

// A capsule of DLPack. Errors: BufferError.
nb::object dlpack_capsule(const Handle& handle, bool versioned, bool copy);

void bind_checkpoint(nb::module_& module);
void bind_tensor(nb::module_& module);
void bind_writing(nb::module_& module);
void bind_directory(nb::module_& module);
void bind_live(nb::module_& module);

}  // namespace cairn::python
