// Export writes another format's index over the payload: P.index for TensorFlow, a hard link for
// safetensors. A tensor's bytes are read only where its checksum is missing, and written only where
// the destination lies where linking is impossible.

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cairn/convert.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/safetensors/own_metadata.h"
#include "lib/edit/fit.h"
#include "lib/edit/publish.h"
#include "lib/edit/sums.h"
#include "lib/edit/transfer.h"
#include "lib/open/assemble.h"
#include "lib/open/load.h"
#include "lib/open/locate.h"
#include "lib/open/safetensors.h"
#include "lib/read/names.h"
#include "lib/try.h"
#include "lib/write/layout.h"
#include "lib/write/remarks.h"

namespace cairn {
namespace {

using internal::Location;

// Whether P.index is there with these bytes, durable. Exists: it is there with others, and
// `replace` is not said.
Result<bool> is_there(const Location& location, std::span<const std::byte> index, bool replace) {
  const auto file =
      location.directory.open_file(location.file(internal::kTensorFlowSuffix), os::Links::Refuse);
  if (!file && (replace || file.error().code == Code::NotFound)) return false;
  if (!file) return file.error();
  CAIRN_TRY(bytes, os::read_whole(*file, format::limits::kForeignIndexBytesMax));
  if (std::ranges::equal(bytes, index)) {
    CAIRN_CHECK(file->sync());  // TensorFlow does not, and who was killed could not
    return true;
  }
  if (replace) return false;
  return Error{
      Code::Exists, 0,
      file->path() + ": exists and has other contents; to replace it, use replace (--replace)"};
}

// What the result says of the step, where that is not the source's.
void warn_of_lost_step(std::optional<std::int64_t> step, std::optional<std::int64_t> said,
                       const TransferOptions& options, Transfer& transfer) {
  if (!step || step == said) return;
  transfer.warnings.push_back(options.output.string() + ": does not have the step of its source, " +
                              std::to_string(*step) +
                              (said ? ", but step " + std::to_string(*said) : ""));
}

bool is_elsewhere(const Location& location, const TransferOptions& options) {
  return !options.output.empty() && options.output != location.prefix;
}

// Whether P.index may lose what it does: these tensors; and, where no P.cairn lies beside,
// metadata.
Result<void> accept_bundle(const Location& location, const internal::Parts& parts,
                           std::span<const std::string> not_nameable,
                           const TransferOptions& options, Transfer& transfer) {
  constexpr std::string_view kNoSum =
      "which has no stored checksum, and P.index needs one; convert() computes it";
  constexpr std::string_view kOtherOrder =
      "whose bytes are in an order that TensorFlow cannot read; convert() rewrites them";
  internal::LossyItems lossy;
  for (const std::string& name : not_nameable) {
    const auto tensor = parts.index.tensor(*parts.index.find(name));
    const bool ordered = tensor.strides.empty() && tensor.big_endian == parts.index.big_endian();
    const bool fits = internal::fits_bundle(tensor.dtype, name);
    lossy.add_tensor(internal::spec_of(tensor), !fits ? "" : ordered ? kNoSum : kOtherOrder);
  }
  if (is_elsewhere(location, options)) {
    internal::add_metadata_lost_to_bundle(parts.index, lossy);
    warn_of_lost_step(internal::step_of(location, parts.index),
                      internal::step_of(options.output.native()), options, transfer);
    internal::warn_of_graph(location, transfer.warnings);
  }
  return internal::check_lossy(lossy, internal::target_format(Format::TensorFlow), options,
                               transfer);
}

Result<Transfer> tensorflow_beside(internal::LockedCheckpoint held,
                                   const TransferOptions& options) {
  const auto& [location, parts, seen] = *held.found;
  format::IndexFacts facts = parts.index.facts();
  CAIRN_TRY(bundle, internal::encode_bundle({location.base, location.prefix}, facts));
  Transfer transfer;
  transfer.prefix = location.prefix;
  transfer.warnings = parts.warnings;
  CAIRN_CHECK(accept_bundle(location, parts, bundle.not_nameable, options, transfer));
  const auto bytes = format::as_bytes(bundle.bytes);
  CAIRN_TRY(there, is_there(location, bytes, options.replace));
  const bool alone = there || parts.format != Format::Cairn;
  CAIRN_CHECK(alone ? internal::sync_payload(parts.shards, location.directory)
                    : internal::sync_shards(parts.shards));
  if (there) return transfer;
  // P.cairn remembers what P.index was; written by us, it is not to look like a stranger's.
  std::optional<format::IndexFacts> record;
  if (parts.format == Format::Cairn) record = std::move(facts);
  CAIRN_CHECK(internal::add_indexes(held.publisher, std::move(record), bytes));
  CAIRN_CHECK(internal::check_unchanged(location, seen));
  CAIRN_CHECK(held.publisher.publish({}, {}));
  internal::warn_of_fingerprint(location.prefix, transfer);
  internal::warn_if_moved(location.directory, transfer);
  return transfer;
}

// `is_over_file`: the index is put beside a file of another format, over its bytes.
Result<Transfer> tensorflow_elsewhere(internal::Found& found, const TransferOptions& options,
                                      bool is_over_file) {
  Transfer transfer;
  transfer.warnings = found.parts.warnings;
  internal::LinkedCheckpoint linked;
  linked.facts = found.parts.index.facts();
  linked.files = found.parts.shards;
  linked.own_index = false;
  linked.no_hard_links = found.parts.format == Format::Onnx;
  linked.over_same_bytes = is_over_file;
  // Checksums that are missing are computed, once it is known that they are needed.
  std::vector<std::string> unfit;
  std::erase_if(linked.facts.tensors, [&unfit](const format::TensorFacts& tensor) {
    const bool fits = internal::fits_bundle(tensor);
    if (!fits) unfit.push_back(tensor.name);
    return !fits;
  });
  CAIRN_CHECK(accept_bundle(found.location, found.parts, unfit, options, transfer));
  CAIRN_TRY(summed, internal::add_sums(linked.facts, linked.files, options.exec));
  if (!summed.empty()) transfer.warnings.push_back(std::move(summed));
  CAIRN_TRY(to, internal::destination_of(found.location, options));
  transfer.prefix = to.prefix;
  CAIRN_CHECK(internal::publish_elsewhere(to, std::move(linked), options, transfer));
  internal::warn_of_fingerprint(to.prefix, transfer);
  return transfer;
}

// Of model.safetensors: model.index, whose shards are second names beside the file.
TransferOptions with_output(const Location& location, TransferOptions options) {
  if (!options.output.empty()) return options;
  std::filesystem::path name = location.base;
  if (name.native().ends_with(".index.json")) name = name.stem().stem();
  options.output = location.prefix.parent_path() / name.stem();
  return options;
}

// Whether the index has this tensor of the header, under its name and with its bytes.
bool is_in_index(const format::IndexView& index, const format::TensorFacts& said,
                 std::size_t shard) {
  const auto position = index.find(said.name);
  if (!position) return false;
  const auto tensor = index.tensor(*position);
  return !tensor.partitioned() && tensor.strides.empty() && tensor.dtype == said.dtype &&
         tensor.opaque_dtype == said.opaque_dtype && std::ranges::equal(tensor.shape, said.shape) &&
         tensor.size_bytes == said.span.size_bytes &&
         (said.span.size_bytes == 0 ||
          (tensor.span.shard == shard && tensor.span.offset_bytes == said.span.offset_bytes));
}

// A shard that is a safetensors file of this checkpoint, whoever wrote it: P.index says nothing of
// that. The header has of tied tensors the first alone, and no strings; its names count only if
// they are the index's.
struct HeadedShard {
  std::size_t shard = 0;
  format::safetensors::HeaderFacts header;
};

Result<std::vector<HeadedShard>> files_among(const internal::Parts& parts) {
  std::vector<HeadedShard> files;
  for (std::size_t i = 0; i < parts.index.shard_count(); ++i) {
    const format::ShardKind kind = parts.index.shard(i).kind;
    if (kind == format::ShardKind::Headerless || kind == format::ShardKind::AnyFile) continue;
    CAIRN_TRY(info, parts.shards[i].info());
    auto header =
        internal::read_safetensors_header(parts.shards[i], info.size_bytes, {.large = true});
    if (!header && kind == format::ShardKind::TensorFlow && header.error().code != Code::Io)
      continue;
    if (!header) return std::move(header).error();
    const bool told = std::ranges::all_of(
        header->facts.tensors, [&](const auto& said) { return is_in_index(parts.index, said, i); });
    if (told || kind == format::ShardKind::Universal)
      files.push_back({i, std::move(header->facts)});
  }
  return files;
}

// The keys of those entries that the file, sorted, does not say: what Cairn keeps there is made
// anew.
std::vector<std::string> keys_missing(const format::KeyValues& entries,
                                      const format::KeyValues& said) {
  std::vector<std::string> missing;
  for (const auto& entry : entries) {
    if (!format::safetensors::is_own_key(entry.first) && !std::ranges::binary_search(said, entry))
      missing.push_back(entry.first);
  }
  return missing;
}

// Whether a tensor that the file does not say lies in another shard: then it fits, and is
// elsewhere. What older readers refuse is in no header that a Writer writes, wherever it lies.
bool is_in_another(const format::IndexView::Tensor& tensor, std::size_t shard) {
  return !tensor.partitioned() &&
         internal::fits_header(internal::spec_of(tensor), internal::SafetensorsReaders::All) &&
         tensor.span.size_bytes != 0 && tensor.span.shard != shard;
}

Error in_several(const Location& location) {
  return {Code::Unsupported, 0,
          location.prefix.string() +
              ": its tensors are in several shards; to write one safetensors file, use convert() "
              "(cairn convert)"};
}

// The header was written with the shard, and is not written anew.
constexpr internal::TargetFormat kHeader{
    "the shard's safetensors header",
    "or use convert() (cairn convert), which writes everything that a safetensors file can hold"};

// Whether the file may lose what its header does not say of the checkpoint.
Result<void> accept_file(const Location& location, const internal::Parts& parts, std::size_t shard,
                         format::safetensors::HeaderFacts header, const TransferOptions& options,
                         Transfer& transfer) {
  internal::LossyItems lossy;
  for (std::size_t i = 0; i < parts.index.tensor_count(); ++i) {
    const auto tensor = parts.index.tensor(i);
    if (std::ranges::binary_search(header.tensors, tensor.name, {}, &format::TensorFacts::name))
      continue;
    if (is_in_another(tensor, shard)) return in_several(location);
    lossy.add_tensor(internal::spec_of(tensor));
  }
  const format::IndexFacts here = parts.index.facts();
  format::IndexFacts there;  // what the file is read as
  there.safetensors_metadata = std::move(header.metadata);
  format::safetensors::take_own_metadata(there);
  std::ranges::sort(there.safetensors_metadata);
  for (const auto& key : keys_missing(here.safetensors_metadata, there.safetensors_metadata))
    lossy.add_safetensors_metadata(key);
  if (is_elsewhere(location, options)) {
    for (const auto& key : keys_missing(here.metadata, there.metadata)) lossy.add_metadata(key);
    const auto step = internal::step_of(location, parts.index);
    warn_of_lost_step(step, there.step, options, transfer);
    if (!step && there.step)
      transfer.warnings.push_back(options.output.string() + ": has step " +
                                  std::to_string(*there.step) +
                                  ", which its header says and its source does not");
    internal::warn_of_graph(location, transfer.warnings);
  }
  return internal::check_lossy(lossy, kHeader, options, transfer);
}

// A universal shard is a safetensors file already: it only needs the name.
Result<Transfer> export_safetensors(Location& location, const internal::Parts& parts,
                                    const TransferOptions& options) {
  CAIRN_TRY(files, files_among(parts));
  if (files.size() > 1) return in_several(location);
  if (files.empty()) {
    return Error{Code::Unsupported, 0,
                 location.prefix.string() +
                     ": none of its shards is a safetensors file; to write one, use convert() "
                     "(cairn convert)"};
  }
  HeadedShard& file = files.front();
  Transfer transfer;
  transfer.warnings = parts.warnings;
  CAIRN_CHECK(accept_file(location, parts, file.shard, std::move(file.header), options, transfer));
  CAIRN_TRY(to, internal::destination_of(location, options));
  const std::string name = internal::safetensors_file(to.base);
  transfer.prefix = to.prefix.parent_path() / name;
  const bool linked = options.link != Link::Auto || options.output.empty() ||
                      internal::may_be_linked(parts.index.shard(file.shard).kind);
  const auto give_name = linked ? internal::link_or_copy_shards : internal::reflink_or_copy_shards;
  CAIRN_TRY(temps, give_name(std::span(parts.shards).subspan(file.shard, 1), std::span(&name, 1),
                             to, options, transfer));
  CAIRN_TRY(publisher, internal::Publisher::begin({to.directory, to.base, to.prefix.string()},
                                                  {options.lock_wait, options.exec.stop}));
  CAIRN_CHECK(publisher.publish_file(temps.front(), options.replace));
  internal::warn_if_moved(to.directory, transfer);
  return transfer;
}

}  // namespace

Result<Transfer> export_index(const std::filesystem::path& source, Format target,
                              const TransferOptions& options) noexcept {
  return at_boundary([&]() -> Result<Transfer> {
    if (target != Format::TensorFlow && target != Format::Safetensors) {
      return Error{Code::Unsupported, 0,
                   source.string() +
                       ": the target of an export is tensorflow or safetensors; to add Cairn's "
                       "index, use import_index()"};
    }
    CAIRN_TRY(found, internal::find(source, options.follow_links, options.formats));
    if (found.parts.decoded) {
      return Error{Code::Unsupported, 0,
                   found.location.prefix.string() +
                       (found.parts.format == Format::TensorFlowV1 ? ": is a V1 checkpoint"
                                                                   : ": has compressed arrays") +
                       "; its values are not stored as plain bytes, so an index cannot point to "
                       "them; use convert() (cairn convert)"};
    }
    if (target == Format::Safetensors)
      return export_safetensors(found.location, found.parts, options);
    if (found.location.kind == internal::Kind::File)
      return tensorflow_elsewhere(found, with_output(found.location, options),
                                  options.output.empty());
    CAIRN_TRY(beside, internal::is_beside(found.location, options));
    if (!beside) return tensorflow_elsewhere(found, options, false);
    CAIRN_TRY(held, internal::find_and_lock(source, options));
    return tensorflow_beside(std::move(held), options);
  });
}

}  // namespace cairn
