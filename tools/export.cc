#include <map>
#include <string>

#include "transfer.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Add another format's index beside the payload: for TensorFlow PREFIX.index, for safetensors "
    "a\n"
    "hard link PREFIX.safetensors to the shard. No tensor byte is read, copied or moved. Where "
    "the\n"
    "payload does not lie as the target needs it, 'cairn convert' rewrites it.";

constexpr const char* kFooter =
    "Exit status: 0 the index is there and durable, 2 it could not be done.\n\n"
    "JSON: \"link\" is null where the payload stayed where it is; \"not_nameable\",\n"
    "\"metadata_left_out\" and \"safetensors_metadata_left_out\" list what the target cannot "
    "hold,\n"
    "which is refused before anything is written, unless --allow-lossy.\n\n"
    "Examples:\n"
    "  cairn export saved/train2-9 --to tensorflow\n"
    "  cairn export saved/train2-9 --to safetensors --output hub/model";

}  // namespace

int export_verb(Arguments arguments) {
  const std::map<std::string, Format> targets = {{"tensorflow", Format::TensorFlow},
                                                 {"safetensors", Format::Safetensors}};
  std::string path;
  Format target{};
  TransferFlags flags;
  CommandLine line("cairn export", kDescription, kFooter);
  add_path(line, path);
  line.add_choice("--to", target, targets, "FORMAT", "The target: tensorflow or safetensors")
      .required();
  add_output(line, flags);
  add_link(line, flags);
  add_lossy(line, flags);
  add_replace_json_threads(line, flags);
  if (const auto exit = line.parse(arguments)) return *exit;

  const auto done = run("exporting " + path, flags, [&](const TransferOptions& options) {
    return export_index(path, target, options);
  });
  return report(done, flags.json);
}

}  // namespace cairn::tools
