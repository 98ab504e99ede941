#include "cairn/convert.h"

#include <map>
#include <optional>
#include <span>
#include <string>

#include "cast.h"
#include "renaming.h"
#include "select.h"
#include "size.h"
#include "transfer.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Rewrite the payload of a checkpoint in another format's layout, under a new name.\n"
    "Checks every byte, and links none. If the bytes need not move, use 'cairn import' or\n"
    "'cairn export' instead.";

constexpr const char* kFooter =
    "Exit status: 0 the result was written and is durable, 2 it could not be done (for\n"
    "example, SRC is damaged); then DST was not written.\n\n"
    "Without --allow-lossy, a tensor or metadata that the target cannot hold is refused\n"
    "before anything is written. TensorFlow holds no metadata and no dtype that it does not\n"
    "know. safetensors holds no strings and no dtype that it has no name for. npz and npy\n"
    "hold no strings and no metadata, and call bfloat16 and float8 void (V2, V1). Cairn\n"
    "holds everything.\n\n"
    "DST is a prefix, or a file that may lack its suffix (.safetensors, .npz, .npy). With\n"
    "--max-shard-size it is a directory, which gets its name when all is in it; --replace\n"
    "replaces the model in a directory and keeps its other files, such as config.json.\n\n"
    "TENSOR is a name or a pattern, as in 'cairn ls'. --only and --exclude can be given more\n"
    "than once; what both mean is left out. Both mean the names in SRC; new names are given to\n"
    "what is left, in this order: --names, --strip-prefix, --rename.\n\n"
    "--names full writes the variables of an object-based TensorFlow checkpoint under their\n"
    "object paths (model/dense/kernel), without /.ATTRIBUTES/VARIABLE_VALUE; --names variable\n"
    "under the names that the program gave them (dense/kernel), where they have one. Both\n"
    "leave out the object graph. --rename takes a PATTERN as 'cairn rename' does.\n\n"
    "--cast rounds each value once, to nearest even. FROM is the dtype in SRC. Values that\n"
    "became infinite or zero are counted on stderr and in the JSON.\n\n"
    "JSON: {\"prefix\",\"link\",\"payload_bytes_copied\",\"not_nameable\":[...],\n"
    "\"metadata_left_out\":[...],\"safetensors_metadata_left_out\":[...]}. The lists name the\n"
    "tensors and metadata keys that were left out. All other metadata is kept, also that of\n"
    "safetensors. Also \"renamed\": a list of {\"from\",\"to\"}, and \"casts\": a list of\n"
    "{\"from\",\"to\",\"tensors\",\"values\",\"became_infinite\",\"became_zero\"}.\n\n"
    "Examples:\n"
    "  cairn convert old/model.ckpt new/model --to cairn\n"
    "  cairn convert saved/train2-9 hub/model --to safetensors\n"
    "  cairn convert saved/train2-9 hub --to safetensors --max-shard-size 5GB\n"
    "  cairn convert model.safetensors weights.npz --to npz\n"
    "  cairn convert saved/train2-9 new/model --to cairn --exclude 'optimizer*'\n"
    "  cairn convert model.ckpt model --to safetensors --strip-prefix state_dict.\n"
    "  cairn convert model.safetensors half --to safetensors --cast float32=bfloat16";

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
  if (names.empty()) {
    complain("convert: --exclude leaves out all tensors that would be converted");
    return std::nullopt;
  }
  return names;
}

const std::map<std::string, Format> kTargets = {{"cairn", Format::Cairn},
                                                {"tensorflow", Format::TensorFlow},
                                                {"safetensors", Format::Safetensors},
                                                {"npz", Format::Npz},
                                                {"npy", Format::Npy}};

// Why DST will not do; empty: it does. A name with the suffix of another target, or of a file where
// a directory is written, is a mistake: the result would be model.npz.safetensors.
std::string bad_output(const TransferFlags& flags, Format target) {
  const std::string& output = flags.output;
  const bool is_directory = flags.options.max_shard_bytes != 0;
  if (output.empty() || !is_directory) {
    if (std::string why = names_files(output); !why.empty()) return why;
  }
  for (const auto& [word, format] : kTargets) {
    const std::string suffix = format == Format::TensorFlow ? ".index" : "." + word;
    if (!output.ends_with(suffix)) continue;
    if (is_directory)
      return "'" + output + "' has the name of a file, and with --max-shard-size it is a directory";
    if (format != target)
      return "'" + output + "' has the suffix of another format; use --to " + word +
             ", or another name";
    if (format == Format::Cairn || format == Format::TensorFlow)
      return "'" + output + "' is a file of the prefix '" +
             output.substr(0, output.size() - suffix.size()) + "'; give the prefix";
  }
  return {};
}

void add_max_shard_size(CommandLine& line, TransferFlags& flags) {
  const auto take = [&flags](const std::string& size) {
    flags.options.max_shard_bytes = *parse_size(size);
  };
  const auto check = [](const std::string& size) {
    return parse_size(size) ? "" : "'" + size + "' is no size, such as 5GB, 5GiB or 4096";
  };
  line.add_call<std::string>("--max-shard-size", take, "SIZE",
                             "Of safetensors: DST is a directory with files of at most this\n"
                             "size (5GB, 5GiB, bytes) and an index, as the Hugging Face\n"
                             "libraries write it")
      .check(check);
}

}  // namespace

int convert_verb(Arguments arguments) {
  const std::map<std::string, TensorNames> names = {{"stored", TensorNames::Stored},
                                                    {"full", TensorNames::Path},
                                                    {"variable", TensorNames::Variable}};
  std::string source;
  Format target{};
  TransferFlags flags;
  CommandLine line("cairn convert", kDescription, kFooter);
  line.add("SRC", source, "The checkpoint: a PATH as in 'cairn --help'").required();
  line.add("DST", flags.output, "The prefix, file or directory of the result").required();
  line.add_choice("--to", target, kTargets, "FORMAT",
                  "The target: cairn, tensorflow, safetensors, npz (all tensors)\n"
                  "or npy (one tensor)")
      .required();
  add_max_shard_size(line, flags);
  std::vector<std::string> only;
  std::vector<std::string> excluded;
  line.add_each(
      "--only", [&](const std::string& word) { only.push_back(word); }, "TENSOR",
      "Convert only the tensors of this name or pattern, such as 'model/*'");
  line.add_each(
      "--exclude", [&](const std::string& word) { excluded.push_back(word); }, "TENSOR",
      "Leave out the tensors of this name or pattern, such as 'optimizer*'");
  add_formats(line, flags.options.formats);
  line.add_choice("--names", flags.options.names, names, "KIND",
                  "The names of an object-based TensorFlow checkpoint: stored (default),\n"
                  "full or variable");
  add_prefix_and_patterns(line, flags.options.renaming, "--rename");
  add_casts(line, flags.options.casts);
  add_lossy(line, flags);
  add_replace_json_threads(line, flags);
  if (const auto exit = line.parse(arguments)) return *exit;
  if (const std::string why_not = bad_output(flags, target); !why_not.empty()) {
    complain("convert: DST: " + why_not + " (see cairn convert --help)");
    return kFailed;
  }

  if (!only.empty() || !excluded.empty()) {
    const auto chosen = chosen_names(source, flags, only, excluded);
    if (!chosen) return kFailed;
    flags.options.tensors = *chosen;
  }
  const auto done = run("converting " + source, flags, [&](const TransferOptions& options) {
    return convert(source, target, options);
  });
  return report(done, flags.json, true);
}

}  // namespace cairn::tools
