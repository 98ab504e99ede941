// Convert reads every tensor through one open checkpoint and writes it anew in the target's layout:
// checked on the way, streamed, a few blocks in memory.

#include "lib/edit/convert.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <span>
#include <tuple>

#include "cairn/object_graph.h"
#include "lib/edit/cast.h"
#include "lib/edit/fit.h"
#include "lib/edit/outgoing.h"
#include "lib/edit/publish.h"
#include "lib/edit/stream.h"
#include "lib/edit/transfer.h"
#include "lib/edit/write_npz.h"
#include "lib/edit/write_safetensors.h"
#include "lib/open/load.h"
#include "lib/open/locate.h"
#include "lib/open/zip_file.h"
#include "lib/os/parallel.h"
#include "lib/read/names.h"
#include "lib/read/open_checkpoint.h"
#include "lib/try.h"
#include "lib/write/batch.h"
#include "lib/write/layout.h"
#include "lib/write/publisher.h"
#include "lib/write/remarks.h"
#include "lib/write/writer_access.h"

namespace cairn {
namespace {

constexpr std::uint64_t kMetaBytesMax = std::uint64_t{1}
                                        << 31;  // protobuf's own limit on a message

// Names that share all their bytes in the source, and read them alike, share them in the target:
// position → the first of them. A transposed view has other values in row-major order.
std::vector<std::optional<std::size_t>> tied(const format::IndexView& index,
                                             std::span<const internal::OutgoingTensor> taken) {
  using Strides = std::vector<std::pair<std::int64_t, std::int64_t>>;  // each with its dimension
  using Key = std::tuple<std::uint32_t, std::uint64_t, std::uint64_t, DType, std::string_view, bool,
                         Strides>;
  std::map<Key, std::size_t> first;
  std::vector<std::optional<std::size_t>> same_as(taken.size());
  for (std::size_t i = 0; i < taken.size(); ++i) {
    const auto tensor = index.tensor(taken[i].position);
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

Result<void> write_encoded(const internal::OpenCheckpoint& source,
                           const internal::OutgoingTensor& outgoing, Writer& writer) {
  const std::size_t position = outgoing.position;
  const auto tensor = source.index().tensor(position);
  const bool strings_alone = tensor.encoding == format::Encoding::TensorFlowString &&
                             (tensor.big_endian || tensor.partitioned());
  if (strings_alone) {
    CAIRN_TRY(strings, source.copy_strings(position));
    return writer.write_strings(outgoing.spec.name, strings.values);
  }
  std::vector<std::byte> stored(tensor.size_bytes);
  CAIRN_CHECK(source.read(position, stored, {}));
  return writer.write_encoded(outgoing.spec.name, stored);
}

struct Source {
  const internal::Location& location;
  const internal::IndexIdentities& seen;
  const Checkpoint& checkpoint;
};

// A checkpoint that is converted onto itself must be what was read.
Result<void> check_source(const Source& source, const TransferOptions& options) {
  CAIRN_TRY(same, internal::is_beside(source.location, options));
  return same ? internal::check_unchanged(source.location, source.seen) : Result<void>();
}

// What the index has no sums of may have sums of the file's own, as in an archive.
Result<void> check_own_sums(const internal::OpenCheckpoint& source,
                            std::span<const internal::OutgoingTensor> taken,
                            const ExecOptions& exec) {
  const format::IndexView& index = source.index();
  std::vector<std::vector<std::uint64_t>> offsets(index.shard_count());
  const auto add = [&](const format::Span& span) {
    const bool is_file = !source.shards().is_decoded(span.shard);
    if (!span.crc32c && span.size_bytes != 0 && is_file)
      offsets[span.shard].push_back(span.offset_bytes);
  };
  for (const internal::OutgoingTensor& outgoing : taken) {
    const auto tensor = index.tensor(outgoing.position);
    if (!tensor.partitioned()) add(tensor.span);
    for (std::uint32_t slice = tensor.slices_begin; slice < tensor.slices_end; ++slice)
      add(index.slice(slice).span);
  }
  for (std::uint32_t shard = 0; shard < index.shard_count(); ++shard) {
    if (offsets[shard].empty()) continue;
    std::ranges::sort(offsets[shard]);
    CAIRN_CHECK(internal::check_stored_members(source.shards().file(shard), offsets[shard], exec));
  }
  return {};
}

// Everything that the target can hold, with P.meta, under a prefix.
Result<void> write_prefix(const Source& source, Format target, const TransferOptions& options,
                          Transfer& transfer) {
  const auto& opened = internal::OpenCheckpoint::of(source.checkpoint);
  CAIRN_TRY(tensors, internal::outgoing_tensors(source.checkpoint, target, options, transfer));
  internal::FormatFit fit = internal::fit_of(opened.index(), target, std::move(tensors));
  CAIRN_CHECK(internal::check_lossy(fit.lossy, internal::target_format(target), options, transfer));
  CAIRN_CHECK(check_own_sums(opened, fit.taken, options.exec));
  WriterOptions writing = internal::writer_options(source.checkpoint);
  writing.cairn_index = target == Format::Cairn;
  if (target != Format::Cairn && writing.step != internal::step_of(options.output.native())) {
    transfer.warnings.push_back(options.output.string() +
                                ": TensorFlow reads the step only from the name, and this name "
                                "does not have the step of the source" +
                                (writing.step ? ", " + std::to_string(*writing.step) : ""));
  }
  CAIRN_TRY(graph, internal::meta_graph(source.location, options.follow_links));
  const bool changed = !transfer.renamed.empty() || !transfer.casts.empty();
  if (!graph.empty() && changed) {
    transfer.warnings.push_back(options.output.string() + std::string(internal::kMetaSuffix) +
                                ": TensorFlow's graph keeps the old names and dtypes");
  }
  writing.meta_graph = std::move(graph);
  internal::Payload payload{source.checkpoint, std::move(fit.taken), std::move(writing), {}};
  payload.unchanged = [&] { return check_source(source, options); };
  CAIRN_CHECK(internal::rewrite(payload, options, transfer));
  internal::warn_of_fingerprint(options.output, transfer);
  return {};
}

// An .npy file holds one array.
Result<void> check_single(std::size_t count, const TransferOptions& options) {
  if (count == 1) return {};
  return Error{Code::Invalid, 0,
               options.output.string() + ": an .npy file holds one tensor, and there are " +
                   std::to_string(count) +
                   "; choose one of them (--only TENSOR), or write an archive of all (npz)"};
}

// What a file of this format has no room for, beside tensors and metadata.
void warn_about_file(const Source& source, Format target, Transfer& transfer) {
  internal::warn_of_graph(source.location, transfer.warnings);
  const auto step = source.checkpoint.step();
  if (!step || target == Format::Safetensors) return;
  transfer.warnings.push_back(transfer.prefix.string() +
                              ": does not have the step of its source, " + std::to_string(*step));
}

// The target of these files; where it lacks the object graph alone, with what needs none.
internal::TargetFormat target_of(Format target, const internal::LossyItems& lossy) {
  internal::TargetFormat holder = internal::target_format(target);
  const bool only_graph = lossy.described.size() == 1 && lossy.tensors.size() == 1 &&
                          lossy.tensors.front() == kObjectGraphName;
  if (only_graph) {
    holder.instead =
        "or use TensorNames::Path (--names full), which leaves it out and names the tensors by "
        "their object paths";
  }
  return holder;
}

// One file, or a directory of several, with everything that it can name.
Result<void> write_file(const Source& source, Format target, const TransferOptions& options,
                        Transfer& transfer) {
  const format::IndexView& index = internal::OpenCheckpoint::of(source.checkpoint).index();
  CAIRN_TRY(tensors, internal::outgoing_tensors(source.checkpoint, target, options, transfer));
  if (target == Format::Npy) CAIRN_CHECK(check_single(tensors.size(), options));
  internal::FormatFit fit = internal::fit_of(index, target, std::move(tensors));
  if (target == Format::Npz) internal::leave_out_mistaken(fit.taken, fit.lossy);
  CAIRN_CHECK(internal::check_lossy(fit.lossy, target_of(target, fit.lossy), options, transfer));
  if (target == Format::Npy) CAIRN_CHECK(check_single(fit.taken.size(), options));
  CAIRN_CHECK(
      check_own_sums(internal::OpenCheckpoint::of(source.checkpoint), fit.taken, options.exec));
  warn_about_file(source, target, transfer);
  const internal::FileContents contents{source.checkpoint, fit.taken};
  switch (target) {
    case Format::Npz:
      return internal::write_npz(contents, options, transfer);
    case Format::Npy:
      return internal::write_npy(contents, options, transfer);
    default:
      return internal::write_safetensors(contents, options, transfer);
  }
}

bool is_file_format(Format target) noexcept {
  return target == Format::Safetensors || target == Format::Npz || target == Format::Npy;
}

// Empty: convert writes it.
// Without a default, so that the compiler asks for a new format.
std::string_view why_not_written(Format target) noexcept {
  switch (target) {
    case Format::Cairn:
    case Format::TensorFlow:
    case Format::Safetensors:
    case Format::Npy:
    case Format::Npz:
      return {};
    case Format::TensorFlowV1:
      return "Cairn does not write TensorFlow V1 checkpoints; write the format tensorflow instead";
    case Format::PyTorch:
      return "Cairn does not write PyTorch files; write the format safetensors instead, which "
             "PyTorch reads with the safetensors library";
    case Format::Gguf:
      return "Cairn does not write GGUF files; write the format safetensors or cairn instead";
    case Format::Hdf5:
    case Format::Keras:
      return "Cairn does not write HDF5 files; write the format safetensors or cairn instead";
    case Format::Onnx:
      return "Cairn does not write ONNX models; write the format safetensors or cairn instead";
    case Format::Ptd:
      return "Cairn does not write .ptd files; write the format safetensors or cairn instead";
    case Format::Tflite:
      return "Cairn does not write .tflite models; write the format safetensors or cairn instead";
  }
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
  if (target == Format::Safetensors) return {};  // refuse_safetensors()
  if (target == Format::Npz || target == Format::Npy) {
    const std::string file = with_suffix(parts.base, target == Format::Npz ? ".npz" : ".npy");
    return refuse_existing({*directory, {}, options.output.string()},
                           std::array<std::string_view, 1>{file});
  }
  constexpr std::array kIndexes{kCairnSuffix, kTensorFlowSuffix};
  const Target prefix{*directory, parts.base, options.output.string()};
  CAIRN_CHECK(refuse_existing(prefix, kIndexes));
  return refuse_to_hide_v1(prefix);
}

Result<void> rewrite(const Payload& payload, const TransferOptions& options, Transfer& transfer) {
  const OpenCheckpoint& source = OpenCheckpoint::of(payload.checkpoint);
  WriterOptions writing = payload.writing;
  writing.replace = options.replace;
  writing.lock_wait = options.lock_wait;
  CAIRN_TRY(writer, Writer::create(options.output, specs_of(payload.taken), writing));
  if (payload.unchanged) WriterAccess::before_publishing(writer, payload.unchanged);
  const auto same_as = tied(source.index(), payload.taken);
  std::vector<OutgoingTensor> raw;
  std::vector<OutgoingTensor> encoded;
  for (std::size_t i = 0; i < payload.taken.size(); ++i) {
    const OutgoingTensor& outgoing = payload.taken[i];
    const auto tensor = source.index().tensor(outgoing.position);
    if (same_as[i])
      CAIRN_CHECK(writer.tie(outgoing.spec.name, payload.taken[*same_as[i]].spec.name));
    if (same_as[i]) continue;
    const bool is_raw = tensor.encoding == format::Encoding::Raw;
    (is_raw ? raw : encoded).push_back(outgoing);
    transfer.payload_bytes_copied += is_raw ? *spec_bytes(outgoing.spec) : tensor.size_bytes;
  }
  const auto write = [&](std::size_t i, std::uint64_t, std::span<const std::byte> block) {
    return writer.append(raw[i].spec.name, block);
  };
  CAIRN_CHECK(stream_tensors({source, raw, options.exec, transfer.casts}, write));
  // In the order of names, so that the same source gives the same file.
  for (const OutgoingTensor& outgoing : encoded) {
    CAIRN_CHECK(os::unless_stopped(options.exec.stop));
    CAIRN_CHECK(write_encoded(source, outgoing, writer));
  }
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
    if (options.max_shard_bytes != 0 && target != Format::Safetensors) {
      return Error{
          Code::Invalid, 0,
          options.output.string() + ": only a safetensors model is split into several files"};
    }
    Transfer transfer;
    CAIRN_CHECK(internal::refuse_existing(options, target));
    if (target == Format::Safetensors)
      CAIRN_CHECK(internal::refuse_safetensors(options, transfer.warnings));
    CAIRN_TRY(found, internal::find(source, options.follow_links, options.formats));
    // What the file has besides is no tensor that is asked for.
    if (!options.allow_lossy && !options.tensors)
      CAIRN_CHECK(internal::check_nothing_left_out(found.parts));
    OpenOptions opening;
    opening.exec = options.exec;
    CAIRN_TRY(checkpoint, internal::OpenCheckpoint::make(std::move(found.parts), opening));
    transfer.prefix = options.output;
    transfer.used = Link::Copy;
    std::ranges::copy(checkpoint.warnings(), std::back_inserter(transfer.warnings));
    const Source from{found.location, found.seen, checkpoint};
    CAIRN_CHECK(is_file_format(target) ? write_file(from, target, options, transfer)
                                       : write_prefix(from, target, options, transfer));
    internal::warn_of_casts(transfer.prefix, transfer);
    return transfer;
  });
}

}  // namespace cairn
