#include <string>

#include "transfer.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Add Cairn's index, PREFIX.cairn, beside the payload of a checkpoint that TensorFlow\n"
    "wrote. Reads, copies and moves no tensor byte, whatever the size of the model.";

constexpr const char* kFooter =
    "Exit status: 0 the index was written and is durable, 2 it could not be done.\n\n"
    "JSON: \"link\" is null if the payload did not move.\n\n"
    "Examples:\n"
    "  cairn import saved/train2-9\n"
    "  cairn import saved/train2-9 --output served/model";

}  // namespace

int import_verb(Arguments arguments) {
  std::string path;
  TransferFlags flags;
  CommandLine line("cairn import", kDescription, kFooter);
  add_path(line, path);
  add_output(line, flags);
  add_link(line, flags);
  add_replace_json_threads(line, flags);
  if (const auto exit = line.parse(arguments)) return *exit;

  const auto done = run("importing " + path, flags, [&](const TransferOptions& options) {
    return import_index(path, options);
  });
  return report(done, flags.json);
}

}  // namespace cairn::tools
