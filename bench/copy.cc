// usage: copy DIR PAYLOAD [--benchmark_…]
//
// How long until every tensor is in memory of the caller's, from a warm page cache? The memory was
// touched before, all cores help:
//
//     cairn           Checkpoint::read of every tensor, unchecked
//     cairn-checked   the same, newly opened: every byte is compared with its checksum too
//     plain-memcpy    memcpy from a mapping whose pages are there already
//     plain-pread     pread of the same file

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "cairn/checkpoint.h"
#include "measure.h"
#include "plain.h"

namespace cairn::bench {
namespace {

constexpr std::size_t kAlignmentBytes = 64;

// What the reads go into: the same memory for all, one tensor behind the other.
std::span<std::byte> destination(std::size_t size) {
  static const Result<Memory> memory = Memory::own(size, Pages::Populated);
  return memory->bytes();
}

struct Plan {
  Checkpoint checkpoint;
  std::vector<Read> reads;
};

Result<Plan> plan(const Subject& subject, Verify verify) {
  OpenOptions options;
  options.verify = verify;
  auto checkpoint = Checkpoint::open(subject.cairn(), options);
  if (!checkpoint) return checkpoint.error();
  std::size_t size = 0;
  std::vector<std::pair<std::size_t, Tensor>> places;
  places.reserve(checkpoint->tensor_count());
  for (std::size_t i = 0; i < checkpoint->tensor_count(); ++i) {
    const Tensor tensor = checkpoint->tensor_at(i);
    places.emplace_back(size, tensor);
    size += (tensor.size_bytes() + kAlignmentBytes - 1) / kAlignmentBytes * kAlignmentBytes;
  }
  const auto file = File::open(subject.file());
  if (!file) return file.error();
  const auto out = destination(std::max(size, file->size()));
  std::vector<Read> reads;
  reads.reserve(places.size());
  for (const auto& [at, tensor] : places) {
    reads.push_back({tensor.name(), {}, out.subspan(at, tensor.size_bytes())});
  }
  return Plan{*std::move(checkpoint), std::move(reads)};
}

// A tensor is checked on its first use, so each time another Checkpoint uses it.
Result<Checkpoint> read_checked(const Plan& plan, const std::string& path) {
  auto checkpoint = Checkpoint::open(path);
  if (!checkpoint) return checkpoint;
  if (const auto done = checkpoint->read(plan.reads); !done) return done.error();
  return checkpoint;
}

void add_plain(const std::string& path) {
  const auto map = [path] { return Memory::of_file(path, Pages::Populated); };
  add_opened("copy/plain-memcpy", map, [](const Memory& memory) {
    const auto from = memory.bytes();
    const auto out = destination(from.size());
    return in_parallel(from.size(), [&](std::size_t at, std::size_t size) {
      std::memcpy(out.data() + at, from.data() + at, size);
      return Result<void>{};
    });
  });
  const auto open = [path] { return File::open(path); };
  add_opened("copy/plain-pread", open, [](const File& file) {
    const auto out = destination(file.size());
    return in_parallel(file.size(), [&](std::size_t at, std::size_t size) {
      return file.read(out.subspan(at, size), at);
    });
  });
}

void add_figures(const Subject& subject) {
  const auto unchecked = [subject] { return plan(subject, Verify::None); };
  add_opened("copy/cairn", unchecked,
             [](const Plan& plan) { return plan.checkpoint.read(plan.reads); });
  const auto checked = [subject] { return plan(subject, Verify::Lazy); };
  add_opened("copy/cairn-checked", checked,
             [path = subject.cairn()](const Plan& plan) { return read_checked(plan, path); });
  add_plain(subject.file());
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) {
  return cairn::bench::run_program(argc, argv, cairn::bench::add_figures);
}
