#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "metadata.h"
#include "output.h"
#include "select.h"
#include "table.h"
#include "terminal.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "List the tensors of a checkpoint in bytewise order of their names: dtype, shape, bytes,\n"
    "shard, offset in the shard, and the stored CRC32C. Then list its metadata and\n"
    "safetensors' __metadata__, unless tensors are named. Reads the index, not the tensors.";

constexpr const char* kFooter =
    "Exit status: 0 the list was printed, 2 the checkpoint could not be opened, or a TENSOR\n"
    "means no tensor of it.\n\n"
    "TENSOR is a name, an object path, or a pattern: '*' stands for any characters, '/' among\n"
    "them, and '?' for one. A name that a tensor has is no pattern.\n\n"
    "On a terminal sizes are rounded, columns that do not fit are left out, the last ones\n"
    "first, and long names lose their middle. A parameter is an element of a tensor of\n"
    "numbers.\n\n"
    "A partitioned variable is stored in several slices: its shard, offset and checksum are\n"
    "'-' (JSON: null). The values of a V1 checkpoint and the compressed arrays of a .npz file\n"
    "have no offset in their file: they are decoded. Bytes and checksum are those of the\n"
    "decoded values; an array that is decoded when it is used has no checksum here.\n\n"
    "JSON: a name that is not UTF-8 is printed as \"name_hex\". \"metadata\" and\n"
    "\"safetensors_metadata\" are arrays of {\"key\",\"value\"}, with whole values. Text has only\n"
    "the beginning of long values.\n\n"
    "Examples:\n"
    "  cairn ls saved/train2-9\n"
    "  cairn ls saved                      the latest checkpoint of the directory\n"
    "  cairn ls model.safetensors '*.weight'\n"
    "  cairn ls model.safetensors --json | jq -r '.tensors[].name'";

std::string shape_text(std::span<const std::int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ","));
}

// The values of a V1 file, compressed arrays, and the numbers of protobuf are nowhere in their file
// as bytes.
bool has_offset(const Checkpoint& checkpoint, const Tensor& tensor) {
  const bool decoded = checkpoint.format() == Format::TensorFlowV1 ||
                       tensor.shard() == std::string(checkpoint.shard_at(0).name) + " (decoded)";
  return !tensor.partitioned() && !decoded;
}

void print_json(const Checkpoint& checkpoint, std::span<const Tensor> tensors) {
  Json json;
  json.begin_object();
  add_files(json, checkpoint);
  add_metadata(json, checkpoint);
  json.number("parameters", parameter_count(tensors)).begin_array("tensors");
  for (const Tensor& tensor : tensors) {
    json.begin_object().text("name", tensor.name()).text("dtype", tensor.dtype_name());
    json.begin_array("shape");
    for (const std::int64_t dimension : tensor.shape()) json.element(dimension);
    json.end_array().number("bytes", tensor.size_bytes());
    tensor.partitioned() ? json.null("shard") : json.text("shard", tensor.shard());
    has_offset(checkpoint, tensor) ? json.number("offset", tensor.offset_bytes())
                                   : json.null("offset");
    const auto sum = tensor.crc32c();
    sum ? json.text("crc32c", hex(*sum)) : json.null("crc32c");
    json.end_object();
  }
  json.end_array().end_object().finish();
}

std::vector<std::string> row(const Checkpoint& checkpoint, const Tensor& tensor, bool on_terminal) {
  return {safe(tensor.name()),
          std::string(tensor.dtype_name()),
          shape_text(tensor.shape()),
          on_terminal ? human_bytes(tensor.size_bytes()) : std::to_string(tensor.size_bytes()),
          tensor.partitioned() ? "-" : safe(tensor.shard()),
          has_offset(checkpoint, tensor) ? std::to_string(tensor.offset_bytes()) : "-",
          tensor.crc32c() ? hex(*tensor.crc32c()) : "-"};
}

void print_text(const Checkpoint& checkpoint, std::span<const Tensor> tensors, bool all) {
  const bool on_terminal = terminal_width().has_value();
  Table table({{"tensor"},
               {"dtype"},
               {"shape"},
               {on_terminal ? "size" : "bytes", true},
               {"shard"},
               {"offset", true},
               {"crc32c"}});
  for (const Tensor& tensor : tensors) table.add(row(checkpoint, tensor, on_terminal));
  table.print(4);
  const std::string parameters = count_of(parameter_count(tensors), "parameter");
  if (!all) {
    std::uint64_t bytes = 0;
    for (const Tensor& tensor : tensors) bytes += tensor.size_bytes();
    print(fmt::format("{}: {} of {}, {}, {} bytes\n", safe(checkpoint.prefix().native()),
                      tensors.size(), count_of(checkpoint.tensor_count(), "tensor"), parameters,
                      grouped(bytes)));
    return;
  }
  print_metadata(checkpoint);
  std::uint64_t bytes = 0;
  const std::size_t shards = checkpoint.shard_count();
  for (std::size_t i = 0; i < shards; ++i) bytes += checkpoint.shard_at(i).size_bytes;
  const std::string step = checkpoint.step() ? fmt::format(", step {}", *checkpoint.step()) : "";
  print(fmt::format("{}: {}{}, {}, {}, {} bytes in {}\n", safe(checkpoint.prefix().native()),
                    name(checkpoint.format()), step, count_of(tensors.size(), "tensor"), parameters,
                    grouped(bytes), count_of(shards, "shard")));
}

}  // namespace

int ls(Arguments arguments) {
  std::string path;
  bool json = false;
  bool follow_links = false;
  FormatOptions formats;
  std::vector<std::string> words;
  CommandLine line("cairn ls", kDescription, kFooter);
  add_path(line, path);
  line.add("TENSOR", words, "List only these: names or patterns, such as '*.weight'");
  add_json(line, json);
  add_follow_links(line, follow_links);
  add_formats(line, formats);
  if (const auto exit = line.parse(arguments)) return *exit;

  const auto checkpoint = open_or_complain(path, follow_links, formats);
  if (!checkpoint) return kFailed;
  const auto tensors = select(*checkpoint, words);
  if (!tensors) return kFailed;
  json ? print_json(*checkpoint, *tensors) : print_text(*checkpoint, *tensors, words.empty());
  return kYes;
}

}  // namespace cairn::tools
