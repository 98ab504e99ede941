// Users pass a prefix, its index, a data file or a directory. All of them lead to the checkpoint,
// if there is one. If there is none, the error says what the path is and what to pass instead.

#include "lib/open/locate.h"

#include <algorithm>
#include <array>
#include <ranges>

#include "lib/open/catalog.h"
#include "lib/open/file_formats.h"
#include "lib/open/identify.h"
#include "lib/open/v1.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using std::filesystem::path;

// The second is the same message as text.
constexpr std::array<std::string_view, 2> kSavedModelNames{"saved_model.pb", "saved_model.pbtxt"};

bool is_saved_model(const os::Directory& directory) {
  return std::ranges::any_of(kSavedModelNames,
                             [&](std::string_view name) { return directory.exists(name); });
}

bool has_index(const os::Directory& directory, const std::string& base) {
  return directory.exists(base + std::string(kCairnSuffix)) ||
         directory.exists(base + std::string(kTensorFlowSuffix));
}

// The base of which `name` is a member file; empty optional: of none that has an index.
std::optional<std::string> base_of_checkpoint_file(const os::Directory& directory,
                                                   const std::string& name) {
  for (const std::string_view suffix : {kCairnSuffix, kTensorFlowSuffix, kMetaSuffix}) {
    if (!name.ends_with(suffix)) continue;
    std::string base = name.substr(0, name.size() - suffix.size());
    if (has_index(directory, base)) return base;
  }
  const std::size_t data = name.rfind(".data-");
  if (data == std::string::npos) return std::nullopt;
  std::string base = name.substr(0, data);
  if (shard_number(name, base) && has_index(directory, base)) return base;
  return std::nullopt;
}

// Up to three prefixes and safetensors files in the directory, for a message.
std::string prefixes_in(const os::Directory& directory) {
  const auto names = directory.names();
  if (!names) return {};
  std::vector<std::string> bases;
  for (const std::string& name : *names) {
    if (name.starts_with("._")) continue;  // what macOS keeps of a file that it copied here
    if (is_named_as_file(name)) bases.push_back(name);
    const auto base = base_of_checkpoint_file(directory, name);
    const auto v1 = v1_name(name);
    if (base) bases.push_back(*base);
    if (!base && v1 && v1->shard) bases.push_back(v1->base);
  }
  std::ranges::sort(bases);
  bases.erase(std::ranges::unique(bases).begin(), bases.end());
  return first_few(bases);
}

Location at_prefix(os::Directory directory, std::string base, const path& prefix);
Location at_format(const path& file_path, os::Directory directory, const std::string& name,
                   const FileFormat& format);

// nullptr: no file has the name, or neither its bytes nor `named_as` are of one of the formats.
const FileFormat* format_of(const os::Directory& directory, const std::string& name,
                            os::Links links, std::string_view named_as) {
  const auto seen = directory.open_seen(name, links);
  const auto type = seen ? identify(seen->file, seen->info) : Result<FileType>(seen.error());
  return type ? file_format(*type, named_as) : nullptr;
}

// What an index stands beside: a checkpoint, or a file of another format, which speaks for itself.
Location at_index(os::Directory directory, std::string base, const path& prefix, os::Links links) {
  const FileFormat* const format =
      is_named_as_file(base) ? format_of(directory, base, links, base) : nullptr;
  if (format == nullptr) return at_prefix(std::move(directory), std::move(base), prefix);
  return at_format(prefix, std::move(directory), base, *format);
}

Location at_prefix(os::Directory directory, std::string base, const path& prefix) {
  return {Kind::Prefix, std::move(directory), std::move(base), prefix, {}, {}};
}

// The location of what has no index under its own name, if it is a V1 checkpoint. An index under
// the base wins over V1 files, however they are spelt.
Result<std::optional<Location>> at_v1(os::Directory& directory, const std::string& name,
                                      const path& given) {
  CAIRN_TRY(found, find_v1(directory, name));
  if (!found) return std::optional<Location>();
  const path prefix = given.parent_path() / found->base;
  if (has_index(directory, found->base))
    return std::optional(at_prefix(std::move(directory), found->base, prefix));
  return std::optional(Location{
      Kind::TensorFlowV1, std::move(directory), found->base, prefix, {}, std::move(found->names)});
}

