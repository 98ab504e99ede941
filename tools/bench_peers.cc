// Which peer can read the files is asked of the files, not of the format: Cairn's own shards are
// safetensors files too, and its prefixes have TensorFlow's index.

#include "bench_peers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "bench_plain.h"
#include "child.h"

namespace cairn::tools {
namespace {

namespace fs = std::filesystem;

// Prints one line: "seconds S VERSION", "absent PACKAGE" or "failed WHY". Imports are not timed.
// The directory where the command was started is no place of packages: whoever wrote into it could
// run code here. Tensors of torch may be mapped: one byte of each page is read. What numpy has is a
// copy.
constexpr std::string_view kScript = R"py(
import os, sys
sys.path[:] = [place for place in sys.path if place]
import importlib, time
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
peer, paths = sys.argv[1], sys.argv[2:]
package = peer.partition(".")[0]
try:
    module = importlib.import_module(peer)
    version = importlib.import_module(package).__version__
except ImportError as error:
    print("absent", getattr(error, "name", None) or package, file=answers)
    sys.exit()

def load():
    if package == "safetensors":
        return [module.load_file(path) for path in paths]
    reader = module.train.load_checkpoint(paths[0])
    return [reader.get_tensor(name) for name in reader.get_variable_to_shape_map()]

def touch(files):
    if peer == "safetensors.torch":
        import torch
        for tensor in (tensor for file in files for tensor in file.values()):
            tensor.reshape(-1).view(torch.uint8)[::4096].sum().item()

try:
    begin = time.perf_counter()
    held = load()
    touch(held)
    end = time.perf_counter()
    print("seconds", "%.9f" % (end - begin), version, file=answers)
except Exception as error:
    print("failed", (type(error).__name__ + ": " + str(error)).splitlines()[0], file=answers)
)py";

struct Asked {
  Peer peer;
  std::vector<std::string> words;  // of the script
};

// Whether it begins with the size of a header, and a header.
bool is_safetensors(const fs::path& file) {
  std::array<char, 9> head{};
  std::ifstream in(file, std::ios::binary);
  in.read(head.data(), head.size());
  std::uint64_t size = 0;
  for (std::size_t i = 8; i-- > 0;) size = size << 8 | static_cast<unsigned char>(head[i]);
  std::error_code failed;
  const std::uint64_t file_bytes = fs::file_size(file, failed);
  return in && !failed && head[8] == '{' && file_bytes >= 8 && size <= file_bytes - 8;
}

// numpy has no dtype for these, and torch has.
bool needs_torch(const Checkpoint& checkpoint) {
  return std::ranges::any_of(checkpoint, [](const Tensor& tensor) {
    const std::string_view dtype = tensor.dtype_name();
    return dtype == "bfloat16" || dtype.starts_with("float8");
  });
}

Asked ask_safetensors(const Checkpoint& checkpoint) {
  Asked asked{{"safetensors", {}, {}}, {}};
  const auto files = shard_files(checkpoint);
  if (files.empty() || !std::ranges::all_of(files, is_safetensors)) {
    asked.peer.why_not = "not measured: the files have no header of safetensors";
    return asked;
  }
  asked.words = {needs_torch(checkpoint) ? "safetensors.torch" : "safetensors.numpy"};
  for (const fs::path& file : files) asked.words.push_back(file.native());
  return asked;
}

Asked ask_tensorflow(const Checkpoint& checkpoint) {
  Asked asked{{"tensorflow", {}, {}}, {}};
  const std::string& prefix = checkpoint.prefix().native();
  std::error_code ignored;
  if (fs::exists(prefix + ".index", ignored) || checkpoint.format() == Format::TensorFlowV1) {
    asked.words = {"tensorflow", prefix};
  } else {
    asked.peer.why_not = "not measured: there is no index of TensorFlow's";
  }
  return asked;
}

// One run. `peer` learns the version, or why there is no figure.
Result<double> run_once(const Asked& asked, Peer& peer) {
  std::vector<std::string> words{"python3", "-c", std::string(kScript)};
  words.insert(words.end(), asked.words.begin(), asked.words.end());
  auto child = Child::start(words, Stderr::Dropped);
  const auto line = child ? child->read_line() : Result<std::string>(child.error());
  if (!line) {
    peer.why_not = child ? "not measured: its process ended without an answer"
                         : "not measured: python3 cannot be started";
    return line.error();
  }
  const std::string_view said = *line;
  const std::string_view word = said.substr(0, said.find(' '));
  const std::string_view rest = said.substr(std::min(word.size() + 1, said.size()));
  double seconds = 0;
  const auto number = std::from_chars(rest.data(), rest.data() + rest.size(), seconds);
  if (word == "seconds" && number.ec == std::errc()) {
    peer.version = rest.substr(std::min(rest.find(' '), rest.size() - 1) + 1);
    return seconds;
  }
  peer.why_not = word == "absent" ? fmt::format("not measured: python3 has no package '{}'", rest)
                                  : fmt::format("not measured: {}", rest);
  return Error{Code::Unsupported, 0, peer.why_not};
}

Result<void> measure(Bench& bench, Asked asked) {
  Peer& peer = asked.peer;
  std::vector<Figure> rows;
  for (const PageCache cache : {PageCache::AsIs, PageCache::Cold}) {
    if (!peer.why_not.empty()) break;
    if (cache == PageCache::AsIs) {
      const auto warmed = warm_up(bench);
      if (!warmed) return warmed;
    }
    const auto seconds =
        bench.watch.collect(cache, bench.options.repeat, [&] { return run_once(asked, peer); });
    if (!seconds && peer.why_not.empty()) return seconds.error();
    if (!seconds) break;
    rows.push_back({peer.name, cache == PageCache::AsIs ? "warm" : "cold", Group::Peer,
                    bench.report.bytes, *seconds});
  }
  if (peer.why_not.empty())
    bench.report.figures.insert(bench.report.figures.end(), rows.begin(), rows.end());
  bench.report.peers.push_back(peer);
  return {};
}

}  // namespace

Result<void> measure_peers(Bench& bench) {
  OpenOptions options;
  options.verify = Verify::None;
  options.follow_links = bench.options.follow_links;
  std::vector<Asked> all;
  {
    // Closed again: pages of a mapping are never cold.
    const auto checkpoint = Checkpoint::open(bench.options.path, options);
    if (!checkpoint) return checkpoint.error();
    all = {ask_safetensors(*checkpoint), ask_tensorflow(*checkpoint)};
  }
  for (const Asked& asked : all) {
    const auto done = measure(bench, asked);
    if (!done) return done;
  }
  return {};
}

}  // namespace cairn::tools
