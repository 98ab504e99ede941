// usage: save DIR [--benchmark_…]
//
// How long until a checkpoint is saved? DIR's `gpt2` payload (see payload.h) is read into memory,
// and written into a directory beside it, by Cairn and by a plain loop over the same bytes:
//
//     gpt2/cairn/written   a new Writer, and all bytes given to it: written, summed, hashed
//     gpt2/plain/written   a new file, its space reserved, and pwrite, 4 MiB at a time
//     gpt2/cairn/synced    written, and committed: it survives a power cut
//     gpt2/plain/synced    written, and fsync
//
// What was written is removed after each, and the disk lets go of it before the next begins; that
// is not timed. A DIR in /dev/shm shows what is left where a sync costs nothing.

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "cairn/cairn.h"
#include "payload.h"

namespace cairn::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kBlockBytes = std::size_t{4} << 20;

// Tensors one after the other in memory.
struct Model {
  std::vector<TensorSpec> specs;
  std::vector<std::span<const std::byte>> places;  // of each tensor, in the memory
  std::vector<std::byte> memory;
};

Result<Model> load(const std::string& path) {
  const auto checkpoint = Checkpoint::open(path);
  if (!checkpoint) return checkpoint.error();
  std::size_t total_bytes = 0;
  for (std::size_t i = 0; i < checkpoint->tensor_count(); ++i)
    total_bytes += checkpoint->tensor_at(i).size_bytes();
  Model model;
  model.memory.resize(total_bytes);
  std::span<std::byte> free = model.memory;
  for (std::size_t i = 0; i < checkpoint->tensor_count(); ++i) {
    const Tensor tensor = checkpoint->tensor_at(i);
    const auto place = free.first(tensor.size_bytes());
    const auto done = tensor.read(place);
    if (!done) return done.error();
    model.specs.push_back({std::string(tensor.name()),
                           tensor.dtype(),
                           {tensor.shape().begin(), tensor.shape().end()}});
    model.places.push_back(place);
    free = free.subspan(place.size());
  }
  return model;
}

enum class Until { Written, Synced };

// One way to save, into a directory that is there and empty.
using Save = Result<void> (*)(const Model&, const std::string& directory, Until,
                              Clock::time_point*);

Result<void> save_cairn(const Model& model, const std::string& directory, Until until,
                        Clock::time_point* end) {
  auto writer = Writer::create(directory + "/model", model.specs);
  if (!writer) return writer.error();
  std::vector<NamedBytes> tensors;
  for (std::size_t i = 0; i < model.specs.size(); ++i)
    tensors.push_back({model.specs[i].name, model.places[i]});
  auto done = writer->write_all(tensors);
  if (done && until == Until::Synced) done = writer->commit();
  *end = Clock::now();
  return done;
}

Result<void> failed(const char* what) {
  return Error{Code::Io, errno, std::string(what) + ": " + std::strerror(errno)};
}

Result<void> write_plain(int fd, const Model& model) {
  if (::fallocate(fd, 0, 0, static_cast<off_t>(model.memory.size())) != 0)
    return failed("fallocate");
  for (std::size_t at = 0; at < model.memory.size(); at += kBlockBytes) {
    const std::size_t count = std::min(kBlockBytes, model.memory.size() - at);
    if (::pwrite(fd, model.memory.data() + at, count, static_cast<off_t>(at)) !=
        static_cast<ssize_t>(count))
      return failed("pwrite");
  }
  return {};
}

Result<void> save_plain(const Model& model, const std::string& directory, Until until,
                        Clock::time_point* end) {
  const int fd = ::open((directory + "/plain").c_str(), O_RDWR | O_CREAT | O_EXCL, 0644);
  if (fd < 0) return failed("open");
  auto done = write_plain(fd, model);
  if (done && until == Until::Synced && ::fsync(fd) != 0) done = failed("fsync");
  *end = Clock::now();
  ::close(fd);
  return done;
}

void measure(benchmark::State& state, const Model& model, const std::string& directory, Save save,
             Until until) {
  while (state.KeepRunning()) {
    std::filesystem::create_directory(directory);
    Clock::time_point end;
    const Clock::time_point start = Clock::now();
    const auto done = save(model, directory, until, &end);
    std::filesystem::remove_all(directory);
    if (!done) return state.SkipWithError(done.error().what.c_str());
    state.SetIterationTime(std::chrono::duration<double>(end - start).count());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * model.memory.size()));
}

void add(const Model& model, const std::string& directory, const char* who, Save save) {
  for (const Until until : {Until::Written, Until::Synced}) {
    const std::string name =
        std::string("gpt2/") + who + (until == Until::Written ? "/written" : "/synced");
    benchmark::RegisterBenchmark(name.c_str(),
                                 [&model, directory, save, until](auto& state) {
                                   measure(state, model, directory, save, until);
                                 })
        ->UseManualTime()
        ->Unit(benchmark::kMillisecond);
  }
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) {
  using namespace cairn::bench;
  benchmark::AddCustomContext("cairn", std::string(cairn::version()));
  benchmark::Initialize(&argc, argv);
  if (argc != 2) {
    std::fputs("usage: save DIR [--benchmark_...]\n", stderr);
    return 2;
  }
  const auto model = load(cairn_path(argv[1], kPayloads[0]));
  if (!model) {
    std::fprintf(stderr, "save: %s\n", model.error().what.c_str());
    return 2;
  }
  const std::string directory = std::string(argv[1]) + "/save";
  add(*model, directory, "cairn", save_cairn);
  add(*model, directory, "plain", save_plain);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