Result<Location> at_catalog(const path& dir, bool follow_links, OpenAttempt& attempt) {
  CAIRN_TRY(state, read_catalog(dir, kCatalogName, attempt));
  if (!state) {
    return Error{Code::NotFound, 0, (dir / kCatalogName).string() + ": is gone"};
  }
  attempt.catalog_dir = dir;
  CAIRN_TRY(entry, resolve_entry(dir, state->model_checkpoint_path, follow_links));
  auto location = locate_prefix(entry.prefix);
  if (!location && location.error().code == Code::NotFound) {
    return Error{Code::NotFound, 0,
                 (dir / kCatalogName).string() + ": its latest checkpoint " +
                     state->model_checkpoint_path.string() + " does not exist"};
  }
  if (location && !entry.warning.empty()) location->warnings.push_back(entry.warning);
  return location;
}

Result<Location> at_saved_model(const path& dir) {
  auto location = locate_prefix(dir / "variables" / "variables");
  if (location || location.error().code != Code::NotFound) return location;
  const auto variables = os::Directory::open(dir / "variables");
  const auto names = variables ? variables->names() : std::vector<std::string>();
  const auto is_shard = [](const std::string& name) {
    return shard_number(name, "variables").has_value();
  };
  if (names && std::ranges::any_of(*names, is_shard)) {
    return Error{Code::NotFound, 0,
                 dir.string() +
                     ": is a SavedModel with shards, but variables/variables.index is missing; "
                     "perhaps only a part was copied; copy it again"};
  }
  return Error{Code::NotFound, 0, dir.string() + ": is a SavedModel without variables"};
}

// The SavedModels in a directory of versions, such as TensorFlow Serving watches: by number, the
// newest first.
std::vector<std::string> versions_in(const os::Directory& directory, const path& dir) {
  constexpr std::size_t kDigitsMax = 18;
  std::vector<std::string> versions;
  for (const std::string& name : directory.names().value_or(std::vector<std::string>())) {
    const bool is_number = !name.empty() && name.size() <= kDigitsMax &&
                           name.find_first_not_of("0123456789") == std::string::npos;
    if (!is_number) continue;
    const auto version = os::Directory::open(dir / name);
    if (version && is_saved_model(*version)) versions.push_back(name);
  }
  std::ranges::sort(versions, std::ranges::greater(),
                    [](const std::string& name) { return std::stoull(name); });
  return versions;
}

// Directories of other libraries, recognised by a file that each has in it.
struct ForeignDirectory {
  std::string_view file;
  std::string_view what;
};
constexpr std::string_view kOrbax =
    "a checkpoint of Orbax (JAX), whose arrays lie compressed in chunks, which Cairn cannot open; "
    "restore it with Orbax, and save its arrays with safetensors.flax.save_file";
constexpr std::string_view kZarr =
    "a zarr store, whose arrays lie compressed in chunks, which Cairn cannot open; read it with "
    "zarr, and save its arrays with numpy.savez or safetensors.numpy.save_file";
constexpr ForeignDirectory kForeignDirectories[] = {
    {"_CHECKPOINT_METADATA", kOrbax},
    {"_METADATA", kOrbax},
    {"manifest.ocdbt", kOrbax},
    {"zarr.json", kZarr},
    {".zgroup", kZarr},
    {".zarray", kZarr},
};

// A distributed checkpoint of PyTorch: the file that says where the tensors are in the other files.
constexpr std::string_view kDistributedMetadata = ".metadata";
constexpr std::string_view kDistributedSuffix = ".distcp";

bool is_distributed(const os::Directory& directory) {
  const auto names = directory.names();
  return names && std::ranges::any_of(*names, [](const std::string& name) {
           return name.ends_with(kDistributedSuffix);
         });
}

Error no_distributed_metadata(const path& where, const char* what) {
  return {Code::NotFound, 0,
          where.string() + ": is " + what +
              " of a distributed checkpoint of PyTorch, but the file .metadata is missing, which "
              "says what the tensors are and is written last; copy it too, or save again"};
}

