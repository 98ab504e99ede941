// Saving and converting.

#include "common.h"

namespace cairn::python {

TensorSpec spec_of(nb::handle tuple) {
  TensorSpec spec;
  spec.name = bytes_of(tuple[0]);
  const std::string word = bytes_of(tuple[1]);
  for (nb::handle size : nb::object(tuple[2])) {
    spec.shape.push_back(argument<std::int64_t>(size, "a shape's size"));
  }
  const nb::object opaque = tuple[3];
  if (opaque.is_none()) {
    const auto dtype = dtype_from_name(word);
    if (!dtype) raise_python(PyExc_ValueError, "there is no dtype " + word);
    spec.dtype = *dtype;
    return spec;
  }
  spec.dtype = DType::Opaque;
  spec.opaque = {word, nb::cast<std::uint16_t>(opaque[0]), nb::cast<std::uint32_t>(opaque[1]),
                 nb::cast<std::uint32_t>(opaque[2])};
  return spec;
}

Incoming::Incoming(nb::handle tuple) : spec_(spec_of(tuple)) {
  const nb::object data = tuple[4];
  if (!nb::isinstance<nb::list>(data)) {
    array_ = nb::cast<decltype(array_)>(data);
    return;
  }
  for (nb::handle item : data) {
    const auto& bytes = kept_.emplace_back(nb::cast<nb::bytes>(item));
    strings_.emplace_back(static_cast<const char*>(bytes.data()), bytes.size());
  }
}

std::span<const std::byte> Incoming::bytes() const noexcept {
  if (is_strings()) return {};
  return {reinterpret_cast<const std::byte*>(array_.data()), array_.size()};
}

std::optional<std::int64_t> step_of(nb::handle step) {
  if (step.is_none()) return std::nullopt;
  return argument<std::int64_t>(step, "step");
}

std::vector<Incoming> incoming_of(const nb::list& tensors) {
  std::vector<Incoming> all;
  all.reserve(nb::len(tensors));
  for (nb::handle tuple : tensors) all.emplace_back(tuple);
  return all;
}

namespace {

WriterOptions writer_options(const nb::dict& words) {
  WriterOptions options;
  options.step = step_of(words["step"]);
  options.metadata = pairs_of(words["metadata"]);
  options.safetensors_metadata = pairs_of(words["safetensors_metadata"]);
  options.tensorflow_index = argument<bool>(words["tensorflow_index"], "tensorflow_index");
  options.replace = argument<bool>(words["replace"], "replace");
  options.lock_wait = wait_of(words["lock_wait"], "lock_wait");
  return options;
}

Result<std::vector<std::string>> write(const std::filesystem::path& prefix,
                                       std::span<const Incoming> tensors,
                                       const WriterOptions& options, const ExecOptions& exec) {
  std::vector<TensorSpec> specs;
  std::vector<NamedBytes> plain;
  for (const Incoming& tensor : tensors) specs.push_back(tensor.spec());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (!tensors[i].is_strings()) plain.push_back({specs[i].name, tensors[i].bytes()});
  }
  auto writer = Writer::create(prefix, specs, options);
  if (!writer) return std::move(writer).error();
  if (auto done = writer->write_all(plain, exec); !done) return done.error();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (!tensors[i].is_strings()) continue;
    auto done = writer->write_strings(specs[i].name, tensors[i].strings());
    if (!done) return done.error();
  }
  if (auto done = writer->commit(exec); !done) return done.error();
  const auto warnings = writer->warnings();
  return std::vector<std::string>(warnings.begin(), warnings.end());
}

nb::list save(const nb::bytes& path, const nb::list& tensors, const nb::dict& words,
              unsigned threads, nb::object progress) {
  const std::vector<Incoming> incoming = incoming_of(tensors);
  const WriterOptions options = writer_options(words);
  const auto prefix = path_of(path);
  LongCall call(threads, std::move(progress));
  return texts(call.run([&] { return write(prefix, incoming, options, call.exec()); }));
}

Format format_of(const std::string& word) {
  for (Format format :
       {Format::Cairn, Format::TensorFlow, Format::Safetensors, Format::Npz, Format::Npy}) {
    if (word == name(format)) return format;
  }
  throw nb::value_error(
      "format must be \"cairn\", \"tensorflow\", \"safetensors\", \"npz\" or \"npy\"");
}

Link link_of(const std::string& word) {
  for (Link link : {Link::Auto, Link::Hard, Link::Reflink, Link::Copy}) {
    if (word == name(link)) return link;
  }
  throw nb::value_error("link must be \"auto\", \"hard\", \"reflink\" or \"copy\"");
}

std::vector<Cast> casts_of(const nb::dict& words) {
  std::vector<Cast> casts;
  for (auto [from, to] : words) {
    const auto old = dtype_from_name(bytes_of(from));
    const auto made = dtype_from_name(bytes_of(to));
    if (!old || !made) throw nb::value_error("there is no dtype of a name in casts");
    casts.push_back({*old, *made});
  }
  return casts;
}

TransferOptions transfer_options(const nb::dict& words) {
  TransferOptions options;
  if (!nb::object(words["output"]).is_none()) {
    options.output = path_of(nb::cast<nb::bytes>(words["output"]));
  }
  options.link = link_of(bytes_of(words["link"]));
  options.replace = argument<bool>(words["replace"], "replace");
  options.follow_links = argument<bool>(words["follow_links"], "follow_links");
  options.allow_lossy = argument<bool>(words["allow_lossy"], "allow_lossy");
  options.max_shard_bytes = argument<std::uint64_t>(words["max_shard_bytes"], "max_shard_bytes");
  options.sums = argument<bool>(words["sums"], "sums");
  options.casts = casts_of(words["casts"]);
  const nb::object wanted = words["tensors"];
  if (!wanted.is_none()) {
    options.tensors.emplace();
    for (nb::handle name : wanted) options.tensors->push_back(bytes_of(name));
  }
  return options;
}

nb::tuple told(const Transfer& done) {
  return nb::make_tuple(path_text(done.prefix), text(name(done.used)), done.payload_bytes_copied,
                        texts(done.not_nameable), texts(done.metadata_left_out),
                        texts(done.safetensors_metadata_left_out), texts(done.warnings));
}

// `work` is "convert", "export" or "import"; import has no format.
nb::tuple transfer(const std::string& work, const nb::bytes& path, const std::string& format,
                   const nb::dict& words, unsigned threads, nb::object progress) {
  TransferOptions options = transfer_options(words);
  const auto source = path_of(path);
  LongCall call(threads, std::move(progress));
  options.exec = call.exec();
  if (work == "import") return told(call.run([&] { return import_index(source, options); }));
  const Format target = format_of(format);
  if (work == "export") {
    return told(call.run([&] { return export_index(source, target, options); }));
  }
  return told(call.run([&] { return convert(source, target, options); }));
}

}  // namespace

void bind_writing(nb::module_& module) {
  module.def("save", &save, nb::arg("path"), nb::arg("tensors"), nb::arg("options"),
             nb::arg("threads"), nb::arg("progress").none());
  module.def(
      "transfer",
      [](nb::handle work, const nb::bytes& path, nb::handle format, const nb::dict& words,
         unsigned threads, nb::object progress) {
        return transfer(bytes_of(work), path, bytes_of(format), words, threads,
                        std::move(progress));
      },
      nb::arg("work"), nb::arg("path"), nb::arg("format"), nb::arg("options"), nb::arg("threads"),
      nb::arg("progress").none());
}

}  // namespace cairn::python
