// Says what is in a directory of checkpoints: for each directory named on stdin, lines
// `KIND<tab>NAME<tab>VALUE`, then an empty one. One process for thousands of states.
//
//   checkpoint    what the library opens under a prefix that has an index, all sums compared: a
//                 fingerprint of every name, dtype, shape and byte, of the metadata and the pin, or
//                 "error: " and a sentence
//   bundle        the same as TensorFlow sees it, which knows P.index and the shards alone
//   safetensors   the same of a .safetensors file
//   model         the same of a directory that is a model of the Hugging Face libraries
//   kept          the bytes of another file below such a directory
//   npz           the same as checkpoint of an .npz archive
//   catalog       the checkpoints that one of a directory lists; an error where one is not there
//   remark        what the library says of a checkpoint that is whole: its step, its warnings
//   temporary     a file that a writer left behind
//   leftover      a shard that no index names, or a Saver's journal

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/catalog.h"
#include "cairn/checkpoint.h"

namespace {

namespace fs = std::filesystem;
using cairn::Checkpoint;
using cairn::Result;

// FNV-1a, 64 bits: the states that are compared come from our own tests.
class Fingerprint {
 public:
  void add(std::string_view bytes) {
    for (const char byte : bytes) step(static_cast<unsigned char>(byte));
    step(0xff);
  }
  void add(std::span<const std::byte> bytes) {
    add(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  void add(std::int64_t number) { add(std::to_string(number)); }
  std::string hex() const {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash_));
    return text;
  }

 private:
  void step(unsigned char byte) { hash_ = (hash_ ^ byte) * 0x100000001b3u; }
  std::uint64_t hash_ = 0xcbf29ce484222325u;
};

class Report {
 public:
  explicit Report(fs::path root) : root_(std::move(root)) {}

  void look();

 private:
  void look_in(const fs::path& dir);
  void look_at(const fs::path& dir, const std::string& name);
  void catalog(const fs::path& dir, const std::string& name);
  void bundle(const fs::path& prefix);
  void model(const fs::path& dir);
  void checkpoint(std::string_view kind, const fs::path& path);
  Result<std::string> fingerprint(const fs::path& path);
  void remarks(const Checkpoint& checkpoint);
  void line(std::string_view kind, const fs::path& path, std::string value);

  fs::path root_;
  std::set<fs::path> shards_;  // those that an index names
};

bool is_shard(const std::string& name) { return name.find(".data-") != std::string::npos; }
bool is_temporary(const std::string& name) { return name.find(".cairn-tmp-") != std::string::npos; }

void Report::line(std::string_view kind, const fs::path& path, std::string value) {
  for (char& c : value) {
    if (c == '\n' || c == '\t') c = ' ';
  }
  std::cout << kind << '\t' << path.lexically_relative(root_).native() << '\t' << value << '\n';
}

void Report::look() {
  std::vector<fs::path> directories{root_};
  for (auto at = fs::recursive_directory_iterator(root_); at != fs::end(at); ++at) {
    if (!at->is_directory()) continue;
    // Nobody reads in one that has no name yet.
    if (is_temporary(at->path().filename())) at.disable_recursion_pending();
    if (!is_temporary(at->path().filename())) directories.push_back(at->path());
  }
  for (const fs::path& dir : directories) look_in(dir);
  for (const auto& entry : fs::recursive_directory_iterator(root_)) {
    const std::string name = entry.path().filename();
    if (is_temporary(name)) line("temporary", entry.path(), "");
    const bool unnamed = is_shard(name) && !is_temporary(name) && !shards_.contains(entry.path());
    if (unnamed || name == ".cairn-journal") line("leftover", entry.path(), "");
  }
  std::cout << '\n' << std::flush;
}

void Report::look_in(const fs::path& dir) {
  std::set<std::string> prefixes;
  for (const auto& entry : fs::directory_iterator(dir)) {
    const fs::path& path = entry.path();
    const fs::path suffix = path.extension();
    if (is_temporary(path.filename())) continue;
    if (suffix == ".index" || suffix == ".cairn") prefixes.insert(path.stem());
    if (suffix == ".safetensors") checkpoint("safetensors", path);
    if (suffix == ".npz") checkpoint("npz", path);
    if (suffix == ".index") bundle(dir / path.stem());
  }
  for (const std::string& name : prefixes) checkpoint("checkpoint", dir / name);
  if (fs::exists(dir / "model.safetensors") || fs::exists(dir / "model.safetensors.index.json"))
    model(dir);
  for (const char* name : {"checkpoint", "best_checkpoint"}) {
    if (fs::exists(dir / name)) catalog(dir, name);
  }
}

// TensorFlow's view: the same names without P.cairn, in a directory of its own.
void Report::bundle(const fs::path& prefix) {
  const fs::path view = root_.native() + ".view";
  fs::create_directory(view);
  const std::string base = prefix.filename().native() + ".";
  for (const auto& entry : fs::directory_iterator(prefix.parent_path())) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(base) || is_temporary(name)) continue;
    // A journal knows an index by its names too, so it gets no other one here.
    if (name.ends_with(".index")) fs::copy_file(entry.path(), view / name);
    if (is_shard(name)) fs::create_hard_link(entry.path(), view / name);
  }
  const auto found = fingerprint(view / prefix.filename());
  fs::remove_all(view);
  line("bundle", prefix, found ? *found : "error: " + found.error().what);
}

