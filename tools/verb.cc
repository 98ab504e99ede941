#include "verb.h"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "output.h"

namespace cairn::tools {

void add_path(CommandLine& line, std::string& path) {
  line.add("PATH", path, "The checkpoint: a PATH as in 'cairn --help'").required();
}

void add_directory(CommandLine& line, std::string& dir) {
  line.add("DIR", dir, "A directory of checkpoints").required().check([](const std::string& path) {
    std::error_code ignored;
    return std::filesystem::is_directory(path, ignored) ? "" : path + " is not a directory";
  });
}

void add_catalog(CommandLine& line, std::string& name) {
  line.add("--catalog", name, "NAME", "The catalog's file name in DIR ('checkpoint')");
}

void add_json(CommandLine& line, bool& json) {
  line.add_flag("--json", json, "Print one JSON object on stdout instead of text");
}

void add_threads(CommandLine& line, unsigned& threads) {
  line.add("--threads", threads, "N",
           "Number of threads (as many as affinity mask and CPU quota allow)")
      .between(1u, 1024u);
}

void add_follow_links(CommandLine& line, bool& follow_links) {
  line.add_flag("--follow-links", follow_links,
                "Follow symbolic links and catalog entries that lead out of the directory");
}

void add_formats(CommandLine& line, FormatOptions& formats) {
  const auto take = [&formats](const std::string& word) {
    formats.void_dtype = dtype_from_name(word);
  };
  line.add_call<std::string>("--void-dtype", take, "DTYPE",
                             "npy, npz: the dtype of arrays whose own one numpy did not save\n"
                             "(V1, V2) and whose elements have its size, such as float8_e4m3fn")
      .check([](const std::string& word) {
        const auto dtype = dtype_from_name(word);
        return dtype && element_bytes(*dtype) != 0 ? "" : "'" + word + "' is no dtype of numbers";
      });
  line.add_flag("--expand", formats.expand,
                "PyTorch: read also tensors that repeat their elements and so take\n"
                "more than 64 times the stored bytes");
  line.add_flag("--large-header", formats.large_header,
                "safetensors: read a header of more than 100,000,000 bytes, which the\n"
                "safetensors library refuses");
}

std::optional<Checkpoint> open_or_complain(const std::string& path, bool follow_links,
                                           const FormatOptions& formats) {
  OpenOptions options;
  options.follow_links = follow_links;
  options.formats = formats;
  auto checkpoint = Checkpoint::open(path, options);
  if (!checkpoint) {
    complain(checkpoint.error());
    return std::nullopt;
  }
  print_warnings(checkpoint->warnings());
  return *std::move(checkpoint);
}

}  // namespace cairn::tools
