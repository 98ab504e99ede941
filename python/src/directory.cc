// A directory over time: the catalog, the Saver, the Watcher.

#include <string>

#include "common.h"

namespace cairn::python {
namespace {

nb::object latest(const nb::bytes& directory, nb::handle catalog) {
  const auto found = value(latest_checkpoint(path_of(directory), bytes_of(catalog)));
  if (!found) return nb::none();
  return path_text(*found);
}

// None, or (latest, all, timestamps, last preserved).
nb::object state(const nb::bytes& directory, nb::handle catalog) {
  const auto found = value(get_checkpoint_state(path_of(directory), bytes_of(catalog)));
  if (!found) return nb::none();
  nb::list times;
  for (double time : found->all_model_checkpoint_timestamps_s) times.append(time);
  return nb::make_tuple(path_text(found->model_checkpoint_path),
                        path_texts(found->all_model_checkpoint_paths), times,
                        found->last_preserved_timestamp_s);
}

nb::list skipped_of(std::span<const SkippedCheckpoint> skipped) {
  nb::list list;
  for (const auto& one : skipped) list.append(nb::make_tuple(path_text(one.prefix), text(one.why)));
  return list;
}

// A Saver and a Watcher take one call at a time, and Python's threads may break that rule: the
// interpreter's lock is released during a call. A second call is refused. Calls begin and end with
// that lock, so a plain bool is enough. A lock in its place would stop a progress callback that
// calls the same Saver for ever.
class OneCall {
 public:
  OneCall(bool& busy, const char* what) : busy_(busy) {
    if (busy) {
      raise({Code::Busy, 0,
             std::string("another call of this ") + what +
                 " is running; it takes one call at a time, from whatever thread"});
    }
    busy = true;
  }
  ~OneCall() { busy_ = false; }
  OneCall(const OneCall&) = delete;
  OneCall& operator=(const OneCall&) = delete;