Error no_catalog(const os::Directory& directory, const path& dir) {
  for (const ForeignDirectory& each : kForeignDirectories) {
    if (directory.exists(each.file))
      return {Code::Unsupported, 0, dir.string() + ": is " + std::string(each.what)};
  }
  if (is_distributed(directory)) return no_distributed_metadata(dir, "the directory");
  const auto versions = versions_in(directory, dir);
  if (!versions.empty()) {
    return {Code::NotFound, 0,
            dir.string() +
                ": is a directory with several versions of a SavedModel; give one of them: " +
                first_few(versions | std::views::transform([&](const std::string& version) {
                            return (dir / version).string();
                          }))};
  }
  const std::string prefixes = prefixes_in(directory);
  return {
      Code::NotFound, 0,
      dir.string() + ": is a directory without a catalog (a file named " +
          std::string(kCatalogName) + ")" +
          (prefixes.empty() ? " and without checkpoints" : "; give a prefix in it: " + prefixes)};
}

Result<Location> at_file(const path& file_path, os::Directory directory, const std::string& name,
                         os::Links links);

// The model of a directory as the Hugging Face libraries write it: the first of these names that is
// there, in the order in which transformers looks for them; what it would not read is named.
Result<std::optional<Location>> at_hub(const path& dir, const os::Directory& directory,
                                       os::Links links) {
  constexpr std::array<std::string_view, 9> kNames{"model.safetensors",
                                                   "model.safetensors.index.json",
                                                   "adapter_model.safetensors",
                                                   "diffusion_pytorch_model.safetensors",
                                                   "diffusion_pytorch_model.safetensors.index.json",
                                                   "pytorch_model.bin",
                                                   "pytorch_model.bin.index.json",
                                                   "adapter_model.bin",
                                                   kDistributedMetadata};
  std::vector<std::string> there;
  for (const std::string_view name : kNames) {
    if (directory.exists(name)) there.emplace_back(name);
  }
  if (there.empty()) return std::optional<Location>();
  CAIRN_TRY(twin, directory.duplicate());
  CAIRN_TRY(location, at_file(dir / there.front(), std::move(twin), there.front(), links));
  const auto others = std::span(there).subspan(1);
  if (!others.empty()) {
    location.warnings.push_back(dir.string() + ": " + there.front() +
                                " is opened; these files in the directory are not read: " +
                                first_few(others, others.size()));
  }
  return std::optional(std::move(location));
}

Result<Location> at_directory(const path& dir, bool follow_links, OpenAttempt& attempt) {
  CAIRN_TRY(directory, os::Directory::open(dir));
  if (is_saved_model(directory)) return at_saved_model(dir);
  if (directory.exists(kCatalogName)) return at_catalog(dir, follow_links, attempt);
  const std::string name = (dir.has_filename() ? dir : dir.parent_path()).filename().string();
  if (name == "variables" && has_index(directory, name)) return locate_prefix(dir / name);
  CAIRN_CHECK(attempt.keep_directory(directory));
  CAIRN_TRY(hub, at_hub(dir, directory, links_of(follow_links)));
  if (hub) return *std::move(hub);
  if (const auto base = base_of_unfinished(name); !base.empty()) {
    return Error{Code::NotFound, 0,
                 dir.string() +
                     ": is the temporary directory of a TensorFlow save that still runs or has "
                     "died; its prefix is " +
                     std::string(base) +
                     "; if all parts are there, use merge() to put them together"};
  }
  return no_catalog(directory, dir);
}

// The error for a file that belongs to no checkpoint.
Error no_checkpoint(const path& file_path, const std::string& name, FileType type) {
  const bool graph = name.ends_with(kMetaSuffix);
  const bool shard = name.find(".data-") != std::string::npos &&
                     name.find(".tempstate") == std::string::npos && !os::is_temporary_name(name);
  if (type != FileType::Table && (graph || shard)) {
    return {Code::NotFound, 0,
            file_path.string() + ": is named like a " + (graph ? "graph" : "shard") +
                ", but its index is missing, which says what the tensors are; copy the index too"};
  }
  return {Code::Unsupported, 0, file_path.string() + ": is " + describe(name, type)};
}

