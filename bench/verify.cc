// usage: verify DIR PAYLOAD [--benchmark_…]
//
// What does it cost to compare every byte with its checksum, warm, on all cores?
//
//     cairn             verify() of a mapped checkpoint: reads the file block by block and sums
//     each
//                       block, so that no fault can end the process
//     cairn-memory      verify() with Access::Copy: sums memory of our own, where nothing is read
//     plain-pread-sum   pread and CRC32C of the same file, with the same blocks and cores
//     plain-sum         CRC32C of memory that was touched before

#include <vector>

#include "cairn/checkpoint.h"
#include "measure.h"
#include "plain.h"

namespace cairn::bench {
namespace {

Result<void> check(const Checkpoint& checkpoint) {
  const auto seen = checkpoint.verify();
  if (!seen) return seen.error();
  if (!seen->damage.empty()) return Error{Code::Corrupt, 0, "the payload is damaged"};
  return {};
}

Result<void> read_and_sum(const File& file) {
  return in_parallel(file.size(), [&](std::size_t at, std::size_t size) {
    thread_local std::vector<std::byte> block(kBlockBytes);
    const auto part = std::span(block).first(size);
    auto done = file.read(part, at);
    benchmark::DoNotOptimize(crc32c(part));
    return done;
  });
}

Result<void> sum(std::span<const std::byte> bytes) {
  return in_parallel(bytes.size(), [&](std::size_t at, std::size_t size) {
    benchmark::DoNotOptimize(crc32c(bytes.subspan(at, size)));
    return Result<void>{};
  });
}

void add_figures(const Subject& subject) {
  const auto open = [path = subject.cairn()](Access access) {
    OpenOptions options;
    options.access = access;
    return Checkpoint::open(path, options);
  };
  const std::string path = subject.file();
  add_opened("verify/cairn", [open] { return open(Access::Shared); }, check);
  add_opened("verify/cairn-memory", [open] { return open(Access::Copy); }, check);
  add_opened("verify/plain-pread-sum", [path] { return File::open(path); }, read_and_sum);
  const auto own = [path] {
    return File::open(path).and_then(
        [](const File& file) { return Memory::own(file.size(), Pages::Populated); });
  };
  add_opened("verify/plain-sum", own, [](const Memory& memory) { return sum(memory.bytes()); });
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) {
  return cairn::bench::run_program(argc, argv, cairn::bench::add_figures);
}
