#include "lib/saver/catalog_file.h"

#include <algorithm>
#include <array>

#include "format/le.h"
#include "format/quoted.h"
#include "format/safetensors/header.h"
#include "lib/read/names.h"
#include "lib/try.h"
#include "lib/write/temp_file.h"

namespace cairn::internal {
namespace {

// Absolute and without ".", ".." and a slash at the end; links are not looked at.
std::filesystem::path normal(const std::filesystem::path& path) {
  std::filesystem::path whole = (std::filesystem::current_path() / path).lexically_normal();
  return whole.has_filename() ? whole : whole.parent_path();
}

std::string refused(const std::filesystem::path& dir, std::string_view name) {
  return dir.string() + ": " + format::quoted(name) + " cannot be the catalog's name: ";
}

// As TensorFlow's atomic_write_string_to_file names it until it is whole.
bool is_tensorflow_temporary(std::string_view name) {
  constexpr std::string_view kDot = ".tmp";
  constexpr std::size_t kDigits = 32;
  if (name.size() <= kDot.size() + kDigits) return false;
  const std::string_view digits = name.substr(name.size() - kDigits);
  return name.substr(0, name.size() - kDigits).ends_with(kDot) &&
         digits.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

bool is_taken_name(std::string_view name) {
  return name.starts_with(".cairn-") || os::is_temporary_name(name) || base_of_file(name);
}

bool is_backup_name(std::string_view name) {
  constexpr std::array<std::string_view, 4> kTails{"~", ".bak", ".old", ".orig"};
  const auto has = [name](std::string_view tail) { return name.ends_with(tail); };
  return std::ranges::any_of(kTails, has) || (name.starts_with('#') && name.ends_with('#')) ||
         is_tensorflow_temporary(name);
}

// As Python's os.path.relpath does in TensorFlow's generate_checkpoint_state_proto.
std::string written_path(const std::filesystem::path& dir, const std::filesystem::path& path) {
  if (dir.is_absolute() || path.is_absolute()) return path.string();
  return normal(path).lexically_relative(normal(dir)).string();
}

Result<void> check_catalog_name(const std::filesystem::path& dir, std::string_view name) {
  if (!is_nameable(dir.native()))
    return Error{Code::Invalid, 0, dir.string() + ": a file name cannot contain a NUL byte"};
  if (!is_bare(name)) {
    return Error{Code::Invalid, 0, refused(dir, name) + "it must be a file name without slashes"};
  }
  if (!is_taken_name(name)) return {};
  return Error{Code::Invalid, 0,
               refused(dir, name) +
                   "a file of a checkpoint, or one of Cairn's own files, has such a name; "
                   "TensorFlow's catalog is named \"checkpoint\""};
}

Result<void> check_written_name(const std::filesystem::path& dir, std::string_view name) {
  CAIRN_CHECK(check_catalog_name(dir, name));
  if (!is_backup_name(name)) return {};
  return Error{Code::Invalid, 0,
               refused(dir, name) +
                   "backup files have such names, and retention ignores backups; choose another "
                   "name, for example \"best_checkpoint\""};
}

Result<void> publish_catalog(const os::Directory& directory, std::string_view latest_filename,
                             const format::tensorflow::StateFacts& facts) {
  for (const std::string& path : facts.all_model_checkpoint_paths) {
    if (format::safetensors::is_utf8(path)) continue;
    return Error{Code::Invalid, 0, path + ": this name is not UTF-8, which a catalog needs"};
  }
  const std::string text = format::tensorflow::encode_state(facts);
  CAIRN_TRY(temp, write_temp_file(directory, std::string(latest_filename), format::as_bytes(text)));
  CAIRN_CHECK(temp.publish(TempFile::Taken::Replace));
  return directory.sync();
}

}  // namespace cairn::internal
