#include "contents.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <set>
#include <tuple>

#include "cairn/object_graph.h"
#include "parse_element.h"

namespace cairn::tools {
namespace {

constexpr std::chrono::milliseconds kProgressPause{100};

Error invalid(std::string what) { return {Code::Invalid, 0, std::move(what)}; }

std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// Counts what has been written, and tells of it now and then.
class Meter {
 public:
  Meter(const ExecOptions& exec, std::uint64_t total_bytes)
      : exec_(exec), progress_{0, total_bytes} {}

  void add(std::uint64_t bytes) {
    progress_.done_bytes += bytes;
    const auto now = std::chrono::steady_clock::now();
    if (!exec_.progress || now - told_ < kProgressPause) return;
    told_ = now;
    exec_.progress(progress_);
  }

  // The work of a call whose bytes count with those before.
  ExecOptions part() {
    ExecOptions part = exec_;
    if (!exec_.progress) return part;
    part.progress = [this, before = progress_.done_bytes](const Progress& progress) {
      add(before + progress.done_bytes - progress_.done_bytes);
    };
    return part;
  }

 private:
  const ExecOptions& exec_;
  Progress progress_;
  std::chrono::steady_clock::time_point told_{};
};

Result<void> stream_tensor(const Tensor& tensor, Writer& writer, Meter& meter) {
  if (tensor.dtype() == DType::String) {
    const auto strings = tensor.strings();
    if (!strings) return strings.error();
    const std::vector<std::string_view> values(strings->begin(), strings->end());
    meter.add(tensor.size_bytes());
    return writer.write_strings(tensor.name(), values);
  }
  const auto mapped = tensor.bytes();
  if (!mapped && mapped.error().code != Code::Unsupported) return mapped.error();
  if (mapped && tensor.dtype() != DType::Variant)
    return writer.write_all(std::array{NamedBytes{tensor.name(), *mapped}}, meter.part());
  if (mapped) return writer.write_encoded(tensor.name(), *mapped);
  // Partitioned, or big-endian: put together in memory.
  const auto size_bytes = tensor.read_bytes();
  if (!size_bytes) return size_bytes.error();
  std::vector<std::byte> whole(*size_bytes);
  const auto done = tensor.read(whole);
  if (!done) return done;
  meter.add(whole.size());
  return tensor.dtype() == DType::Variant ? writer.write_encoded(tensor.name(), whole)
                                          : writer.write(tensor.name(), whole);
}

// Names that share their bytes in the source share them in what is written.
class Ties {
 public:
  // The tensor that came first with the same bytes; nothing: this one does.
  std::optional<std::string_view> find_or_add(const Tensor& tensor) {
    const bool encoded = tensor.dtype() == DType::String || tensor.dtype() == DType::Variant;
    if (tensor.partitioned() || tensor.size_bytes() == 0 || encoded) return std::nullopt;
    const Key key{tensor.shard(), tensor.offset_bytes(), tensor.size_bytes(), tensor.dtype_name()};
    const auto [at, is_new] = first_.try_emplace(key, tensor.name());
    return is_new ? std::nullopt : std::optional(at->second);
  }