// Whether a file is in the directory of a SavedModel, under one of its names.
bool belongs_to_saved_model(const os::Directory& directory, std::string_view name) {
  constexpr std::array<std::string_view, 4> kNames{kSavedModelNames[0], kSavedModelNames[1],
                                                   "fingerprint.pb", "keras_metadata.pb"};
  return std::ranges::find(kNames, name) != kNames.end() && is_saved_model(directory);
}

Location at_format(const path& file_path, os::Directory directory, const std::string& name,
                   const FileFormat& of_type) {
  const FileFormat& format = with_suffix_of(of_type, name);
  path prefix = file_path.parent_path() / stem_of(format, name);
  Location location{Kind::File, std::move(directory), name, std::move(prefix), {}, {}};
  location.file_format = &format;
  return location;
}

// From one of its files.
Result<Location> at_distributed(const path& file_path, os::Directory directory) {
  if (!directory.exists(kDistributedMetadata)) return no_distributed_metadata(file_path, "a file");
  const std::string name(kDistributedMetadata);
  return at_format(file_path.parent_path() / name, std::move(directory), name,
                   *file_format(FileType::PyTorchDistributed, name));
}

Result<Location> at_file(const path& file_path, os::Directory directory, const std::string& name,
                         os::Links links) {
  if (const auto base = base_of_checkpoint_file(directory, name))
    return at_index(std::move(directory), *base, file_path.parent_path() / *base, links);
  if (name.ends_with(kDistributedSuffix)) return at_distributed(file_path, std::move(directory));
  if (belongs_to_saved_model(directory, name)) return at_saved_model(file_path.parent_path());
  // A file whose bytes have a known format is not a V1 file, so none is searched for.
  const FileFormat* const marked = format_of(directory, name, links, {});
  if (marked != nullptr) return at_format(file_path, std::move(directory), name, *marked);
  // A graph lies beside V1 files too.
  const bool graph = name.ends_with(kMetaSuffix);
  CAIRN_TRY(v1, at_v1(directory, graph ? name.substr(0, name.size() - kMetaSuffix.size()) : name,
                      file_path));
  if (v1) return *std::move(v1);
  CAIRN_TRY(file, directory.open_file(name, links));
  CAIRN_TRY(type, identify(file));
  const FileFormat* const format = file_format(type, name);
  if (format == nullptr) return no_checkpoint(file_path, name, type);
  return at_format(file_path, std::move(directory), name, *format);
}

Result<Location> nothing_at(const path& given, os::Directory directory, const std::string& base) {
  // A save that replaces the one index by the other may have come between the two questions.
  if (has_index(directory, base)) return at_prefix(std::move(directory), base, given);
  const auto names = directory.names();
  const auto is_shard = [&](const std::string& name) {
    return shard_number(name, base).has_value();
  };
  if (names && std::ranges::any_of(*names, is_shard)) {
    return Error{Code::NotFound, 0,
                 given.string() + ": has shards, but neither " + base + ".cairn nor " + base +
                     ".index, which say what the tensors are; copy the index too"};
  }
  const std::string prefixes = prefixes_in(directory);
  return Error{Code::NotFound, 0,
               given.string() + ": no checkpoint there: neither " + base + ".cairn nor " + base +
                   ".index exists" + (prefixes.empty() ? "" : "; the directory has " + prefixes)};
}

}  // namespace

std::optional<Location> as_file(const Location& location) {
  const FileFormat* const format =
      format_of(location.directory, location.base, location.links, location.base);
  auto directory = location.directory.duplicate();
  if (format == nullptr || !directory) return std::nullopt;
  Location file = at_format(location.prefix, *std::move(directory), location.base, *format);
  file.warnings = location.warnings;
  file.links = location.links;
  file.formats = location.formats;
  file.index_only = location.index_only;
  return file;
}

bool is_saved_model(const path& dir) {
  const auto directory = os::Directory::open(dir);
  return directory && is_saved_model(*directory);
}

