// Convert reads every tensor through one open checkpoint and writes it anew in the target's layout:
// checked on the way, streamed, a few blocks in memory.

#include "lib/edit/convert.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <tuple>

#include "format/digest.h"
#include "format/dtype.h"
#include "format/safetensors/header.h"
#include "lib/edit/fit.h"
#include "lib/edit/publish.h"
#include "lib/edit/transfer.h"
#include "lib/open/load.h"
#include "lib/open/locate.h"
#include "lib/os/parallel.h"
#include "lib/read/names.h"
#include "lib/read/open_checkpoint.h"
#include "lib/try.h"
#include "lib/write/batch.h"
#include "lib/write/free_space.h"
#include "lib/write/layout.h"
#include "lib/write/publisher.h"
#include "lib/write/remarks.h"
#include "lib/write/shard_writer.h"
#include "lib/write/writer_access.h"

namespace cairn {
namespace {

constexpr std::uint64_t kMetaBytesMax = std::uint64_t{1}
                                        << 31;  // protobuf's own limit on a message

// Takes the bytes of one tensor, block after block.
using Sink = std::function<Result<void>(std::span<const std::byte>)>;

// Puts a tensor together that lies in several pieces, big-endian or not row-major: some rows at a
// time.
Result<void> stream_rows(const internal::OpenCheckpoint& source, std::size_t position,
                         const Sink& sink) {
  const auto shape = source.index().tensor(position).shape;
  CAIRN_TRY(size_bytes, source.read_bytes(position, {}));
  if (size_bytes == 0) return {};
  const std::int64_t rows = shape.empty() ? 1 : shape[0];
  const std::uint64_t row_bytes = size_bytes / static_cast<std::uint64_t>(rows);
  const auto rows_at_once =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(internal::kWriteBlockBytes / row_bytes));
  std::vector<Range> slice(shape.size());
  std::vector<std::byte> block;
  for (std::int64_t row = 0; row < rows; row += rows_at_once) {
    const std::int64_t count = std::min(rows_at_once, rows - row);
    if (!slice.empty()) slice[0] = {row, count};
    block.resize(static_cast<std::uint64_t>(count) * row_bytes);
    CAIRN_CHECK(source.read(position, block, slice));
    CAIRN_CHECK(sink(block));
  }
  return {};
}

// The tensor's bytes, little-endian and row-major. What lies in one native piece is summed on the
// way.
Result<void> stream_tensor(const internal::OpenCheckpoint& source, std::size_t position,
                           const Sink& sink) {
  const auto tensor = source.index().tensor(position);
  if (tensor.partitioned() || tensor.big_endian || !tensor.strides.empty())
    return stream_rows(source, position, sink);
  std::vector<std::byte> block(std::min(internal::kWriteBlockBytes, tensor.size_bytes));
  std::uint32_t crc = 0;
  for (std::uint64_t done = 0; done < tensor.size_bytes; done += block.size()) {
    block.resize(std::min<std::uint64_t>(block.size(), tensor.size_bytes - done));
    CAIRN_CHECK(
        source.shards().copy_out(tensor.span.shard, tensor.span.offset_bytes + done, block));
    crc = format::crc32c(block, crc);
    CAIRN_CHECK(sink(block));
  }
  if (tensor.span.crc32c && crc != *tensor.span.crc32c)
    return source.damaged(position, tensor.span, crc);
  return {};
}

std::vector<TensorSpec> specs_of(const format::IndexView& index,
                                 std::span<const std::size_t> taken) {
  std::vector<TensorSpec> specs;
  specs.reserve(taken.size());
  for (const std::size_t i : taken) specs.push_back(internal::spec_of(index.tensor(i)));
  return specs;
}

// Names that share all their bytes in the source, and read them alike, share them in the target:
// position → the first of them. A transposed view has other values in row-major order.
std::vector<std::optional<std::size_t>> tied(const format::IndexView& index,
                                             std::span<const std::size_t> taken) {
  using Strides = std::vector<std::pair<std::int64_t, std::int64_t>>;  // each with its dimension
  using Key = std::tuple<std::uint32_t, std::uint64_t, std::uint64_t, DType, std::string_view, bool,
                         Strides>;
  std::map<Key, std::size_t> first;
  std::vector<std::optional<std::size_t>> same_as(taken.size());
  for (std::size_t i = 0; i < taken.size(); ++i) {
    const auto tensor = index.tensor(taken[i]);
    if (tensor.partitioned() || tensor.size_bytes == 0 || tensor.encoding != format::Encoding::Raw)
      continue;
    Strides strides;
    for (std::size_t d = 0; d < tensor.strides.size(); ++d)
      strides.emplace_back(tensor.shape[d], tensor.strides[d]);
    const Key key{tensor.span.shard, tensor.span.offset_bytes, tensor.span.size_bytes,
                  tensor.dtype,      tensor.opaque_dtype,      tensor.big_endian,
                  std::move(strides)};
    const auto [at, is_new] = first.try_emplace(key, i);
    if (!is_new) same_as[i] = at->second;
  }
  return same_as;
}

Result<void> write_encoded(const internal::OpenCheckpoint& source, std::size_t position,
                           Writer& writer) {
  const auto tensor = source.index().tensor(position);
  const bool strings_alone = tensor.encoding == format::Encoding::TensorFlowString &&
                             (tensor.big_endian || tensor.partitioned());
  if (strings_alone) {
    CAIRN_TRY(strings, source.copy_strings(position));
    return writer.write_strings(tensor.name, strings.values);
  }
  std::vector<std::byte> stored(tensor.size_bytes);
  CAIRN_CHECK(source.read(position, stored, {}));
  return writer.write_encoded(tensor.name, stored);
}

struct Source {
  const internal::Location& location;
  const internal::IndexIdentities& seen;
  const Checkpoint& checkpoint;
};

// The positions of the tensors that are asked for; nothing: all are.
Result<std::optional<std::set<std::size_t>>> wanted_of(const internal::OpenCheckpoint& source,
                                                       const TransferOptions& options) {
  if (!options.tensors) return std::optional<std::set<std::size_t>>();
  std::set<std::size_t> wanted;
  for (const std::string& name : *options.tensors) {
    CAIRN_TRY(position, source.find(name));
    wanted.insert(position);
  }
  return std::optional(std::move(wanted));
}

// A checkpoint that is converted onto itself must be what was read.
Result<void> check_source(const Source& source, const TransferOptions& options) {
  CAIRN_TRY(same, internal::is_beside(source.location, options));
  return same ? internal::check_unchanged(source.location, source.seen) : Result<void>();
}

// Everything that the target can hold, with P.meta, under a prefix.
Result<void> write_prefix(const Source& source, Format target, const TransferOptions& options,
                          Transfer& transfer) {
  const auto& opened = internal::OpenCheckpoint::of(source.checkpoint);
  CAIRN_TRY(wanted, wanted_of(opened, options));
  internal::FormatFit fit = internal::fit_of(opened.index(), target, wanted);
  CAIRN_CHECK(internal::check_lossy(fit.lossy, internal::target_format(target), options, transfer));
  WriterOptions writing = internal::writer_options(source.checkpoint);
  writing.cairn_index = target == Format::Cairn;
  if (target != Format::Cairn && writing.step != internal::step_of(options.output.native())) {
    transfer.warnings.push_back(options.output.string() +
                                ": TensorFlow reads the step only from the name, and this name "
                                "does not have the step of the source" +
                                (writing.step ? ", " + std::to_string(*writing.step) : ""));
  }
  CAIRN_TRY(graph, internal::meta_graph(source.location, options.follow_links));
  writing.meta_graph = std::move(graph);
  internal::Payload payload{source.checkpoint, std::move(fit.taken), std::move(writing), {}};
  payload.unchanged = [&] { return check_source(source, options); };
  CAIRN_CHECK(internal::rewrite(payload, options, transfer));
  internal::warn_of_fingerprint(options.output, transfer);
  return {};
}

// What a safetensors file has no room for, and dtypes that not every reader of one takes.
void warn_about_file(const Source& source, std::span<const TensorSpec> specs, Transfer& transfer) {
  const std::string file = transfer.prefix.string();
  std::set<std::string> newest;
  for (const TensorSpec& spec : specs) {
    if (internal::fits_header(spec, internal::SafetensorsReaders::All)) continue;
    newest.emplace(spec.dtype == DType::Opaque ? spec.opaque.name
                                               : format::safetensors_name(spec.dtype, false));
  }
  for (const std::string& dtype : newest) {
    transfer.warnings.push_back(
        file + ": has tensors of the dtype " + dtype +
        ", which only the newest readers of safetensors know; other readers refuse the whole file");
  }
  internal::warn_of_graph(source.location, transfer.warnings);
}

// The file that a plan for these tensors gives, its header made.
Result<internal::Layout> plan_file(const Checkpoint& checkpoint, std::span<const TensorSpec> specs,
                                   const TransferOptions& options) {
  const format::KeyValues metadata = internal::metadata_for_file(checkpoint, specs);
  // safetensors has no shared bytes: each name gets its own.
  const std::vector<std::optional<std::size_t>> same_as(specs.size());
  internal::Layout layout =
      internal::plan_layout({specs, same_as, 0, metadata, internal::SafetensorsReaders::Newest}, 1);
  if (specs.empty()) {  // a file without tensors has a header all the same
    std::string head = format::safetensors::encode_header({}, metadata, 1);
    const std::uint64_t head_bytes = head.size();
    layout.shards.front() = {format::ShardKind::Universal, std::move(head), head_bytes};
  }
  if (!layout.shards.front().head.empty()) return layout;
  return Error{Code::Unsupported, 0,
               options.output.string() +
                   ": the header would have more than 100,000,000 bytes, the limit of safetensors"};
}

// One file with a header and everything that it can name.
Result<void> write_safetensors(const Source& from, const TransferOptions& options,
                               Transfer& transfer) {
  const internal::OpenCheckpoint& source = internal::OpenCheckpoint::of(from.checkpoint);
  CAIRN_TRY(wanted, wanted_of(source, options));
  const internal::FormatFit selection =
      internal::fit_of(source.index(), Format::Safetensors, wanted);
  CAIRN_CHECK(internal::check_lossy(selection.lossy, internal::target_format(Format::Safetensors),
                                    options, transfer));
  const std::vector<TensorSpec> specs = specs_of(source.index(), selection.taken);
  CAIRN_TRY(layout, plan_file(from.checkpoint, specs, options));
  const auto parts = internal::Prefix::of(options.output);
  CAIRN_TRY(directory, os::Directory::open_or_create(parts.directory));
  const std::string name = internal::safetensors_file(parts.base);
  transfer.prefix = parts.directory / name;
  warn_about_file(from, specs, transfer);
  CAIRN_CHECK(internal::remove_stale_files(directory));
  CAIRN_TRY(shards, internal::ShardWriter::create(directory, {name}, std::move(layout)));
  std::uint64_t total_bytes = 0;
  for (const std::size_t i : selection.taken) total_bytes += source.index().tensor(i).size_bytes;
  const auto pour_one = [&](std::size_t i) -> Result<std::uint64_t> {
    std::uint64_t done = 0;
    const Sink sink = [&](auto block) -> Result<void> {
      // Between two blocks: one tensor may be all there is.
      CAIRN_CHECK(os::unless_stopped(options.exec.stop));
      auto written = shards.write(i, done, block);
      done += block.size();
      return written;
    };
    CAIRN_CHECK(stream_tensor(source, selection.taken[i], sink));
    return done;
  };
  CAIRN_CHECK(os::run_parallel(options.exec, specs.size(), total_bytes, pour_one));
  transfer.payload_bytes_copied = total_bytes;
  CAIRN_CHECK(shards.sync());
  CAIRN_TRY(publisher, internal::Publisher::begin({directory, parts.base, options.output.string()},
                                                  {options.lock_wait, options.exec.stop}));
  CAIRN_CHECK(publisher.publish_file(shards.temps().front(), options.replace));
  internal::warn_if_moved(directory, transfer);
  return {};
}

// Empty: convert writes it.
std::string_view why_not_written(Format target) noexcept {
  if (target == Format::TensorFlowV1)
    return "Cairn does not write TensorFlow V1 checkpoints; write the format tensorflow instead";
  if (target == Format::Npy)
    return "a .npy file holds only one array; use 'cairn cat --npy' to write one";
  if (target == Format::Npz)
    return "Cairn does not write .npz files; use 'cairn cat --npy' to write one tensor as .npy";
  if (target == Format::PyTorch)
    return "Cairn does not write PyTorch files; write the format safetensors instead, which "
           "PyTorch "
           "reads with the safetensors library";
  if (target == Format::Gguf)
    return "Cairn does not write GGUF files; write the format safetensors or cairn instead";
  if (target == Format::Hdf5 || target == Format::Keras)
    return "Cairn does not write HDF5 files; write the format safetensors or cairn instead";
  if (target == Format::Onnx)
    return "Cairn does not write ONNX models; write the format safetensors or cairn instead";
  if (target == Format::Ptd)
    return "Cairn does not write .ptd files; write the format safetensors or cairn instead";
  if (target == Format::Tflite)
    return "Cairn does not write .tflite models; write the format safetensors or cairn instead";
  return {};
}

}  // namespace