 private:
  using Key = std::tuple<std::string_view, std::uint64_t, std::uint64_t, std::string_view>;
  std::map<Key, std::string_view> first_;
};

TensorSpec spec_of(const Tensor& tensor) {
  auto spec = tensor.spec();
  if (!spec) throw std::bad_alloc();
  return *std::move(spec);
}

std::string describe(std::string_view dtype, std::span<const std::int64_t> shape) {
  return fmt::format("{} [{}]", dtype, fmt::join(shape, ", "));
}

}  // namespace

// The dtype decides what the word is, so that a file may hold a tensor whose name has a colon:
// "w:0=w.npy".
Result<Contents::Given> Contents::parse(std::string_view word) {
  const std::size_t equals = word.find('=');
  if (equals == 0 || equals == std::string_view::npos) {
    return invalid(fmt::format("'{}' is neither NAME=FILE.npy nor NAME:DTYPE=VALUE", word));
  }
  const std::string_view left = word.substr(0, equals);
  const std::string value(word.substr(equals + 1));
  const std::size_t colon = left.rfind(':');
  const bool has_dtype = colon != std::string_view::npos;
  const auto dtype = has_dtype ? dtype_from_name(left.substr(colon + 1)) : std::nullopt;
  const bool is_file = value.ends_with(".npy");
  if (!dtype) {
    if (has_dtype && !is_file)
      return invalid(fmt::format("{}: '{}' is not a dtype", word, left.substr(colon + 1)));
    return parse_file(word, left, dtype, value);
  }
  // A string may be any text.
  if (is_file && *dtype != DType::String)
    return parse_file(word, left.substr(0, colon), dtype, value);
  Given given;
  given.spec = {std::string(left.substr(0, colon)), *dtype, {}};
  if (given.spec.name.empty()) return invalid(fmt::format("{}: a tensor needs a name", word));
  given.value = value;
  if (*dtype == DType::String) return given;
  auto bytes = parse_element(*dtype, value);
  if (!bytes) return invalid(fmt::format("{}: {}", word, bytes.error().what));
  given.value = *std::move(bytes);
  return given;
}

Result<Contents::Given> Contents::parse_file(std::string_view word, std::string_view name,
                                             std::optional<DType> dtype, const std::string& path) {
  if (name.empty()) return invalid(fmt::format("{}: a tensor needs a name", word));
  auto file = open_npy(path, dtype);
  if (!file) return std::move(file).error();
  const auto shape = file->tensor.shape();
  Given given;
  given.spec = {std::string(name), file->dtype, {shape.begin(), shape.end()}};
  given.file = *std::move(file);
  return given;
}

Result<Contents> Contents::gather(std::span<const std::string> words, const From& from) {
  Contents contents;
  std::set<std::string, std::less<>> names;
  for (const std::string& word : words) {
    auto given = parse(word);
    if (!given) return std::move(given).error();
    if (!names.insert(given->spec.name).second)
      return invalid(fmt::format("tensor '{}' is given twice", given->spec.name));
    contents.given_.push_back(*std::move(given));
  }
  if (from.path.empty()) {
    if (!contents.given_.empty()) return contents;
    return invalid("there is nothing to save: give a TENSOR, or a checkpoint with --from");
  }
  OpenOptions options;
  options.follow_links = from.follow_links;
  auto source = Checkpoint::open(from.path, options);
  if (!source) return std::move(source).error();
  contents.source_ = *std::move(source);
  const auto met = contents.meet_source(from.replace);
  if (!met) return met.error();
  return contents;
}

// What `cairn cat` finds under a name is what the name means here.
Result<void> Contents::meet_source(bool replace) {
  std::set<std::string, std::less<>> names;
  for (Given& given : given_) {
    const auto before = find_tensor(*source_, given.spec.name);
    if (!before && before.error().code != Code::NotFound) return before.error();
    if (before) given.spec.name = before->name();
    if (!names.insert(given.spec.name).second)
      return invalid(fmt::format("tensor '{}' is given twice", given.spec.name));
    const bool same = !before || (before->dtype() == given.spec.dtype &&
                                  std::ranges::equal(before->shape(), given.spec.shape));
    if (same || replace) continue;
    return Error{Code::Exists, 0,
                 fmt::format("tensor '{}' is {} in {}, but you gave {}: add --replace to change it",
                             given.spec.name, describe(before->dtype_name(), before->shape()),
                             source_->prefix().native(),
                             describe(name(given.spec.dtype), given.spec.shape))};
  }
  for (std::size_t i = 0; i < source_->tensor_count(); ++i) {
    const Tensor tensor = source_->tensor_at(i);
    if (!names.contains(tensor.name())) taken_.push_back(tensor);
  }
  return {};
}

void Contents::add_metadata(SaveOptions& options) const {
  if (!source_) return;
  for (std::size_t i = 0; i < source_->metadata_count(); ++i) {
    const auto [key, value] = source_->metadata_at(i);
    if (!key.starts_with("cairn.")) options.metadata.emplace_back(key, value);  // not the Saver's
  }
  for (std::size_t i = 0; i < source_->safetensors_metadata_count(); ++i)
    options.safetensors_metadata.emplace_back(source_->safetensors_metadata_at(i));
}

Result<void> Contents::become_objects(std::int64_t save_counter) {
  const auto is_counter = [](const Given& given) { return given.spec.name == "save_counter"; };
  if (std::ranges::none_of(given_, is_counter)) {
    auto counter = parse(fmt::format("save_counter:int64={}", save_counter));
    if (!counter) return std::move(counter).error();
    given_.push_back(*std::move(counter));
  }
  std::vector<std::string_view> paths;
  for (const Given& given : given_) paths.push_back(given.spec.name);
  auto objects = object_keys(paths);
  if (!objects) return std::move(objects).error();
  for (std::size_t i = 0; i < given_.size(); ++i) given_[i].spec.name = std::move(objects->keys[i]);
  Given graph;
  graph.spec = {std::string(kObjectGraphName), DType::String, {}};
  graph.value = std::move(objects->graph);
  given_.push_back(std::move(graph));
  return {};
}

std::vector<TensorSpec> Contents::specs() const {
  std::vector<TensorSpec> specs;
  for (const Given& given : given_) specs.push_back(given.spec);
  for (const Tensor& tensor : taken_) specs.push_back(spec_of(tensor));
  for (const Tensor& tensor : left_) specs.push_back(spec_of(tensor));
  return specs;
}

// Empty tensors have no bytes to share, and are written as ever.
std::vector<std::string> Contents::leave_in_source() {
  std::vector<std::string> names;
  if (!source_ || source_->format() != Format::Cairn) return names;
  std::vector<Tensor> written;
  for (Tensor& tensor : taken_) {
    const bool stays = !tensor.partitioned() && tensor.size_bytes() != 0 && tensor.content_hash() &&
                       tensor.crc32c();
    (stays ? left_ : written).push_back(std::move(tensor));
  }
  taken_ = std::move(written);
  for (const Tensor& tensor : left_) names.emplace_back(tensor.name());
  return names;
}

std::span<const std::string> Contents::warnings() const {
  return source_ ? source_->warnings() : std::span<const std::string>();
}

Result<void> Contents::fill(Writer& writer, const ExecOptions& exec) const {
  std::uint64_t total_bytes = 0;
  for (const Given& given : given_) total_bytes += given.file ? given.file->tensor.size_bytes() : 0;
  for (const Tensor& tensor : taken_) total_bytes += tensor.size_bytes();
  Meter meter(exec, total_bytes);
  // What is tied has to be known before the first byte.
  Ties ties;
  std::vector<Tensor> poured;
  for (const Tensor& tensor : taken_) {
    const auto same_as = ties.find_or_add(tensor);
    if (!same_as) {
      poured.push_back(tensor);
      continue;
    }
    const auto done = writer.tie(tensor.name(), *same_as);
    if (!done) return done;
  }
  for (const Given& given : given_) {
    const std::string& name = given.spec.name;
    const std::string_view value = given.value;
    const auto done = given.file ? write_npy(*given.file, name, writer)
                      : given.spec.dtype == DType::String
                          ? writer.write_strings(name, {&value, 1})
                          : writer.write(name, as_bytes(given.value));
    if (!done) return done;
    if (given.file) meter.add(given.file->tensor.size_bytes());
  }
  for (const Tensor& tensor : poured) {
    const auto done = stream_tensor(tensor, writer, meter);
    if (!done) return done;
  }
  return {};
}

}  // namespace cairn::tools
