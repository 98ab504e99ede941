#include "lib/edit/write_safetensors.h"

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <utility>

#include "format/dtype.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/safetensors/header.h"
#include "format/safetensors/hub_index.h"
#include "lib/edit/fit.h"
#include "lib/edit/stream.h"
#include "lib/edit/transfer.h"
#include "lib/read/names.h"
#include "lib/read/open_checkpoint.h"
#include "lib/try.h"
#include "lib/write/free_space.h"
#include "lib/write/layout.h"
#include "lib/write/model_directory.h"
#include "lib/write/publisher.h"
#include "lib/write/shard_writer.h"

namespace cairn::internal {
namespace {

constexpr std::string_view kIndexSuffix = ".index.json";
constexpr std::string_view kTotalSizeKey = "total_size";

// Dtypes that not every reader of a safetensors file takes.
void warn_of_newest_dtypes(const FileContents& contents, Transfer& transfer) {
  std::set<std::string> newest;
  for (const auto& [position, spec] : contents.tensors) {
    if (fits_header(spec, SafetensorsReaders::All)) continue;
    newest.emplace(spec.dtype == DType::Opaque ? spec.opaque.name
                                               : format::safetensors_name(spec.dtype, false));
  }
  for (const std::string& dtype : newest) {
    transfer.warnings.push_back(
        transfer.prefix.string() + ": has tensors of the dtype " + dtype +
        ", which only the newest readers of safetensors know; other readers refuse the whole file");
  }
}

// The file that a plan for these tensors gives, its header made.
Result<Layout> plan_file(std::span<const TensorSpec> specs, const format::KeyValues& metadata,
                         const TransferOptions& options) {
  // safetensors has no shared bytes: each name gets its own.
  const std::vector<std::optional<std::size_t>> same_as(specs.size());
  Layout layout = plan_layout({specs, same_as, 0, metadata, SafetensorsReaders::Newest}, 1);
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

std::uint64_t total_bytes(const Layout& layout) {
  std::uint64_t bytes = 0;
  for (const PlannedTensor& tensor : layout.tensors) bytes += tensor.size_bytes;
  return bytes;
}

Result<void> write_tensors(const FileContents& contents, const ShardWriter& shards,
                           const TransferOptions& options, Transfer& transfer) {
  CAIRN_CHECK(stream_tensors(request_for(contents, options, transfer),
                             [&](std::size_t i, std::uint64_t at_bytes, auto block) {
                               return shards.write(i, at_bytes, block);
                             }));
  transfer.payload_bytes_copied = total_bytes(shards.layout());
  return shards.sync();
}

// ---- One file -----------------------------------------------------------------------------------

Result<void> write_file(const FileContents& contents, const TransferOptions& options,
                        Transfer& transfer) {
  const auto parts = Prefix::of(options.output);
  CAIRN_TRY(directory, os::Directory::open_or_create(parts.directory));
  const std::string name = safetensors_file(parts.base);
  transfer.prefix = parts.directory / name;
  warn_of_newest_dtypes(contents, transfer);
  const std::vector<TensorSpec> specs = specs_of(contents.tensors);
  CAIRN_TRY(layout, plan_file(specs, metadata_for_file(contents.checkpoint, specs), options));
  CAIRN_CHECK(remove_stale_files(directory));
  CAIRN_TRY(shards, ShardWriter::create(directory, {name}, std::move(layout)));
  CAIRN_CHECK(write_tensors(contents, shards, options, transfer));
  CAIRN_TRY(publisher, Publisher::begin({directory, parts.base, options.output.string()},
                                        {options.lock_wait, options.exec.stop}));
  CAIRN_CHECK(publisher.publish_file(shards.temps().front(), options.replace));
  warn_if_moved(directory, transfer);
  return {};
}

// ---- A directory of several ---------------------------------------------------------------------

// The directory, and its name in that: "hub/model/" is "hub/model".
struct DirectoryPlace {
  std::filesystem::path parent;
  std::string name;
};

DirectoryPlace place_of(const std::filesystem::path& output) {
  const std::filesystem::path path = output.has_filename() ? output : output.parent_path();
  return {path.parent_path(), path.filename().string()};
}

// Where each file begins, in the tensors' order. huggingface_hub splits so: a file ends before the
// tensor that would make it too large; a tensor that is too large itself has a file of its own, and
// what follows goes on in the file before it.
std::vector<std::vector<std::size_t>> split(std::span<const TensorSpec> specs,
                                            std::uint64_t bytes_max) {
  std::vector<std::vector<std::size_t>> files;
  std::vector<std::size_t> current;
  std::uint64_t current_bytes = 0;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const std::uint64_t size_bytes = spec_bytes(specs[i]).value_or(0);
    if (size_bytes > bytes_max) {
      files.push_back({i});
      continue;
    }
    if (current_bytes + size_bytes > bytes_max) {
      files.push_back(std::exchange(current, {}));
      current_bytes = 0;
    }
    current.push_back(i);
    current_bytes += size_bytes;
  }
  if (!current.empty() || files.empty()) files.push_back(std::move(current));
  return files;
}

// The files of one layout, each with its own header.
Result<Layout> plan_files(const FileContents& contents,
                          std::span<const std::vector<std::size_t>> files,
                          const TransferOptions& options) {
  const std::vector<TensorSpec> specs = specs_of(contents.tensors);
  format::KeyValues metadata = metadata_for_file(contents.checkpoint, specs);
  // That of all files is in the index.
  if (files.size() > 1)
    std::erase_if(metadata, [](const auto& entry) { return entry.first == kTotalSizeKey; });
  Layout whole;
  whole.tensors.resize(specs.size());
  for (const std::vector<std::size_t>& file : files) {
    std::vector<TensorSpec> own;
    for (const std::size_t i : file) own.push_back(specs[i]);
    CAIRN_TRY(layout, plan_file(own, metadata, options));
    for (std::size_t i = 0; i < file.size(); ++i) {
      whole.tensors[file[i]] = layout.tensors[i];
      whole.tensors[file[i]].shard = static_cast<std::uint32_t>(whole.shards.size());
    }
    whole.shards.push_back(std::move(layout.shards.front()));
  }
  return whole;
}

std::vector<std::string> file_names(std::size_t count) {
  if (count == 1) return {std::string(kModelFile)};
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i) names.push_back(model_shard_name(i, count));
  return names;
}

Result<TempFile> write_index(const FileContents& contents, const Layout& layout,
                             const os::Directory& directory) {
  const std::vector<std::string> names = file_names(layout.shards.size());
  std::vector<std::pair<std::string_view, std::string_view>> weight_map;
  for (std::size_t i = 0; i < contents.tensors.size(); ++i)
    weight_map.emplace_back(contents.tensors[i].spec.name, names[layout.tensors[i].shard]);
  const std::string text = format::safetensors::encode_hub_index(weight_map, total_bytes(layout));
  return write_temp_file(directory, std::string(kModelIndex), format::as_bytes(text));
}

Result<void> write_directory(const FileContents& contents, const TransferOptions& options,
                             Transfer& transfer) {
  const DirectoryPlace place = place_of(options.output);
  CAIRN_TRY(parent, os::Directory::open_or_create(place.parent));
  transfer.prefix = place.parent / place.name;
  warn_of_newest_dtypes(contents, transfer);
  const auto files = split(specs_of(contents.tensors), options.max_shard_bytes);
  if (files.size() > format::limits::kShardsMax) {
    return Error{Code::Unsupported, 0,
                 options.output.string() + ": the model would have " +
                     std::to_string(files.size()) + " files, more than the limit of " +
                     std::to_string(format::limits::kShardsMax) +
                     "; choose a larger size (--max-shard-size)"};
  }
  CAIRN_TRY(layout, plan_files(contents, files, options));
  CAIRN_CHECK(remove_stale_files(parent));
  CAIRN_TRY(directory, ModelDirectory::create(parent, place.name));
  CAIRN_TRY(shards,
            ShardWriter::create(directory.files(), file_names(files.size()), std::move(layout)));
  CAIRN_CHECK(write_tensors(contents, shards, options, transfer));
  std::vector<TempFile> temps;
  for (TempFile& temp : shards.temps()) temps.push_back(std::move(temp));
  if (files.size() > 1) {
    CAIRN_TRY(index, write_index(contents, shards.layout(), directory.files()));
    temps.push_back(std::move(index));
  }
  CAIRN_TRY(warnings,
            directory.publish(temps, options.replace, {options.lock_wait, options.exec.stop}));
  std::ranges::move(warnings, std::back_inserter(transfer.warnings));
  warn_if_moved(parent, transfer);
  return {};
}

// What loaders read in the directory in place of the file. vLLM reads the files of an index, and no
// other; transformers reads model.safetensors or its index, and no file of another name.
Result<void> refuse_other_models(const os::Directory& directory, const std::string& file,
                                 const TransferOptions& options,
                                 std::vector<std::string>& warnings) {
  const std::string shown = options.output.string() + ": ";
  const std::string index = file + std::string(kIndexSuffix);
  if (directory.exists(index) && !options.replace) {
    return Error{Code::Exists, 0,
                 shown + index +
                     " is there, and loaders may read the files that it names in place of this "
                     "one; remove it, choose another output, or use replace (--replace), which "
                     "leaves it there"};
  }
  for (const std::string& other : {index, std::string(kModelFile), std::string(kModelIndex)}) {
    if (other == file || !directory.exists(other)) continue;
    warnings.push_back(shown + other + " is in the same directory, and loaders of the directory " +
                       "may read it in place of this file");
    break;
  }
  return {};
}

}  // namespace

