#include <map>
#include <string>

#include "transfer.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Add another format's index beside the payload: PREFIX.index for TensorFlow, or a hard\n"
    "link PREFIX.safetensors to the shard for safetensors. Reads, copies and moves no tensor\n"
    "byte. If the target needs another layout of the payload, use 'cairn convert'.";

constexpr const char* kFooter =
    "Exit status: 0 the index was written and is durable, 2 it could not be done.\n\n"
    "Without --allow-lossy, a tensor or metadata that the target cannot hold is refused\n"
    "before anything is written. JSON: \"not_nameable\", \"metadata_left_out\" and\n"
    "\"safetensors_metadata_left_out\" list what was left out; \"link\" is null if the\n"
    "payload did not move.\n\n"
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
