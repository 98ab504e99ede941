#include "cairn/convert.h"

#include <map>
#include <string>

#include "progress.h"
#include "transfer.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Rewrite the payload of a checkpoint in another format's layout, under a new prefix. Every "
    "byte is\n"
    "checked on the way. Where the bytes need not move, 'cairn import' and 'cairn export' do "
    "without.";

constexpr const char* kFooter =
    "Exit status: 0 the result is there and durable, 2 it could not be done (damage in SRC among "
    "the\n"
    "reasons; then DST is not there).\n\n"
    "Examples:\n"
    "  cairn convert old/model.ckpt new/model --to cairn\n"
    "  cairn convert saved/train2-9 hub/model --to safetensors";

}  // namespace

int convert_verb(Arguments arguments) {
  const std::map<std::string, Format> targets = {{"cairn", Format::Cairn},
                                                 {"tensorflow", Format::TensorFlow},
                                                 {"safetensors", Format::Safetensors}};
  std::string source;
  std::string destination;
  Format target{};
  TransferOptions options;
  bool json = false;
  unsigned threads = 0;
  CLI::App app{kDescription, "cairn convert"};
  app.footer(kFooter);
  app.add_option("SRC", source, "The checkpoint: whatever 'cairn --help' says PATH is")
      ->type_name("")
      ->required();
  app.add_option("DST", destination, "The prefix of the result")
      ->type_name("")
      ->required()
      ->check(names_files);
  add_choice(app, "--to", target, targets)
      ->description("The target: cairn, tensorflow or safetensors")
      ->type_name("FORMAT")
      ->required();
  add_replace(app, options.replace);
  add_json(app, json);
  add_threads(app, threads);
  if (const auto exit = parse(app, arguments)) return *exit;

  options.output = destination;
  ProgressBar bar("converting " + source);
  options.work = bar.work(threads);
  return report(convert(source, target, options), json);
}

}  // namespace cairn::tools
