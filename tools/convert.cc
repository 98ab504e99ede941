#include "cairn/convert.h"

#include <map>
#include <string>

#include "transfer.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Rewrite the payload of a checkpoint in another format's layout, under a new prefix.\n"
    "Checks every byte. If the bytes need not move, use 'cairn import' or 'cairn export'\n"
    "instead.";

constexpr const char* kFooter =
    "Exit status: 0 the result was written and is durable, 2 it could not be done (for\n"
    "example, SRC is damaged); then DST was not written.\n\n"
    "Without --allow-lossy, a tensor or metadata that the target cannot hold is refused\n"
    "before anything is written. TensorFlow holds no metadata and no dtype that it does not\n"
    "know. safetensors holds no strings and no dtype that it has no name for. Cairn holds\n"
    "everything.\n\n"
    "JSON: {\"prefix\",\"link\",\"payload_bytes_copied\",\"not_nameable\":[...],\n"
    "\"metadata_left_out\":[...],\"safetensors_metadata_left_out\":[...]}. The lists name the\n"
    "tensors and metadata keys that were left out. All other metadata is kept, also that of\n"
    "safetensors. DST may end with .safetensors if that is the target.\n\n"
    "Examples:\n"
    "  cairn convert old/model.ckpt new/model --to cairn\n"
    "  cairn convert saved/train2-9 hub/model --to safetensors";

}  // namespace

int convert_verb(Arguments arguments) {
  const std::map<std::string, Format> targets = {{"cairn", Format::Cairn},
                                                 {"tensorflow", Format::TensorFlow},
                                                 {"safetensors", Format::Safetensors}};
  std::string source;
  Format target{};
  TransferFlags flags;
  CommandLine line("cairn convert", kDescription, kFooter);
  add_source_and_output(line, source, flags);
  line.add_choice("--to", target, targets, "FORMAT", "The target: cairn, tensorflow or safetensors")
      .required();
  add_lossy(line, flags);
  add_replace_json_threads(line, flags);
  if (const auto exit = line.parse(arguments)) return *exit;

  const auto done = run("converting " + source, flags, [&](const TransferOptions& options) {
    return convert(source, target, options);
  });
  return report(done, flags.json);
}

}  // namespace cairn::tools
