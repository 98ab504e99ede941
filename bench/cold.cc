// usage: cold DIR PAYLOAD [--benchmark_…]
//
// How long does a restore take from the disk? Before each time the file is synced and dropped from
// the page cache, and the kernel is asked that nothing stayed:
//
//     cairn             open and check every byte (Verify::Full), touch every page
//     cairn-unchecked   open, prefetch, touch every page
//     cairn-copy        open and check into memory of our own (Access::Copy)
//     plain-mmap        mmap of the same file, touch every page
//     plain-pread       pread on all cores into new memory

#include "cairn/checkpoint.h"
#include "measure.h"
#include "plain.h"

namespace cairn::bench {
namespace {

Result<Checkpoint> open_and_touch(const std::string& path, const OpenOptions& options) {
  auto checkpoint = Checkpoint::open(path, options);
  if (!checkpoint) return checkpoint;
  if (options.verify == Verify::None) {
    if (const auto done = checkpoint->prefetch(); !done) return done.error();
  }
  for (std::size_t i = 0; i < checkpoint->tensor_count(); ++i) {
    const auto bytes = checkpoint->tensor_at(i).bytes();
    if (!bytes) return bytes.error();
    touch(*bytes);
  }
  return checkpoint;
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

void add_figures(const Subject& subject) {
  const auto cold = [file = subject.file()] { return drop(file); };
  const std::string path = subject.cairn();
  const std::string file = subject.file();
  OpenOptions checked;
  checked.verify = Verify::Full;
  OpenOptions unchecked;
  unchecked.verify = Verify::None;
  OpenOptions copied = checked;
  copied.access = Access::Copy;
  add("cold/cairn", [=] { return open_and_touch(path, checked); }, cold);
  add("cold/cairn-unchecked", [=] { return open_and_touch(path, unchecked); }, cold);
  add("cold/cairn-copy", [=] { return open_and_touch(path, copied); }, cold);
  add("cold/plain-mmap", [file] { return map_and_touch(file); }, cold);
  add("cold/plain-pread", [file] { return read_all(file); }, cold);
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) {
  return cairn::bench::run_program(argc, argv, cairn::bench::add_figures);
}
