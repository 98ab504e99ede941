#include <string>

#include "progress.h"
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
  std::string output;
  TransferOptions options;
  bool json = false;
  unsigned threads = 0;
  CLI::App app{kDescription, "cairn import"};
  app.footer(kFooter);
  add_path(app, path);
  add_output(app, output);
  add_link(app, options.link);
  add_replace(app, options.replace);
  add_json(app, json);
  add_threads(app, threads);
  if (const auto exit = parse(app, arguments)) return *exit;

  options.output = output;
  ProgressBar bar("importing " + path);
  options.work = bar.work(threads);
  return report(import_index(path, options), json);
}

}  // namespace cairn::tools