namespace internal {

WriterOptions writer_options(const Checkpoint& checkpoint) {
  const format::IndexView& index = OpenCheckpoint::of(checkpoint).index();
  WriterOptions options;
  options.step = checkpoint.step();
  for (std::size_t i = 0; i < index.metadata_count(); ++i)
    options.metadata.emplace_back(index.metadata(i));
  for (std::size_t i = 0; i < index.safetensors_metadata_count(); ++i)
    options.safetensors_metadata.emplace_back(index.safetensors_metadata(i));
  return options;
}

Result<std::string> meta_graph(const Location& location, bool follow_links) {
  const os::Links links = follow_links ? os::Links::Follow : os::Links::Inside;
  if (location.kind == Kind::File || !location.has(kMetaSuffix)) return std::string();
  CAIRN_TRY(meta, location.directory.open_file(location.file(kMetaSuffix), links));
  CAIRN_TRY(bytes, os::read_whole(meta, kMetaBytesMax));
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<void> refuse_existing(const TransferOptions& options, Format target) {
  if (options.replace) return {};
  const auto parts = Prefix::of(options.output);
  const auto directory = os::Directory::open(parts.directory);
  if (!directory) return {};
  const std::string file = safetensors_file(parts.base);
  const Target target_file{*directory, {}, options.output.string()};
  if (target == Format::Safetensors)
    return refuse_existing(target_file, std::array<std::string_view, 1>{file});
  constexpr std::array kIndexes{kCairnSuffix, kTensorFlowSuffix};
  const Target prefix{*directory, parts.base, options.output.string()};
  CAIRN_CHECK(refuse_existing(prefix, kIndexes));
  return refuse_to_hide_v1(prefix);
}

Result<void> rewrite(const Payload& payload, const TransferOptions& options, Transfer& transfer) {
  const OpenCheckpoint& source = OpenCheckpoint::of(payload.checkpoint);
  std::vector<TensorSpec> specs = specs_of(source.index(), payload.taken);
  WriterOptions writing = payload.writing;
  writing.replace = options.replace;
  writing.lock_wait = options.lock_wait;
  CAIRN_TRY(writer, Writer::create(options.output, std::move(specs), writing));
  if (payload.unchanged) WriterAccess::before_publishing(writer, payload.unchanged);
  const auto same_as = tied(source.index(), payload.taken);
  std::vector<std::size_t> raw;
  std::vector<std::size_t> encoded;
  std::uint64_t total_bytes = 0;
  for (std::size_t i = 0; i < payload.taken.size(); ++i) {
    const auto tensor = source.index().tensor(payload.taken[i]);
    if (same_as[i])
      CAIRN_CHECK(writer.tie(tensor.name, source.index().tensor_name(payload.taken[*same_as[i]])));
    if (same_as[i]) continue;
    if (tensor.encoding == format::Encoding::Raw) {
      raw.push_back(payload.taken[i]);
      total_bytes += tensor.size_bytes;
    } else {
      encoded.push_back(payload.taken[i]);
      transfer.payload_bytes_copied += tensor.size_bytes;
    }
  }
  const auto pour_one = [&](std::size_t i) -> Result<std::uint64_t> {
    const auto tensor = source.index().tensor(raw[i]);
    const Sink sink = [&](auto block) {
      return os::unless_stopped(options.exec.stop).and_then([&] {
        return writer.append(tensor.name, block);
      });
    };
    CAIRN_CHECK(stream_tensor(source, raw[i], sink));
    return tensor.size_bytes;
  };
  CAIRN_CHECK(os::run_parallel(options.exec, raw.size(), total_bytes, pour_one));
  // In the order of names, so that the same source gives the same file.
  for (const std::size_t i : encoded) {
    CAIRN_CHECK(os::unless_stopped(options.exec.stop));
    CAIRN_CHECK(write_encoded(source, i, writer));
  }
  transfer.payload_bytes_copied += total_bytes;
  CAIRN_CHECK(writer.commit(options.exec));
  std::ranges::copy(writer.warnings(), std::back_inserter(transfer.warnings));
  const os::Directory& directory = WriterAccess::directory(writer);
  warn_of_hidden_v1({directory, Prefix::of(options.output).base, options.output.string()},
                    transfer.warnings);
  warn_if_moved(directory, transfer);
  return {};
}

}  // namespace internal

Result<Transfer> convert(const std::filesystem::path& source, Format target,
                         const TransferOptions& options) noexcept {
  return at_boundary([&]() -> Result<Transfer> {
    if (options.output.empty())
      return Error{Code::Invalid, 0, source.string() + ": convert needs an output prefix"};
    if (const std::string_view why = why_not_written(target); !why.empty())
      return Error{Code::Unsupported, 0, source.string() + ": " + std::string(why)};
    CAIRN_CHECK(internal::refuse_existing(options, target));
    CAIRN_TRY(found, internal::find(source, options.follow_links, options.formats));
    // What the file has besides is no tensor that is asked for.
    if (!options.allow_lossy && !options.tensors)
      CAIRN_CHECK(internal::check_nothing_left_out(found.parts));
    OpenOptions opening;
    opening.exec = options.exec;
    CAIRN_TRY(checkpoint, internal::OpenCheckpoint::make(std::move(found.parts), opening));
    Transfer transfer;
    transfer.prefix = options.output;
    transfer.used = Link::Copy;
    transfer.warnings.assign(checkpoint.warnings().begin(), checkpoint.warnings().end());
    const Source from{found.location, found.seen, checkpoint};
    CAIRN_CHECK(target == Format::Safetensors ? write_safetensors(from, options, transfer)
                                              : write_prefix(from, target, options, transfer));
    return transfer;
  });
}

}  // namespace cairn
