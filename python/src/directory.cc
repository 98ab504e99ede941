// A directory over time: the catalog, the Saver, the Watcher.

#include <chrono>
#include <deque>

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

std::chrono::milliseconds milliseconds_of(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

Watcher watch(const nb::bytes& directory, nb::handle cursor, bool only_latest, nb::handle catalog,
              double poll_s) {
  WatcherOptions options;
  options.cursor = bytes_of(cursor);
  options.only_latest = only_latest;
  options.latest_filename = bytes_of(catalog);
  options.poll = milliseconds_of(poll_s);
  return value(Watcher::open(path_of(directory), options));
}

nb::tuple next(Watcher& watcher, double timeout_s) {
  auto result = [&] {
    nb::gil_scoped_release unlocked;
    return watcher.next(milliseconds_of(timeout_s));
  }();
  const Published published = value(std::move(result));
  nb::object prefix = published.prefix ? path_text(*published.prefix) : nb::none();
  return nb::make_tuple(prefix, skipped_of(published.skipped));
}

Retention retention_of(nb::handle tuple) {
  const std::string rule = bytes_of(tuple[0]);
  if (rule == "best") {
    const auto order =
        nb::cast<bool>(tuple[2]) ? Retention::Order::Highest : Retention::Order::Lowest;
    return Retention::best_by(bytes_of(tuple[1]), order, nb::cast<std::uint64_t>(tuple[3]));
  }
  if (rule == "hours") return Retention::every_hours(nb::cast<double>(tuple[1]));
  const auto count = nb::cast<std::uint64_t>(tuple[1]);
  if (rule == "newest") return Retention::newest(count);
  if (rule == "steps") return Retention::every_steps(count);
  if (rule == "tensorflow_manager") {
    return Retention::tensorflow_manager(count, nb::cast<double>(tuple[2]));
  }
  if (rule == "tensorflow_saver") {
    return Retention::tensorflow_saver(count, nb::cast<double>(tuple[2]));
  }
  throw nb::value_error("keep: a rule is made by newest, every_steps, every_hours or best_by");
}

Saver open_saver(const nb::bytes& directory, const nb::list& keep, const nb::dict& words) {
  SaverOptions options;
  options.keep_any_of.clear();
  for (nb::handle rule : keep) options.keep_any_of.push_back(retention_of(rule));
  options.latest_filename = bytes_of(words["latest_filename"]);
  options.tensorflow_index = nb::cast<bool>(words["tensorflow_index"]);
  options.lock_wait = milliseconds_of(nb::cast<double>(words["lock_wait"]));
  return value(Saver::open(path_of(directory), options));
}

SaveOptions save_options(const nb::dict& words) {
  SaveOptions options;
  if (!nb::object(words["step"]).is_none()) options.step = nb::cast<std::int64_t>(words["step"]);
  for (auto [key, metric] : nb::cast<nb::dict>(words["metrics"])) {
    options.metrics.emplace_back(bytes_of(key), nb::cast<double>(metric));
  }
  options.metadata = pairs_of(words["metadata"]);
  options.safetensors_metadata = pairs_of(words["safetensors_metadata"]);
  options.pinned = nb::cast<bool>(words["pinned"]);
  options.replace = nb::cast<bool>(words["replace"]);
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

nb::tuple save(Saver& saver, nb::handle name, const nb::list& tensors, const nb::dict& words,
               unsigned threads, nb::object progress) {
  const std::vector<Incoming> incoming = incoming_of(tensors);
  const std::vector<NamedTensor> given = named(incoming);
  SaveOptions options = save_options(words);
  const std::string file = bytes_of(name);
  LongCall call(threads, std::move(progress));
  options.exec = call.exec();
  return told(call.run([&] { return saver.save(file, given, options); }));
}

PendingSave save_async(Saver& saver, nb::handle name, const nb::list& tensors,
                       const nb::dict& words) {
  const std::vector<Incoming> incoming = incoming_of(tensors);
  const std::vector<NamedTensor> given = named(incoming);
  const SaveOptions options = save_options(words);
  const std::string file = bytes_of(name);
  auto result = [&] {
    nb::gil_scoped_release unlocked;
    return saver.save_async(file, given, Saver::Memory::Copy, options);
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

nb::list prune(Saver& saver, bool dry_run) {
  auto result = [&] {
    nb::gil_scoped_release unlocked;
    return saver.prune(dry_run);
  }();
  nb::list list;
  for (const auto& one : value(std::move(result))) {
    list.append(nb::make_tuple(path_text(one.prefix), one.kept, text(one.why)));
  }
  return list;
}

void pin(Saver& saver, const nb::bytes& prefix, bool pinned) {
  const auto path = path_of(prefix);
  auto result = [&] {
    nb::gil_scoped_release unlocked;
    return saver.pin(path, pinned);
  }();
  value(result);
}

nb::list last_checkpoints(Saver& saver) { return path_texts(value(saver.last_checkpoints())); }

}  // namespace

void bind_directory(nb::module_& module) {
  module.def("latest_checkpoint", &latest);
  module.def("checkpoint_state", &state);
  nb::class_<Watcher>(module, "Watcher", nb::is_final())
      .def_static("open", &watch)
      .def("next", &next)
      .def_prop_ro("cursor", [](const Watcher& w) { return text(w.cursor()); });
  nb::class_<PendingSave>(module, "PendingSave", nb::is_final())
      .def("done", [](const PendingSave& p) { return p.done(); })
      .def("wait", &wait);
  nb::class_<Saver>(module, "Saver", nb::is_final())
      .def_static("open", &open_saver)
      .def("save", &save, nb::arg("name"), nb::arg("tensors"), nb::arg("options"),
           nb::arg("threads"), nb::arg("progress").none())
      .def("save_async", &save_async)
      .def("last_checkpoints", &last_checkpoints)
      .def("pin", &pin)
      .def("prune", &prune);
}

}  // namespace cairn::python
