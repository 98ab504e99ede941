#include "cairn/edit.h"

#include <filesystem>
#include <string>
#include <vector>

#include "transfer.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Make one checkpoint from several: new indexes, and links to the shards of the sources.\n"
    "Reads no tensor byte, except to compute checksums if a source has none (safetensors).\n"
    "Does not change the sources. Can also merge the parts of an unfinished sharded save of\n"
    "TensorFlow (PREFIX_temp/part-00000-of-00002).";

constexpr const char* kFooter =
    "A tensor name may be in one PATH only, except a partitioned variable of which each PATH\n"
    "has slices.\n\n"
    "Exit status: 0 the result was written and is durable, 2 it could not be done.\n\n"
    "JSON: as for 'cairn import'; \"not_nameable\" lists tensors that TensorFlow's index\n"
    "cannot hold.\n\n"
    "Examples:\n"
    "  cairn merge saved/generator-9 saved/discriminator-9 --output whole/gan-9\n"
    "  cairn merge m_temp/part-00000-of-00002 m_temp/part-00001-of-00002 --output m";

}  // namespace

int merge_verb(Arguments arguments) {
  std::vector<std::string> words;
  TransferFlags flags;
  CommandLine line("cairn merge", kDescription, kFooter);
  line.add("PATH", words, "The checkpoints: each a PATH as in 'cairn --help'").required();
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
