#include "lib/saver/catalog_file.h"

#include "format/le.h"
#include "format/quoted.h"
#include "format/safetensors/header.h"
#include "lib/saver/journal.h"
#include "lib/store/draft.h"
#include "lib/store/lock.h"
#include "lib/store/names.h"
#include "lib/try.h"

namespace cairn::saver {
namespace {

// Absolute and without ".", ".." and a slash at the end; links are not looked at.
std::filesystem::path normal(const std::filesystem::path& path) {
  std::filesystem::path whole = (std::filesystem::current_path() / path).lexically_normal();
  return whole.has_filename() ? whole : whole.parent_path();
}

// Whether a checkpoint's file, or one of ours, is named like this.
bool is_taken(std::string_view name) {
  return name == kJournalName || name == store::kLockName || os::is_temporary_name(name) ||
         store::base_of_file(name);
}

}  // namespace

// As Python's os.path.relpath does in TensorFlow's generate_checkpoint_state_proto.
std::string written_path(const std::filesystem::path& dir, const std::filesystem::path& path) {
  if (dir.is_absolute() || path.is_absolute()) return path.string();
  return normal(path).lexically_relative(normal(dir)).string();
}

Result<void> check_catalog_name(const std::filesystem::path& dir, std::string_view name) {
  const std::string refused =
      dir.string() + ": " + format::quoted(name) + " cannot be the catalog's name: ";
  if (!store::is_bare(name)) {
    return Error{Code::Invalid, 0, refused + "it is to be a file name without slashes"};
  }
  if (!is_taken(name)) return {};
  return Error{Code::Invalid, 0,
               refused +
                   "a file of a checkpoint, or one of Cairn's own, is named so; "
                   "TensorFlow's is \"checkpoint\""};
}

Result<void> publish_catalog(const os::Directory& directory, std::string_view latest_filename,
                             const format::tensorflow::StateFacts& facts) {
  for (const std::string& path : facts.all_model_checkpoint_paths) {
    if (format::safetensors::is_utf8(path)) continue;
    return Error{Code::Invalid, 0,
                 path + ": a catalog names checkpoints in UTF-8, and this name is not"};
  }
  const std::string text = format::tensorflow::encode_state(facts);
  CAIRN_TRY(draft,
            store::draft_with(directory, std::string(latest_filename), format::as_bytes(text)));
  CAIRN_CHECK(draft.publish(store::Draft::Taken::Replace));
  return directory.sync();
}

}  // namespace cairn::saver
