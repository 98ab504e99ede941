#include "cairn/edit.h"

#include <filesystem>
#include <string>
#include <vector>

#include "transfer.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Make one checkpoint of several: new indexes over their shards, which get second names beside "
    "them.\n"
    "No tensor byte is read, but to compute checksums where a source has none (safetensors). The\n"
    "sources stay as they are; so do the parts that a sharded save of TensorFlow's left unmerged, "
    "which\n"
    "can be merged too (PREFIX_temp/part-00000-of-00002).";

constexpr const char* kFooter =
    "A name must be in one PATH only, unless it is a partitioned variable of which each has "
    "slices.\n\n"
    "Exit status: 0 the result is there and durable, 2 it could not be done.\n\n"
    "JSON: as that of 'cairn import'; \"not_nameable\" lists tensors that TensorFlow's index "
    "leaves out.\n\n"
    "Examples:\n"
    "  cairn merge saved/generator-9 saved/discriminator-9 --output whole/gan-9\n"
    "  cairn merge m_temp/part-00000-of-00002 m_temp/part-00001-of-00002 --output m";

}  // namespace

int merge_verb(Arguments arguments) {
  std::vector<std::string> words;
  TransferFlags flags;
  CommandLine line("cairn merge", kDescription, kFooter);
  line.add("PATH", words, "The checkpoints: whatever 'cairn --help' says PATH is").required();
  line.add("--output", flags.output, "PREFIX", "The prefix of the result")
      .required()
      .check(names_files);
  add_link(line, flags);
  add_replace_json_threads(line, flags);
  if (const auto exit = line.parse(arguments)) return *exit;

  const std::vector<std::filesystem::path> paths(words.begin(), words.end());
  const auto done = run("merging into " + flags.output, flags,
                        [&](const TransferOptions& options) { return merge(paths, options); });
  return report(done, flags.json);
}

}  // namespace cairn::tools
