#include <string>

#include "transfer.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Add Cairn's index beside the payload of a checkpoint of another format. Copies and\n"
    "moves no tensor byte, whatever the size of the model.\n\n"
    "Of TensorFlow's PREFIX, PREFIX.cairn is written, and no tensor byte is read. Of a FILE\n"
    "(safetensors, model.safetensors.index.json, GGUF, PyTorch, HDF5, Keras, ONNX, npy, npz,\n"
    "ptd, tflite), FILE.cairn is written, and each byte is read once for its checksum, or\n"
    "none with --no-sums.";

constexpr const char* kFooter =
    "Exit status: 0 the index was written and is durable, 2 it could not be done.\n\n"
    "JSON: \"link\" is null if the payload did not move.\n\n"
    "Examples:\n"
    "  cairn import saved/train2-9\n"
    "  cairn import saved/train2-9 --output served/model\n"
    "  cairn import model.gguf";

}  // namespace

int import_verb(Arguments arguments) {
  std::string path;
  TransferFlags flags;
  CommandLine line("cairn import", kDescription, kFooter);
  add_path(line, path);
  add_output(line, flags);
  add_link(line, flags);
  Format target = Format::Cairn;
  line.add_choice("--to", target, {{"cairn", Format::Cairn}, {"tensorflow", Format::TensorFlow}},
                  "FORMAT",
                  "Of a FILE: the index that is added, cairn (default) or\n"
                  "tensorflow (as 'cairn export FILE --to tensorflow')");
  bool no_sums = false;
  line.add_flag("--no-sums", no_sums,
                "Of a FILE: read no tensor and record no checksums, so that damage to the\n"
                "tensors cannot be found");
  add_formats(line, flags.options.formats);
  add_lossy(line, flags);
  add_replace_json_threads(line, flags);
  if (const auto exit = line.parse(arguments)) return *exit;

  if (no_sums && target != Format::Cairn) {
    complain("import: TensorFlow's index needs checksums; leave out --no-sums");
    return kFailed;
  }
  flags.options.sums = !no_sums;
  const auto done = run("importing " + path, flags, [&](const TransferOptions& options) {
    return target == Format::Cairn ? import_index(path, options)
                                   : export_index(path, target, options);
  });
  return report(done, flags.json);
}

}  // namespace cairn::tools
