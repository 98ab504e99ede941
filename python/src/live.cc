// A model that is replaced while requests use it.
//
// The thread that polls has no lock of the interpreter, and takes it for what is Python's: the
// function that prepares a model, and the end of a model. So no call here holds it while it waits
// for that thread.

#include <memory>
#include <stop_token>
#include <string>

#include "common.h"

namespace cairn::python {
namespace {

// An object of Python's that may be let go by any thread.
std::shared_ptr<PyObject> shared(nb::object object) {
  return {object.release().ptr(), [](PyObject* held) {
            const nb::gil_scoped_acquire locked;
            Py_XDECREF(held);
          }};
}

struct OpenLive {
  Live live;
  std::stop_source stop;
};

struct OpenSnapshot {
  Snapshot snapshot;
};

// Calls the function of the caller's with a checkpoint, which it may keep.
Result<std::shared_ptr<void>> prepare(const std::shared_ptr<PyObject>& function,
                                      const Checkpoint& checkpoint) {
  const nb::gil_scoped_acquire locked;
  try {
    const nb::object model = nb::borrow(function.get())(Opened{checkpoint, false});
    return std::shared_ptr<void>(shared(model));
  } catch (nb::python_error& raised) {
    return Error{Code::Invalid, 0,
                 bytes_of(nb::str(raised.type().attr("__name__"))) + ": " +
                     bytes_of(nb::str(raised.value()))};
  }
}

OpenLive open(const nb::bytes& path, const nb::list& expected, const nb::dict& words,
              nb::object function) {
  LiveOptions options;
  options.expected = specs_of(expected);
  options.same_tensors = argument<bool>(words["same_tensors"], "same_tensors");
  options.bytes_per_second_max =
      argument<std::uint64_t>(words["bytes_per_second"], "bytes_per_second");
  options.poll = wait_of(words["poll"], "poll");
  options.follow_links = argument<bool>(words["follow_links"], "follow_links");
  if (!function.is_none()) {
    options.prepare = [held = shared(std::move(function))](const Checkpoint& checkpoint) {
      return prepare(held, checkpoint);
    };
  }
  return {value(Live::open(path_of(path), options)), std::stop_source()};
}

nb::object current(const OpenLive& open) {
  OpenSnapshot taken{open.live.current()};
  if (!taken.snapshot) return nb::none();
  return nb::cast(std::move(taken));
}

double poll(OpenLive& open, nb::handle budget) {
  const auto wanted = wait_of(budget, "budget");
  const nb::gil_scoped_release unlocked;
  return std::chrono::duration<double>(open.live.poll(wanted)).count();
}

void run(OpenLive& open) {
  const nb::gil_scoped_release unlocked;
  open.live.run(open.stop.get_token());
}

void rollback(OpenLive& open) {
  auto done = [&] {
    const nb::gil_scoped_release unlocked;
    return open.live.rollback();
  }();
  value(done);
}

LiveStatus status_of(const OpenLive& open) {
  auto status = [&] {
    const nb::gil_scoped_release unlocked;
    return open.live.status();
  }();
  return value(std::move(status));
}

nb::dict status(const OpenLive& open) {
  const LiveStatus now = status_of(open);
  nb::dict all;
  all["state"] = text(name(now.state));
  all["generation"] = now.generation;
  all["path"] = path_text(now.prefix);
  all["warnings"] = texts(now.warnings);
  all["rollback"] = path_text(now.rollback);
  all["candidate"] = path_text(now.candidate);
  all["done_bytes"] = now.done_bytes;
  all["total_bytes"] = now.total_bytes;
  all["swaps"] = now.swap_count;
  all["rejected"] = now.rejected_count;
  all["rollbacks"] = now.rollback_count;
  all["released"] = now.released_count;
  all["retired"] = now.retired_count;
  nb::list quarantine;
  for (const QuarantinedCheckpoint& each : now.quarantine)
    quarantine.append(
        nb::make_tuple(path_text(each.prefix), text(name(each.code)), text(each.why)));
  all["quarantine"] = quarantine;
  all["last_error"] = text(now.last_error);
  return all;
}

nb::object model(const OpenSnapshot& taken) {
  auto* const held = taken.snapshot.model<PyObject>();
  return held == nullptr ? nb::none() : nb::borrow(held);
}

}  // namespace

void bind_live(nb::module_& module) {
  nb::class_<OpenSnapshot>(module, "Snapshot", nb::is_final())
      .def("opened", [](const OpenSnapshot& s) { return Opened{s.snapshot.checkpoint(), false}; })
      .def_prop_ro("generation", [](const OpenSnapshot& s) { return s.snapshot.generation(); })
      .def_prop_ro("model", &model);
  nb::class_<OpenLive>(module, "Live", nb::is_final())
      .def_static("open", &open, nb::arg("path"), nb::arg("expected"), nb::arg("options"),
                  nb::arg("prepare").none())
      .def("current", &current)
      .def("poll", &poll)
      .def("run", &run)
      .def("stop", [](OpenLive& open) { open.stop.request_stop(); })
      .def("rollback", &rollback)
      .def("status", &status)
      .def("prometheus",
           [](const OpenLive& open) { return text(value(prometheus_text(status_of(open)))); });
}

}  // namespace cairn::python