StreamRequest request_for(const FileContents& contents, const TransferOptions& options,
                          Transfer& transfer) {
  return {OpenCheckpoint::of(contents.checkpoint), contents.tensors, options.exec, transfer.casts};
}

Result<void> refuse_safetensors(const TransferOptions& options,
                                std::vector<std::string>& warnings) {
  if (options.max_shard_bytes != 0) {
    const DirectoryPlace place = place_of(options.output);
    if (place.name.empty() || place.name == "." || place.name == "..") {
      return Error{Code::Invalid, 0,
                   options.output.string() +
                       ": is no name of a directory that can be replaced at once; give a path that "
                       "ends with its name"};
    }
    const auto parent = os::Directory::open(place.parent);
    return parent ? refuse_model_directory(*parent, place.name, options.replace) : Result<void>();
  }
  const auto parts = Prefix::of(options.output);
  const auto directory = os::Directory::open(parts.directory);
  if (!directory) return {};
  const std::string file = safetensors_file(parts.base);
  const Target target{*directory, {}, options.output.string()};
  if (!options.replace) CAIRN_CHECK(refuse_existing(target, std::array<std::string_view, 1>{file}));
  return refuse_other_models(*directory, file, options, warnings);
}

Result<void> write_safetensors(const FileContents& contents, const TransferOptions& options,
                               Transfer& transfer) {
  return options.max_shard_bytes != 0 ? write_directory(contents, options, transfer)
                                      : write_file(contents, options, transfer);
}

}  // namespace cairn::internal
