#include <string>

#include "transfer.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Add Cairn's index, PREFIX.cairn, beside the payload of a checkpoint that TensorFlow wrote. "
    "No\n"
    "tensor byte is read, copied or moved, whatever the size of the model.";

constexpr const char* kFooter =
    "Exit status: 0 the index is there and durable, 2 it could not be done.\n\n"
    "JSON: \"link\" is null where the payload stayed where it is.\n\n"
    "Examples:\n"
    "  cairn import saved/train2-9\n"
    "  cairn import saved/train2-9 --output served/model";

}  // namespace

int import_verb(Arguments arguments) {
  std::string path;
  TransferFlags flags;
  CLI::App app{kDescription, "cairn import"};
  app.footer(kFooter);
  add_path(app, path);
  add_output(app, flags);
  add_link(app, flags);
  add_replace_json_threads(app, flags);
  if (const auto exit = parse(app, arguments)) return *exit;

  const auto done = run("importing " + path, flags, [&](const TransferOptions& options) {
    return import_index(path, options);
  });
  return report(done, flags.json);
}

}  // namespace cairn::tools