void Report::model(const fs::path& dir) {
  checkpoint("model", dir);
  for (const auto& entry : fs::recursive_directory_iterator(dir)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("model") || name.starts_with(".") || is_temporary(name)) continue;
    if (entry.is_directory()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    line("kept", entry.path(), std::string(std::istreambuf_iterator<char>(file), {}));
  }
}

void Report::checkpoint(std::string_view kind, const fs::path& path) {
  const auto found = fingerprint(path);
  line(kind, path, found ? *found : "error: " + found.error().what);
}

Result<std::string> Report::fingerprint(const fs::path& path) {
  cairn::OpenOptions options;
  options.verify = cairn::Verify::Full;
  const auto opened = Checkpoint::open(path, options);
  if (!opened) return opened.error();
  if (path.native().starts_with(root_.native() + "/")) remarks(*opened);
  const auto verified = opened->verify();
  if (!verified) return verified.error();
  if (!verified->damage.empty()) return cairn::Error{cairn::Code::Corrupt, 0, "damaged"};
  for (std::size_t i = 0; i < opened->shard_count(); ++i) {
    shards_.insert(path.parent_path() / opened->shard_at(i).name);
  }
  Fingerprint print;
  print.add(opened->metadata("note").value_or(""));
  print.add(opened->metadata("cairn.pinned").value_or("not pinned"));
  for (std::size_t i = 0; i < opened->tensor_count(); ++i) {
    const cairn::Tensor tensor = opened->tensor_at(i);
    print.add(tensor.name());
    print.add(tensor.dtype_name());
    for (const std::int64_t dimension : tensor.shape()) print.add(dimension);
    const auto size = tensor.read_bytes();
    if (!size) return size.error();
    std::vector<std::byte> bytes(*size);
    if (const auto done = tensor.read(bytes); !done) return done.error();
    print.add(bytes);
  }
  return print.hex();
}

void Report::remarks(const Checkpoint& checkpoint) {
  const auto step = checkpoint.step();
  line("remark", checkpoint.prefix(), step ? "step " + std::to_string(*step) : "no step");
  for (const std::string& warning : checkpoint.warnings()) {
    line("remark", checkpoint.prefix(), warning);
  }
}

void Report::catalog(const fs::path& dir, const std::string& name) {
  const auto state = cairn::get_checkpoint_state(dir, name);
  if (!state || !*state) {
    return line("catalog", dir / name, "error: " + (state ? "it is empty" : state.error().what));
  }
  std::string text = "latest " + (*state)->model_checkpoint_path.filename().native() + " of";
  for (const fs::path& path : (*state)->all_model_checkpoint_paths) {
    text += " " + path.filename().native();
    const auto opened = Checkpoint::open(dir / path.filename());
    if (!opened) return line("catalog", dir / name, "error: " + opened.error().what);
  }
  line("catalog", dir / name, text);
}

}  // namespace

int main() {
  for (std::string dir; std::getline(std::cin, dir);) {
    try {
      Report(dir).look();
    } catch (const std::exception& error) {
      std::cout << "checkpoint\t?\terror: " << error.what() << "\n\n" << std::flush;
    }
  }
}
