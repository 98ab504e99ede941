// usage: diff DIR PAYLOAD [--benchmark_…]
//
// What does it cost to compare two checkpoints?
//
//     index    both are open, and their indexes have the content hash of every tensor; all are
//     equal.
//              public-calls: the same by tensor_at() and content_hash()
//     opened   the same, with opening both
//     bytes    two stock .safetensors files with the same contents, which are open: both are read.
//              plain-pread: both files are read with the same blocks and cores;
//              plain-pread-compare: and compared

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/diff.h"
#include "measure.h"
#include "plain.h"

namespace cairn::bench {
namespace {

namespace fs = std::filesystem;

struct Both {
  Checkpoint a;
  Checkpoint b;
};

Result<Both> open_both(const std::string& a, const std::string& b) {
  auto one = Checkpoint::open(a);
  if (!one) return one.error();
  auto other = Checkpoint::open(b);
  if (!other) return other.error();
  return Both{*std::move(one), *std::move(other)};
}

Result<void> compare(const Both& both) {
  const auto found = diff(both.a, both.b);
  if (!found) return found.error();
  if (!found->tensors.empty()) return Error{Code::Corrupt, 0, "the copies differ"};
  return {};
}

Result<void> compare_by_public_calls(const Both& both) {
  for (std::size_t i = 0; i < both.a.tensor_count(); ++i) {
    const Tensor a = both.a.tensor_at(i);
    const Tensor b = both.b.tensor_at(i);
    const bool same = a.name() == b.name() && a.dtype() == b.dtype() &&
                      std::ranges::equal(a.shape(), b.shape()) &&
                      a.content_hash() == b.content_hash();
    if (!same) return Error{Code::Corrupt, 0, "the copies differ"};
  }
  return {};
}

struct BothFiles {
  File a;
  File b;
};

Result<BothFiles> open_files(const std::string& a, const std::string& b) {
  auto one = File::open(a);
  if (!one) return one.error();
  auto other = File::open(b);
  if (!other) return other.error();
  return BothFiles{*std::move(one), *std::move(other)};
}

Result<void> read_both(const BothFiles& files, bool compares) {
  return in_parallel(files.a.size(), [&](std::size_t at, std::size_t size) -> Result<void> {
    thread_local std::vector<std::byte> block_a(kBlockBytes);
    thread_local std::vector<std::byte> block_b(kBlockBytes);
    const auto part_a = std::span(block_a).first(size);
    const auto part_b = std::span(block_b).first(size);
    if (auto done = files.a.read(part_a, at); !done) return done;
    if (auto done = files.b.read(part_b, at); !done) return done;
    if (compares && std::memcmp(part_a.data(), part_b.data(), size) != 0)
      return Error{Code::Corrupt, 0, "the copies differ"};
    return {};
  });
}

// A copy of a file beside it. Gone when the program ends.
class Copy {
 public:
  explicit Copy(const std::string& of)
      : path_(of.substr(0, of.rfind('.')) + "-copy-" + std::to_string(getpid()) + ".safetensors") {
    fs::copy_file(of, path_);
  }
  Copy(const Copy&) = delete;
  Copy& operator=(const Copy&) = delete;
  ~Copy() { fs::remove(path_); }

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void add_figures(const Subject& subject) {
  static const Copy copy(subject.safetensors());
  const auto open = [path = subject.cairn()] { return open_both(path, path); };
  add_opened("index/cairn", open, compare);
  add_opened("index/public-calls", open, compare_by_public_calls);
  add("opened/cairn", [open] { return open().and_then(compare); });
  const auto stock = [path = subject.safetensors()] { return open_both(path, copy.path()); };
  const auto files = [path = subject.safetensors()] { return open_files(path, copy.path()); };
  add_opened("bytes/cairn-safetensors", stock, compare);
  add_opened("bytes/plain-pread", files,
             [](const BothFiles& both) { return read_both(both, false); });
  add_opened("bytes/plain-pread-compare", files,
             [](const BothFiles& both) { return read_both(both, true); });
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) {
  return cairn::bench::run_program(argc, argv, cairn::bench::add_figures);
}