Result<Location> locate_named(const path& given, bool follow_links) {
  OpenAttempt attempt;
  auto location = retry_until_stable(attempt, [&] { return locate(given, follow_links, attempt); });
  if (!location) return location;
  const bool is_file = location->kind == Kind::File;
  if (is_file ? location->base == given.filename() : location->prefix == given) return location;
  CAIRN_TRY(info, os::look(given));
  const bool leads = info && info->kind == os::FileKind::Directory;
  return Error{
      Code::Invalid, 0,
      given.string() +
          (leads || given.filename() == kCatalogName
               ? std::string(": is a directory or a catalog, and not the name of a checkpoint; "
                             "give ") +
                     (is_file ? "the file" : "a prefix")
               : ": is one file of a checkpoint; give the prefix of the checkpoint") +
          ", " +
          (is_file ? location->prefix.parent_path() / location->base : location->prefix).string()};
}

Result<Location> locate_prefix(const path& prefix) {
  const auto parts = Prefix::of(prefix);
  CAIRN_TRY(directory, os::Directory::open(parts.directory));
  return locate_in(std::move(directory), parts.base, prefix);
}

Result<Location> locate_in(os::Directory directory, const std::string& base, const path& prefix) {
  if (has_index(directory, base)) return at_prefix(std::move(directory), base, prefix);
  CAIRN_TRY(v1, at_v1(directory, base, prefix));
  if (v1) return *std::move(v1);
  if (const auto file = directory.open_file(base, os::Links::Follow)) {
    CAIRN_TRY(type, identify(*file));
    return no_checkpoint(prefix, base, type);
  }
  return nothing_at(prefix, std::move(directory), base);
}

Result<Location> locate_below(os::Directory directory, const std::string& name, const path& shown,
                              os::Links links) {
  const auto located = [&]() -> Result<Location> {
    if (has_index(directory, name)) return at_index(std::move(directory), name, shown, links);
    CAIRN_TRY(info, directory.look_from(name, os::Links::Follow));
    const bool is_directory = info && info->kind == os::FileKind::Directory;
    if (is_directory || (info && belongs_to_saved_model(directory, name))) {
      return Error{Code::Unsupported, 0,
                   shown.string() +
                       ": is a directory, or leads to another one; pass a descriptor "
                       "of the directory in which the index or the file is"};
    }
    if (info) return at_file(shown, std::move(directory), name, links);
    CAIRN_TRY(v1, at_v1(directory, name, shown));
    if (v1) return *std::move(v1);
    return nothing_at(shown, std::move(directory), name);
  };
  auto location = located();
  if (location) location->links = links;
  return location;
}

namespace {

Result<Location> locate_any(const path& given, bool follow_links, OpenAttempt& attempt) {
  if (!is_nameable(given.native()))
    return Error{Code::NotFound, 0, given.string() + ": a file name cannot contain a NUL byte"};
  const auto parts = Prefix::of(given);
  auto opened = os::Directory::open(parts.directory);
  if (!opened) {
    return Error{opened.error().code, opened.error().os_errno,
                 given.string() + ": no checkpoint there: " + opened.error().what};
  }
  if (has_index(*opened, parts.base))
    return at_index(*std::move(opened), parts.base, given, links_of(follow_links));
  CAIRN_TRY(info, os::look(given));
  const bool is_directory = info && info->kind == os::FileKind::Directory;
  if (given.empty())
    return Error{Code::NotFound, 0, "the path is empty; give the path of a checkpoint"};
  if (is_directory) return at_directory(given, follow_links, attempt);
  if (info && parts.base == kCatalogName)
    return at_catalog(given.parent_path(), follow_links, attempt);
  // It names others in its directory.
  if (info && parts.base.ends_with(".index.json")) CAIRN_CHECK(attempt.keep_directory(*opened));
  if (info) return at_file(given, *std::move(opened), parts.base, links_of(follow_links));
  CAIRN_TRY(v1, at_v1(*opened, parts.base, given));
  if (v1) return *std::move(v1);
  return nothing_at(given, *std::move(opened), parts.base);
}

}  // namespace

Result<Location> locate(const path& given, bool follow_links, OpenAttempt& attempt) {
  auto location = locate_any(given, follow_links, attempt);
  if (location) location->links = links_of(follow_links);
  return location;
}

}  // namespace cairn::internal