 private:
  bool& busy_;
};

struct OpenWatcher {
  Watcher watcher;
  std::string cursor;  // of the last call that ended: may be asked while another one waits
  bool busy = false;
};

struct OpenSaver {
  Saver saver;
  bool busy = false;
};

OpenWatcher watch(const nb::bytes& directory, const nb::dict& words) {
  WatcherOptions options;
  options.cursor = bytes_of(words["cursor"]);
  options.only_latest = argument<bool>(words["only_latest"], "only_latest");
  options.latest_filename = bytes_of(words["latest_filename"]);
  options.poll = wait_of(words["poll"], "poll");
  Watcher watcher = value(Watcher::open(path_of(directory), options));
  std::string begin = watcher.cursor();
  return {std::move(watcher), std::move(begin)};
}

nb::tuple next(OpenWatcher& open, nb::handle timeout) {
  const OneCall call(open.busy, "Watcher");
  const auto wait = wait_of(timeout, "timeout");
  auto result = [&] {
    nb::gil_scoped_release unlocked;
    return open.watcher.next(wait);
  }();
  open.cursor = open.watcher.cursor();
  const Published published = value(std::move(result));
  nb::object prefix = published.prefix ? path_text(*published.prefix) : nb::none();
  return nb::make_tuple(prefix, skipped_of(published.skipped));
}

Retention retention_of(nb::handle tuple) {
  const std::string rule = bytes_of(tuple[0]);
  if (rule == "best") {
    const auto order =
        argument<bool>(tuple[2], "highest") ? Retention::Order::Highest : Retention::Order::Lowest;
    return Retention::best_by(bytes_of(tuple[1]), order,
                              argument<std::uint64_t>(tuple[3], "the count of best_by"));
  }
  if (rule == "hours") return Retention::every_hours(argument<double>(tuple[1], "hours"));
  const auto count = argument<std::uint64_t>(tuple[1], "the number of a retention rule");
  if (rule == "newest") return Retention::newest(count);
  if (rule == "steps") return Retention::every_steps(count);
  if (rule == "tensorflow_manager") {
    return Retention::tensorflow_manager(count, argument<double>(tuple[2], "keep_every_hours"));
  }
  if (rule == "tensorflow_saver") {
    return Retention::tensorflow_saver(count, argument<double>(tuple[2], "keep_every_hours"));
  }
  throw nb::value_error("keep: a rule is made by newest, every_steps, every_hours or best_by");
}

OpenSaver open_saver(const nb::bytes& directory, const nb::list& keep, const nb::dict& words) {
  SaverOptions options;
  options.keep_any_of.clear();
  for (nb::handle rule : keep) options.keep_any_of.push_back(retention_of(rule));
  options.latest_filename = bytes_of(words["latest_filename"]);
  options.tensorflow_index = argument<bool>(words["tensorflow_index"], "tensorflow_index");
  options.lock_wait = wait_of(words["lock_wait"], "lock_wait");
  return {value(Saver::open(path_of(directory), options))};
}

SaveOptions save_options(const nb::dict& words) {
  SaveOptions options;
  options.step = step_of(words["step"]);
  for (auto [key, metric] : nb::cast<nb::dict>(words["metrics"])) {
    options.metrics.emplace_back(bytes_of(key), argument<double>(metric, "a metric"));
  }
  options.metadata = pairs_of(words["metadata"]);
  options.safetensors_metadata = pairs_of(words["safetensors_metadata"]);
  options.pinned = argument<bool>(words["pinned"], "pinned");
  options.replace = argument<bool>(words["replace"], "replace");
  return options;
}

std::vector<NamedTensor> named(std::span<const Incoming> incoming) {
  std::vector<NamedTensor> tensors;
  for (const Incoming& one : incoming) {
    tensors.push_back({one.spec(), one.bytes(), one.strings()});
  }
  return tensors;
}

nb::tuple told(const Saved& saved) {
  return nb::make_tuple(path_text(saved.prefix), path_texts(saved.kept), path_texts(saved.deleted),
                        texts(saved.warnings));
}

nb::tuple save(OpenSaver& open, nb::handle name, const nb::list& tensors, const nb::dict& words,
               unsigned threads, nb::object progress) {
  const OneCall only(open.busy, "Saver");
  const std::vector<Incoming> incoming = incoming_of(tensors);
  const std::vector<NamedTensor> given = named(incoming);
  SaveOptions options = save_options(words);
  const std::string file = bytes_of(name);
  LongCall call(threads, std::move(progress));
  options.exec = call.exec();
  return told(call.run([&] { return open.saver.save(file, given, options); }));
}

PendingSave save_async(OpenSaver& open, nb::handle name, const nb::list& tensors,
                       const nb::dict& words) {
  const OneCall only(open.busy, "Saver");
  const std::vector<Incoming> incoming = incoming_of(tensors);
  const std::vector<NamedTensor> given = named(incoming);
  const SaveOptions options = save_options(words);
  const std::string file = bytes_of(name);
  auto result = [&] {
    nb::gil_scoped_release unlocked;
    return open.saver.save_async(file, given, Saver::Memory::Copy, options);
  }();
  return value(std::move(result));
}

nb::tuple wait(const PendingSave& pending) {
  auto result = [&] {
    nb::gil_scoped_release unlocked;
    return pending.wait();
  }();
  return told(value(std::move(result)));
}

nb::list prune(OpenSaver& open, bool dry_run) {
  const OneCall only(open.busy, "Saver");
  auto result = [&] {
    nb::gil_scoped_release unlocked;
    return open.saver.prune(dry_run);
  }();
  nb::list list;
  for (const auto& one : value(std::move(result))) {
    list.append(nb::make_tuple(path_text(one.prefix), one.kept, text(one.why)));
  }
  return list;
}

void pin(OpenSaver& open, const nb::bytes& prefix, bool pinned) {
  const OneCall only(open.busy, "Saver");
  const auto path = path_of(prefix);
  auto result = [&] {
    nb::gil_scoped_release unlocked;
    return open.saver.pin(path, pinned);
  }();
  value(result);
}

nb::list last_checkpoints(OpenSaver& open) {
  const OneCall only(open.busy, "Saver");
  return path_texts(value(open.saver.last_checkpoints()));
}

}  // namespace

void bind_directory(nb::module_& module) {
  module.def("latest_checkpoint", &latest);
  module.def("checkpoint_state", &state);
  nb::class_<OpenWatcher>(module, "Watcher", nb::is_final())
      .def_static("open", &watch)
      .def("next", &next)
      .def_prop_ro("cursor", [](const OpenWatcher& w) { return text(w.cursor); });
  nb::class_<PendingSave>(module, "PendingSave", nb::is_final())
      .def("done", [](const PendingSave& p) { return p.done(); })
      .def("wait", &wait);
  nb::class_<OpenSaver>(module, "Saver", nb::is_final())
      .def_static("open", &open_saver)
      .def("save", &save, nb::arg("name"), nb::arg("tensors"), nb::arg("options"),
           nb::arg("threads"), nb::arg("progress").none())
      .def("save_async", &save_async)
      .def("last_checkpoints", &last_checkpoints)
      .def("pin", &pin)
      .def("prune", &prune);
}

}  // namespace cairn::python
