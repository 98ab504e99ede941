// usage: open DIR PAYLOAD [--benchmark_…]
//
// How long until a checkpoint can be used? Through each of its three indexes, two questions:
//
//     open   Checkpoint::open: afterwards each tensor can be had
//     list   open, then the name, dtype and shape of every tensor
//
// Neither touches a byte of a tensor.

#include "cairn/checkpoint.h"
#include "measure.h"

namespace cairn::bench {
namespace {

Result<Checkpoint> list(const std::string& path) {
  auto checkpoint = Checkpoint::open(path);
  if (!checkpoint) return checkpoint;
  for (std::size_t i = 0; i < checkpoint->tensor_count(); ++i) {
    const Tensor tensor = checkpoint->tensor_at(i);
    benchmark::DoNotOptimize(tensor.name());
    benchmark::DoNotOptimize(tensor.dtype());
    benchmark::DoNotOptimize(tensor.shape());
  }
  return checkpoint;
}

void add_index(const std::string& contender, const std::string& path) {
  add("open/" + contender, [path] { return Checkpoint::open(path); });
  add("list/" + contender, [path] { return list(path); });
}

void add_figures(const Subject& subject) {
  add_index("cairn", subject.cairn());
  add_index("cairn-tensorflow", subject.tensorflow());
  add_index("cairn-safetensors", subject.safetensors());
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) {
  return cairn::bench::run_program(argc, argv, cairn::bench::add_figures);
}
