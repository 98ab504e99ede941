// usage: cold DIR PAYLOAD [--benchmark_…]
//
// How long does a restore take from the disk? Before each time the file is synced and dropped from
// the page cache, and the kernel is asked that nothing stayed:
//
//     cairn               restore() by the way that it chooses, every byte checked
//     cairn-WAY           the same by this way: map, populate, read, direct
//     …-unchecked         the same without checks, to show what they cost
//     plain-mmap          mmap of the same file
//     plain-pread         pread on all cores into new memory
//
// Afterwards one byte of each page is read, by whatever way it came.

#include <optional>
#include <string>

#include "cairn/checkpoint.h"
#include "cairn/restore.h"
#include "measure.h"
#include "plain.h"

namespace cairn::bench {
namespace {

Result<Restored> restore_and_touch(const std::string& path, std::optional<IoMethod> method,
                                   Verify verify) {
  RestoreOptions options;
  options.method = method;
  options.verify = verify;
  auto restored = restore(path, options);
  if (!restored) return restored;
  for (std::size_t i = 0; i < restored->checkpoint.tensor_count(); ++i) {
    const auto bytes = restored->checkpoint.tensor_at(i).bytes();
    if (!bytes) return bytes.error();
    touch(*bytes);
  }
  return restored;
}

Result<Memory> map_and_touch(const std::string& path) {
  auto memory = Memory::of_file(path, Pages::OnTouch);
  if (memory) touch(memory->bytes());
  return memory;
}

Result<Memory> read_all(const std::string& path) {
  const auto file = File::open(path);
  if (!file) return file.error();
  auto memory = Memory::own(file->size(), Pages::OnTouch);
  if (!memory) return memory;
  const auto done = in_parallel(file->size(), [&](std::size_t at, std::size_t size) {
    return file->read(memory->bytes().subspan(at, size), at);
  });
  if (!done) return done.error();
  return memory;
}

Result<void> drop(const std::string& path) {
  const auto file = File::open(path);
  if (!file) return file.error();
  const auto stayed = file->drop();
  if (!stayed) return stayed.error();
  if (*stayed > file->size() / 100) return Error{Code::Busy, 0, "pages stay in the page cache"};
  return {};
}

void add_way(const Subject& subject, const std::string& contender, std::optional<IoMethod> method) {
  const auto cold = [file = subject.file()] { return drop(file); };
  for (const Verify verify : {Verify::Full, Verify::None}) {
    const std::string name = "cold/" + contender + (verify == Verify::None ? "-unchecked" : "");
    add(
        name, [=, path = subject.cairn()] { return restore_and_touch(path, method, verify); },
        cold);
  }
}

void add_figures(const Subject& subject) {
  add_way(subject, "cairn", std::nullopt);
  for (const IoMethod method :
       {IoMethod::Map, IoMethod::Populate, IoMethod::Read, IoMethod::Direct}) {
    add_way(subject, "cairn-" + std::string(name(method)), method);
  }
  const std::string file = subject.file();
  const auto cold = [file] { return drop(file); };
  add("cold/plain-mmap", [file] { return map_and_touch(file); }, cold);
  add("cold/plain-pread", [file] { return read_all(file); }, cold);
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) {
  return cairn::bench::run_program(argc, argv, cairn::bench::add_figures, 2);
}
