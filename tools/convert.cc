#include "cairn/convert.h"

#include <map>
#include <optional>
#include <span>
#include <string>

#include "select.h"
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
    "TENSOR is a name or a pattern, as in 'cairn ls'. --only and --exclude can be given more\n"
    "than once; what both mean is left out.\n\n"
    "JSON: {\"prefix\",\"link\",\"payload_bytes_copied\",\"not_nameable\":[...],\n"
    "\"metadata_left_out\":[...],\"safetensors_metadata_left_out\":[...]}. The lists name the\n"
    "tensors and metadata keys that were left out. All other metadata is kept, also that of\n"
    "safetensors. DST may end with .safetensors if that is the target.\n\n"
    "Examples:\n"
    "  cairn convert old/model.ckpt new/model --to cairn\n"
    "  cairn convert saved/train2-9 hub/model --to safetensors\n"
    "  cairn convert saved/train2-9 new/model --to cairn --exclude 'optimizer*'";

// Nothing: one of the words means no tensor, or the source does not open, and that was said.
std::optional<std::vector<std::string>> chosen_names(const std::string& source,
                                                     const TransferFlags& flags,
                                                     std::span<const std::string> only,
                                                     std::span<const std::string> excluded) {
  OpenOptions opening;
  opening.follow_links = flags.options.follow_links;
  opening.formats = flags.options.formats;
  const auto checkpoint = Checkpoint::open(source, opening);
  if (!checkpoint) {
    complain(checkpoint.error());
    return std::nullopt;
  }
  const auto tensors = select(*checkpoint, only, excluded);
  if (!tensors) return std::nullopt;
  std::vector<std::string> names;
  for (const Tensor& tensor : *tensors) names.emplace_back(tensor.name());
  return names;
}

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
  std::vector<std::string> only;
  std::vector<std::string> excluded;
  line.add_each(
      "--only", [&](const std::string& word) { only.push_back(word); }, "TENSOR",
      "Convert only the tensors of this name or pattern, such as 'model/*'");
  line.add_each(
      "--exclude", [&](const std::string& word) { excluded.push_back(word); }, "TENSOR",
      "Leave out the tensors of this name or pattern, such as 'optimizer*'");
  add_formats(line, flags.options.formats);
  add_lossy(line, flags);
  add_replace_json_threads(line, flags);
  if (const auto exit = line.parse(arguments)) return *exit;

  if (!only.empty() || !excluded.empty()) {
    const auto names = chosen_names(source, flags, only, excluded);
    if (!names) return kFailed;
    flags.options.tensors = *names;
  }
  const auto done = run("converting " + source, flags, [&](const TransferOptions& options) {
    return convert(source, target, options);
  });
  return report(done, flags.json);
}

}  // namespace cairn::tools
