// usage: touch DIR PAYLOAD [--benchmark_…]
//
// How long from nothing until every page of a checkpoint that lies in the page cache is in this
// process? One byte of each page is read, by one thread, nothing is checked, each mapping is new:
//
//     cairn            open, then touch each tensor
//     cairn-prefetch   open, prefetch, touch each tensor
//     cairn-restore    restore() by Way::Populate, unchecked, touch each tensor
//     plain-mmap       mmap of the same file, touch
//     plain-populate   mmap with MAP_POPULATE, touch: what the kernel needs at least

#include "cairn/checkpoint.h"
#include "cairn/restore.h"
#include "measure.h"
#include "plain.h"

namespace cairn::bench {
namespace {

Result<void> touch_all(const Checkpoint& checkpoint) {
  for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i) {
    const auto bytes = checkpoint.tensor_at(i).bytes();
    if (!bytes) return bytes.error();
    touch(*bytes);
  }
  return {};
}

Result<Checkpoint> open_and_touch(const std::string& path, bool prefetch) {
  OpenOptions options;
  options.verify = Verify::None;
  auto checkpoint = Checkpoint::open(path, options);
  if (!checkpoint) return checkpoint;
  const auto done = (prefetch ? checkpoint->prefetch() : Result<void>{}).and_then([&] {
    return touch_all(*checkpoint);
  });
  if (!done) return done.error();
  return checkpoint;
}

Result<Restored> restore_and_touch(const std::string& path) {
  RestoreOptions options;
  options.method = IoMethod::Populate;
  options.verify = Verify::None;
  auto restored = restore(path, options);
  if (!restored) return restored;
  if (const auto done = touch_all(restored->checkpoint); !done) return done.error();
  return restored;
}

Result<Memory> map_and_touch(const std::string& path, Pages pages) {
  auto memory = Memory::of_file(path, pages);
  if (memory) touch(memory->bytes());
  return memory;
}

void add_figures(const Subject& subject) {
  const std::string path = subject.cairn();
  const std::string file = subject.file();
  add("touch/cairn", [path] { return open_and_touch(path, false); });
  add("touch/cairn-prefetch", [path] { return open_and_touch(path, true); });
  add("touch/cairn-restore", [path] { return restore_and_touch(path); });
  add("touch/plain-mmap", [file] { return map_and_touch(file, Pages::OnTouch); });
  add("touch/plain-populate", [file] { return map_and_touch(file, Pages::Populated); });
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) {
  return cairn::bench::run_program(argc, argv, cairn::bench::add_figures);
}
