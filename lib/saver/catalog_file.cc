#include "lib/saver/catalog_file.h"

#include "format/le.h"
#include "format/safetensors/header.h"
#include "lib/store/draft.h"
#include "lib/try.h"

namespace cairn::saver {
namespace {

// Absolute and without ".", ".." and a slash at the end; links are not looked at.
std::filesystem::path normal(const std::filesystem::path& path) {
  std::filesystem::path whole = (std::filesystem::current_path() / path).lexically_normal();
  return whole.has_filename() ? whole : whole.parent_path();
}

}  // namespace

// As Python's os.path.relpath does in TensorFlow's generate_checkpoint_state_proto.
std::string written_path(const std::filesystem::path& dir, const std::filesystem::path& path) {
  if (dir.is_absolute() || path.is_absolute()) return path.string();
  return normal(path).lexically_relative(normal(dir)).string();
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
